"""Which strategy's code runs now, for whoever watches the loop from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Asking:
    """strategy: "" while none is asked. count: rises with each call, so that two calls can be told apart."""

    def __init__(self) -> None:
        self.strategy = ""
        self.count = 0

    def begin(self, strategy: str) -> None:
        self.count += 1
        self.strategy = strategy

    def end(self) -> None:
        self.strategy = ""

    @contextmanager
    def of(self, strategy: str) -> Iterator[None]:
        """Within the block code of this strategy may run; "": of none."""
        self.begin(strategy)
        try:
            yield
        finally:
            self.end()
