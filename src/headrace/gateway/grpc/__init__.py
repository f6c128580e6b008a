"""gRPC on the gateway: HTTP/2 connections, the Open Inference Protocol, health and reflection.

Needs the extra `grpc` (hpack, protobuf): nothing else of headrace imports it but where a port speaks gRPC.
"""
