"""Hedging in a dry run: dry trades of the perpetual, with the P&L that they would have had, and nothing sent."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from services.strategy.rows import DryTradeMoved, StrategyTaken
from shared.messages.control import Halt
from shared.messages.steps import Entry
from shared.messages.trades import TradeUpdate
from shared.strategy import DeltaHedge, LegSpec, max_hold_hours
from tests.unit.perpetuals import chain_with, with_perpetual
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import listing, snapshot
from tests.unit.strategy.test_dry_run import trades_of
from tests.unit.strategy.test_host_control import straddler

HEDGED = "dry-straddler-1"


class DryDialogue(Dialogue):
    """A dry run of one call at the money, hedged, on a market whose index the test moves."""

    def __init__(self, hold_s: float = 3_600, **figures: Any) -> None:
        self.index = 100_000.0
        hedge = DeltaHedge(**{"band": 0.05, "interval_seconds": 5.0} | figures)
        super().__init__(
            straddler(
                legs=[LegSpec("C", "buy", "1", {"type": "closestStrike"}, {"dte": "next"})],
                dry_run=True,
                check_interval_seconds=1,
                delta_hedge=hedge,
                exit_conditions=[max_hold_hours(hold_s / 3_600)],
                max_trades_per_day=1,
            )
        )

    def market(self, **more: Any) -> None:
        listed = with_perpetual(listing(LISTED))
        self.hear(listed, "marketdata")
        chain = snapshot(LISTED, self.now_ns, index=self.index, **more)
        self.hear(chain_with(chain, listed, self.index), "marketdata")

    def hedges(self) -> list[TradeUpdate]:
        return sorted((each for each in trades_of(self) if each.hedge_of), key=lambda each: each.ordinal)

    def held(self) -> float:
        """Coins that the hedges hold, signed."""
        legs = [leg for each in self.hedges() for leg in each.legs]
        return float(sum(leg.held_quantity if leg.side == "buy" else -leg.held_quantity for leg in legs))


def hedged(**figures: Any) -> DryDialogue:
    desk = DryDialogue(**figures)
    desk.ready()
    desk.wait(3)
    return desk


def test_a_trade_of_a_dry_run_is_hedged_at_the_touch_by_a_dry_trade_and_nothing_is_sent() -> None:
    desk = hedged()
    (hedge,) = desk.hedges()
    (leg,) = hedge.legs
    assert (hedge.trade_id, hedge.strategy, hedge.hedge_of) == ("dry-straddler.hedge-1", "straddler.hedge", HEDGED)
    assert (leg.symbol, leg.side, leg.open_price) == ("BTCUSD", "sell", D("99995.0")), "sold at the bid"
    assert float(leg.quantity) == pytest.approx(0.5, abs=0.03)
    assert hedge.fees_usd == D("0.0006") * D("99995.0") * leg.quantity
    assert hedge.entry_premium_usd == 0
    assert desk.sent == []
    assert "delta with hedge" in desk.status().reason
    assert desk.status().open_trades == 1, "a hedge takes no place"


def test_it_is_added_to_and_taken_back_in_parts_no_sooner_than_its_interval() -> None:
    desk = hedged()
    first = desk.held()
    desk.index = 103_000.0
    desk.wait(1)
    assert desk.held() == first, "the interval is not over"
    desk.wait(6)
    more = desk.held()
    assert more < first - 0.05
    assert len(desk.hedges()) == 2
    desk.index = 100_000.0
    desk.wait(8)
    assert desk.held() == pytest.approx(first, abs=0.06)
    reduced = next(each for each in desk.hedges() if each.legs[0].closed_quantity)
    assert reduced.realized_pnl_usd < 0, "bought back dearer or at the ask"
    assert desk.sent == []


def test_what_it_came_to_counts_its_hedges_and_they_end_with_it() -> None:
    desk = hedged(hold_s=12)
    desk.index = 98_000.0
    desk.wait(14)
    ended = trades_of(desk)
    assert {each.state for each in ended} == {"CLOSED"}
    hedges = [each for each in ended if each.hedge_of]
    assert f"{HEDGED}, which it hedges, has ended" in {each.reason for each in hedges}
    assert sum(each.realized_pnl_usd for each in hedges) > 0, "what was sold is cheaper"
    result = desk.status().dry_run
    assert result is not None
    assert (result.open, result.closed) == (0, 1)
    assert result.net_usd == sum(each.net_realized_usd for each in ended)
    assert desk.core.hedges.hedges_of(HEDGED) == ()


def test_a_host_that_starts_anew_finds_its_hedges_and_makes_no_second_one() -> None:
    desk = hedged()
    before = desk.hedges()
    desk.restart()
    desk.ready()
    desk.wait(10)
    assert desk.hedges() == before


def test_while_the_desk_is_halted_nothing_is_added_and_too_much_is_taken_back() -> None:
    desk = hedged()
    first = desk.held()
    desk.halt(Halt(level="no_new_trades", reason="enough", raised_by="anna", raised_ns=desk.now_ns))
    desk.index = 103_000.0
    desk.wait(10)
    assert desk.held() == first
    assert "not added to" in desk.core.hedges.text_of(HEDGED)
    desk.index = 97_000.0
    desk.wait(10)
    assert first < desk.held() <= 0


def test_hedges_of_a_strategy_that_another_host_had_are_forgotten_with_its_trades() -> None:
    desk = hedged()
    rows = [entry for entry in desk.journal if isinstance(entry.row, DryTradeMoved)]
    desk.core.apply(Entry(desk.now_ns, "", StrategyTaken(strategy="straddler", from_host="strategy-slow")))
    assert trades_of(desk) == ()
    for entry in rows:
        desk.core.apply(entry)
    assert len(desk.hedges()) == 1
