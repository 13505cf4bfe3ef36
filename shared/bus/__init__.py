"""Publish, subscribe and ask between processes, over ZeroMQ. Nothing else in the desk knows about sockets."""

from shared.bus.bus import Bus, NoAnswer

__all__ = ["Bus", "NoAnswer"]
