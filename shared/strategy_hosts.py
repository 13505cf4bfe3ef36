"""Which process runs a strategy: the default host, or the host of the group that its instance names.

A host is a service of its own: "strategy" is the default one, "strategy-fast" that of the group "fast". Each has its
own sockets, journal, lock, log and metrics under that name; what is the same for all of them (the section of the
configuration, the key of the bus, who may talk to whom) goes by the kind of service, "strategy".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.ids import hedged_name

DEFAULT_HOST = "strategy"
"""The host of every strategy that names no group, and of trades whose strategy is not run any more."""

GROUPS_MAX = 8
_GROUP = re.compile(r"^[a-z][a-z0-9]{0,19}$")


class StrategyHosts(msgspec.Struct, frozen=True):
    """`groups`: the strategies that are enabled in each. One without an enabled strategy is not among them and has no
    host. `places`: the number of each from 0, by which its host has its ports over tcp; it stays with the group."""

    groups: dict[str, tuple[str, ...]] = {}
    places: dict[str, int] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """All hosts by their names as services, the default one first."""
        return (DEFAULT_HOST, *(host_name(group) for group in self.groups))

    def of(self, strategy: str) -> str:
        """The host of a strategy, or of the hedges of its trades, as the name of a service."""
        name = hedged_name(strategy)
        return next((host_name(group) for group, names in self.groups.items() if name in names), DEFAULT_HOST)

    def place(self, service: str) -> int | None:
        """The number of a group's host; None for what is none of these."""
        group = group_of(service) if is_host(service) else ""
        if group not in self.groups:
            return None
        return self.places.get(group, list(self.groups).index(group))

    def after(self, before: StrategyHosts) -> StrategyHosts:
        """These groups, each in the place that it had before; a new one takes one that is free."""
        kept = {group: place for group, place in before.places.items() if group in self.groups}
        free = (place for place in range(GROUPS_MAX) if place not in kept.values())
        places = {group: kept[group] if group in kept else next(free) for group in self.groups}
        return StrategyHosts(self.groups, places)

    def moved(self, before: StrategyHosts) -> set[str]:
        """The hosts that run, or answer for, other strategies than before, or have other ports: old and new ones."""
        names = {name for hosts in (self, before) for group in hosts.groups.values() for name in group}
        pairs = [(before.of(name), self.of(name)) for name in names]
        changed = {host for pair in pairs if pair[0] != pair[1] for host in pair}
        return changed | {
            host for host in self.services if host in before.services and self.place(host) != before.place(host)
        }

    def enabled(self, service: str, enabled: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the enabled strategies that this host runs."""
        return tuple(name for name in enabled if self.of(name) == service)


def host_name(group: str) -> str:
    """The name of a group's host as a service.

    >>> host_name("fast")
    'strategy-fast'
    """
    return f"{DEFAULT_HOST}-{group}" if group else DEFAULT_HOST


def group_of(service: str) -> str:
    """The group that a host runs, "" for the default one.

    >>> group_of("strategy-fast")
    'fast'
    """
    return service.removeprefix(DEFAULT_HOST).removeprefix("-")


def is_host(service: str) -> bool:
    """Whether a service of this name is a strategy host."""
    return service == DEFAULT_HOST or service.startswith(f"{DEFAULT_HOST}-")


def kind_of(service: str) -> str:
    """What a service is, whichever of its kind it is.

    >>> kind_of("strategy-fast"), kind_of("risk")
    ('strategy', 'risk')
    """
    return DEFAULT_HOST if is_host(service) else service


def read_hosts(section: Mapping[str, Any]) -> StrategyHosts:
    """From the section [strategy] as it was read. What else is wrong with it is found when the section is checked.

    Raises ValueError for a group that cannot be, with what is allowed.
    """
    instances, enabled = section.get("instances", {}), section.get("enabled", ())
    groups: dict[str, tuple[str, ...]] = {}
    for name, instance in instances.items() if isinstance(instances, Mapping) else ():
        group = instance.get("group", "") if isinstance(instance, Mapping) else ""
        if not group or not isinstance(group, str):
            continue
        if not _GROUP.match(group):
            raise ValueError(
                f"[strategy.instances.{name}] group {group!r} must be at most 20 lower-case letters and digits that "
                "begin with a letter"
            )
        if isinstance(enabled, list | tuple) and name in enabled:
            groups[group] = (*groups.get(group, ()), name)
    if len(groups) > GROUPS_MAX:
        raise ValueError(f"[strategy.instances] name {len(groups)} groups, {GROUPS_MAX} are the most")
    return StrategyHosts(dict(sorted(groups.items()))).after(StrategyHosts())
