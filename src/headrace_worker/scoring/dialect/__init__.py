"""OpenAI's dialect: requests of its clients for models that chat, answer, embed or complete."""
