"""What happens to a trade whose options expire."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec

from services.execution.config import ExecutionConfig
from services.execution.rows import LegSettled
from shared.messages.steps import RaiseAlert
from shared.messages.venue import VenueExercise
from tests.unit.execution.play import CALL, PUT, SECOND, T0, Script, leg

SOON_NS = T0 + 3_600 * SECOND


def _exercise(symbol: str, quantity: str, cash: str, fee: str = "0") -> VenueExercise:
    return VenueExercise(
        symbol=symbol,
        quantity=D(quantity),
        settlement_price=D(101_000),
        settlement_cash_flow_usd=D(cash),
        fee_usd=D(fee),
        venue_ns=SOON_NS,
    )


def test_a_held_trade_settles_from_the_exercise_history_delivery_fee_included() -> None:
    script = Script(expiry_ns=SOON_NS).started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    fees = script.core.book.trades[trade_id].fees_usd
    script.wait(3_600_000)
    assert script.state(trade_id) == "SETTLING"
    assert "expiry" in script.fetches()
    script.snapshot()
    assert script.state(trade_id) == "SETTLING"
    script.wait(61_000)
    assert "settlement" in script.fetches()
    script.snapshot(exercises=[_exercise(CALL, "-1", "-1000", "15"), _exercise(PUT, "-1", "0")])
    settled = script.trade(trade_id)
    assert settled.state == "SETTLED"
    assert settled.fees_usd == fees + 15
    # sold at 980 and 882, paid 1000 for the call
    assert settled.realized_pnl_usd == D(862)
    script.snapshot(exercises=[_exercise(CALL, "-1", "-1000", "15")])
    assert script.core.book.trades[trade_id].fees_usd == fees + 15


def test_two_trades_share_one_settlement_by_what_they_hold() -> None:
    script = Script(expiry_ns=SOON_NS).started()
    first = script.opened(leg(CALL, "sell", "1"))
    second = script.opened(leg(CALL, "sell", "3"), ordinal=1)
    script.wait(3_600_000)
    script.snapshot(exercises=[_exercise(CALL, "-4", "-4000", "40")])
    book = script.core.book
    assert [book.trades[t].state for t in (first, second)] == ["SETTLED", "SETTLED"]
    assert [book.trades[t].fees_usd - D("0.5") for t in (first, second)] == [D(10), D(30)]


def test_shares_of_a_settlement_that_do_not_divide_are_the_settlement_to_the_last_decimal() -> None:
    script = Script(expiry_ns=SOON_NS).started()
    for ordinal in range(3):
        script.opened(leg(CALL, "sell"), ordinal=ordinal)
    script.wait(3_600_000)
    script.snapshot(exercises=[_exercise(CALL, "-3", "-1000", "0.5")])
    settled = script.rows(LegSettled)
    assert [row.cash_flow_usd for row in settled] == [D("-333.333333"), D("-333.333333"), D("-333.333334")]
    assert sum(row.fee_usd for row in settled) == D("0.5")


def test_a_missing_settlement_is_alarmed() -> None:
    script = Script(msgspec.structs.replace(ExecutionConfig(), settlement_alert_ms=600_000), expiry_ns=SOON_NS)
    script.started()
    script.opened(leg(CALL, "sell"))
    script.wait(3_600_000 + 700_000)
    assert "settlement_missing" in script.alerts()


def test_what_was_alarmed_of_a_close_that_found_no_price_is_over_when_the_trade_settles() -> None:
    script = Script(expiry_ns=SOON_NS).started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.wait(3_600_000 - 1_800_000)
    script.chain_options = {"markless": [CALL], "bookless": [CALL]}
    script.wait(6_000)
    script.close(trade_id)
    script.wait(60_000)
    assert "close_unpriced" in script.alerts()
    script.wait(1_800_000)
    assert script.state(trade_id) == "SETTLING"
    script.take(RaiseAlert)
    script.snapshot(exercises=[_exercise(CALL, "-1", "-1000")])
    assert script.state(trade_id) == "SETTLED"
    ended = [(alert.code, alert.subject) for alert in script.take(RaiseAlert) if alert.resolved]
    assert ("close_unpriced", f"{trade_id}/{CALL}") in ended


def test_with_the_close_policy_the_trade_is_closed_before_trading_ends() -> None:
    script = Script(msgspec.structs.replace(ExecutionConfig(), expiry_policy="close"), expiry_ns=SOON_NS).started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.wait((3_600 - 900 - 900 - 10) * 1_000)
    assert script.state(trade_id) == "OPEN"
    script.wait(20_000)
    assert script.state(trade_id) == "CLOSING"
    assert len(script.placed()) == 1


def test_a_close_that_meets_the_end_of_trading_places_nothing_more_and_settles() -> None:
    script = Script(expiry_ns=SOON_NS).started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.wait((3_600 - 890) * 1_000)
    script.close(trade_id)
    assert script.placed() == []
    assert "no longer trades" in script.trade(trade_id).reason
    script.wait(900_000)
    assert script.state(trade_id) == "SETTLING"


def test_positions_of_expired_options_are_no_difference() -> None:
    script = Script(expiry_ns=SOON_NS).started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.wait(3_600_000)
    for _ in range(3):
        script.wait(3_000)
        script.snapshot()
    assert script.state(trade_id) == "SETTLING"
    assert "leg_closed_outside" not in script.alerts()
