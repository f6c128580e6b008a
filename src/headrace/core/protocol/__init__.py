"""The messages between the processes, and their framing."""
