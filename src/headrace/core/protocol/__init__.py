"""What the processes say to each other, and how messages are framed."""
