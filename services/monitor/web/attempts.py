"""Wrong passwords, counted: who may try again when. Pure; the counts are forgotten at a restart, which an attacker
cannot cause."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

_MINUTE_NS = 60_000_000_000
_KEPT_MAX = 10_000
_ADDRESS_FACTOR = 4
_NAME_FACTOR = 10
_SLOWER = 15


class _Count(msgspec.Struct):
    failures: int = 0
    last_ns: int = 0


class Attempts:
    """Locks a (name, address) after `failures_max` and an address after 4 times as many. After 10 times as many for a
    name from anywhere there is one try in a 15th of the lock-out for all addresses together: so one attacker cannot
    lock the operator out, and many addresses do not get many tries.

    That last limit does not hold for an address from which the name logged in before (`known`, and since), so that
    many strangers cannot keep the operator out either; those of the pair and of the address do. An address of IPv6
    stands for its /64, of which one host has all.
    """

    def __init__(self, failures_max: int, lockout_minutes: int, known: Iterable[tuple[str, str]] = ()) -> None:
        self._max = failures_max
        self._lockout_ns = lockout_minutes * _MINUTE_NS
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        for name, address in known:
            self._known[name, network_of(address)] = None

    def wait_s(self, name: str, address: str, now_ns: int) -> int:
        """Seconds until this name may be tried from this address; 0 = now."""
        place = network_of(address)
        waits = [0]
        for key, limit in self._keys(name, place):
            count = self._counts.get(key)
            if count is None or count.failures < limit:
                continue
            pause_ns = self._lockout_ns
            if key == (name, ""):
                if (name, place) in self._known:
                    continue
                pause_ns //= _SLOWER
            waits.append(-(-(count.last_ns + pause_ns - now_ns) // 1_000_000_000))
        return max(waits)

    def failed(self, name: str, address: str, now_ns: int) -> bool:
        """Count a wrong password; True if this one locked something."""
        locked = False
        for key, limit in self._keys(name, network_of(address)):
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
        place = network_of(address)
        for key, _ in self._keys(name, place):
            count = self._counts.get(key)
            if count is not None:
                count.failures -= 1
        self._counts.pop((name, place), None)
        self._known[name, place] = None
        self._known.move_to_end((name, place))
        while len(self._known) > _KEPT_MAX:
            self._known.popitem(last=False)

    def _keys(self, name: str, place: str) -> tuple[tuple[tuple[str, str], int], ...]:
        return (
            ((name, place), self._max),
            (("", place), self._max * _ADDRESS_FACTOR),
            ((name, ""), self._max * _NAME_FACTOR),
        )


def network_of(address: str) -> str:
    """What stands for an address: itself, of IPv6 its /64, and of an IPv4 address in IPv6 that one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
