"""The child processes: started, heard, watched, replaced."""
