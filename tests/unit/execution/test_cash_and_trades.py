"""The cash rule beside trades with coins: what trades hold, buy or sell is not its to sell or to withdraw."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec

from services.execution.cash_config import CashConfig
from services.execution.effects import CancelOrder
from shared.messages.contracts import ContractOrder
from shared.messages.grants import signed
from shared.messages.trades import GrantLeg
from shared.messages.venue import NewOrder, VenueOrder
from tests.unit.execution.play import KEY, Script, acked, fill, intent, leg, seen
from tests.unit.execution.test_cash_desk import RULE, Desk
from tests.unit.spot_pairs import chain_with_pair, with_pair

SYMBOL = "BTCUSDT"


class TradingDesk(Desk):
    """The same with the pair in lists and chains, so that trades may have coins."""

    def __init__(self, rule: CashConfig = RULE, **venue: str) -> None:
        self._listed = False
        super().__init__(rule, **venue)

    def inbound(self, message: Any) -> Script:
        if not self._listed:
            self._listed, self.listing = True, with_pair(self.listing)
        if type(message).__name__ == "ChainSnapshot":
            message = chain_with_pair(message, self.listing)
        if type(message).__name__ == "InstrumentList":
            message = self.listing
        return super().inbound(message)

    def buys(self, quantity: str) -> tuple[str, NewOrder]:
        """A trade that is about to buy coins."""
        asked = intent(leg(SYMBOL, "buy", quantity), now_ns=self.now_ns)
        part = GrantLeg(symbol=SYMBOL, side="buy", max_quantity=D(quantity), worst_price=D(100_500))
        grant = msgspec.structs.replace(asked.grant, legs=(part,), signature="")
        answer = self.ask(msgspec.structs.replace(asked, grant=signed(grant, KEY)))
        (order,) = self.placed()
        return str(answer.trade_id), order


def _resting(order: NewOrder) -> VenueOrder:
    return seen(order, "new")


def test_coins_of_a_trade_are_not_sold_for_cash() -> None:
    desk = TradingDesk(usdt="5000", coins="0.3")
    trade_id, order = desk.buys("0.25")
    whole = fill(order, 1, fee="25")
    desk.on(acked(order)).on(msgspec.structs.replace(whole, fee_coins=D("0.00025"))).on(seen(order, "filled", "0.25"))
    assert desk.held(trade_id) == [D("0.2497")]
    # 0.3 coins: 0.2497 are the trade's and 0.1 are kept
    desk.venue.usdt = D(500)
    desk.pass_time(60)
    assert desk.sells == []
    status = desk.status()
    assert status.code == "nothing_free"
    assert "0.2497 are trades'" in status.detail
    desk.venue.coins = D("0.36")
    desk.pass_time(60, until_sold=True)
    (sale,) = desk.sells
    assert sale.quantity <= D("0.36") - D("0.2497") - D("0.1")


def test_coins_that_a_trade_is_buying_are_not_sold_before_it_is_told_of_them() -> None:
    desk = TradingDesk(usdt="500", coins="0.3")
    _, order = desk.buys("0.25")
    desk.on(acked(order)).on(_resting(order))
    desk.pass_time(60)
    assert desk.sells == []


def test_coins_that_a_trade_has_just_sold_are_not_taken_for_the_accounts_by_a_reading_from_before() -> None:
    desk = TradingDesk(msgspec.structs.replace(RULE, check_s=1), usdt="5000", coins="0.35")
    trade_id, order = desk.buys("0.25")
    whole = fill(order, 1, fee="25")
    desk.on(acked(order)).on(msgspec.structs.replace(whole, fee_coins=D("0.00025"))).on(seen(order, "filled", "0.25"))
    desk.venue.usdt = D(500)
    desk.pass_time(30)
    desk.snapshot(coins={SYMBOL: "0.35"})
    desk.close(trade_id)
    (closing,) = desk.placed()
    desk.on(acked(closing))
    desk.on(fill(closing, 2, "0.2497", fee="25")).on(seen(closing, "filled", "0.2497"))
    assert desk.state(trade_id) == "CLOSED"
    # the venue's account still shows them for a while
    desk.pass_time(4)
    assert desk.sells == []
    desk.venue.coins = D("0.1003")
    desk.pass_time(60)
    assert desk.sells == []
    assert desk.status().code == "nothing_free"


def test_orders_of_trades_are_no_strays_and_sales_are_no_lost_orders() -> None:
    desk = TradingDesk(usdt="500", coins="3")
    trade_id, order = desk.buys("0.25")
    desk.on(acked(order))
    desk.venue.orders[order.client_order_id] = _resting(order)
    desk.pass_time(30, until_sold=True)
    number = desk.accept()
    desk.effects.clear()
    desk.snapshot(orders=[_resting(order), _contract(desk.sells[-1])])
    assert desk.take(CancelOrder) == []
    assert desk.told("order_unknown_to_journal") == []
    assert desk.venue.orders[order.client_order_id].state == "new"
    assert desk.venue.orders[number].state == "new"
    assert desk.state(trade_id) == "OPENING"


def _contract(sale: ContractOrder) -> VenueOrder:
    assert sale.price is not None
    return VenueOrder(
        venue_order_id=1,
        client_order_id=sale.client_order_id,
        symbol=sale.symbol,
        side=sale.side,
        quantity=sale.quantity,
        filled_quantity=D(0),
        price=sale.price,
        average_price=None,
        state="new",
        reduce_only=False,
        created_ns=1,
        updated_ns=1,
    )
