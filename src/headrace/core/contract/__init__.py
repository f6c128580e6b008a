"""What a model takes and gives, told in the words of others: tensors of the Open Inference Protocol, OpenAPI. Pure."""
