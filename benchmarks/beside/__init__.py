"""headrace beside its peers: the same models, the same requests, the same load generator, one machine, one run."""
