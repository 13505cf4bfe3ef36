"""A dry run: the whole life of a trade on live prices, nothing sent, with the P&L that it would have had."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.messages.control import DryTradeList, ListDryTrades
from shared.messages.steps import Request, Tick
from shared.messages.trades import TradeUpdate
from shared.strategy import LegSpec, max_hold_hours, profit_target
from shared.strategy.views import ExitView
from tests.unit.dated_futures import chain_with_futures, with_futures
from tests.unit.perpetuals import chain_with, with_perpetual
from tests.unit.spot_pairs import chain_with_pair, with_pair
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import DAY, HOUR, NOON, SECOND, at, listing, snapshot
from tests.unit.strategy.test_host_control import straddler

CALL = "BTCUSD-5MAR26-100000-C"


def dry(**more: Any) -> Any:
    given: dict[str, Any] = {
        "legs": [LegSpec("C", "buy", "0.1", {"type": "closestStrike"}, {"dte": "next"})],
        "dry_run": True,
        "check_interval_seconds": 1,
    }
    return straddler(**given | more)


def trades_of(desk: Dialogue, strategy: str = "straddler") -> tuple[TradeUpdate, ...]:
    desk.put(Request(f"dry {desk.now_ns}", ListDryTrades(strategy=strategy), "cli"))
    answer = desk.replies[f"dry {desk.now_ns}"]
    assert isinstance(answer, DryTradeList)
    return answer.trades


def quoted(desk: Dialogue, symbol: str) -> tuple[Decimal, Decimal]:
    quote = desk.core._board.chains["BTCUSD"].quote(symbol)
    assert quote is not None
    return Decimal(str(quote.bid)), Decimal(str(quote.ask))


def test_a_trade_is_opened_at_the_touch_with_the_venues_fee_and_nothing_is_sent() -> None:
    desk = Dialogue(dry())
    desk.ready()
    (trade,) = trades_of(desk)
    (leg,) = trade.legs
    assert (trade.trade_id, trade.state, leg.symbol) == ("dry-straddler-1", "OPEN", CALL)
    assert leg.open_price is not None
    assert float(leg.open_price) == pytest.approx(float(quoted(desk, CALL)[1]), rel=1e-3)
    assert trade.fees_usd == min(Decimal("0.0004") * 100_000, Decimal("0.125") * leg.open_price) * Decimal("0.1")
    assert trade.entry_premium_usd == leg.open_price * Decimal("0.1")
    assert desk.sent == []


def test_its_exit_closes_it_on_the_other_side_of_the_book_and_the_strategy_is_told_once() -> None:
    told: list[str] = []
    desk = Dialogue(
        dry(exit_conditions=[max_hold_hours(10 / 3600)], on_trade_closed=lambda t: told.append(t.trade_id))
    )
    desk.ready()
    (opened,) = trades_of(desk)
    desk.wait(10)
    first = next(trade for trade in trades_of(desk) if trade.is_final)
    assert (first.state, first.trade_id, first.closed_ns is None) == ("CLOSED", opened.trade_id, False)
    assert first.reason.startswith("open for ")
    leg = first.legs[0]
    assert leg.close_price is not None
    assert leg.open_price is not None
    assert leg.close_price < leg.open_price, "bought at the ask, sold at the bid"
    assert first.realized_pnl_usd == (leg.close_price - leg.open_price) * Decimal("0.1")
    assert told == ["dry-straddler-1"]
    result = desk.status().dry_run
    assert result is not None
    assert (result.closed, result.net_usd) == (1, first.realized_pnl_usd - first.fees_usd)
    assert desk.sent == []


def test_its_gates_count_its_trades() -> None:
    desk = Dialogue(
        dry(exit_conditions=[max_hold_hours(2 / 3600)], cooldown_seconds=20, max_trades_per_day=2),
    )
    desk.ready()
    assert desk.gate("concurrent_trades").reason == "1 of 1 trades open"
    desk.wait(3)
    assert desk.gate("cooldown").open is False
    desk.wait(60)
    assert len(trades_of(desk)) == 2
    assert desk.gate("trades_per_day").reason == "2 trades today, of 2"


def test_a_target_is_reached_on_the_market_that_moved() -> None:
    desk = Dialogue(dry(exit_conditions=[profit_target(pct=50)]))
    desk.ready()
    desk.wait(5)
    assert [trade.state for trade in trades_of(desk)] == ["OPEN"]
    desk.hear(snapshot(LISTED, desk.now_ns, index=104_000), "marketdata")
    desk.now_ns += SECOND
    desk.put(Tick())
    (closed,) = [trade for trade in trades_of(desk) if trade.is_final]
    assert closed.realized_pnl_usd > 0
    assert "P&L" in closed.reason


def test_it_survives_a_restart_with_its_sums() -> None:
    desk = Dialogue(dry(exit_conditions=[max_hold_hours(5 / 3600)], max_trades_per_day=2))
    desk.ready()
    desk.wait(8)
    before, result = trades_of(desk), desk.status().dry_run
    assert [trade.state for trade in before] == ["CLOSED", "OPEN"]
    desk.restart()
    assert trades_of(desk) == before
    after = desk.status().dry_run
    assert result is not None
    assert after is not None
    assert (after.open, after.closed, after.net_usd) == (result.open, result.closed, result.net_usd)
    desk.synced()
    desk.wait(8)
    assert [trade.state for trade in trades_of(desk)] == ["CLOSED", "CLOSED"]


def test_a_leg_without_a_price_opens_nothing_and_says_so() -> None:
    desk = Dialogue(dry())
    desk.synced()
    desk.beat()
    desk.market(missing={"ask": ["*"]})
    desk.surroundings()
    desk.market(missing={"ask": ["*"]})
    desk.now_ns += SECOND
    desk.put(Tick())
    assert trades_of(desk) == ()
    assert desk.status().reason.startswith(f"last signal refused: dry run: {CALL} has no ask")


def test_a_close_waits_for_a_market_and_takes_mark_where_nobody_bids() -> None:
    desk = Dialogue(dry(exit_conditions=[max_hold_hours(15 / 3600)], max_trades_per_day=1))
    desk.ready()
    desk.wait(20, fresh=False)
    assert [trade.state for trade in trades_of(desk)] == ["OPEN"], "the chain is old"
    desk.beat()
    desk.market(missing={"bid": ["*"]})
    mark = desk.core._board.chains["BTCUSD"].value(CALL, "mark")
    desk.now_ns += 6 * SECOND
    desk.put(Tick())
    (closed,) = trades_of(desk)
    assert (closed.state, closed.legs[0].close_price) == ("CLOSED", Decimal(str(mark)))


def test_an_expiry_settles_it_at_the_index() -> None:
    desk = Dialogue(dry(max_trades_per_day=1))
    desk.ready()
    desk.hear(snapshot(LISTED, desk.now_ns, index=103_000), "marketdata")
    desk.now_ns = at("2026-03-05T08:00") + SECOND
    desk.hear(snapshot(LISTED, desk.now_ns, index=103_500), "marketdata")
    desk.put(Tick())
    (settled,) = trades_of(desk)
    assert (settled.state, settled.legs[0].close_price) == ("SETTLED", Decimal(3500))
    assert settled.reason == f"{CALL} has expired"
    assert settled.closed_ns is not None
    assert settled.closed_ns - NOON < DAY


def test_a_strategy_told_to_stop_is_stopping_until_its_dry_trade_has_ended() -> None:
    desk = Dialogue(dry(exit_conditions=[max_hold_hours(10 / 3600)]))
    desk.ready()
    desk.command("stop")
    assert desk.status().state == "stopping"
    desk.wait(15)
    assert desk.status().state == "stopped"
    assert len(trades_of(desk)) == 1


def test_a_function_of_its_own_decides_on_its_exit() -> None:
    def after_three(view: ExitView, now_ns: int) -> bool:
        return now_ns - view.opened_ns >= 3 * SECOND

    desk = Dialogue(dry(exit_conditions=[after_three], max_trades_per_day=1))
    desk.ready()
    desk.wait(5)
    assert [trade.reason for trade in trades_of(desk)] == ["after_three() says True"]


@pytest.mark.parametrize("strategy", ["straddler", "nobody"])
def test_without_a_dry_run_there_is_nothing_to_list(strategy: str) -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.now_ns += HOUR
    assert trades_of(desk, strategy) == ()
    assert desk.status().dry_run is None


class OldPerpetual(Dialogue):
    """A market whose options are fresh and whose perpetual was heard of `old_s` ago."""

    old_s = 0

    def market(self, **more: Any) -> None:
        listed = with_perpetual(listing(LISTED))
        chain = chain_with(snapshot(LISTED, self.now_ns, **more), listed)
        assert chain.perpetual is not None
        old = msgspec.structs.replace(chain.perpetual, received_ns=self.now_ns - self.old_s * SECOND)
        self.hear(listed, "marketdata")
        self.hear(msgspec.structs.replace(chain, perpetual=old), "marketdata")


@pytest.mark.parametrize(("old_s", "opened"), [(1, 1), (11, 0)])
def test_a_perpetual_is_opened_at_a_fresh_price_of_its_own_alone(old_s: int, opened: int) -> None:
    desk = OldPerpetual(dry(legs=[LegSpec.perpetual("BTC", "buy", 0.1)]))
    desk.old_s = old_s
    desk.ready()
    assert len(trades_of(desk)) == opened
    assert opened or "no fresh price of BTCUSD" in desk.status().reason


class WithFuture(Dialogue):
    """A market with a dated future of tomorrow, a little above the index."""

    future = "BTCUSD-5MAR26"

    def market(self, **more: Any) -> None:
        listed = with_futures(listing(LISTED), self.future)
        chain = snapshot(LISTED, self.now_ns, **more)
        self.hear(listed, "marketdata")
        self.hear(chain_with_futures(chain, listed, {self.future: 100_200.0}), "marketdata")


def test_a_dated_future_is_opened_at_its_touch_and_settles_at_the_index_when_it_expires() -> None:
    desk = WithFuture(dry(legs=[LegSpec.future("BTC", "sell", 0.1, {"dte": 0})], max_trades_per_day=1))
    desk.ready()
    (opened,) = trades_of(desk)
    assert opened.entry_premium_usd == 0
    assert opened.legs[0].open_price == Decimal(100195)
    assert opened.fees_usd == Decimal("0.0006") * Decimal(100195) * Decimal("0.1")
    desk.now_ns = at("2026-03-05T08:00") + SECOND
    listed = with_futures(listing(LISTED), desk.future)
    chain = snapshot(LISTED, desk.now_ns, index=99_000.0)
    desk.hear(chain_with_futures(chain, listed, {desk.future: 100_200.0}), "marketdata")
    desk.put(Tick())
    ended = next(trade for trade in trades_of(desk) if trade.is_final)
    assert (ended.state, ended.legs[0].close_price) == ("SETTLED", Decimal(99_000))
    assert ended.realized_pnl_usd == Decimal("119.5")
    assert "has expired" in ended.reason


class WithPair(Dialogue):
    """A market with the pair of spot, 20 USD wide."""

    def market(self, **more: Any) -> None:
        listed = with_pair(listing(LISTED))
        self.hear(listed, "marketdata")
        self.hear(chain_with_pair(snapshot(LISTED, self.now_ns, **more), listed), "marketdata")


def test_coins_are_held_less_their_fee_in_whole_lots_and_sold_again() -> None:
    legs = [LegSpec.spot("BTC", "buy", "0.1234")]
    desk = WithPair(dry(legs=legs, exit_conditions=[max_hold_hours(10 / 3600)], max_trades_per_day=1))
    desk.ready()
    (opened,) = trades_of(desk)
    (coins,) = opened.legs
    assert (coins.open_price, coins.filled_quantity) == (Decimal("100010.0"), Decimal("0.1234"))
    assert coins.held_quantity == Decimal("0.1232"), "0.0001234 are kept, two lots of 0.0001"
    assert opened.fees_usd == Decimal("0.001") * Decimal(100010) * Decimal("0.1234")
    assert opened.entry_premium_usd == 0
    desk.wait(10)
    ended = next(trade for trade in trades_of(desk) if trade.is_final)
    assert (ended.legs[0].close_price, ended.legs[0].held_quantity) == (Decimal("99990.0"), 0)
    assert ended.realized_pnl_usd == -20 * Decimal("0.1232")
    assert ended.fees_usd == opened.fees_usd + Decimal("0.001") * Decimal(99990) * Decimal("0.1232")
