"""A strategy of the simulation that trades the perpetual by orders of its own and protects it with stop orders."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from services.strategy.loaded import LoadedStrategy
from shared.messages.base import Side, opposite
from shared.messages.quoting import OrderToAmend, OrderToPlace
from shared.messages.trades import LegOrder, TradeUpdate
from shared.options.chain import snap_price
from shared.strategy.protocol import Intent, WorkOrders
from shared.strategy.views import DeskView
from world.order_worker import OrderWorker, quoting_trade

NAME = "stopper"
_SYMBOL = "BTCUSD"
_TICK = Decimal("0.1")
_QUANTITY, _STEP = Decimal("0.3"), Decimal("0.1")
_QUOTING_S = 15.0
_HELD_S = 50
_PAUSE_NS = 1_200_000_000
_TRADES = 4
_NEAR, _FAR = 0.0004, 0.002
"""How far triggers are from the mark: some are reached within seconds."""


class Stopper(OrderWorker):
    """Opens up to four quoting trades in the perpetual, long and short in turn, one after the other. Every 1.2 s it
    buys some, sets a stop that opens, or sets, moves or cancels one that protects, and goes on with these after its
    quoting has ended; it is content with every answer."""

    name = NAME

    def on_market(self, underlying: str, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        chain = desk.chains.get("BTCUSD")
        if chain is None or now_ns < self._due_ns:
            return ()
        self._due_ns = now_ns + _PAUSE_NS
        quote = chain.quote(_SYMBOL)
        if quote is None or quote.bid is None or quote.ask is None or quote.mark is None:
            return ()
        trade = next(iter(desk.trades), None)
        if trade is None:
            return () if desk.entry_closed is not None or self._opened >= _TRADES else self._open(now_ns)
        return (self._work(trade, quote.bid, quote.ask, quote.mark),)

    def _open(self, now_ns: int) -> Sequence[Intent]:
        side: Side = "sell" if self._opened % 2 else "buy"
        self._opened += 1
        leg = LegOrder(symbol=_SYMBOL, side=side, quantity=_QUANTITY)
        return (quoting_trade(leg, now_ns, quoting_s=_QUOTING_S, held_s=_HELD_S),)

    def _work(self, trade: TradeUpdate, bid: float, ask: float, mark: float) -> WorkOrders:
        leg = trade.legs[0]
        own, other = leg.side, opposite(leg.side)
        stops = [order for order in self._mine(trade) if order.state == "WORKING" and order.trigger_price is not None]
        self._turn += 1
        taking = snap_price(ask, _TICK, up=True) if own == "buy" else snap_price(bid, _TICK, up=False)
        held = min(leg.held_quantity, _STEP)
        near, far = (_trigger(mark, other, share) for share in (_NEAR, _FAR))
        match self._turn % 5:
            case 0:
                place = [OrderToPlace(symbol=_SYMBOL, side=own, quantity=_STEP, price=taking, post_only=False)]
            case 1:
                trigger = _trigger(mark, own, _NEAR)
                place = [OrderToPlace.stop_limit(_SYMBOL, own, _STEP, trigger_price=trigger, price=trigger)]
            case 2:
                place = [OrderToPlace.stop_market(_SYMBOL, other, held, trigger_price=near, label="near")]
            case 3:
                worse = _trigger(float(far), other, _FAR)
                place = [OrderToPlace.stop_limit(_SYMBOL, other, held, trigger_price=far, price=worse, label="far")]
            case _ if self._turn % 2:
                return WorkOrders(trade_id=trade.trade_id, cancel=tuple(each.client_order_id for each in stops))
            case _:
                moves = tuple(
                    OrderToAmend(client_order_id=each.client_order_id, price=each.price + _TICK) for each in stops
                )
                return WorkOrders(trade_id=trade.trade_id, amend=moves)
        return WorkOrders(trade_id=trade.trade_id, place=tuple(each for each in place if each.quantity > 0))


def _trigger(mark: float, side: Side, share: float) -> Decimal:
    """So far past the mark, on the side on which a stop order of that side is triggered."""
    return snap_price(mark * (1 + share if side == "buy" else 1 - share), _TICK, up=side == "buy")


def stopper() -> LoadedStrategy:
    return LoadedStrategy(name=NAME, make=lambda _config: Stopper())
