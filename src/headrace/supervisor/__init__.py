"""Owns the processes, the listening sockets and the rollouts; serves the admin port."""
