"""The recorder: one process that writes what gateways tell of their requests, so that no request waits for a disk.

A thread in the gateway would not do: formatting holds the interpreter's lock for as long as it takes, and Parquet and
OpenTelemetry bring megabytes. As one process for all gateways it is also the one owner of every file.
"""
