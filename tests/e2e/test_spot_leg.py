"""Coins of spot beside a sold call on a real desk: shown from the venue's book, and never opened."""

from __future__ import annotations

import pytest

from shared.strategy.legs import SPOT_IS_SHOWN_ONLY
from tests.e2e.conftest import make_desk, take_down
from tests.e2e.stack import Desk, until

COVERED = """
from shared.strategy import LegSpec, StrategyConfig, max_loss


def covered() -> StrategyConfig:
    call = LegSpec("C", "sell", "0.1", {"type": "delta", "value": 0.3}, {"dte_min": 2, "dte_max": 21, "target": 7})
    legs = [call, LegSpec.spot("BTC", "buy", {"of_leg": 0})]
    return StrategyConfig(name="covered", legs=legs, exit_conditions=[max_loss(usd=500)], check_interval_seconds=1)
"""


def test_a_covered_call_with_coins_is_shown_from_the_book_and_nothing_is_opened() -> None:
    made = make_desk("spot-leg", 10, ["covered"], {"covered": COVERED}, spot=True)
    started = made.voldesk("up", "--timeout", "180", "--json")
    try:
        assert started.code == 0, started.err + made.logs()
        _is_shown_only(made)
    finally:
        take_down(made)


def _is_shown_only(desk: Desk) -> None:
    until(desk, "the gate names the reason", lambda: _reason(desk) == SPOT_IS_SHOWN_ONLY or None)
    told = desk.look("strategy", "show", "covered", "--json").json
    call, coins = told["legs"]
    assert (coins["symbol"], coins["side"], coins["qty"]) == ("BTCUSDT", "buy", "0.1")
    assert 0 < coins["bid"] <= coins["mark"] <= coins["ask"]
    assert told["structure"] == "short call with long spot"
    assert told["breakevens"] == [pytest.approx(coins["mark"] - call["mark"])]
    assert "unknown_instrument" in [refusal["code"] for refusal in told["risk"]["refusals"]]
    assert desk.trades("covered") == []
    assert desk.venue_orders() == ()


def _reason(desk: Desk) -> str | None:
    gates = desk.look("why", "covered", "--json").json["gates"]
    return next((gate["reason"] for gate in gates if gate["name"] == "legs"), None)
