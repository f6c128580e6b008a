"""Who may do what on the ports, and what they show: keys, issuers, certificates."""
