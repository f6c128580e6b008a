"""The Model Context Protocol (MCP): served models as tools of agents."""
