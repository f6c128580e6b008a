"""What a model requires, and how well an environment fits it."""
