"""A trade of a dated future and the perpetual is rolled once, whatever is killed between its steps, and its chain
keeps what prices, fees and funding made of it."""

from __future__ import annotations

from decimal import Decimal as D

from services.execution.rows import TradeRequested
from shared.messages.trades import TellTrade, TradeAccepted, TradeStory, TradeUpdate
from shared.messages.venue import NewOrder, VenuePosition
from tests.unit.execution.play import SECOND, leg, position, seen
from tests.unit.execution.test_dated_future_trades import NEAR, QUARTER, FutureScript
from tests.unit.execution.test_perpetual_trades import payment

PERPETUAL = "BTCUSD"


class RollScript(FutureScript):
    """Execution that is killed at will: the venue shows what was held."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.kills = 0

    def positions(self) -> list[VenuePosition]:
        book = self.core.book
        marks = {PERPETUAL: self.mark, **self.quoted}
        held = {symbol: book.net_quantity(symbol) for symbol in marks}
        return [position(symbol, str(held[symbol]), marks[symbol]) for symbol in sorted(marks) if held[symbol]]

    def killed(self, *live: NewOrder) -> None:
        """A new one has the journal, and sees at the venue what is held and which orders are live."""
        before = self.core.book
        self.kills += 1
        self.restarted().snapshot(positions=self.positions(), orders=[seen(each, "new") for each in live])
        assert self.core.book.trades.keys() == before.trades.keys()
        assert self.placed() == [], "what was sent is not sent again"

    def fill_all(self) -> None:
        """Fill what is sent until nothing more is, and be killed before and after each fill."""
        live = self.placed()
        while live:
            self.killed(*live)
            order = live.pop(0)
            self.number += 1
            self.filled(order, self.number)
            live += self.placed()
            if not live:
                self.killed()
            self.wait(1_000)
            live += self.placed()

    def shown(self, trade_id: str) -> TradeUpdate:
        story = self.ask(TellTrade(trade_id=trade_id))
        assert isinstance(story, TradeStory)
        return story.trade


def net_usd(trade: TradeUpdate) -> D:
    return trade.realized_pnl_usd - trade.fees_usd - trade.funding_usd


def test_a_carry_is_rolled_once_through_a_kill_at_each_step_and_the_chain_counts_prices_fees_and_funding() -> None:
    script = RollScript()
    script.started()
    first = str(script.trade(leg(PERPETUAL, "buy", "0.1"), leg(NEAR, "sell", "0.1")).trade_id)
    script.fill_all()
    assert script.core.book.trades[first].state == "OPEN"
    funded_ns = script.now_ns
    script.market_at(script.now_ns + 60 * SECOND)
    script.snapshot(positions=script.positions(), funding=[payment("0.1", "-1.5", funded_ns)])
    script.quoted[NEAR] = 100_060.0
    script.wait(1_000)
    script.close(first, requested_by="strategy demo")
    script.fill_all()
    told = script.shown(first)
    assert (told.state, told.funding_usd) == ("CLOSED", D("1.5"))
    perpetual, future = told.legs
    assert perpetual.close_price is not None
    assert future.close_price is not None
    assert told.close_cost_usd == (future.close_price - perpetual.close_price) * D("0.1")
    asked = {"rolled_from": first, "price_limits": (D(100_300), D(100_700)), "ordinal": 1}
    answer = script.trade(leg(PERPETUAL, "buy", "0.1"), leg(QUARTER, "sell", "0.1"), **asked)
    assert isinstance(answer, TradeAccepted)
    script.fill_all()
    after = script.shown(answer.trade_id)
    assert after.state == "OPEN"
    assert after.roll is not None
    assert (after.roll.chain_id, after.roll.number, after.roll.rolled_from) == (first, 1, first)
    assert after.roll.earlier_pnl_usd == net_usd(told) != told.realized_pnl_usd - told.fees_usd
    assert script.shown(first).rolled_to == answer.trade_id
    assert after.chain_pnl_usd == net_usd(told) + net_usd(after)
    requested = [each.row.request.rolled_from for each in script.entries if isinstance(each.row, TradeRequested)]
    assert requested == ["", first]
    assert script.kills > 6
    assert script.refolded().book == script.core.book


def test_the_successor_of_a_future_goes_no_further_than_what_is_left_of_the_net_limit() -> None:
    """The grant allows half a per cent past mark; what the close has left allows 20 USD."""
    for side, limit in (("buy", D(101_020)), ("sell", D(100_980))):
        script = FutureScript()
        script.started()
        script.trade(leg(QUARTER, side, "0.1"), price_limits=(limit,))
        (order,) = script.placed()
        assert order.price == limit
