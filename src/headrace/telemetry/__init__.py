"""How headrace tells what happens in it: log lines, and what each metric is called and means."""
