"""Clients' connections: bytes to requests, answers to bytes."""
