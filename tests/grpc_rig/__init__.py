"""What the tests of gRPC need: a plain client of the protocol."""
