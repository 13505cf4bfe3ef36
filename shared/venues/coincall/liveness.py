"""When a socket needs a heartbeat, a new subscription or a new connection. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from hashlib import blake2b

import msgspec

_NS = 1_000_000_000


class LivenessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue drops a connection after 30 s without data; it answers a heartbeat at once.

    lasting: a connection that held for so long starts the back-off anew. refresh: how often the list of wanted
    subscriptions is asked for.
    """

    heartbeat_after_ns: int = 5 * _NS
    answer_within_ns: int = 5 * _NS
    silent_after_ns: int = 15 * _NS
    acknowledged_within_ns: int = 5 * _NS
    lasting_after_ns: int = 30 * _NS
    refresh_after_ns: int = 60 * _NS


class Liveness:
    """Of one connection. A stream is a subscription that must not be silent; order streams may, and are not watched.

    A stream that stayed silent is subscribed again, and after as long once more the connection is given up. The
    patience with such a stream doubles each time (`patience`, kept by the caller across connections), so that one
    dead stream does not keep the others from running.
    """

    def __init__(self, limits: LivenessLimits, now_ns: int, patience: dict[Hashable, int]) -> None:
        self._limits = limits
        self._heard_ns = now_ns
        self._asked_ns: int | None = None
        self._data_ns: dict[Hashable, int] = {}
        self._renewed: set[Hashable] = set()
        self._patience = patience

    def watch(self, streams: Iterable[Hashable], now_ns: int) -> None:
        """Watch exactly these streams; silence of a new one counts from now."""
        self._data_ns = {stream: self._data_ns.get(stream, now_ns) for stream in streams}
        self._renewed &= self._data_ns.keys()

    def heard(self, now_ns: int) -> None:
        """Any frame came."""
        self._heard_ns = now_ns
        self._asked_ns = None

    def data(self, stream: Hashable, now_ns: int) -> None:
        if stream in self._data_ns:
            self._data_ns[stream] = now_ns
            self._renewed.discard(stream)
            self._patience.pop(stream, None)

    def needs_heartbeat(self, now_ns: int) -> bool:
        """True once per silence; the caller sends it then."""
        if self._asked_ns is not None or now_ns - self._heard_ns < self._limits.heartbeat_after_ns:
            return False
        self._asked_ns = now_ns
        return True

    def to_renew(self, now_ns: int) -> list[Hashable]:
        """Streams to subscribe again, each named once per silence."""
        silent = [
            stream
            for stream, at_ns in self._data_ns.items()
            if stream not in self._renewed and now_ns - at_ns >= self._allowed_ns(stream)
        ]
        self._renewed.update(silent)
        return silent

    def failure(self, now_ns: int) -> str | None:
        """Why the connection must be given up, if it must."""
        if self._asked_ns is not None and now_ns - self._asked_ns >= self._limits.answer_within_ns:
            return "no answer to a heartbeat"
        for stream, at_ns in self._data_ns.items():
            if now_ns - at_ns >= 2 * self._allowed_ns(stream):
                self._patience[stream] = 2 * self._patience.get(stream, 1)
                return f"connected, but {stream} is silent"
        return None

    def _allowed_ns(self, stream: Hashable) -> int:
        return self._limits.silent_after_ns * self._patience.get(stream, 1)


def reconnect_delay_s(name: str, attempt: int) -> float:
    """Wait before connection number `attempt` (0 = first try again): 1, 2, 4 ... 60 s, times 0.5 to 1.

    The factor is a hash of name and attempt: sockets of one desk do not return in step, and a replay does the same.
    """
    digest = blake2b(f"{name}/{attempt}".encode(), digest_size=2).digest()
    longest_s = min(60.0, float(2 ** min(attempt, 6)))
    return longest_s * (0.5 + int.from_bytes(digest, "big") / 131_072)
