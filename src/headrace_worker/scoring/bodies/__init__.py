"""Reading bodies: compression, JSON, CSV, Parquet, and how large what they stand for may be."""
