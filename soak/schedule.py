"""What is done to a real desk and when, drawn from a seed: calm stretches, and between them bursts of blows."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from soak.causes import Cause

SERVICES = ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
STOP_MAX_S = 4.0
CALM_S = (150.0, 300.0)
BURST_S = (40.0, 120.0)
PAUSE_S = (5.0, 20.0)
FIRST_S = 60.0
LASTS_MS = 15_000
"""The longest that a fault stays on which is not met often enough to be used up."""

FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "lost_answer", "path_prefix": "/open/option/order/create", "count": 2},
    {"kind": "lost_answer", "path_prefix": "/open/option/order/cancel", "count": 2},
    {"kind": "lost_answer", "path_prefix": "/open/option/blocktrade/request", "count": 1},
    {"kind": "http_500", "path_prefix": "/open/option/order", "count": 3},
    {"kind": "http_500", "path_prefix": "/open/option", "count": 5},
    {"kind": "rate_limit", "path_prefix": "/open/option", "count": 3},
    {"kind": "latency", "path_prefix": "/open", "latency_ms": 700, "duration_ms": 3_000},
    {"kind": "latency", "path_prefix": "/open/option/order/create", "latency_ms": 4_000, "count": 1},
    {"kind": "disconnect", "duration_ms": 1_500},
    {"kind": "silence", "duration_ms": 3_000},
    {"kind": "frozen_book", "duration_ms": 4_000},
    {"kind": "late_quotes", "latency_ms": 8_000, "count": 1},
    {"kind": "no_quotes", "count": 1},
)
"""Orders to the simulated exchange to misbehave, as its `/sim/faults` takes them."""

_LONG_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "silence", "duration_ms": 20_000},
    {"kind": "disconnect", "duration_ms": 15_000},
    {"kind": "http_500", "path_prefix": "/open", "duration_ms": 20_000},
    {"kind": "frozen_book", "duration_ms": 25_000},
)
"""Those that last until the desk must say something of them."""

_CAUSES: dict[str, Cause] = {
    "disconnect": "stream",
    "silence": "stream",
    "frozen_book": "frozen",
    "no_quotes": "dealers",
    "late_quotes": "dealers",
}


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing done at a moment, in seconds since the run began: a fault of the exchange, a service killed, or one
    stopped for `stop_s`."""

    at_s: float
    fault: dict[str, Any] | None = None
    service: str = ""
    stop_s: float = 0.0


def cause_of(fault: dict[str, Any]) -> Cause:
    return _CAUSES.get(fault["kind"], "venue")


def lasts_s(fault: dict[str, Any]) -> float:
    return float(fault["duration_ms"]) / 1e3


def schedule(seed: int, seconds: float) -> list[Act]:
    """Calm for minutes, then a burst of blows every few seconds, and again. In a burst seven blows in ten are faults
    of the exchange, two stop a process, one kills one."""
    draw = Random(seed)
    acts: list[Act] = []
    at_s = FIRST_S + draw.uniform(*CALM_S) / 4
    while at_s < seconds:
        until_s = min(at_s + draw.uniform(*BURST_S), seconds)
        while at_s < until_s:
            acts.append(_drawn(draw, at_s))
            at_s += draw.uniform(*PAUSE_S)
        at_s = until_s + draw.uniform(*CALM_S)
    return acts


def _drawn(draw: Random, at_s: float) -> Act:
    number = draw.random()
    if number < 0.7:
        fault = draw.choice((*FAULTS, *_LONG_FAULTS))
        return Act(at_s=at_s, fault={"duration_ms": LASTS_MS, **fault})
    service = draw.choice(SERVICES)
    stop_s = round(draw.uniform(0.5, STOP_MAX_S), 1) if number < 0.9 else 0.0
    return Act(at_s=at_s, service=service, stop_s=stop_s)
