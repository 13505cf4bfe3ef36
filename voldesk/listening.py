"""Hear the bus from the command line, with the errors an operator can act on."""

from __future__ import annotations

import re

from shared.bus import Bus
from shared.config import DeskConfig
from shared.messages.topics import TOPICS, topic_row
from voldesk.asking import DEADLINE_MS, heartbeat
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure
from voldesk.health import expected_services


def underlying_of(desk: DeskConfig, text: str) -> str:
    """The index symbol meant by "BTCUSD", "btcusd" or "BTC". Raises Failure naming those of this desk."""
    wanted = text.upper()
    for underlying in desk.underlyings:
        if wanted in (underlying, underlying.removesuffix("USD")):
            return underlying
    raise Failure(f"{text!r} is no underlying of this desk", f"use one of: {', '.join(desk.underlyings)}", EXIT_USAGE)


async def require(bus: Bus, desk: DeskConfig, service: str) -> None:
    """Raises Failure (69) when the service does not answer, (78) when it is of another desk."""
    if await heartbeat(bus, desk, service, DEADLINE_MS) is None:
        raise Failure(
            f"{service} does not answer",
            f"see `voldesk status`, then `voldesk up` or `voldesk restart {service}`",
            EXIT_UNREACHABLE,
        )


def known_topics(desk: DeskConfig) -> list[str]:
    """Every topic of this desk; a strategy's name stays in braces."""
    found = []
    for row in TOPICS:
        parts: dict[str, tuple[str, ...]] = {
            "underlying": desk.underlyings,
            "account": (desk.account_id,),
            "service": expected_services(desk),
            "strategy": ("{strategy}",),
        }
        (name,) = re.findall(r"\{(\w+)\}", row.pattern)
        found += [row.pattern.format(**{name: part}) for part in parts[name]]
    return found


def publishers_of(desk: DeskConfig, prefix: str) -> tuple[str, ...]:
    """The services that publish a topic which begins with `prefix`; none for a prefix that no topic has."""
    found: dict[str, None] = {}
    for topic in known_topics(desk):
        head, brace, tail = topic.partition("{strategy}")
        fits = topic.startswith(prefix) if not brace else _strategy_fits(head, tail, prefix)
        if fits:
            row = topic_row(topic)
            assert row is not None, f"{topic} was made from the table"
            found[topic.split(".")[1] if row.publisher == "*" else row.publisher] = None
    return tuple(found)


def _strategy_fits(head: str, tail: str, prefix: str) -> bool:
    """Whether "strat.NAME.status" begins with the prefix for some NAME."""
    if len(prefix) <= len(head):
        return head.startswith(prefix)
    name, dot, rest = prefix.removeprefix(head).partition(".")
    return prefix.startswith(head) and bool(name) and tail.startswith(dot + rest)
