"""What the futures socket tells: frames of events, and the periodic images of its own channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.exchange.core import ExchangeCore
from services.exchange.events import ExchangeEvent
from services.exchange.model import FuturesPosition, FuturesPositionEvent, Order, OrderEvent, TradeEvent
from services.exchange.server.channels import CHANNELS, Channel, Topic, data_frame
from services.exchange.server.render_account import order_push
from services.exchange.server.render_futures import (
    DayFigures,
    order_fields,
    position_push,
    premium_push,
    spot_price_push,
    trade_push,
)
from services.exchange.switches import Switches
from shared.options.instruments import instrument_kind

NS_PER_MS = 1_000_000
NS_PER_MINUTE = 60_000_000_000
FUTURES_CHANNEL: Mapping[str, Channel] = {each.data_type: each for each in CHANNELS if each.socket == "futures"}


class Push(msgspec.Struct, frozen=True):
    """One frame to be: of a topic, at the time of the event."""

    topic: Topic
    data: Any
    at_ns: int


class FuturesPushes:
    """Pure: from events and the core to frames."""

    def __init__(self, switches: Switches, user_ids: Mapping[str, int]) -> None:
        self._switches = switches
        self._user_ids = user_ids

    def of(self, event: ExchangeEvent) -> Sequence[Push]:
        """The frames of one event; none when it is not about futures."""
        match event:
            case OrderEvent(order=order) if instrument_kind(order.symbol) in ("perpetual", "future"):
                push = self._order(event)
                return [Push(self._topic("order", order.account_id), push, order.updated_ns)]
            case TradeEvent(fill=fill) if instrument_kind(fill.symbol) in ("perpetual", "future"):
                data = trade_push(event, fee_is_negative=self._switches.fee_rate_sign == "negative")
                return [Push(self._topic("trade", fill.account_id), data, fill.at_ns)]
            case FuturesPositionEvent(position=position, expired=expired):
                told = self._position(position, expired=expired)
                return [Push(self._topic("positionEvent", position.account_id), told, position.updated_ns)]
            case _:
                return ()

    def image(self, core: ExchangeCore, topic: Topic) -> list[str]:
        """Open orders or positions of an account; past fills are no state."""
        if topic.channel.data_type != "order":
            return self.render(core, topic)
        orders: Sequence[Order] = core.futures.open_orders(topic.subject)
        pushes = [self._order(OrderEvent(kind="new", order=order)) for order in orders]
        return [data_frame(topic.channel.code, push, core.now_ns // NS_PER_MS) for push in pushes]

    def render(self, core: ExchangeCore, topic: Topic) -> list[str]:
        """The frames of one periodic topic now."""
        ts_ms, data_type = core.now_ns // NS_PER_MS, topic.channel.data_type
        if data_type in ("position", "positionEvent"):
            positions = core.futures.positions(topic.subject)
            return [data_frame(topic.channel.code, self._position(each), ts_ms) for each in positions]
        found = core.futures.find(topic.subject)
        if found is None:
            return []
        market, contract = found
        if data_type == "spotPrice":
            figures = DayFigures(core.futures, market, contract)
            push = spot_price_push(contract.base, market.index_price, figures, core.now_ns)
            return [data_frame(topic.channel.code, push, ts_ms)]
        if data_type == "premiumIndex":
            minute_ns = core.now_ns // NS_PER_MINUTE * NS_PER_MINUTE
            premium = premium_push(contract.symbol, market.premium(minute_ns), minute_ns)
            return [data_frame(topic.channel.code, premium, ts_ms)]
        return []

    def _order(self, event: OrderEvent) -> dict[str, Any]:
        user_id = self._user_ids[event.order.account_id]
        push = order_push(event, user_id, self._switches.waiting_stop_state)
        return {**push, **order_fields(event.order)}

    def _position(self, position: FuturesPosition, *, expired: bool = False) -> dict[str, str]:
        return position_push(position, self._user_ids[position.account_id], self._switches, expired=expired)

    def _topic(self, data_type: str, account_id: str) -> Topic:
        return Topic(FUTURES_CHANNEL[data_type], account_id)
