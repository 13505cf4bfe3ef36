"""What the spot sockets tell: images of the market with the changes of its books, and the events of orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from services.exchange.core import ExchangeCore
from services.exchange.events import ExchangeEvent
from services.exchange.klines import next_bar_start, period_of
from services.exchange.model import KLine, Level, MarketTrade, OrderBook, OrderEvent, TradeEvent
from services.exchange.server.channels import Topic
from services.exchange.server.futures_pushes import Push
from services.exchange.server.render_futures import DayFigures
from services.exchange.server.render_spot import kline_row, order_push, overview_push, trade_push, trade_row
from services.exchange.server.spot_channels import (
    BEST,
    BOOK,
    FILLS,
    ORDERS,
    OVERVIEW,
    OVERVIEW_ALL,
    TRADES,
    spot_frame,
)
from services.exchange.switches import Switches
from shared.options.instruments import instrument_kind

NS_PER_MS = 1_000_000
Sizes = dict[Decimal, Decimal]


class _Told(msgspec.Struct):
    """The book that all followers of a topic have: each of them got it whole, or by changes."""

    sequence: int
    bids: Sizes
    asks: Sizes


class SpotPushes:
    """From events and the core to frames. Keeps what was told of each book, to tell its changes."""

    def __init__(self, switches: Switches, user_ids: Mapping[str, int]) -> None:
        self._switches = switches
        self._user_ids = user_ids
        self._sequence = 0
        self._told: dict[Topic, _Told] = {}
        self._best: dict[Topic, Any] = {}

    def of(self, event: ExchangeEvent) -> Sequence[Push]:
        """The frames of one event; none when it is not about spot."""
        match event:
            case OrderEvent(order=order) if instrument_kind(order.symbol) == "spot":
                data = order_push(event, self._switches.spot_market_order_price)
                return [Push(Topic(ORDERS, order.account_id), data, order.updated_ns)]
            case TradeEvent(fill=fill) if instrument_kind(fill.symbol) == "spot":
                pushed = trade_push(
                    event, self._user_ids[fill.account_id], self._switches.fee_rate_sign == "negative"
                )
                return [Push(Topic(FILLS, fill.account_id), pushed, fill.at_ns)]
            case _:
                return ()

    def of_trade(self, trade: MarketTrade) -> Push:
        return Push(Topic(TRADES, trade.symbol), [trade_row(trade)], trade.at_ns)

    def leave(self, topic: Topic) -> None:
        """Nobody follows it any longer."""
        self._told.pop(topic, None)
        self._best.pop(topic, None)

    def image(self, core: ExchangeCore, topic: Topic) -> list[str]:
        """What a new follower gets: of a book what the others were told last, so that the next change fits for all;
        of the account what is open, as far as that is told at all."""
        if topic.channel is ORDERS:
            events = [OrderEvent(kind="new", order=order) for order in core.spot.open_orders(topic.subject)]
            pushes = [order_push(event, self._switches.spot_market_order_price) for event in events]
            return [spot_frame(topic, push, core.now_ns // NS_PER_MS) for push in pushes]
        if topic.channel is BOOK and topic in self._told:
            return [self._snapshot(core, topic, self._told[topic])]
        return self.render(core, topic, only_changed=False)

    def render(self, core: ExchangeCore, topic: Topic, *, only_changed: bool) -> list[str]:
        """The frames of one periodic topic now."""
        ts_ms = core.now_ns // NS_PER_MS
        if topic.channel in (OVERVIEW, OVERVIEW_ALL):
            return [spot_frame(topic, self._overview(core, topic), ts_ms)]
        if topic.channel is BOOK:
            return self._book(core, topic)
        if topic.channel is BEST:
            book = core.spot.order_book(topic.subject, 1)
            best = None if book is None else _best(book)
            if best is None or (only_changed and best == self._best.get(topic)):
                return []
            self._best[topic] = best
            return [spot_frame(topic, best, ts_ms)]
        return []

    def bar(self, topic: Topic, bar: KLine, ts_ms: int) -> str:
        period = period_of(topic.period)
        assert period is not None, "checked when it was subscribed"
        return spot_frame(topic, kline_row(bar, next_bar_start(bar.start_ns, period)), ts_ms)

    def _overview(self, core: ExchangeCore, topic: Topic) -> dict[str, Any]:
        """A map by symbol; of one symbol its fields beside it, because clients read either."""
        rows = {
            contract.symbol: overview_push(contract, market, DayFigures(core.spot, market, contract))
            for market, contract in core.spot.contracts()
            if topic.channel is OVERVIEW_ALL or contract.symbol == topic.subject
        }
        return {**rows.get(topic.subject, {}), **rows}

    def _book(self, core: ExchangeCore, topic: Topic) -> list[str]:
        book = core.spot.order_book(topic.subject, int(topic.period))
        if book is None:
            return []
        bids, asks = dict(book.bids), dict(book.asks)
        before = self._told.get(topic)
        if before is not None and (before.bids, before.asks) == (bids, asks) and not self._switches.repeat_books:
            return []
        self._sequence += 1
        self._told[topic] = now = _Told(self._sequence, bids, asks)
        if before is None:
            return [self._snapshot(core, topic, now)]
        tick = {
            "s": topic.subject,
            "b": _changes(before.bids, bids),
            "a": _changes(before.asks, asks),
            "type": "delta",
            "prevU": before.sequence,
            "u": now.sequence,
        }
        return [spot_frame(topic, tick, core.now_ns // NS_PER_MS)]

    def _snapshot(self, core: ExchangeCore, topic: Topic, told: _Told) -> str:
        """In the venue's sample the first change follows on the number after the snapshot's."""
        tick = {
            "s": topic.subject,
            "b": [list(level) for level in sorted(told.bids.items(), reverse=True)],
            "a": [list(level) for level in sorted(told.asks.items())],
            "type": "snapshot",
            "u": told.sequence - 1,
        }
        return spot_frame(topic, tick, core.now_ns // NS_PER_MS)


def _changes(before: Sizes, now: Sizes) -> list[list[Decimal]]:
    """Levels that are new or changed; those that have gone with size 0."""
    changed = [[price, size] for price, size in now.items() if before.get(price) != size]
    return changed + [[price, Decimal(0)] for price in before if price not in now]


def _best(book: OrderBook) -> dict[str, Any] | None:
    if not book.bids or not book.asks:
        return None
    bid, ask = Level(*book.bids[0]), Level(*book.asks[0])
    return {
        "symbol": book.symbol,
        "bidPrice": bid.price,
        "bidSize": bid.quantity,
        "askPrice": ask.price,
        "askSize": ask.quantity,
    }
