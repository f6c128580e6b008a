"""The environments that models were trained in: read, built once, kept, and compared with what is there."""
