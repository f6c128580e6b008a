"""Which variables a process gets, when it is started again, and when it hangs."""
