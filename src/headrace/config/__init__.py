"""The configuration: one frozen tree, parsed once, the only reader of the environment."""
