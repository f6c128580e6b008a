"""Models that speak OpenAI's dialect, and what asks them."""
