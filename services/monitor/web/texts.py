"""Figures, times and states as people read them: the filters of the templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from markupsafe import Markup

from services.monitor.alerts import Matter
from services.monitor.flattening import flatten_progress
from services.monitor.views import ServiceView
from shared.messages.alert_kinds import title_of
from shared.messages.trades import LegStatus
from shared.views import duration_text

_TONES = {
    **dict.fromkeys(("ready", "OPEN", "running", "FILLED", "over", "closed", "good"), "good"),
    **dict.fromkeys(
        ("down", "BROKEN", "FAILED", "failed", "UNKNOWN", "ACCEPT_UNKNOWN", "critical", "REFUSED"), "bad"
    ),
    **dict.fromkeys(
        (
            *("unheard", "not ready", "UNWINDING", "PARTIALLY_OPEN", "paused", "stopping", "stopped", "warning"),
            *("PENDING_OPEN", "OPENING", "PENDING_CLOSE", "CLOSING", "SETTLING", "WORKING", "SENDING", "CANCELLING"),
            *("REQUESTING", "COLLECTING", "ACCEPTING", "ASKING"),
        ),
        "warn",
    ),
}


_VERDICTS = {
    "good": "may be taken",
    "not_open": "withdrawn or over",
    "wrong_side": "for the other direction",
    "wrong_legs": "for other legs",
    "wrong_quantity": "for another quantity",
    "outside_grant": "outside what risk granted",
    "below_floor": "below the floor of a sale",
    "improvement_usd_too_small": "too little better, in USD",
    "improvement_pct_too_small": "too little better, in %",
    "past_mark": "too far past mark",
}


_DOLLARS = frozenset({"USD", "USDT", "USDC"})
_IN_BANNER = frozenset({"halted", "service_down"})


def service_state(view: ServiceView) -> str:
    """One word for the lights of the services."""
    if view.is_down:
        return "down"
    if view.heartbeat is None:
        return "unheard"
    return "ready" if view.heartbeat.ready else "not ready"


def utc_text(at_ns: int | None) -> str:
    """2026-03-27 08:00:00, "–" for none."""
    return "–" if at_ns is None else f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}"


def short_utc_text(at_ns: int | None) -> str:
    """03-27 08:00:00, "–" for none."""
    return "–" if at_ns is None else f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%m-%d %H:%M:%S}"


def clock_text(at_ns: int) -> str:
    """08:00:00."""
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%H:%M:%S}"


def unseen_critical(matters: Iterable[Matter]) -> list[str]:
    """What is critical and open and nobody has acknowledged, in a few words each, but for what the banner says."""
    return sorted(
        {
            title_of(each.record.code)
            for each in matters
            if each.is_open and not each.acknowledged_by and each.record.severity == "critical"
            if each.record.code not in _IN_BANNER
        }
    )


def verdict_text(verdict: str | None) -> str:
    """Whether a quote may be taken, or why not, in words."""
    return "–" if verdict is None else _VERDICTS.get(verdict, verdict.replace("_", " "))


def plain_text(value: Decimal | None) -> str:
    """An exact figure as it is, thousands separated, "–" for none."""
    return "–" if value is None else f"{value:,f}"


def holding_text(amount: Decimal, asset: str) -> str:
    """A holding: dollars in cents, coins with at most six decimals, never rounded up; "< 0.01" for what is less."""
    decimals = 2 if asset in _DOLLARS else 6
    least = Decimal(1).scaleb(-decimals)
    shown = abs(amount).quantize(least, ROUND_DOWN)
    if amount and not shown:
        return f"{'< ' if amount > 0 else '> -'}{least:f}"
    sign = "-" if amount < 0 else ""
    return f"{sign}{shown:,f}" if decimals == 2 else f"{sign}{shown.normalize():,f}"


def price_text(value: Decimal | None) -> str:
    """A price with at most four decimals, thousands separated: averages have more."""
    return "–" if value is None else f"{round(value, 4).normalize():,f}"


def figure_text(value: float | Decimal | None, decimals: int = 2) -> str:
    """A rounded figure, "–" where it is unknown."""
    return "–" if value is None or value != value else f"{value:,.{decimals}f}"


def used_text(pct: float) -> str:
    """How much of a limit is used; of one of 0 anything is beyond every share."""
    return "over" if pct == float("inf") else f"{figure_text(pct, 0)} %"


def signed_text(value: float | Decimal | None, decimals: int = 2) -> str:
    """A rounded figure with its sign, "–" where it is unknown."""
    if value is None or value != value:
        return "–"
    text = f"{value:+,.{decimals}f}"
    return text[1:] if not text.strip("+-0.,") else text


def share_text(value: float | None, decimals: int = 1) -> str:
    """0.123 as 12.3 %, "–" where it is unknown."""
    return "–" if value is None or value != value else f"{value * 100:.{decimals}f} %"


def quote_text(value: float | None) -> str:
    """A quoted price, without decimals from 1,000 on, "–" where there is none."""
    return figure_text(value, 0 if value is not None and abs(value) >= 1_000 else 1)


def amount_text(value: float | None) -> str:
    """A figure of any size in four digits or more, "–" where it is unknown."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.4g}"


def gain_class(value: float | Decimal | None) -> str:
    """The class that colours a profit or a loss; none where it rounds to nothing."""
    number = float("nan") if value is None else float(value)
    if number >= 0.005:
        return "good"
    return "bad" if number <= -0.005 else ""


def tone_of(state: str) -> str:
    """The class that colours a state."""
    return _TONES.get(state, "")


def leg_text(leg: LegStatus, quantity: Decimal | None = None) -> str:
    """ "+0.1 BTCUSD-27NOV26-110000-C", of the whole leg or of so much of it."""
    shown = plain_text(leg.quantity if quantity is None else quantity)
    return f"{'+' if leg.side == 'buy' else '−'}{shown} {leg.symbol}"


def breakable_text(name: str) -> Markup:
    """A long name with underscores that may go on in the next line after each."""
    return Markup("_<wbr>").join(name.split("_"))


FILTERS: dict[str, Callable[..., Any]] = {
    "utc": utc_text,
    "clock": clock_text,
    "verdict": verdict_text,
    "short_utc": short_utc_text,
    "plain": plain_text,
    "price": price_text,
    "holding": holding_text,
    "figure": figure_text,
    "used": used_text,
    "signed": signed_text,
    "share": share_text,
    "amount": amount_text,
    "quote": quote_text,
    "gain": gain_class,
    "tone": tone_of,
    "breakable": breakable_text,
    "leg": leg_text,
    "state": service_state,
    "unseen_critical": unseen_critical,
    "flatten_progress": flatten_progress,
    "duration": duration_text,
}
