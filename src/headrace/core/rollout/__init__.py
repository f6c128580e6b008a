"""Which version serves: the states of a version, the decisions, and how a new one is judged."""
