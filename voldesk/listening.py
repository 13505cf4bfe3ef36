"""Hear the bus from the command line, with the errors an operator can act on."""

from __future__ import annotations

import re
from itertools import product

from shared.bus import Bus
from shared.config import DeskConfig
from shared.messages.topics import TOPICS, topic_row
from shared.strategy_hosts import DEFAULT_HOST
from voldesk.asking import DEADLINE_MS, heartbeat
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure
from voldesk.health import expected_services

_PART = re.compile(r"\{(\w+)\}")


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
    """Every topic of this desk; the name of a strategy and the symbol of an option stay in braces."""
    values: dict[str, tuple[str, ...]] = {
        "underlying": desk.underlyings,
        "account": (desk.account_id,),
        "service": expected_services(desk),
        "strategy": ("{strategy}",),
        "symbol": ("{symbol}",),
    }
    found = []
    for row in TOPICS:
        names = _PART.findall(row.pattern)
        combinations = product(*(values[name] for name in names))
        found += [row.pattern.format(**dict(zip(names, chosen, strict=True))) for chosen in combinations]
    return found


def publishers_of(desk: DeskConfig, prefix: str) -> tuple[str, ...]:
    """The services that publish a topic which begins with `prefix`; none for a prefix that no topic has."""
    found: dict[str, None] = {}
    for topic in known_topics(desk):
        if _fits(topic, prefix):
            row = topic_row(topic)
            assert row is not None, f"{topic} was made from the table"
            if row.publisher == DEFAULT_HOST:
                found |= dict.fromkeys(desk.strategy_hosts.services)
            else:
                found[topic.split(".")[1] if row.publisher == "*" else row.publisher] = None
    return tuple(found)


def _fits(topic: str, prefix: str) -> bool:
    """Whether a topic begins with the prefix; a part in braces, of which there may be one, can be anything."""
    head, *rest = _PART.split(topic)
    if len(prefix) <= len(head) or not rest:
        return head.startswith(prefix)
    _, tail = rest
    value, dot, after = prefix.removeprefix(head).partition(".")
    return prefix.startswith(head) and bool(value) and tail.startswith(dot + after)
