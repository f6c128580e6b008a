"""What is registered, and its artifacts. The agent asks the registry, so the supervisor never imports mlflow."""
