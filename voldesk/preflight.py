"""What must be right before anything starts: configuration, keys, ports. Every command imports this, so what belongs
to services is imported where it is needed."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.bus.endpoints import Endpoints
from shared.clock import Clock
from shared.config import PORT_NAMES, ConfigError, DeskConfig, load_config
from shared.errors import StartRefused
from shared.ports import port_is_free, resolve_ports
from shared.secrets import SecretError, ensure_paper_secrets, load_api_key
from shared.strategy_hosts import is_host
from voldesk.console import EXIT_CONFIG, Failure
from voldesk.identity import check_identity
from voldesk.processes import holder_of_port

SECTION_TYPES = {
    "marketdata": "services.marketdata.config:MarketdataConfig",
    "risk": "services.risk.config:RiskConfig",
    "execution": "services.execution.config:ExecutionConfig",
    "strategy": "services.strategy.config:StrategyHostConfig",
    "monitor": "services.monitor.config:MonitorConfig",
    "exchange": "services.exchange.server.config:ExchangeServiceConfig",
}
"""The structure of each service's own section."""

KEYED_SERVICES = ("marketdata", "risk", "execution")
"""Those that call the venue, each with its key; they share its rate limits."""

JOURNALED_SERVICES = ("exchange", "risk", "execution", "strategy", "monitor")
"""Those that keep a journal, each with its reserve."""

_LOSSES_OF_THE_DEMONSTRATION = 1_000


def load_desk() -> DeskConfig:
    """The desk's own configuration. Raises ConfigError, or Failure when the run directory is another desk's."""
    desk = load_config()
    check_identity(desk)
    return desk


def refuse_in_containers(desk: DeskConfig, instead: str) -> None:
    """What starts and stops processes is not the desk's in containers. Raises Failure (78) with what is."""
    if desk.host.supervisor == "containers":
        raise Failure(
            "this desk runs in containers, which are started and stopped from outside",
            f"on the host: {instead}",
            EXIT_CONFIG,
        )


def load_whole_desk() -> DeskConfig:
    """The configuration with the section of every service checked. Raises as `load_desk`, for the first mistake."""
    desk = load_desk()
    check_sections(desk)
    return desk


def check_sections(desk: DeskConfig) -> None:
    """The section of every service, and what no section can tell alone. Raises ConfigError for the first mistake."""
    from services.monitor.channels.build import check_extras

    Endpoints(desk.run_dir, desk.bus, desk.configured_hosts)
    sections = sections_of(desk)
    check_rate_shares(desk, sections)
    check_limited_underlyings(desk, sections)
    if limited := tuple(sections["risk"].strategies):
        # strategies bring libraries that take longer to load than any other command takes to run
        from voldesk.strategy_limits import check_limited_strategies

        check_limited_strategies(desk, limited)
    check_extras(desk, sections["monitor"])
    sections["monitor"].web.tls_files(desk.path)


def sections_of(desk: DeskConfig) -> dict[str, Any]:
    """The section of every service with its defaults. Raises ConfigError for the first mistake."""
    sections: dict[str, Any] = {}
    for name, place in SECTION_TYPES.items():
        module, _, kind = place.partition(":")
        sections[name] = desk.section(name, getattr(importlib.import_module(module), kind))
    return sections


def check_rate_shares(desk: DeskConfig, sections: Mapping[str, Any]) -> None:
    """The keyed services meet in several rate limits of the venue, which count per user. Raises ConfigError."""
    shares = {name: sections[name].rate_budget_share for name in KEYED_SERVICES}
    total = sum(shares.values())
    if total > 1 + 1e-9:
        listed = ", ".join(f"[{name}] {share:g}" for name, share in shares.items())
        raise ConfigError(
            f"{desk.path}: rate_budget_share of {listed} is {total:g} together, above 1", "lower one of them"
        )


def check_limited_underlyings(desk: DeskConfig, sections: Mapping[str, Any]) -> None:
    """A limit of an underlying that the desk does not trade would hold nothing. Raises ConfigError."""
    unknown = [name for name in sections["risk"].underlyings if name not in desk.underlyings]
    if unknown:
        raise ConfigError(
            f"{desk.path}: [risk.underlyings.{unknown[0]}] is no underlying of this desk",
            f"use one of [desk] underlyings: {', '.join(desk.underlyings)}",
        )


def check_keys(desk: DeskConfig) -> None:
    """Draw the paper keys and those of the bus, or see that each service finds its own. Raises SecretError.

    A key that is only in this process's environment does not count: supervisord's environment holds no secrets.
    """
    from services.monitor.channels.build import check_secrets
    from services.monitor.config import MonitorConfig

    check_secrets(desk, desk.section("monitor", MonitorConfig))
    if desk.bus.transport == "tcp" and desk.bus.curve:
        # what imports ZeroMQ, which most commands do not need
        from shared.bus.keys import ensure_keys, keys_dir

        ensure_keys(keys_dir(desk), Clock().now_ns())
    if desk.mode == "paper":
        ensure_paper_secrets(desk.run_dir, desk.account_id)
        return
    for service in KEYED_SERVICES:
        try:
            load_api_key(desk, service, environment={})
        except SecretError as error:
            try:
                load_api_key(desk, service)
            except SecretError:
                raise error from None
            raise SecretError(
                f"the key of {service} is only in this shell's environment, which services are not given",
                f"put it in {desk.path.parent / '.env'} (chmod 600)",
            ) from None


def choose_ports(desk: DeskConfig) -> dict[str, int]:
    """Resolve the port of everything that listens, before a start; those of a running desk stay as they are.

    A free port of the last start is kept. Raises ConfigError for a configured port that is taken.
    """
    for name, port in desk.ports.items():
        if port and not port_is_free(port):
            holder = holder_of_port(port)
            raise ConfigError(
                f"{desk.path}: [ports] {name} = {port} is taken" + (f" by {holder}" if holder else ""),
                "end that process, or choose another port (0 takes a free one)",
            )
    known = read_ports(desk.run_dir)
    free = {name: port for name, port in known.items() if port_is_free(port)}
    if free != known:
        _ports_file(desk.run_dir).write_text(json.dumps(free))
    return resolve_ports(desk.run_dir, desk.ports)


def disk_warning(desk: DeskConfig) -> str | None:
    """What to say of the disk of the run directory; None when it has room for the reserves of all journals."""
    journals = len(JOURNALED_SERVICES) + len(desk.strategy_hosts.groups)
    needed = 2 * desk.journal.reserve_mb * journals
    left = shutil.disk_usage(desk.run_dir).free // (1024 * 1024)
    if left >= needed:
        return None
    return (
        f"only {left} MB are left on the disk of {desk.run_dir}: services open nothing on a full disk; free at least "
        f"{needed} MB, or lower [journal] reserve_mb"
    )


def unguarded_warning(desk: DeskConfig) -> str | None:
    """What to say of a desk that trades at a venue with the demonstration's breaker, which never opens; None where it
    does not."""
    from services.risk.config import RiskConfig

    losses = desk.section("risk", RiskConfig).max_consecutive_losses
    if desk.venue == "sim" or losses < _LOSSES_OF_THE_DEMONSTRATION:
        return None
    return (
        f"[risk] max_consecutive_losses = {losses} is for the demonstration: no row of losses stops this {desk.mode} "
        "desk; take the line out of voldesk.toml, 6 is the default"
    )


def read_ports(run_dir: Path) -> dict[str, int]:
    """The ports of the last start; empty when there was none."""
    try:
        ports = json.loads(_ports_file(run_dir).read_text())
    except (OSError, ValueError):
        return {}
    return {name: port for name, port in ports.items() if _is_port_name(name) and isinstance(port, int)}


def _is_port_name(name: str) -> bool:
    return name in PORT_NAMES or is_host(name.removeprefix("metrics-"))


def page_url(desk: DeskConfig) -> str | None:
    """Where people find the dashboard; None before the first start."""
    from services.monitor.config import MonitorConfig

    port = read_ports(desk.run_dir).get("web")
    return None if port is None else desk.section("monitor", MonitorConfig).web.url(port)


@contextmanager
def exclusive(run_dir: Path) -> Iterator[None]:
    """Hold the desk for one `up` or `down` at a time. Raises StartRefused when another one is at work."""
    run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run_dir / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartRefused(
                f"another `voldesk up` or `down` is at work in {run_dir}", "wait until it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _ports_file(run_dir: Path) -> Path:
    return run_dir / "ports.json"
