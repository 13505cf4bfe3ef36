"""A desk whose trades are rolled from one into the next, and a kill in the middle of such a roll."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.e2e.conftest import make_desk, take_down
from tests.e2e.stack import (
    FINAL,
    Desk,
    all_running,
    assert_books_balance,
    newest_in,
    opened_and_closed,
    signed_legs,
    until,
)

_ROLLER = """
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.strategy import AnyLeg, EntryView, LegSpec, Roll, StrategyConfig, before_expiry, max_hold_hours, strangle


def legs(view: EntryView, now_ns: int) -> list[AnyLeg]:
    # what is selected changes every few seconds, so that there is always something else to roll into
    turn = now_ns // 7_000_000_000 % 2
    return {legs}


def roller() -> StrategyConfig:
    return StrategyConfig(
        name="roller",
        legs_factory=legs,
        legs_underlyings=["ETHUSD"],
        exit_conditions=[max_hold_hours(2)],
        execution_mode="limit",
        execution_params=ExecutionParams(
            phases=(
                LimitPhase(pricing="passive", duration_s=3.0, reprice_interval_s=3.0),
                LimitPhase(pricing="aggressive", duration_s=60.0, reprice_interval_s=2.0, buffer_pct={buffer_pct}),
            ),
            fill_timeout_s=2.0,
            max_requote_rounds=60,
        ),
        roll=Roll(when=[before_expiry(0.5)], net_limit_usd=100_000, max_rolls=100, within_seconds=180),
        max_concurrent_trades=1,
        check_interval_seconds=1,
    )
"""
_KILLS_MAX = 6


@contextmanager
def rolling_desk_of(name: str, number: int, legs: str, *, buffer_pct: float, futures: bool = False) -> Iterator[Desk]:
    """A desk with one strategy, "roller": it opens slowly, so that a kill can hit it, and rolls when it is told to.

    legs: Python that makes its legs in ETH, of which `turn`, 0 or 1, chooses others every seven seconds.
    """
    made = make_desk(
        name, number, ["roller"], {"roller": _ROLLER.format(legs=legs, buffer_pct=buffer_pct)}, futures=futures
    )
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)


def roll_until_a_kill_hits(desk: Desk, victim: str, step: str) -> None:
    """Roll with a kill until it hits that step: on a busy machine it may come too late, and then the successor is
    rolled in its turn."""
    for _ in range(_KILLS_MAX):
        if rolled_with_a_kill(desk, victim, step):
            return
    raise AssertionError(f"no kill hit the {step} of a roll")


def rolled_with_a_kill(desk: Desk, victim: str, step: str) -> bool:
    """Roll the open trade, kill a service meanwhile and see the roll end as if nothing had been; False when the kill
    came after that step."""
    held = until(desk, "a trade is open", lambda: newest_in(desk, "roller", ("OPEN",)))
    trade_id = held["trade_id"]
    pid = desk.pid(victim)
    asked = desk.voldesk("roll", trade_id, "--yes")
    assert asked.code == 0, asked.err

    def closing() -> bool:
        return desk.trade(trade_id)["state"] in ("PENDING_CLOSE", "CLOSING", *FINAL)

    def successor() -> dict[str, Any] | None:
        rows = desk.trades("roller")
        return next((row for row in rows if row["roll"] and row["roll"]["rolled_from"] == trade_id), None)

    until(desk, f"the {step} of the roll has begun", closing if step == "close" else lambda: bool(successor()))
    killed_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    os.kill(pid, signal.SIGKILL)

    def opened() -> dict[str, Any] | None:
        row = successor()
        return row if row is not None and row["state"] == "OPEN" else None

    after = until(desk, f"the successor of {trade_id} is open", opened, timeout_s=240)
    until(desk, "every service is running again", lambda: all_running(desk))
    before = desk.trade(trade_id)
    assert (before["state"], before["rolled_to"]) == ("CLOSED", after["trade_id"])
    bought, sold = opened_and_closed(desk, trade_id)
    assert bought == signed_legs(held)
    assert sold == {symbol: -quantity for symbol, quantity in bought.items()}
    assert opened_and_closed(desk, after["trade_id"]) == (signed_legs(after), {})
    ended_at = before["closed_at"] if step == "close" else after["opened_at"]
    return bool(ended_at >= killed_at)


def assert_one_chain(desk: Desk, at_least: int) -> None:
    """All trades of a desk are one chain, each with the P&L of those before it; and its books balance."""
    oldest_first = [row for row in desk.trades("roller") if row["state"] != "FAILED"][::-1]
    assert {row["state"] for row in oldest_first} == {"OPEN", "CLOSED"}
    assert len(oldest_first) >= at_least
    first = oldest_first[0]["trade_id"]
    total = Decimal(0)
    for number, row in enumerate(oldest_first):
        total += Decimal(row["realized_pnl"]) - Decimal(row["fees"]) - Decimal(row["funding"])
        if not number:
            assert row["roll"] is None
            continue
        link = row["roll"]
        before = oldest_first[number - 1]
        assert (link["chain_id"], link["number"], link["rolled_from"]) == (first, number, before["trade_id"])
        assert before["rolled_to"] == row["trade_id"]
        assert Decimal(link["chain_pnl"]) == total
    assert_books_balance(desk)
