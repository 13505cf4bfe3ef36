"""Faults that are switched on at run time, to see what clients do: a table of rules, matched per request.

A rule holds for a number of hits, for a time, or until cleared, for paths that begin with its prefix.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

NS_PER_MS = 1_000_000

FaultKind = Literal[
    "latency",
    "error_code",
    "http_500",
    "lost_answer",
    "rate_limit",
    "disconnect",
    "silence",
    "frozen_book",
    "no_quotes",
    "late_quotes",
]
SOCKET_FAULTS: frozenset[str] = frozenset({"disconnect", "silence"})
DEALER_FAULTS: frozenset[str] = frozenset({"no_quotes", "late_quotes"})
REQUEST_CREATE = "/open/option/blocktrade/request/create/v1"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order to misbehave.

    latency: answer `latency_ms` later. error_code: refuse with `code`, nothing executed. http_500: the same with
    HTTP 500. rate_limit: the same with code 10000. lost_answer: execute, then close the connection unanswered.
    disconnect: cut matching WebSockets now and refuse new ones while it holds. silence: keep matching WebSockets
    connected but send nothing. frozen_book: no new option prices: matching public option paths repeat the answer they
    gave first, matching WebSockets are pushed no books, quotes and chains; the index and all private data go on.
    no_quotes: no simulated dealer answers a request for quote that is created now. late_quotes: they answer
    `latency_ms` later. Both count created requests and nothing else.
    """

    kind: FaultKind
    path_prefix: str = "/"
    count: Annotated[int, msgspec.Meta(gt=0, le=1_000_000_000)] | None = None
    duration_ms: Annotated[int, msgspec.Meta(gt=0, le=86_400_000)] | None = None
    latency_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    code: int = 10001
    message: str = "Injected fault"


class FaultStatus(msgspec.Struct, kw_only=True):
    """A fault in force: `hits_left` and `until_ns` are None where unlimited."""

    fault: Fault
    hits: int = 0
    hits_left: int | None = None
    until_ns: int | None = None


class FaultTable:
    """The faults in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._active: list[FaultStatus] = []
        self.frozen: dict[str, bytes] = {}
        """What public option paths answered first since a frozen_book began that is in force, by path and query."""

    def add(self, fault: Fault, now_ns: int) -> None:
        if fault.kind == "frozen_book":
            self.frozen.clear()
        until_ns = None if fault.duration_ms is None else now_ns + fault.duration_ms * NS_PER_MS
        self._active.append(FaultStatus(fault=fault, hits_left=fault.count, until_ns=until_ns))

    def clear(self) -> None:
        self._active.clear()
        self.frozen.clear()

    def active(self, now_ns: int) -> list[FaultStatus]:
        """Those still in force; spent ones are forgotten."""
        self._active = [
            status
            for status in self._active
            if status.hits_left != 0 and (status.until_ns is None or now_ns < status.until_ns)
        ]
        if self.frozen and not any(status.fault.kind == "frozen_book" for status in self._active):
            self.frozen.clear()
        return self._active

    def hit_request(self, path: str, now_ns: int) -> list[Fault]:
        """The faults that an HTTP request meets; each counts one hit."""
        return self._hit(path, now_ns, sockets=False)

    def hit_handshake(self, path: str, now_ns: int) -> list[Fault]:
        """The faults that a WebSocket handshake meets; each counts one hit."""
        return [fault for fault in self._hit(path, now_ns, sockets=True) if fault.kind == "disconnect"]

    def silences(self, path: str, now_ns: int) -> bool:
        """Whether a connected WebSocket must stay silent; does not count as a hit."""
        return self._holds("silence", path, now_ns)

    def freezes(self, path: str, now_ns: int) -> bool:
        """Whether option prices of a path or of a WebSocket stand still; does not count as a hit."""
        return self._holds("frozen_book", path, now_ns)

    def _holds(self, kind: FaultKind, path: str, now_ns: int) -> bool:
        return bool(self._active) and any(
            status.fault.kind == kind and path.startswith(status.fault.path_prefix) for status in self.active(now_ns)
        )

    def _hit(self, path: str, now_ns: int, *, sockets: bool) -> list[Fault]:
        if not self._active:
            return []
        met: list[Fault] = []
        for status in self.active(now_ns):
            if status.fault.kind == "frozen_book" or (status.fault.kind in DEALER_FAULTS and path != REQUEST_CREATE):
                continue
            if (status.fault.kind in SOCKET_FAULTS) is sockets and path.startswith(status.fault.path_prefix):
                status.hits += 1
                if status.hits_left is not None:
                    status.hits_left -= 1
                met.append(status.fault)
        return met
