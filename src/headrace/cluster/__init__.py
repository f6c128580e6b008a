"""headrace on each node of a Ray cluster: a controller that knows what is wanted, and an actor on each node.

Ray is imported when it is joined, and nowhere else: without `cluster:` in the configuration it is not needed.
"""
