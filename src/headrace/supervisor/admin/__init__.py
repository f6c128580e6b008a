"""The admin port: health, the API, metrics, the dashboard. It sees `state.ServerState`, and no more."""
