"""How headrace tells what happens in it: logs."""
