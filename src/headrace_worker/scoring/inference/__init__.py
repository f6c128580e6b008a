"""The Open Inference Protocol (V2): tensors of a request to a model's input, its answer to tensors."""
