"""A call sold against coins that the trade buys, on a real desk: killed while it is open, and closed to the lot."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.e2e.conftest import make_desk, take_down
from tests.e2e.stack import Desk, all_running, filled_at_venue, newest_in, until

COVERED = """
from shared.strategy import StrategyConfig, covered_call, max_hold_hours


def covered() -> StrategyConfig:
    return StrategyConfig(
        name="covered",
        legs=covered_call("0.01", {"dte_min": 2, "dte_max": 21, "target": 7}, buys_coins=True),
        exit_conditions=[max_hold_hours(6)],
        execution_mode="limit",
        max_trades_per_day=1,
        check_interval_seconds=1,
    )
"""


def test_a_covered_call_buys_its_coins_outlives_a_kill_and_sells_them_to_the_last_lot() -> None:
    made = make_desk("spot-leg", 10, ["covered"], {"covered": COVERED}, spot=True)
    started = made.voldesk("up", "--timeout", "180", "--json")
    try:
        assert started.code == 0, started.err + made.logs()
        _is_traded(made)
    finally:
        take_down(made)


def _coins(desk: Desk) -> Decimal:
    held = desk.at_venue(lambda gateway: gateway.holdings())
    return held["BTC"].cash if "BTC" in held else Decimal(0)


def _is_traded(desk: Desk) -> None:
    shown = desk.look("strategy", "show", "covered", "--json").json
    call, coins = shown["legs"]
    assert (coins["symbol"], coins["side"], coins["qty"]) == ("BTCUSDT", "buy", "0.01")
    assert 0 < coins["bid"] <= coins["mark"] <= coins["ask"]
    assert shown["structure"] == "short call with long spot"
    assert shown["breakevens"] == [pytest.approx(coins["mark"] - call["mark"])]
    trade_id = until(desk, "the trade is open", lambda: newest_in(desk, "covered", ("OPEN",)))["trade_id"]
    filled = filled_at_venue(desk, trade_id)
    assert filled["BTCUSDT", "open"] == Decimal("0.01")
    held = _coins(desk)
    assert held == Decimal("0.00999")
    legs = {row["symbol"]: row for row in desk.trade(trade_id)["legs"]}
    assert Decimal(legs["BTCUSDT"]["held_qty"]) == Decimal("0.00999")
    position = until(desk, "risk shows the coins", lambda: _position(desk, "BTCUSDT"))
    assert Decimal(str(position["qty"])) == Decimal("0.00999")

    desk.kill("execution")
    until(desk, "execution is back", lambda: all_running(desk))
    until(desk, "the trade is still open", lambda: desk.trade(trade_id)["state"] == "OPEN")

    assert desk.voldesk("close", trade_id, "-y").code == 0
    until(desk, "the trade is closed", lambda: desk.trade(trade_id)["state"] == "CLOSED")
    filled = filled_at_venue(desk, trade_id)
    assert filled["BTCUSDT", "close"] == Decimal("-0.00999")
    assert _coins(desk) == 0
    assert desk.venue_positions() == {}
    differences = desk.look("reconcile", "--json").json
    assert [each for each in differences["differences"] if each["stands"]] == []


def _position(desk: Desk, symbol: str) -> dict[str, str] | None:
    rows = desk.look("positions", "--json").json
    return next((row for row in rows if row["symbol"] == symbol), None)
