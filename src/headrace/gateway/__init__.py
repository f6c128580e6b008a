"""The data port: HTTP/1.1 in, opaque bodies batched and handed to workers, answers out."""
