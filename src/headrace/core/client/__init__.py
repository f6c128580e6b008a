"""What the client library decides: which address, when to ask again, when to send a copy."""
