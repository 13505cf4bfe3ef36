"""Execution quality as tables."""

from __future__ import annotations

from collections.abc import Sequence

from shared.config import DeskConfig
from shared.messages.quality import LegQuality, PhaseQuality
from shared.views import money_text, price_text, since_text
from voldesk.console import print_table

_LEG_NUMBERS = ("mid", "average", "slippage", "bp", "to fill")


def bp_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def share_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def since_or_none(seconds: float | None) -> str:
    return "-" if seconds is None else since_text(seconds)


def show_quality(desk: DeskConfig, phases: Sequence[PhaseQuality]) -> None:
    """Each opening and close, leg by leg and as a whole, a column each. Nothing when nothing was executed."""
    if not phases:
        return
    print_table(
        desk,
        "execution of the legs (mid at arrival; slippage > 0 is a cost)",
        ("", "side", "symbol", *_LEG_NUMBERS),
        [_leg_cells(each.phase, leg) for each in phases for leg in each.legs if leg.quantity],
        right=_LEG_NUMBERS,
        whole=("symbol",),
        tight=True,
    )
    names = [each.phase for each in phases]
    print_table(
        desk,
        "execution as a whole",
        ("", *names),
        zip(_FIGURES, *(_phase_cells(each) for each in phases), strict=True),
        right=names,
    )


def _leg_cells(phase: str, leg: LegQuality) -> tuple[str, ...]:
    return (
        phase,
        leg.side,
        leg.symbol,
        "-" if leg.arrival_mid is None else f"{leg.arrival_mid:g}",
        price_text(leg.average_price),
        money_text(leg.slippage_usd),
        bp_text(leg.slippage_bp),
        since_or_none(leg.time_to_fill_s),
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
