"""What the gateway's tests and benchmark need of the world: workers to talk to, and a supervisor's end."""
