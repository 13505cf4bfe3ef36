"""Funding in a dry run: what the perpetual would have paid or received, once, over restarts and silences."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.strategy.rows import DryTradeMoved, Row
from shared.strategy import DeltaHedge, LegSpec, max_hold_hours, max_loss
from shared.strategy.legs import AnyLeg
from tests.unit.dated_futures import chain_with_futures, with_futures
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import HOUR, SECOND, at, listing, snapshot
from tests.unit.strategy.test_dry_run import dry, trades_of

D = Decimal
FUNDING_NS = at("2026-03-04T16:00")
PERIOD_NS = 8 * HOUR
FUTURE = "BTCUSD-27MAR26"


class FundedDialogue(Dialogue):
    """A market whose perpetual has this mark, and a rate of the funding that comes next."""

    def __init__(self, *legs: AnyLeg, begins_ns: int = FUNDING_NS - 10 * SECOND, **more: Any) -> None:
        self.mark = 100_000.0
        self.rate = 0.0001
        self.rate_ahead = 0.0001
        fields: dict[str, Any] = {"legs": list(legs), "max_trades_per_day": 1, "exit_conditions": [max_loss(usd=1e6)]}
        super().__init__(dry(**fields | more), now_ns=begins_ns)
        self.ready()

    def market(self, **more: Any) -> None:
        listed = with_futures(listing(LISTED), FUTURE)
        self.hear(listed, "marketdata")
        chain = snapshot(LISTED, self.now_ns, index=self.mark, **more)
        chain = chain_with_futures(chain, listed, {FUTURE: self.mark + 500}, self.mark)
        assert chain.perpetual is not None
        ahead_ns = (self.now_ns // PERIOD_NS + 1) * PERIOD_NS
        rate = self.rate if ahead_ns == FUNDING_NS else self.rate_ahead
        quote = msgspec.structs.replace(chain.perpetual, funding_rate=rate, next_funding_ns=ahead_ns)
        self.hear(msgspec.structs.replace(chain, perpetual=quote), "marketdata")

    def funding(self) -> list[Decimal]:
        return [each.funding_usd for each in trades_of(self)]


def perpetual(side: Any = "buy", quantity: str = "0.1") -> AnyLeg:
    return LegSpec.perpetual("BTC", side, quantity)


def funded_rows(desk: Dialogue) -> list[DryTradeMoved]:
    rows = [entry.row for entry in desk.journal if isinstance(entry.row, DryTradeMoved)]
    return [row for row in rows if row.trade.funding_usd and not row.trade.is_final]


@pytest.mark.parametrize(
    ("side", "rate", "paid"),
    [("buy", 0.0001, "1"), ("sell", 0.0001, "-1"), ("buy", -0.0003, "-3"), ("sell", -0.0003, "3")],
)
def test_longs_pay_shorts_by_the_rate_and_the_other_way_round_below_0(side: Any, rate: float, paid: str) -> None:
    desk = FundedDialogue(perpetual(side))
    desk.rate = rate
    desk.wait(9)
    assert desk.funding() == [0]
    desk.wait(3)
    (trade,) = trades_of(desk)
    assert trade.funding_usd == pytest.approx(D(paid))
    assert trade.state == "OPEN"
    desk.wait(30)
    assert desk.funding() == [trade.funding_usd], "once"
    assert desk.sent == []


def test_it_goes_by_the_rate_and_mark_that_were_seen_last_before_it() -> None:
    desk = FundedDialogue(perpetual())
    desk.wait(5)
    desk.mark, desk.rate, desk.rate_ahead = 102_000.0, 0.0002, 0.005
    desk.wait(5)
    desk.mark = 120_000.0
    desk.wait(2)
    assert desk.funding() == [pytest.approx(D("0.1") * 102_000 * D("0.0002"))]


def test_it_is_in_the_pnl_in_the_sum_and_in_what_ends_a_trade() -> None:
    desk = FundedDialogue(perpetual(), exit_conditions=[max_loss(usd=80)])
    desk.rate = 0.01
    desk.wait(9)
    assert [trade.state for trade in trades_of(desk)] == ["OPEN"]
    desk.wait(3)
    (trade,) = trades_of(desk)
    assert trade.state == "CLOSED", "the funding alone is more than it may lose"
    assert trade.funding_usd == pytest.approx(D(100))
    assert trade.net_realized_usd == trade.realized_pnl_usd - trade.fees_usd - trade.funding_usd
    result = desk.status().dry_run
    assert result is not None
    assert (result.net_usd, result.funding_usd) == (trade.net_realized_usd, trade.funding_usd)
    assert "funding +100.00 USD paid" in desk.status().reason


@pytest.mark.parametrize("down_s", [1, 3_600])
def test_a_host_that_is_killed_charges_once_whether_it_dies_before_or_after(down_s: int) -> None:
    desk = FundedDialogue(perpetual())
    desk.wait(5)
    desk.restart()
    assert desk.now_ns < FUNDING_NS
    # nobody looks while the funding passes
    desk.now_ns = FUNDING_NS + down_s * SECOND
    desk.rate_ahead, desk.mark = 0.0002, 101_000.0
    desk.ready()
    desk.wait(3)
    assert desk.funding() == [pytest.approx(D("0.1") * 101_000 * D("0.0002"))], "by what is seen after it"
    for _ in range(3):
        desk.restart()
        desk.ready()
        desk.wait(3)
    assert len(funded_rows(desk)) == 1
    assert desk.funding() == [funded_rows(desk)[0].trade.funding_usd]


def test_what_passed_while_the_host_was_down_for_a_day_is_all_in_it() -> None:
    desk = FundedDialogue(perpetual())
    desk.wait(3)
    desk.restart()
    desk.now_ns += 24 * HOUR
    desk.ready()
    desk.wait(2)
    assert desk.funding() == [pytest.approx(D(3))]
    assert [row.funded_ns for row in funded_rows(desk)] == [FUNDING_NS + 2 * PERIOD_NS]


@pytest.mark.parametrize("begins_s", [0, 2])
def test_who_opens_at_the_instant_or_after_it_pays_nothing(begins_s: int) -> None:
    desk = FundedDialogue(perpetual(), begins_ns=FUNDING_NS + begins_s * SECOND)
    desk.wait(20)
    assert [trade.state for trade in trades_of(desk)] == ["OPEN"]
    assert desk.funding() == [0]


def test_who_closes_before_it_pays_nothing_and_who_is_to_close_at_the_instant_pays() -> None:
    desk = FundedDialogue(perpetual(), exit_conditions=[max_hold_hours(5 / 3600)])
    desk.wait(20)
    assert [(trade.state, trade.funding_usd) for trade in trades_of(desk)] == [("CLOSED", 0)]
    desk = FundedDialogue(perpetual(), exit_conditions=[max_hold_hours(10 / 3600)])
    (opened,) = trades_of(desk)
    assert opened.opened_ns == FUNDING_NS - 10 * SECOND
    desk.wait(9.5)
    desk.now_ns = FUNDING_NS
    desk.surroundings()
    (trade,) = trades_of(desk)
    assert (trade.state, trade.closed_ns) == ("CLOSED", FUNDING_NS)
    assert trade.funding_usd == pytest.approx(D(1))


def test_without_a_rate_it_waits_and_says_so_and_is_charged_once_there_is_one() -> None:
    desk = FundedDialogue(perpetual())
    desk.rate = desk.rate_ahead = math.nan
    desk.restart()
    desk.ready()
    desk.wait(15)
    assert desk.funding() == [0]
    assert "dry-straddler-1: funding waits: no fresh funding rate and mark of BTCUSD" in desk.status().reason
    desk.rate_ahead = 0.0001
    desk.wait(2)
    assert desk.funding() == [pytest.approx(D(1))]
    assert "funding waits" not in desk.status().reason


def test_a_dated_future_and_an_option_have_none_and_a_carry_pays_for_its_perpetual_alone() -> None:
    future = LegSpec.future("BTC", "sell", "0.1", {"symbol": "27MAR26"})
    desk = FundedDialogue(future)
    desk.wait(15)
    assert desk.funding() == [0]
    desk = FundedDialogue(perpetual(), future)
    desk.wait(15)
    assert desk.funding() == [pytest.approx(D(1))]


def test_a_successor_of_a_roll_has_the_funding_of_the_trade_before_it_in_its_chain() -> None:
    desk = FundedDialogue(perpetual())
    desk.wait(15)
    (trade,) = trades_of(desk)
    ended = desk.core._dry.close(trade, "roll", desk.now_ns)
    assert ended is not None
    assert ended.chain_pnl_usd == ended.realized_pnl_usd - ended.fees_usd - D(1)


def test_rows_of_before_there_was_funding_are_read_and_a_charge_is_read_again_as_it_was() -> None:
    desk = FundedDialogue(perpetual())
    desk.wait(15)
    (row,) = funded_rows(desk)
    decode = msgspec.msgpack.Decoder(Row).decode
    assert decode(msgspec.msgpack.encode(row)) == row
    old = msgspec.to_builtins(row)
    del old["funded_ns"]
    assert msgspec.convert(old, DryTradeMoved).funded_ns == 0


def test_hedges_of_a_dry_run_pay_too_and_are_adjusted_no_later_for_it() -> None:
    call = LegSpec("C", "buy", "1", {"type": "closestStrike"}, {"dte": "next"})
    desk = FundedDialogue(call, delta_hedge=DeltaHedge(band=0.05, interval_seconds=5.0))
    desk.wait(4)
    hedge = next(each for each in trades_of(desk) if each.hedge_of)
    desk.wait(10)
    hedged = next(each for each in trades_of(desk) if not each.hedge_of)
    paid = next(each for each in trades_of(desk) if each.hedge_of)
    assert (hedged.funding_usd, paid.trade_id) == (0, hedge.trade_id)
    assert paid.funding_usd == pytest.approx(-hedge.legs[0].quantity * 10), "it is short"
    assert paid.updated_ns == hedge.updated_ns
    result = desk.status().dry_run
    assert result is not None
    assert result.funding_usd == paid.funding_usd
