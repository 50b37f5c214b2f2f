"""What the drivers of client and server share: sockets, frames, evidence.

Bytes and file descriptors live here; decisions do not.
"""
