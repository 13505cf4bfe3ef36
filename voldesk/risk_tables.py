"""Limits, breakers, margin and the stress grid as an operator reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.markup import escape

from shared.clock import wall_ns
from shared.config import DeskConfig
from shared.messages.control import Halt
from shared.messages.risk import BreakerStatus, LimitUse, MarginGuard, RiskLimits, StressGrid, WhatIfAnswer
from shared.views import clock_text, duration_text, money_text
from voldesk.console import note, print_table, say, title

_BAR = 5
_WARN_PCT, _FULL_PCT = 80, 100
_COARSE_PCT = (-30.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 20.0, 30.0)
"""Moves of spot that fit the width of a terminal, where the grid has them."""


def show_limits(desk: DeskConfig, risk: RiskLimits, halts: tuple[Halt, ...] | None) -> None:
    """Everything at a glance: halts, why nothing is granted, limits nearest first, breakers, the margin guard."""
    _show_halts(desk, halts)
    if risk.grants_refused:
        say(f"nothing is granted now: {risk.grants_refused}")
    print_table(
        desk,
        f"limits, nearest first, {clock_text(risk.received_ns)} UTC",
        ("limit", "of", "value", "at most", "use", ""),
        [_limit_row(limit) for limit in risk.limits],
        right=("value", "at most", "use"),
        whole=("limit",),
        tight=True,
    )
    closest = next((limit for limit in risk.limits if limit.use_pct), None)
    if closest is not None:
        say(f"closest: {_named(closest)} at {_percent(closest.use_pct)} of its limit")
    show_breakers(desk, risk.breakers)
    if risk.margin_guard is not None:
        _show_guard(desk, risk.margin_guard)
    if risk.margin_models:
        print_table(
            desk,
            "margin of the positions, ours beside the venue's, USD",
            ("model", "figure", "ours", "venue", "error"),
            [
                (
                    model.model,
                    model.figure,
                    money_text(model.model_usd),
                    money_text(model.venue_usd),
                    "-" if model.error_pct is None else f"{model.error_pct:+.1f} %",
                )
                for model in risk.margin_models
            ],
            right=("ours", "venue", "error"),
        )


def show_breakers(desk: DeskConfig, breakers: Sequence[BreakerStatus]) -> None:
    if breakers:
        print_table(
            desk,
            "circuit breakers",
            ("breaker", "of", "state", "measured", "why"),
            [_breaker_row(breaker) for breaker in breakers],
        )


def show_stress(desk: DeskConfig, grid: StressGrid) -> None:
    """The grid of the whole account, then what is worst of each underlying and position."""
    columns = _columns(grid.spot_pct)
    ahead = f"{grid.days:g} day{'' if grid.days == 1 else 's'} ahead"
    print_table(
        desk,
        f"P&L in USD if all spot moves, {ahead}, at {clock_text(grid.received_ns)} UTC",
        ("volatility", *(f"{grid.spot_pct[at]:+g} %" for at in columns)),
        [
            (f"{vol:+g} %", *(_profit(row[at]) for at in columns))
            for vol, row in zip(grid.vol_pct, grid.pnl_usd, strict=True)
        ],
        right=tuple(f"{grid.spot_pct[at]:+g} %" for at in columns),
    )
    if len(columns) < len(grid.spot_pct):
        say("further moves of spot: --json")
    if grid.underlyings:
        print_table(
            desk,
            "worst of each underlying",
            ("underlying", "P&L USD", "spot", "volatility"),
            [
                (
                    each.underlying,
                    _profit(each.worst_usd),
                    f"{each.worst_spot_pct:+g} %",
                    f"{each.worst_vol_pct:+g} %",
                )
                for each in grid.underlyings
            ],
            right=("P&L USD", "spot", "volatility"),
        )
        print_table(
            desk,
            "and there, by position",
            ("option", "P&L USD"),
            [(each.symbol, _profit(each.pnl_usd)) for each in grid.positions],
            right=("P&L USD",),
        )
    used = f", {_percent(grid.stressed_loss_usd / grid.limit_usd * 100)} of it" if grid.limit_usd > 0 else ""
    say(f"stressed loss {money_text(grid.stressed_loss_usd)} USD, limit {money_text(grid.limit_usd)} USD{used}")
    if not grid.complete:
        note("some positions have no volatility now: every figure leaves them out")


def show_what_if(desk: DeskConfig, structure: str, answer: WhatIfAnswer) -> None:
    say(f"{title(desk)}: {structure}")
    if answer.refusals:
        print_table(
            desk,
            "would be refused",
            ("code", "why", "value", "limit"),
            [(each.code, escape(each.detail), _number(each.value), _number(each.limit)) for each in answer.refusals],
            right=("value", "limit"),
        )
    else:
        say("would be granted now")
    if answer.margin_usd is None:
        return
    loss = "nothing bounds it" if answer.max_loss_usd is None else f"{money_text(answer.max_loss_usd)} USD"
    free = money_text(answer.available_margin_usd)
    say(f"uses at worst {money_text(answer.margin_usd)} USD of {free} USD margin available; largest loss: {loss}")
    print_table(
        desk,
        "initial margin of the positions in USD, by our models",
        ("model", "before", "after", "change"),
        [
            (
                each.model,
                money_text(each.before_usd),
                money_text(each.after_usd),
                f"{each.after_usd - each.before_usd:+,.2f}",
            )
            for each in answer.margins
        ],
        right=("before", "after", "change"),
    )
    before = {(limit.name, limit.subject): limit.value for limit in answer.limits_before}
    print_table(
        desk,
        "limits on which it counts",
        ("limit", "of", "before", "after", "at most", "use"),
        [
            (
                limit.name,
                _subject(limit),
                _number(before.get((limit.name, limit.subject))),
                *_limit_row(limit)[2:-1],
            )
            for limit in answer.limits_after
            if limit.value is not None and limit.value != before.get((limit.name, limit.subject))
        ],
        right=("before", "after", "at most", "use"),
    )


def _show_halts(desk: DeskConfig, halts: tuple[Halt, ...] | None) -> None:
    if halts is None:
        note("execution does not answer: whether halts are in force is not known")
    elif halts:
        print_table(
            desk,
            "halts in force",
            ("level", "by", "since UTC", "for", "why"),
            [
                (
                    f"[red]{halt.level}[/red]",
                    halt.raised_by,
                    clock_text(halt.raised_ns),
                    duration_text((wall_ns() - halt.raised_ns) / 1e9),
                    escape(halt.reason),
                )
                for halt in halts
            ],
        )
        say("lift with `voldesk resume`")
    else:
        say(f"{title(desk)}: no halt is in force")


def _show_guard(desk: DeskConfig, guard: MarginGuard) -> None:
    rows = [
        (f"[bold]{level} <[/bold]" if level == guard.level else level, f"{threshold:g} %")
        for level, threshold in guard.thresholds_pct.items()
    ]
    used = "-" if guard.utilisation_pct is None else f"{guard.utilisation_pct:.1f} %"
    print_table(desk, "margin guard", ("level", "from"), rows, right=("from",))
    since = f" since {clock_text(guard.since_ns)} UTC" if guard.since_ns else ""
    say(f"margin guard: {guard.level}{since}, maintenance margin is {used} of equity")
    if guard.planned:
        say(f"at {clock_text(guard.planned_ns)} UTC it will {guard.planned}")
    if guard.next_step:
        say(f"next: {guard.next_step}")


def _limit_row(limit: LimitUse) -> tuple[str, ...]:
    return (
        limit.name,
        _subject(limit),
        _number(limit.value),
        f"{_number(limit.limit)} {limit.unit}",
        _percent(limit.use_pct),
        _bar(limit.use_pct),
    )


def _breaker_row(breaker: BreakerStatus) -> tuple[str, ...]:
    style = {"closed": "green", "open": "red", "half_open": "yellow"}[breaker.state]
    why = [escape(breaker.reason)] if breaker.reason else []
    if breaker.state != "closed":
        why.append(f"since {clock_text(breaker.since_ns)}")
    if breaker.half_open_ns is not None:
        why.append(f"tries again at {clock_text(breaker.half_open_ns)}")
    return (
        breaker.name,
        breaker.subject or "account",
        f"[{style}]{breaker.state}[/{style}]",
        f"{_number(breaker.value)} of {_number(breaker.limit)} {breaker.unit}",
        "; ".join(why),
    )


def _named(limit: LimitUse) -> str:
    return f"{limit.name} of {limit.subject}" if limit.subject else limit.name


def _subject(limit: LimitUse) -> str:
    words = {"trade": "one trade", "order": "one request", "account": "account"}
    return limit.subject or words.get(limit.scope, limit.scope)


def _bar(use_pct: float | None) -> str:
    if use_pct is None:
        return ""
    filled = min(_BAR, math.ceil(use_pct / 100 * _BAR)) if use_pct > 0 else 0
    style = "red" if use_pct >= _FULL_PCT else "yellow" if use_pct >= _WARN_PCT else "green"
    return f"[{style}]{'█' * filled}[/{style}]{'░' * (_BAR - filled)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.2f}".rstrip("0").rstrip(".")


def _profit(value: float) -> str:
    text = f"{value:,.0f}"
    return f"[red]{text}[/red]" if value < 0 else text


def _columns(spot_pct: Sequence[float]) -> list[int]:
    coarse = [at for at, move in enumerate(spot_pct) if move in _COARSE_PCT]
    return coarse if len(coarse) >= len(_COARSE_PCT) else list(range(len(spot_pct)))
