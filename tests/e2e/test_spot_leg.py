"""A call sold against coins that the trade buys, on a real desk: killed while it is open, and closed to the lot; and
beside a cash rule that sells of the account's own coins."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.messages.venue import OPEN_VENUE_STATES, VenueHolding
from shared.venues.ports import VenueError
from tests.e2e.conftest import make_desk, take_down
from tests.e2e.stack import Desk, all_running, filled_at_venue, newest_in, until

pytestmark = pytest.mark.e2e

COVERED = """
from shared.strategy import StrategyConfig, covered_call, max_hold_hours


def covered() -> StrategyConfig:
    return StrategyConfig(
        name="covered",
        legs=covered_call("0.01", {{"dte_min": 2, "dte_max": 21, "target": 7}}, buys_coins=True),
        exit_conditions=[max_hold_hours({hours})],
        execution_mode="limit",
        max_trades_per_day=1,
        check_interval_seconds=1,
    )
"""


def test_a_covered_call_buys_its_coins_outlives_a_kill_and_sells_them_to_the_last_lot() -> None:
    made = make_desk("spot-leg", 10, ["covered"], {"covered": COVERED.format(hours=6)}, spot=True)
    started = made.voldesk("up", "--timeout", "180", "--json")
    try:
        assert started.code == 0, started.err + made.logs()
        _is_traded(made)
    finally:
        take_down(made)


def _coins(desk: Desk) -> Decimal:
    """The services share the venue's limit of reads with us: what it does not answer is asked again."""
    held = until(desk, "the venue tells what the account holds", lambda: _holdings(desk))
    return held["BTC"].cash if "BTC" in held else Decimal(0)


def _holdings(desk: Desk) -> dict[str, VenueHolding] | None:
    try:
        return desk.at_venue(lambda gateway: gateway.holdings())
    except VenueError as error:
        if error.kind != "throttled":
            raise
        return None


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


HELD_S = 45
RULE = """
[exchange]
paper_assets = { BTC = "0.05" }

[execution.cash]
mode = "on"
keep = "0.02"
minimum_usdt = "1000000"
cap_usd = "100000"
interval_s = 2
check_s = 1
rest_s = 1
"""
"""Never content: it sells all coins that it may, whenever it looks."""

KEPT = Decimal("0.02")


@pytest.mark.long
def test_a_cash_rule_that_wants_all_coins_leaves_those_of_a_trade_until_its_exit_sells_them() -> None:
    strategy = COVERED.format(hours=HELD_S / 3600)
    made = make_desk("spot-cash", 11, ["covered"], {"covered": strategy}, spot=True, sections=RULE)
    started = made.voldesk("up", "--timeout", "180", "--json")
    try:
        assert started.code == 0, started.err + made.logs()
        _leaves_the_trades_coins(made)
    finally:
        take_down(made)


def _leaves_the_trades_coins(desk: Desk) -> None:
    trade_id = until(desk, "the trade is open", lambda: newest_in(desk, "covered", ("OPEN",)))["trade_id"]
    desk.kill("execution")
    until(desk, "execution is back", lambda: all_running(desk))
    until(desk, "the own coins are sold", lambda: _coins(desk) == KEPT + Decimal("0.00999") or None)
    now = until(desk, "the rule finds nothing more", lambda: _nothing_free(desk))
    assert "0.00999 are trades'" in now
    until(desk, "its exit has closed the trade", lambda: desk.trade(trade_id)["state"] == "CLOSED")
    assert filled_at_venue(desk, trade_id)["BTCUSDT", "close"] == Decimal("-0.00999")
    assert _coins(desk) == KEPT
    assert desk.venue_positions() == {}
    assert [order for order in desk.venue_orders() if order.state in OPEN_VENUE_STATES] == []


def _nothing_free(desk: Desk) -> str | None:
    now = desk.look("cash", "--json").json
    return str(now["detail"]) if now["code"] == "nothing_free" else None
