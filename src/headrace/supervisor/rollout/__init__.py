"""Which version of a model serves, and how another takes over: follow the registry, bring up, check, flip, watch."""
