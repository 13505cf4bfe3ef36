"""Wrong passwords, counted: who may try again when. Pure; forgotten at a restart, which an attacker cannot cause."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

_MINUTE_NS = 60_000_000_000
_KEPT_MAX = 10_000
_ADDRESS_FACTOR = 4
_NAME_FACTOR = 10


class _Count(msgspec.Struct):
    failures: int = 0
    last_ns: int = 0


class Attempts:
    """Locks a (name, address) after `failures_max`, an address after 4 times as many, a name from everywhere after 10
    times as many: so one attacker cannot lock the operator out, and many addresses do not get many tries.

    The lock of a name does not hold for an address from which it logged in before, so that many strangers cannot lock
    the operator out either; those of the pair and of the address do.
    """

    def __init__(self, failures_max: int, lockout_minutes: int) -> None:
        self._max = failures_max
        self._lockout_ns = lockout_minutes * _MINUTE_NS
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, name: str, address: str, now_ns: int) -> int:
        """Seconds until this name may be tried from this address; 0 = now."""
        waits = [0]
        for key, limit in self._keys(name, address):
            if key == (name, "") and (name, address) in self._known:
                continue
            count = self._counts.get(key)
            if count is not None and count.failures >= limit:
                waits.append(-(-(count.last_ns + self._lockout_ns - now_ns) // 1_000_000_000))
        return max(waits)

    def failed(self, name: str, address: str, now_ns: int) -> bool:
        """Count a wrong password; True if this one locked something."""
        locked = False
        for key, limit in self._keys(name, address):
            count = self._counts.setdefault(key, _Count())
            if now_ns - count.last_ns > self._lockout_ns:
                count.failures = 0
            count.failures += 1
            count.last_ns = now_ns
            locked = locked or count.failures == limit
            self._counts.move_to_end(key)
        while len(self._counts) > _KEPT_MAX:
            self._counts.popitem(last=False)
        return locked

    def succeeded(self, name: str, address: str) -> None:
        """The right password: it was counted as wrong before it was looked at, and forgives what that pair did."""
        for key, _ in self._keys(name, address):
            count = self._counts.get(key)
            if count is not None:
                count.failures -= 1
        self._counts.pop((name, address), None)
        self._known[name, address] = None
        self._known.move_to_end((name, address))
        while len(self._known) > _KEPT_MAX:
            self._known.popitem(last=False)

    def _keys(self, name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
        return (
            ((name, address), self._max),
            (("", address), self._max * _ADDRESS_FACTOR),
            ((name, ""), self._max * _NAME_FACTOR),
        )
