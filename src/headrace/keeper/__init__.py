"""The first process of `headrace serve`: it keeps what must outlive a supervisor, and starts the supervisor."""
