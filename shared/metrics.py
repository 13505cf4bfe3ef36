"""What a service counts and measures, as Prometheus reads it."""

from __future__ import annotations


class Metrics:
    pass
