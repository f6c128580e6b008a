"""Commands for who runs headrace safely."""
