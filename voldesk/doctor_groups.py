"""What the doctor says of groups of strategies: their hosts, and ports that two would share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from services.strategy.config import StrategyHostConfig
from shared.bus.endpoints import Endpoints
from shared.config import SERVICE_NAMES, DeskConfig
from shared.strategy_hosts import DEFAULT_HOST, host_name
from voldesk.findings import Finding
from voldesk.groups import GROUPS_DIFFER


def check_groups(desk: DeskConfig) -> Iterator[Finding]:
    """Groups that no enabled strategy names, which have no host, and what each host runs."""
    config = desk.section(DEFAULT_HOST, StrategyHostConfig)
    hosts = desk.configured_hosts
    named = {instance.group for instance in config.instances.values() if instance.group}
    for group in sorted(named - hosts.groups.keys()):
        names = ", ".join(name for name, instance in config.instances.items() if instance.group == group)
        yield Finding(
            check="groups",
            level="warning",
            text=f"no strategy of the group {group} is enabled: it has no host ({names})",
            remedy="put one into [strategy] enabled, or take the group out of [strategy.instances]",
        )
    if hosts.groups:
        runs = [f"{host_name(group)} runs {', '.join(names)}" for group, names in hosts.groups.items()]
        rest = ", ".join(hosts.enabled(DEFAULT_HOST, config.enabled)) or "nothing of its own"
        yield Finding(check="groups", level="ok", text=f"{'; '.join(runs)}; {DEFAULT_HOST} runs {rest}")
    if hosts.moved(desk.strategy_hosts):
        yield Finding(
            check="groups", level="warning", text=f"{GROUPS_DIFFER}, or last ran", remedy="apply it: `voldesk up`"
        )


def check_shared_ports(desk: DeskConfig) -> Iterator[Finding]:
    """Ports of the configuration that two would listen on: metrics, and over tcp the bus."""
    users: defaultdict[int, list[str]] = defaultdict(list)
    for name, port in desk.ports.items():
        if port:
            users[port].append(f"[ports] {name}")
    if desk.bus.transport == "tcp" and desk.host.supervisor != "containers":
        endpoints = Endpoints(desk.run_dir, desk.bus, desk.strategy_hosts)
        for service in dict.fromkeys((*SERVICE_NAMES, *desk.strategy_hosts.services)):
            for address in (endpoints.bound_events(service), endpoints.bound_requests(service)):
                users[int(address.rpartition(":")[2])].append(f"the bus of {service}")
    for port, names in users.items():
        if len(names) > 1:
            yield Finding(
                check="ports",
                level="problem",
                text=f"port {port} is given to {' and '.join(names)}",
                remedy="give each its own in [ports] (0 takes a free one), or move [bus] base_port",
            )
