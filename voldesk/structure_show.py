"""A structure for people: narrow enough for a phone, with its payoff as a plot; and the plot as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from shared.config import DeskConfig
from shared.messages.risk import WhatIfAnswer
from shared.options.instruments import instrument_kind, underlying_of
from shared.views import clock_text, money_text
from voldesk.console import Failure, print_table, say, title
from voldesk.plot import Curve, plot
from voldesk.structure_view import StructureView

_MOST_COLUMNS = 100


def show_structure(desk: DeskConfig, strategy: str, view: StructureView, answer: WhatIfAnswer | str) -> None:
    """`answer`: risk's, or why there is none."""
    base = underlying_of(view.legs[0].symbol)
    say(f"{strategy}: {view.name} · {base} {view.index_price:,.2f}, {clock_text(view.received_ns)} UTC")
    print_table(
        desk,
        "legs now",
        ("", "qty", "option", "mark", "iv %", "delta"),
        [
            (
                leg.side,
                f"{leg.quantity:f}",
                _short_name(leg.symbol),
                money_text(leg.mark),
                "-" if leg.iv is None else f"{leg.iv * 100:.1f}",
                "-" if leg.greeks["delta"] is None else f"{leg.greeks['delta']:.2f}",
            )
            for leg in view.legs
        ],
        right=("qty", "mark", "iv %", "delta"),
    )
    print_table(desk, "the whole", ("", "USD", " "), _facts(view), right=("USD",))
    _show_risk(answer)
    _draw(view)


def _facts(view: StructureView) -> list[tuple[str, str, str]]:
    figures = view.figures
    rows = [
        (*_premium(view.premium_mark_usd), "at mark"),
        (*_premium(view.premium_book_usd), "across the books"),
        ("fees to open", money_text(view.fees_usd), "as taker"),
    ]
    if view.coins_usd != 0:
        rows.insert(2, ("coins of spot", money_text(view.coins_usd), "across the book"))
    if figures is not None:
        holds = _condition(view) if figures.is_estimate else "before fees"
        rows += [
            ("max profit", _bound(figures.max_profit_usd), holds),
            ("max loss", _bound(figures.max_loss_usd), "before fees"),
        ]
        rows += [("breakeven", f"{at:,.0f}", _away(at, view.index_price)) for at in figures.breakevens]
    units = {"delta": "coins", "gamma": "coins / USD", "vega": "USD / vol point", "theta": "USD / day"}
    for name, unit in units.items():
        value = view.greeks[name]
        rows.append((name, "-" if value is None else f"{value:.4g}", unit))
    return rows


def _short_name(symbol: str) -> str:
    """What is left of a symbol beside the underlying that the title names."""
    kind = instrument_kind(symbol)
    if kind in ("perpetual", "spot"):
        return kind
    return symbol.partition("-")[2] + (" future" if kind == "future" else "")


def _condition(view: StructureView) -> str:
    """Under which an estimate holds."""
    if any(instrument_kind(leg.symbol) == "option" for leg in view.legs):
        return "if iv stays"
    return "if their prices meet"


def _premium(usd: float | None) -> tuple[str, str]:
    if usd is None:
        return "premium", "-"
    return "debit" if usd > 0 else "credit" if usd < 0 else "premium", money_text(abs(usd))


def _bound(usd: float) -> str:
    return "no bound" if math.isinf(usd) else "-" if math.isnan(usd) else money_text(usd)


def _away(at: float, index_price: float) -> str:
    return "" if not math.isfinite(index_price) else f"{(at / index_price - 1) * 100:+.1f} %"


def _show_risk(answer: WhatIfAnswer | str) -> None:
    if isinstance(answer, str):
        say(f"margin is not known: {answer}")
        return
    if answer.margin_usd is not None:
        free = money_text(answer.available_margin_usd)
        say(f"margin {money_text(answer.margin_usd)} USD at worst, of {free} available")
    if not answer.refusals:
        say("risk would grant it now")
    for refusal in answer.refusals:
        say(f"risk would refuse it: {refusal.code}: {refusal.detail}")


def _draw(view: StructureView) -> None:
    console = Console(highlight=False)
    at = np.array(view.underlying)
    curves = [
        Curve(name, at, np.array(made))
        for name, made in (("at expiry", view.at_expiry), ("now", view.now))
        if len(made) == len(at) and len(at)
    ]
    if not curves:
        say("no payoff: a mark or a volatility is missing, or the legs are of several underlyings")
        return
    console.print("P&L in USD against the underlying", style="bold")
    for line in plot(curves, min(console.width, _MOST_COLUMNS)):
        line.rstrip()
        console.print(line)


def write_picture(desk: DeskConfig, strategy: str, view: StructureView, path: Path) -> None:
    """The payoff as PNG. Raises Failure when it cannot be drawn or written."""
    try:
        import matplotlib
    except ImportError:
        raise Failure("pictures need matplotlib", "run `make install-telegram`, or leave --plot out") from None
    if not view.at_expiry:
        raise Failure("no payoff: a mark or a volatility is missing", "see the table without --plot")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    # the library's types leave much out
    figure: Any
    axes: Any
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.plot(view.underlying, view.at_expiry, label="at expiry", linewidth=1.6)
    if view.now:
        axes.plot(view.underlying, view.now, label="now", linewidth=1.2, linestyle="--")
    axes.axvline(view.index_price, color="0.4", linewidth=0.8, linestyle=":", label=f"index {view.index_price:,.0f}")
    for at in () if view.figures is None else view.figures.breakevens:
        if view.underlying[0] <= at <= view.underlying[-1]:
            axes.annotate(f"{at:,.0f}", (at, 0.0), textcoords="offset points", xytext=(0, 6), fontsize=8, ha="center")
    axes.set_title(f"{strategy}: {view.name} · {title(desk)}", loc="left", fontsize=10)
    axes.set_xlabel("underlying, USD")
    axes.set_ylabel("P&L, USD")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9, frameon=False)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", "give another path to --plot") from None
    finally:
        plt.close(figure)
