"""The tests; a package so that they can share code as tests.*, whatever else is installed."""
