"""Rolls of trades with futures: the net of whole prices, equal coins, once over a restart at each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.strategy.loaded import LoadedStrategy
from services.strategy.rows import DryTradeMoved, RollBegun, RollEnded, RollOpening
from shared.messages.control import RequestGrant
from shared.messages.trades import LegOrder, OpenTrade, TradeUpdate
from shared.strategy import AnyLeg, EntryView, LegSpec, Roll, StrategyConfig, dte_exit, max_loss, min_equity
from shared.strategy.rolling import cost_to_trade_usd, uneven_futures
from strategies.futures_carry import futures_carry
from tests.unit.dated_futures import chain_with_futures, view_with_futures, with_futures
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import SECOND, at, chain, leg, listing, moved, snapshot, trade
from tests.unit.strategy.test_host_roll import codes, ends, granted, replay, shown, successor

D = Decimal
PERPETUAL, NEAR, FAR = "BTCUSD", "BTCUSD-6MAR26", "BTCUSD-27MAR26"
MARKS = {NEAR: 100_100.0, FAR: 100_600.0}
"""Quoted 5 USD around them, as the perpetual is around 100,000."""


class FutureDialogue(Dialogue):
    """A market with futures beside the options, of which the test says how old their prices are."""

    def __init__(self, *strategies: LoadedStrategy, **more: Any) -> None:
        self.marks = dict(MARKS)
        self.behind_ns = 0
        super().__init__(*strategies, **more)

    def market(self, **more: Any) -> None:
        listed = with_futures(listing(LISTED), NEAR, FAR)
        self.hear(listed, "marketdata")
        shown = chain_with_futures(snapshot(LISTED, self.now_ns, **more), listed, self.marks)
        old_ns = self.now_ns - self.behind_ns
        quotes = tuple(msgspec.structs.replace(each, received_ns=old_ns) for each in shown.futures)
        self.hear(msgspec.structs.replace(shown, futures=quotes), "marketdata")


def quarterly(side: Any, quantity: str = "0.1", *, limit: float, **more: Any) -> LoadedStrategy:
    """A future of Friday that is rolled into the one of three weeks later."""
    fields: dict[str, Any] = {
        "name": "straddler",
        "legs": [LegSpec.future("BTC", side, "0.1", {"symbol": "6MAR26"})],
        "entry_conditions": [min_equity(1e9)],
        "exit_conditions": [max_loss(usd=1e6)],
        "roll": Roll(
            when=[dte_exit(3)],
            net_limit_usd=limit,
            legs=[LegSpec.future("BTC", side, quantity, {"symbol": "27MAR26"})],
        ),
    }
    return LoadedStrategy.from_config(StrategyConfig(**(fields | more)))


def carry(limit: float = 0.0) -> LoadedStrategy:
    """The perpetual bought against a future that is sold: the perpetual stays the same in the successor."""
    return quarterly(
        "sell",
        limit=limit,
        roll=Roll(
            when=[dte_exit(3)],
            net_limit_usd=limit,
            legs=[
                LegSpec.perpetual("BTC", "buy", "0.1"),
                LegSpec.future("BTC", "sell", {"of_leg": 0}, {"symbol": "27MAR26"}),
            ],
        ),
    )


def held(*legs: tuple[str, str]) -> TradeUpdate:
    return trade(legs=[leg(symbol, side, "0.1", "100000") for symbol, side in legs], premium="0")


def rolling(strategy: LoadedStrategy, *legs: tuple[str, str]) -> FutureDialogue:
    desk = FutureDialogue(strategy)
    desk.opened(held(*legs))
    desk.ready()
    return desk


def closed_at(desk: Dialogue, before: TradeUpdate, reason: str, *prices: str) -> TradeUpdate:
    """The trade as execution tells of it once it is closed at these prices."""
    ended = moved(before, "CLOSED", desk.now_ns)
    legs = tuple(
        msgspec.structs.replace(each, closed_quantity=each.quantity, close_price=D(price))
        for each, price in zip(ended.legs, prices, strict=True)
    )
    signs = [-1 if each.side == "buy" else 1 for each in legs]
    cost = sum((sign * D(price) * each.quantity for sign, price, each in zip(signs, prices, legs, strict=True)), D(0))
    return msgspec.structs.replace(ended, legs=legs, close_reason=reason, close_cost_usd=cost)


def test_the_net_of_a_long_future_is_what_the_later_one_is_dearer_by_and_of_a_short_one_as_much_below_0() -> None:
    view = view_with_futures(chain(), MARKS)
    for side, other, sign in (("buy", "sell", 1), ("sell", "buy", -1)):
        closing = [LegOrder(symbol=NEAR, side="sell" if other == "sell" else "buy", quantity=D("0.1"))]
        opening = [LegOrder(symbol=FAR, side="buy" if side == "buy" else "sell", quantity=D("0.1"))]
        parts = [cost_to_trade_usd(legs, lambda _: view) for legs in (closing, opening)]
        assert not any(isinstance(part, str) for part in parts)
        assert sum(float(part) for part in parts) == pytest.approx(sign * 50.0)


@pytest.mark.parametrize(("side", "least"), [("buy", 50.0), ("sell", -50.0)])
def test_a_future_is_rolled_at_the_net_limit_and_not_past_it(side: Any, least: float) -> None:
    desk = rolling(quarterly(side, limit=least - 0.5), (NEAR, side))
    assert desk.sent == []
    assert f"is {least:,.2f} USD net, above the limit of {least - 0.5:,.2f}" in shown(desk)
    desk = rolling(quarterly(side, limit=least + 0.4), (NEAR, side))
    assert [(each.symbol, each.side, each.quantity) for each in desk.last(RequestGrant).legs] == [
        (FAR, side, D("0.1"))
    ]
    assert desk.closes() == []
    granted(desk)
    (close,) = desk.closes()
    at_bid_or_ask = "100095" if side == "buy" else "100105"
    desk.hear(closed_at(desk, held((NEAR, side)), close.reason, at_bid_or_ask))
    assert desk.count(OpenTrade) == 0, "the close cost half a dollar, which is more than there was to spare"
    desk.marks[FAR] += -10.0 if side == "buy" else 10.0
    desk.wait(1)
    asked = desk.last(OpenTrade)
    (worst,) = asked.price_limits
    cost = (-1 if side == "buy" else 1) * D(at_bid_or_ask) * D("0.1")
    net = cost + (1 if side == "buy" else -1) * worst * D("0.1")
    assert D(str(least)) <= net <= D(str(least + 0.4)), "the rest of the limit is the price, and no less of it"


def test_the_limit_of_each_leg_is_such_that_all_keep_the_net_limit_with_a_perpetual_in_both() -> None:
    desk = rolling(carry(limit=-40.0), (PERPETUAL, "buy"), (NEAR, "sell"))
    granted(desk)
    (close,) = desk.closes()
    # bought back 5 above mark, the perpetual sold 5 below
    before = held((PERPETUAL, "buy"), (NEAR, "sell"))
    desk.hear(closed_at(desk, before, close.reason, "99995", "100105"))
    asked = desk.last(OpenTrade)
    assert [(each.symbol, each.side) for each in asked.legs] == [(PERPETUAL, "buy"), (FAR, "sell")]
    bought, sold = asked.price_limits
    assert bought > 100_000
    assert sold < 100_600
    close_cost = (D("100105") - D("99995")) * D("0.1")
    assert close_cost + (bought - sold) * D("0.1") == pytest.approx(D(-40), abs=D("0.000001"))
    assert close_cost + (bought - sold) * D("0.1") <= D(-40)


@pytest.mark.parametrize("quantity", ["0.2", "0.05"])
def test_a_successor_of_more_or_fewer_coins_is_not_opened_as_the_net_price_would_mean_nothing(quantity: str) -> None:
    desk = rolling(quarterly("buy", quantity, limit=1e9), (NEAR, "buy"))
    assert desk.sent == []
    assert f"its futures of BTCUSD are +0.1 coins in all and those of the successor +{quantity}" in shown(desk)


def test_coins_are_bought_less_sold_of_what_is_held_and_options_have_none() -> None:
    both = trade(
        legs=[
            leg(PERPETUAL, "buy", "0.3", closed="0.1"),
            leg(NEAR, "sell", "0.2"),
            leg(LISTED[0].symbol, "sell", "1"),
        ]
    )
    order = LegOrder(symbol=FAR, side="sell", quantity=D("0.1"))
    bought = LegOrder(symbol=PERPETUAL, side="buy", quantity=D("0.10"))
    assert uneven_futures(both, (LegOrder(symbol=LISTED[2].symbol, side="sell", quantity=D(3)),)) is None
    assert uneven_futures(both, (order, bought)) is None
    assert uneven_futures(both, (order,)) is not None
    elsewhere = [msgspec.structs.replace(leg, symbol=leg.symbol.replace("BTC", "ETH")) for leg in (order, bought)]
    assert uneven_futures(both, elsewhere) is None, "as many coins are bought as sold"
    assert uneven_futures(both, elsewhere[:1]) is not None, "as many coins, and not of the same"


def test_a_price_of_a_future_that_is_old_rolls_nothing_though_the_chain_is_fresh() -> None:
    desk = FutureDialogue(quarterly("buy", limit=1e6))
    desk.behind_ns = 11 * SECOND
    desk.opened(held((NEAR, "buy")))
    desk.ready()
    assert desk.sent == []
    assert f"waiting: the price of {NEAR} is 11" in shown(desk)


def _steps(desk: FutureDialogue, before: TradeUpdate) -> None:
    """The roll of a carry to its end, and a host that is killed and finds what execution tells after each step."""
    granted(desk)
    replay(desk, before)
    reason = desk.closes()[0].reason
    closing = msgspec.structs.replace(moved(before, "CLOSING", desk.now_ns), close_reason=reason)
    desk.hear(closing)
    replay(desk, closing)
    done = closed_at(desk, before, reason, "99995", "100105")
    desk.hear(done)
    first = desk.last(OpenTrade)
    replay(desk, done)
    assert desk.last(OpenTrade) == first, "the same is asked again, at the same limits"
    desk.accept("t1002")
    opening = successor(desk, "OPENING")
    desk.hear(opening)
    replay(desk, done, opening)
    after = successor(desk)
    desk.hear(after)
    replay(desk, done, after)


def test_a_host_that_dies_after_each_step_of_a_roll_of_futures_closes_and_opens_once() -> None:
    desk = rolling(carry(), (PERPETUAL, "buy"), (NEAR, "sell"))
    _steps(desk, held((PERPETUAL, "buy"), (NEAR, "sell")))
    desk.wait(5)
    assert desk.count(RequestGrant) == 1
    assert {close.trade_id for close in desk.closes()} == {"t1001"}
    opened = [each.message for each in desk.sent if isinstance(each.message, OpenTrade)]
    assert {(each.intent_id, each.rolled_from) for each in opened} == {("straddler-2", "t1001")}
    assert ends(desk) == ["rolled"]
    written = [type(each.row) for each in desk.journal if isinstance(each.row, RollBegun | RollOpening | RollEnded)]
    assert written == [RollBegun, RollOpening, RollEnded]


def dry(limit: float) -> FutureDialogue:
    desk = FutureDialogue(quarterly("buy", limit=limit, dry_run=True, entry_conditions=[], max_trades_per_day=1))
    desk.ready()
    desk.wait(3)
    assert desk.sent == []
    return desk


def dry_trades(desk: Dialogue) -> list[TradeUpdate]:
    return [entry.row.trade for entry in desk.journal if isinstance(entry.row, DryTradeMoved)]


def test_a_dry_run_rolls_futures_at_the_touch_within_the_net_of_whole_prices() -> None:
    # mark to mark it costs 50, at the touch 51: bought 5 above, sold 5 below
    desk = dry(limit=51.0)
    assert [each.state for each in dry_trades(desk)] == ["OPEN", "CLOSED", "OPEN"]
    (rolled,) = dry_trades(desk)[-1].legs
    assert (rolled.symbol, rolled.open_price, dry_trades(desk)[-1].entry_premium_usd) == (FAR, D("100605.0"), 0)
    desk = dry(limit=50.5)
    assert [each.state for each in dry_trades(desk)] == ["OPEN", "CLOSED"]
    assert codes(desk)[-1] == "roll_ended_flat"


def legs_of(config: StrategyConfig, view: EntryView, now_ns: int) -> Sequence[AnyLeg]:
    specs = config.specs(view, now_ns)
    assert not isinstance(specs, str), specs
    return specs


def test_futures_carry_rolls_only_when_told_to_and_into_a_later_future() -> None:
    assert futures_carry().roll is None
    config = futures_carry(roll_days=5, roll_net_limit_usd=-3.0, max_rolls=2)
    roll = config.roll
    assert roll is not None
    assert (roll.net_limit_usd, roll.max_rolls, roll.legs) == (-3.0, 2, ())
    june = "BTCUSD-26JUN26"
    view = EntryView(account=None, chains={"BTCUSD": view_with_futures(chain(), {FAR: 100_600.0, june: 104_000.0})})
    five_days_before = at("2026-03-22T09:00")
    late = msgspec.structs.replace(view, tolerances=msgspec.structs.replace(view.tolerances, market_ns=10**18))
    _, future = legs_of(config, late, five_days_before)
    assert future == LegSpec.future("BTC", "sell", {"of_leg": 0}, {"symbol": "26JUN26"})


@pytest.mark.parametrize("days", [1, 25, -2])
def test_futures_carry_refuses_a_roll_that_its_exit_would_forestall_or_that_has_nothing_later(days: int) -> None:
    with pytest.raises(ValueError, match="roll_days"):
        futures_carry(roll_days=days)


def test_a_roll_takes_futures_as_its_legs() -> None:
    roll = Roll(when=[dte_exit(3)], net_limit_usd=0, legs=[LegSpec.future("BTC", "buy", "0.1", {"quarterly": 2})])
    assert len(roll.legs) == 1
