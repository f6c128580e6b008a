"""Who may ask what on the data ports."""
