"""What is counted and recorded, and what is read from that."""
