"""The configuration: one frozen tree, parsed once, and what headrace takes from the environment."""
