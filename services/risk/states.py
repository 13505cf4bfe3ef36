"""The states of circuit breakers and of the margin guard, as data. docs/states.md is drawn from these tables."""

from __future__ import annotations

from shared.messages.risk import BreakerState, MarginLevel

BREAKER_TRANSITIONS: dict[BreakerState, dict[BreakerState, str]] = {
    "closed": {"open": "its figure reached the limit"},
    "open": {
        "half_open": "the pause is over",
        "closed": "a person reset it",
    },
    "half_open": {
        "closed": "the trial went well, or a person reset it",
        "open": "the trial went badly",
    },
}
"""While one is open nothing of its subject is granted; half open, one trade at a time. A breaker that halts has no
half_open: it closes when its figure is a tenth back inside the limit, and the halt stays until a person lifts it."""

MARGIN_LEVELS: tuple[MarginLevel, ...] = ("normal", "warn", "no_new_trades", "reduce", "flatten")

_RISEN = "so many reads in a row were at or above its threshold"
_FALLEN = "so many reads in a row were below the threshold of the level before, by the hysteresis"

MARGIN_TRANSITIONS: dict[MarginLevel, dict[MarginLevel, str]] = {
    source: {
        target: _RISEN if MARGIN_LEVELS.index(target) > MARGIN_LEVELS.index(source) else _FALLEN
        for target in MARGIN_LEVELS
        if target != source
    }
    for source in MARGIN_LEVELS
}
"""Any level may follow any other: an account can fall through several between two reads."""


def breaker_may_move(source: BreakerState, target: BreakerState) -> bool:
    return target in BREAKER_TRANSITIONS[source]
