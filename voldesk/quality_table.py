"""Execution quality as tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.config import DeskConfig
from shared.messages.quality import LegQuality, Phase, PhaseQuality
from shared.views import money_text, price_text, since_text
from voldesk.console import print_table


def bp_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def share_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def since_or_none(seconds: float | None) -> str:
    return "-" if seconds is None else since_text(seconds)


def show_quality(desk: DeskConfig, phases: Sequence[PhaseQuality]) -> None:
    """Each opening and close: leg by leg, its prices and how it was worked, and as a whole, a column each. A terminal
    that is too narrow for that has a column each of the legs too. Nothing when nothing was executed."""
    if not phases:
        return
    legs = [(each.phase, leg) for each in phases for leg in each.legs if leg.quantity]
    prices, work = _rows(legs, _PRICES), _rows(legs, _WORK)
    if max(map(_width, (prices, work))) > shutil.get_terminal_size().columns:
        _show_narrow(desk, legs)
    elif legs:
        _show_rows(desk, "prices of the legs (mid at arrival; slippage > 0 is a cost)", prices)
        _show_rows(desk, "execution of the legs (better than crossing the book at arrival)", work)
    names = [each.phase for each in phases]
    print_table(
        desk,
        "execution as a whole",
        ("", *names),
        zip(_FIGURES, *(_phase_cells(each) for each in phases), strict=True),
        right=names,
    )


def _rows(legs: Sequence[tuple[Phase, LegQuality]], figures: Sequence[_Figure]) -> list[tuple[str, ...]]:
    """The headings and one row for each leg."""
    cells = [(phase, leg.side, leg.symbol, *(figure.text(leg) for figure in figures)) for phase, leg in legs]
    return [("", "side", "symbol", *(figure.short for figure in figures)), *cells]


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Of the table in columns of the terminal, with a blank after each."""
    return sum(max(map(len, column)) + 1 for column in zip(*rows, strict=True))


def _show_rows(desk: DeskConfig, name: str, rows: Sequence[tuple[str, ...]]) -> None:
    headers = rows[0]
    print_table(desk, name, headers, rows[1:], right=headers[3:], whole=("symbol",), tight=True)


def _show_narrow(desk: DeskConfig, legs: Sequence[tuple[Phase, LegQuality]]) -> None:
    for symbol in dict.fromkeys(leg.symbol for _, leg in legs):
        parts = [(phase, leg) for phase, leg in legs if leg.symbol == symbol]
        names = [f"{phase}, {leg.side}" for phase, leg in parts]
        print_table(
            desk,
            f"execution of {symbol}",
            ("", *names),
            [(figure.long, *(figure.text(leg) for _, leg in parts)) for figure in (*_PRICES, *_WORK)],
            right=names,
            tight=True,
        )


def _mid_text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}" if abs(value) < 100_000 else f"{value:.1f}"


class _Figure(NamedTuple):
    """`short`: as the heading of a column; `long`: as the name of a row."""

    short: str
    long: str
    text: Callable[[LegQuality], str]


_PRICES = (
    _Figure("decided", "decision price", lambda leg: _mid_text(leg.decision_price)),
    _Figure("mid", "mid at arrival", lambda leg: _mid_text(leg.arrival_mid)),
    _Figure("average", "average", lambda leg: price_text(leg.average_price)),
    _Figure("slippage", "slippage, USD", lambda leg: money_text(leg.slippage_usd)),
    _Figure("bp", "bp of premium", lambda leg: bp_text(leg.slippage_bp)),
)
_WORK = (
    _Figure("better", "improved, USD", lambda leg: money_text(leg.improvement_usd)),
    _Figure("orders", "orders", lambda leg: str(leg.orders)),
    _Figure("to fill", "time to fill", lambda leg: since_or_none(leg.time_to_fill_s)),
    _Figure("maker", "maker share", lambda leg: share_text(leg.maker_share)),
    _Figure("fees", "fees, USD", lambda leg: money_text(leg.fees_usd)),
)


_FIGURES = (
    "mode",
    "slippage, USD",
    "slippage, bp of premium",
    "improved on the book, USD",
    "orders",
    "chunks",
    "time to fill",
    "maker share",
    "fees, USD",
    "naked",
    "naked delta, coins × s",
)


def _phase_cells(each: PhaseQuality) -> tuple[str, ...]:
    """In the order of _FIGURES."""
    return (
        each.mode,
        money_text(each.slippage_usd),
        bp_text(each.slippage_bp),
        money_text(each.improvement_usd),
        str(each.orders),
        str(each.chunks) if each.chunks else "-",
        since_or_none(each.time_to_fill_s),
        share_text(each.maker_share),
        money_text(each.fees_usd),
        f"{each.naked_s:.1f}s",
        "-" if each.naked_delta_s is None else f"{each.naked_delta_s:.3f}",
    )
