"""Who may ask the admin port, and whose webhooks are believed."""
