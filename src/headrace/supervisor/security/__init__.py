"""Security of the ports: access rules, keys, issuers, certificates."""
