"""The part of the doctor that asks the venue: reachability, clock, and each service's key with its rights."""

from __future__ import annotations

import asyncio

from shared.config import DeskConfig
from shared.errors import StartRefused
from shared.secrets import ApiKey, SecretError, load_api_key
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, KeyCheckFailed, check_key, of_venue
from shared.venues.coincall.check import MAX_CLOCK_OFFSET_NS
from shared.venues.ports import VenueError
from voldesk.findings import Finding, Level
from voldesk.preflight import KEYED_SERVICES, read_ports
from voldesk.processes import pid_on_port

_PATIENCE_S = 15.0
_CLOCK_READINGS = 3
_CLOCK_WARNING_NS = MAX_CLOCK_OFFSET_NS // 4


def check_venue(desk: DeskConfig) -> list[Finding]:
    """Keys as they are stored, then what the venue says of clock and keys, if it can be asked."""
    keys, findings = _stored_keys(desk)
    endpoints = _endpoints(desk)
    if endpoints is None:
        text = "the simulated exchange is not running; it starts with the desk"
        return [*findings, Finding(check="venue", level="ok", text=text)]
    return [*findings, *asyncio.run(_ask(desk, endpoints, keys))]


def _stored_keys(desk: DeskConfig) -> tuple[dict[str, ApiKey], list[Finding]]:
    """The key of each service that has one in a file, which is where services look."""
    if desk.venue == "sim" and not (desk.run_dir / "secrets" / "paper-keys.json").exists():
        return {}, [Finding(check="keys", level="ok", text="paper keys are drawn by the first `voldesk up`")]
    keys: dict[str, ApiKey] = {}
    findings = []
    for service in KEYED_SERVICES:
        try:
            keys[service] = load_api_key(desk, service, environment={})
        except SecretError as error:
            findings.append(Finding(check="keys", level="problem", text=error.reason, remedy=error.remedy))
        except StartRefused as error:
            findings.append(Finding(check="keys", level="problem", text=error.reason, remedy=error.remedy))
    shared = _shared_keys(keys)
    if shared and desk.venue != "sim":
        findings.append(
            Finding(
                check="keys",
                level="warning",
                text=f"{', '.join(shared)} use one key",
                remedy="give each service its own: a trading key to execution, read-only ones to the others",
            )
        )
    if keys:
        findings.append(
            Finding(check="keys", level="ok", text=f"stored, readable by this user only: {', '.join(keys)}")
        )
    return keys, findings


def _shared_keys(keys: dict[str, ApiKey]) -> list[str]:
    values = [key.key for key in keys.values()]
    return [service for service, key in keys.items() if values.count(key.key) > 1]


def _endpoints(desk: DeskConfig) -> CoincallEndpoints | None:
    """Where the venue answers; None for a simulated one that does not run."""
    port = read_ports(desk.run_dir).get("exchange", 0)
    is_ours = desk.host.supervisor == "supervisord"
    if desk.venue == "sim" and (not port or (is_ours and pid_on_port(port) is None)):
        return None
    return of_venue(desk.venue, lambda: port, desk.host.exchange)


async def _ask(desk: DeskConfig, endpoints: CoincallEndpoints, keys: dict[str, ApiKey]) -> list[Finding]:
    nobody = ApiKey(key="", secret="")
    gateway = CoincallGateway(endpoints, next(iter(keys.values()), nobody), backoff_s=())
    try:
        async with asyncio.timeout(_PATIENCE_S):
            readings = [await gateway.server_time_offset_ns() for _ in range(_CLOCK_READINGS)]
    except (VenueError, TimeoutError) as error:
        reason = str(error) or f"no answer within {_PATIENCE_S:g} s"
        return [
            Finding(
                check="venue",
                level="problem",
                text=f"{endpoints.rest} cannot be reached: {reason}",
                remedy="see `voldesk status` and `voldesk logs exchange`"
                if desk.venue == "sim"
                else "check the network, a proxy, and the venue's status page",
            )
        ]
    finally:
        await gateway.close()
    findings = [Finding(check="venue", level="ok", text=f"{endpoints.rest} answers"), _clock(min(readings, key=abs))]
    for service, key in keys.items():
        findings.append(await _rights(endpoints, service, key))
    return findings


def _clock(offset_ns: int) -> Finding:
    """How far this host's clock is from the venue's."""
    text = f"this host is {-offset_ns / 1e6:+.0f} ms off the venue's clock"
    level: Level = "ok"
    if abs(offset_ns) > MAX_CLOCK_OFFSET_NS:
        level = "problem"
    elif abs(offset_ns) > _CLOCK_WARNING_NS:
        level = "warning"
    remedy = "" if level == "ok" else "synchronise the clock (NTP): timedatectl set-ntp true"
    return Finding(check="clock", level=level, text=text, remedy=remedy)


async def _rights(endpoints: CoincallEndpoints, service: str, key: ApiKey) -> Finding:
    """Whether the venue knows the key, in this environment, with the right that the service needs."""
    gateway = CoincallGateway(endpoints, key, backoff_s=())
    try:
        async with asyncio.timeout(_PATIENCE_S):
            warnings = await check_key(_WithoutClock(gateway), need_trading=service == "execution")
    except KeyCheckFailed as error:
        return Finding(check="keys", level="problem", text=f"{service}: {error.reason}", remedy=error.remedy)
    except (VenueError, TimeoutError) as error:
        text = f"{service}: the venue did not answer about its key: {error}"
        return Finding(check="keys", level="warning", text=text, remedy="repeat in some seconds")
    finally:
        await gateway.close()
    if warnings:
        text, _, remedy = warnings[0].partition(": ")
        return Finding(check="keys", level="warning", text=f"{service}: {text}", remedy=remedy or text)
    right = "may trade" if service == "execution" else "read-only"
    return Finding(check="keys", level="ok", text=f"{service}: known to the venue, {right}, as it should be")


class _WithoutClock:
    """A gateway for `check_key` whose clock is judged elsewhere."""

    def __init__(self, gateway: CoincallGateway) -> None:
        self._gateway = gateway
        self.key_info = gateway.key_info

    async def server_time_offset_ns(self) -> int:
        await self._gateway.server_time_offset_ns()
        return 0
