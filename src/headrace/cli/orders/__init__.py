"""What an operator asks of a model: one subcommand a file."""
