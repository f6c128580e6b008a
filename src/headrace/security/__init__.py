"""TLS and credentials as processes of every kind need them: what reads files and makes contexts for handshakes."""
