"""The requirements of a model, and how well an environment meets them."""
