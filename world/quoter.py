"""A strategy of the simulation that works its own orders: bids below the market, and offers of what it got."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from services.strategy.loaded import LoadedStrategy
from shared.messages.quoting import OrderToAmend, OrderToPlace
from shared.messages.trades import LegOrder, TradeUpdate
from shared.options.chain import snap_price
from shared.strategy.protocol import Intent, WorkOrders
from shared.strategy.views import DeskView
from world.faults import SECOND
from world.order_worker import OrderWorker, quoting_trade

NAME = "grid"
_QUANTITY = Decimal("0.3")
_STEP, _SMALL_STEP = Decimal("0.1"), Decimal("0.01")
_QUOTING_S = 20.0
_HELD_S = 40
_PAUSE_NS = 1_500_000_000
_TRADES = 3


class Grid(OrderWorker):
    """Opens up to three quoting trades in the call nearest to the index, one after the other; every second and a half
    it moves, cancels or adds something, in turn, and is content with every answer.

    levels: so many orders it places where one would do.
    """

    name = NAME

    def __init__(self, levels: int = 1) -> None:
        super().__init__()
        self._levels = levels
        self._step = _STEP if levels == 1 else _SMALL_STEP

    def on_market(self, underlying: str, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        chain = desk.chains.get("BTCUSD")
        if chain is None or now_ns < self._due_ns:
            return ()
        self._due_ns = now_ns + _PAUSE_NS
        trade = next(iter(desk.trades), None)
        if trade is None:
            return () if desk.entry_closed is not None or self._opened >= _TRADES else self._open(desk, now_ns)
        leg = trade.legs[0]
        quote = chain.quote(leg.symbol)
        if trade.state not in ("PENDING_OPEN", "OPENING") or quote is None or quote.bid is None or quote.ask is None:
            return ()
        return (self._work(trade, quote.bid, quote.ask),)

    def _open(self, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        chain = desk.chains["BTCUSD"]
        calls = [
            (abs(float(option.strike) - chain.snapshot.index_price), option.expiry_ns, option.symbol)
            for option, mark in zip(chain.instruments, chain.column("mark"), strict=True)
            if option.option_type == "C" and np.isfinite(mark) and option.last_trade_ns - now_ns > 3_600 * SECOND
        ]
        if not calls:
            return ()
        self._opened += 1
        leg = LegOrder(symbol=min(calls)[2], side="buy", quantity=_QUANTITY)
        return (quoting_trade(leg, now_ns, quoting_s=_QUOTING_S, held_s=_HELD_S),)

    def _work(self, trade: TradeUpdate, bid: float, ask: float) -> WorkOrders:
        leg = trade.legs[0]
        tick = Decimal(1)
        below, above = snap_price(bid, tick, up=False), snap_price(ask, tick, up=True)
        working = [order for order in self._mine(trade) if order.state == "WORKING"]
        self._turn += 1
        # at times it crosses: it is then tried again behind the touch
        far = above if self._turn % 4 == 0 else below
        place = [
            OrderToPlace(symbol=leg.symbol, side="buy", quantity=self._step, price=price, label=label)
            for price, label in ((below, "near"), (far, "far"))
            for _ in range(self._levels)
        ]
        if leg.held_quantity > 0:
            offer = min(leg.held_quantity, self._step)
            place.append(OrderToPlace(symbol=leg.symbol, side="sell", quantity=offer, price=above, label="offer"))
        match self._turn % 3:
            case 0 if self._turn % 2 == 0:
                return WorkOrders(trade_id=trade.trade_id, cancel_all=True)
            case 0:
                return WorkOrders(trade_id=trade.trade_id, cancel=tuple(each.client_order_id for each in working))
            case 1:
                return WorkOrders(trade_id=trade.trade_id, place=tuple(place))
            case _:
                moves = [
                    OrderToAmend(client_order_id=each.client_order_id, price=below if each.side == "buy" else above)
                    for each in working
                ]
                return WorkOrders(trade_id=trade.trade_id, amend=tuple(moves), place=tuple(place[-1:]))


def grid(levels: int = 1) -> LoadedStrategy:
    return LoadedStrategy(name=NAME, make=lambda _config: Grid(levels))
