"""What came over HTTP and could not be answered, counted by kind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable


class HttpRefusals:
    """Kinds: garbage (no HTTP), late (half a request), crowd (one connection too many), cut (the client went away in
    the middle), failed (our own error). The first of each kind is passed to `warn`. For any thread."""

    def __init__(self, warn: Callable[[str], None] = lambda _kind: None) -> None:
        self.counts: Counter[str] = Counter()
        self._warn = warn
        self._lock = threading.Lock()

    def add(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1
            is_first = self.counts[kind] == 1
        if is_first:
            self._warn(kind)
