"""What a gateway decides of a request: admission, batches, caching, splitting, shadows."""
