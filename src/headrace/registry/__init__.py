"""What is registered, and its artifacts; the agent is the only process that imports mlflow."""
