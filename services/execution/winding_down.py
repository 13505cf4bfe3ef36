"""The end of the process, in the way that was chosen: quotes are withdrawn and the rest is left, every order is
withdrawn, or everything held is closed."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.execution import rows
from services.execution.countdowns import Countdowns
from services.execution.records import Trade
from services.execution.states import OPENING_STATES
from services.execution.workspace import Workspace
from shared.messages.control import OnShutdown

_BY = "execution"


class WindDown(msgspec.Struct, frozen=True):
    """An input: from now on nothing is opened. leave: quotes that a strategy would have to move are withdrawn, as it
    cannot any more, but for stop orders that protect what is held; leave_all: they are not, and the venue's countdown
    is disarmed, or it would withdraw all that is left; cancel: all that rests is, and nothing more is sent; flatten:
    every trade is closed."""

    choice: OnShutdown
    reason: str


class WindingDown:
    """Volatile: only what it decides of trades and orders is journalled, and the next process goes on from there."""

    def __init__(self, work: Workspace, countdowns: Countdowns) -> None:
        self._work = work
        self._countdowns = countdowns
        self._order: WindDown | None = None

    @property
    def choice(self) -> OnShutdown | Literal[""]:
        """ "" until it has begun."""
        return "" if self._order is None else self._order.choice

    def begin(self, order: WindDown) -> None:
        """Take up the choice; a later one replaces it."""
        self._order = order
        self._work.is_winding_down = True
        if order.choice == "leave_all":
            self._countdowns.release()

    def tend(self, trade: Trade) -> bool:
        """Do what the choice says of a trade; True when nothing else may be done about it."""
        order, work = self._order, self._work
        if order is None or order.choice == "leave_all":
            return False
        if order.choice == "leave" and not _is_quoting(trade):
            return False
        flattens = order.choice == "flatten"
        if trade.state in OPENING_STATES and order.choice != "leave":
            if trade.stop is None or (flattens and not trade.stop.void):
                work.record(rows.OpeningStopped(trade_id=trade.trade_id, reason=order.reason, void=flattens))
        elif flattens and trade.state != "SETTLING" and (trade.close is None or trade.close.purpose != "flatten"):
            work.record(
                rows.CloseRequested(trade_id=trade.trade_id, reason=order.reason, requested_by=_BY, purpose="flatten")
            )
        if flattens:
            return False
        for each in work.book.unsettled_of(trade):
            if order.choice == "cancel" or not each.is_protective:
                work.cancel(each, order.reason)
        return True

    def left(self) -> list[str]:
        """What is still to be done, in words; nothing once it is done."""
        if self._order is None:
            return []
        armed = [f"the venue's countdown of {underlying} is armed" for underlying in self._countdowns.armed()]
        if self._order.choice == "leave_all":
            return armed
        book, now_ns = self._work.book, self._work.now_ns
        orders = [book.orders[number] for number in book.unsettled]
        leaves = self._order.choice == "leave"
        if leaves:
            orders = [each for each in orders if _is_quoting(book.trades[each.trade_id]) and not each.is_protective]
        found = [f"order {order.client_order_id} is {order.state}" for order in orders]
        found += [f"sale {number} of the cash rule is {book.cash.sales[number].state}" for number in book.cash.live]
        found += armed
        if leaves:
            return found
        found += [
            f"request for quote {rfq.rfq_id} is {rfq.state}"
            for rfq in book.rfqs.live_rfqs()
            if rfq.state in ("REQUESTING", "COLLECTING", "CANCELLING")
        ]
        if self._order.choice == "flatten":
            found += [
                f"{trade.trade_id} holds {leg.held_quantity} {leg.symbol}"
                for trade in book.active_trades()
                for leg in trade.legs
                if leg.held_quantity > 0 and now_ns < leg.instrument.last_trade_ns
            ]
        return found


def _is_quoting(trade: Trade) -> bool:
    return trade.by_strategy and trade.state in OPENING_STATES
