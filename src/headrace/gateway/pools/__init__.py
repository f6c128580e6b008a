"""The workers of served versions, and the requests that they answer."""
