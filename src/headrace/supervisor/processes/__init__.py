"""The child processes: how they are started, watched and replaced."""
