"""Selecting legs and answering conditions on one snapshot of a chain of 1,000 options.

    python -m bench.selection [--json] [--quick]

An iron condor (two legs by delta, two wings from them, one weekly expiry) resolved to orders; its floor is the bare
numpy of the same choice: masks of type and expiry and the nearest delta or strike, without reasons, checks and
criteria. Then 100 strategies with ten exit conditions and one open trade each, every one answered with its reason;
the floor reads the same values of the same chain and compares them, without conditions, freshness and reasons. Ours
and the floor work in turn; time is CPU time of the one thread; figures are medians over the rounds, after one that is
not counted.
"""

import gc
import sys
from collections.abc import Callable
from decimal import Decimal
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from bench.harness import Run, bench_main
from bench.rows import Row, row
from shared.messages.conditions import ExitCondition
from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.messages.trades import Grant, GrantLeg, LegStatus, TradeUpdate
from shared.options.black76 import greeks, price
from shared.options.chain import ChainView, OptionList, list_id_of, pack_columns
from shared.options.symbols import NS_PER_DAY, NS_PER_YEAR, OptionType
from shared.strategy import (
    ExitView,
    any_of,
    before_expiry,
    breakeven_touched,
    credit_multiple,
    dte_exit,
    iron_condor,
    max_hold_hours,
    max_loss,
    max_profit,
    profit_target,
    resolve_legs,
    short_leg_delta,
    short_strike_touched,
    structure_delta_limit,
)
from shared.strategy.evaluate import evaluate_exit

ROUNDS = 21
STRATEGIES = 100
RESOLUTIONS = 200
INDEX = 100_000.0
NOW_NS = 20_517 * NS_PER_DAY + NS_PER_DAY // 2
STRIKES = tuple(range(75_000, 125_000, 1_000))
KINDS: tuple[OptionType, ...] = ("C", "P")
EXPIRIES_NS = tuple((20_517 + days) * NS_PER_DAY + NS_PER_DAY // 3 for days in (1, 2, 3, 9, 16, 23, 30, 51, 79, 114))
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CONDOR = iron_condor("0.1", {"dte_min": 7, "dte_max": 10}, width=3_000)
EXITS: tuple[ExitCondition, ...] = (
    profit_target(pct=99),
    max_loss(usd=100_000),
    max_hold_hours(10_000),
    dte_exit(0),
    any_of(before_expiry(1), credit_multiple(100)),
    max_profit(100),
    structure_delta_limit(100),
    short_leg_delta(0.99),
    short_strike_touched(0),
    breakeven_touched(0),
)


def symbol_of(expiry_ns: int, strike: int, kind: str) -> str:
    date = np.datetime64(expiry_ns, "ns").astype("datetime64[D]").item()
    return f"BTCUSD-{date.day}{MONTHS[date.month - 1]}{date.year % 100:02d}-{strike}-{kind}"


def chain() -> ChainView:
    """1,000 options at one volatility: ten expiries of fifty strikes, calls and puts."""
    listed = tuple(
        Instrument(
            symbol_of(expiry_ns, strike, kind),
            "BTCUSD",
            kind,
            Decimal(strike),
            expiry_ns,
            expiry_ns - 900_000_000_000,
            Decimal("0.1"),
            Decimal("0.01"),
            Decimal("0.01"),
            Decimal(100),
        )
        for expiry_ns in EXPIRIES_NS
        for strike in STRIKES
        for kind in KINDS
    )
    message = InstrumentList(underlying="BTCUSD", list_id=list_id_of(listed), instruments=listed)
    options = OptionList(message)
    forward, vol = np.full(len(listed), INDEX), np.full(len(listed), 0.5)
    years = (options.expiries_ns - NOW_NS) / NS_PER_YEAR
    marks = price(forward, options.strikes, years, vol, options.is_call)
    sensitivities = greeks(forward, options.strikes, years, vol, options.is_call)
    columns = {
        "mark": marks,
        "bid": marks * 0.98,
        "ask": marks * 1.02,
        "mark_iv": vol,
        "forward": forward,
        "delta": sensitivities.delta,
        "vega": sensitivities.vega,
    }
    snapshot = ChainSnapshot(
        underlying="BTCUSD",
        list_id=message.list_id,
        venue_ns=NOW_NS,
        received_ns=NOW_NS,
        index_price=INDEX,
        index_received_ns=NOW_NS,
        matrix=pack_columns(columns, len(listed)),
    )
    return ChainView(snapshot, options)


def resolved(view: ChainView) -> list[str]:
    found = resolve_legs(CONDOR, view, NOW_NS)
    assert isinstance(found, list), found.text
    return [leg.symbol for leg in found]


def resolved_bare(view: ChainView) -> list[str]:
    """The same four options by numpy alone."""
    listed, marks, deltas = view.listed, view.column("mark"), view.column("delta")
    days = (listed.expiries_ns - NOW_NS) // NS_PER_DAY
    in_range = (days >= 7) & (days <= 10) & (marks > 0)
    rows: list[int] = []
    for is_call, delta in ((True, 0.20), (False, -0.20)):
        candidates = np.flatnonzero(in_range & (listed.is_call == is_call))
        rows.append(int(candidates[np.argmin(np.abs(deltas[candidates] - delta))]))
    for body, is_call, width in ((rows[0], True, 3_000), (rows[1], False, -3_000)):
        candidates = np.flatnonzero(in_range & (listed.is_call == is_call))
        rows.append(int(candidates[np.argmin(np.abs(listed.strikes[candidates] - listed.strikes[body] - width))]))
    return [view.instruments[place].symbol for place in rows]


def trade_of(view: ChainView, number: int) -> TradeUpdate:
    """An open iron condor, sold at its marks."""
    found = resolve_legs(CONDOR, view, NOW_NS)
    assert isinstance(found, list), found.text
    marks = {leg.symbol: Decimal(str(round(view.value(leg.symbol, "mark") or 0.0, 1))) for leg in found}
    legs = tuple(
        LegStatus(
            symbol=leg.symbol,
            side=leg.side,
            quantity=leg.quantity,
            filled_quantity=leg.quantity,
            closed_quantity=Decimal(0),
            open_price=marks[leg.symbol],
            close_price=None,
        )
        for leg in found
    )
    premium = sum(marks[leg.symbol] * leg.quantity * (1 if leg.side == "buy" else -1) for leg in found)
    grant = Grant(
        grant_id="g",
        intent_id="i",
        account_id="bench",
        legs=tuple(
            GrantLeg(symbol=leg.symbol, side=leg.side, max_quantity=leg.quantity, worst_price=Decimal(1))
            for leg in found
        ),
        deadline_ns=NOW_NS,
        halt_epoch=0,
        issued_ns=NOW_NS,
        margin_usd=1.0,
        max_loss_usd=None,
    )
    return TradeUpdate(
        trade_id=f"t{number}",
        account_id="bench",
        strategy=f"s{number}",
        ordinal=1,
        intent_id="i",
        state="OPEN",
        reason="",
        legs=legs,
        execution_mode="limit",
        policy="atomic",
        exit_conditions=EXITS,
        hard_deadline_ns=None,
        created_ns=NOW_NS,
        opened_ns=NOW_NS,
        closed_ns=None,
        updated_ns=NOW_NS,
        realized_pnl_usd=Decimal(0),
        fees_usd=Decimal(0),
        entry_premium_usd=Decimal(premium),
        grant=grant,
        grant_open=False,
    )


def answered(trades: list[TradeUpdate], view: ChainView) -> int:
    """How many conditions say yes: none, so that all are looked at."""
    yes = 0
    for trade in trades:
        seen = ExitView(trade=trade, account=None, chains={"BTCUSD": view})
        for condition in trade.exit_conditions:
            verdict = evaluate_exit(condition, seen, NOW_NS)
            assert not verdict.waiting, verdict.reason
            yes += verdict.open
    return yes


def answered_bare(trades: list[TradeUpdate], view: ChainView) -> int:
    """Ten comparisons for each trade with one value of each leg read for each."""
    yes = 0
    for trade in trades:
        for _ in trade.exit_conditions:
            total = 0.0
            for leg in trade.legs:
                total += float(leg.quantity) * (view.value(leg.symbol, "mark") or 0.0)
            yes += total > 1e9
    return yes


def in_turn(run: Run, what: str, repeats: int, *calls: Callable[[], Any]) -> list[float]:
    """The median CPU seconds of each call."""
    times: list[list[float]] = [[] for _ in calls]
    gc.disable()
    try:
        for number in run.rounds(ROUNDS + 1, what, quick=2):
            for place, call in enumerate(calls):
                begun = process_time()
                for _ in range(repeats):
                    call()
                if number:
                    times[place].append((process_time() - begun) / repeats)
    finally:
        gc.enable()
    return [median(each) for each in times]


def measure(run: Run) -> list[Row]:
    view = chain()
    assert len(view.instruments) == 1_000
    assert resolved(view) == resolved_bare(view), "ours and the floor choose the same four options"
    ours, bare = in_turn(run, "legs", RESOLUTIONS, lambda: resolved(view), lambda: resolved_bare(view))
    trades = [trade_of(view, number) for number in range(STRATEGIES)]
    assert answered(trades, view) == answered_bare(trades, view) == 0
    looks, reads = in_turn(run, "conditions", 1, lambda: answered(trades, view), lambda: answered_bare(trades, view))
    return [
        row(
            "legs of an iron condor, chain of 1,000",
            ours * 1e6,
            "µs",
            beside="the same choice in bare numpy",
            beside_value=bare * 1e6,
        ),
        row(
            "100 strategies × 10 exits on one snapshot",
            looks * 1e3,
            "ms",
            beside="reading and comparing the legs' marks",
            beside_value=reads * 1e3,
        ),
    ]


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
