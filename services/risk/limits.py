"""One limit with its use before and after a request: what a check judges and what is shown come from one figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from services.risk.situation import Situation, Violation
from shared.messages.risk import LimitScope, LimitUse


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, and what it is on before and after the request that is asked for.

    code: of the refusal. scope, subject, unit: as in `LimitUse`. words: what stands in the refusal, with the figure
    after the request in place of "{}". worst_change: where the two count outstanding grants at their worst, by how
    much the request moves the figure at most, whatever part of them is filled; below 0 it surely brings it back.
    touched: whether the request holds anything of `subject`.
    """

    code: str
    limit: float
    before: float
    after: float
    unit: str
    words: str
    scope: LimitScope = "account"
    subject: str = ""
    worst_change: float | None = None
    touched: bool = True

    @property
    def broken(self) -> bool:
        """Past the limit, unless the request surely brings it back towards it, or has nothing to do with it. What is
        not known is broken."""
        if not self.touched:
            return False
        change = self.after - self.before if self.worst_change is None else self.worst_change
        return not (self.after <= self.limit or change < 0)


Family = Callable[[Situation], Iterable[Figure]]


def within(family: Family) -> Callable[[Situation], Violation | None]:
    """The check that no figure of the family is broken."""

    def check(s: Situation) -> Violation | None:
        for figure in family(s):
            if figure.broken:
                return Violation(figure.code, figure.words.format(_text(figure)), figure.after, figure.limit)
        return None

    return check


def uses(s: Situation, families: Iterable[Family], *, after: bool = False) -> tuple[LimitUse, ...]:
    """Every figure as it is shown, before or after the request; the nearest to its limit first."""
    found = [
        LimitUse(
            name=figure.code,
            scope=figure.scope,
            subject=figure.subject,
            value=_known(figure.after if after else figure.before),
            limit=figure.limit,
            unit=figure.unit,
        )
        for family in families
        for figure in family(s)
    ]
    return nearest_first(found)


def nearest_first(found: Iterable[LimitUse]) -> tuple[LimitUse, ...]:
    """What is not known comes last but for those that only a request has a value of."""
    return tuple(sorted(found, key=lambda use: -math.inf if use.use_pct is None else use.use_pct, reverse=True))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(figure: Figure) -> str:
    digits = 1 if figure.unit == "%" else 0
    return f"{figure.after:,.{digits}f}" if math.isfinite(figure.after) else "unknown"
