"""What is wrong with a request or a model, and how that is told."""
