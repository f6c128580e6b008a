"""The inputs and outputs of a model in the terms of other standards: Open Inference Protocol, OpenAPI, MCP. Pure."""
