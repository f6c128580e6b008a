"""Which version of a model serves: the states of a version, the decisions, and the checks of a new one."""
