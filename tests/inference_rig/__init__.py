"""Programs that run in the environments of others, to judge the protocols: MLServer, Triton's client."""
