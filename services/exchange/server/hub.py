"""Who follows what, and the pushes: private ones on events, periodic ones rendered once for all who follow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.exchange.events import ExchangeEvent
from services.exchange.model import (
    AccountEvent,
    FuturesPositionEvent,
    InstrumentsEvent,
    MarketTrade,
    MarketTradeEvent,
    OrderBook,
    OrderEvent,
    PositionEvent,
    TradeEvent,
)
from services.exchange.server.auth import Credential
from services.exchange.server.channels import CHANNELS, Channel, Subscription, Topic, data_frame
from services.exchange.server.config import ServerConfig
from services.exchange.server.connection import Connection
from services.exchange.server.errors import TOO_MANY_SUBSCRIPTIONS, UNKNOWN_INDEX, UNKNOWN_INSTRUMENT, ApiError
from services.exchange.server.faults import FaultTable
from services.exchange.server.futures_pushes import FUTURES_CHANNEL, FuturesPushes
from services.exchange.server.live_bars import LiveBars
from services.exchange.server.render_account import balance_push, order_push, position_push, trade_push
from services.exchange.server.render_market import bs_info_row, order_book_push, t_option_rows
from services.exchange.server.render_trades import kline_push, last_trade_push, last_trade_v2_push
from services.exchange.server.rfq_pushes import RfqPushes
from services.exchange.server.spot_channels import (
    BEST,
    BOOK,
    KLINE,
    OVERVIEW,
    OVERVIEW_ALL,
    SPOT_CHANNELS,
    TRADES,
    spot_frame,
)
from services.exchange.server.spot_pushes import SpotPushes
from services.exchange.server.venue import Venue
from services.exchange.server.wire import encode
from services.exchange.switches import Switches
from shared.logging import get_logger
from shared.options.instruments import instrument_kind

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
FUTURES_BOOK_DEPTH = 100

log = get_logger("exchange.hub")

CHANNEL: Mapping[str, Channel] = {each.data_type: each for each in CHANNELS if each.socket == "options"}
BOOKS = frozenset({"orderBook", BOOK.data_type, BEST.data_type})
EVERY_STEP = frozenset({"spotPrice"})
EVERY_SECOND = frozenset(
    {
        "tOption",
        "bsInfo",
        "kline",
        "position",
        "accountBalance",
        "premiumIndex",
        KLINE.data_type,
        OVERVIEW.data_type,
        OVERVIEW_ALL.data_type,
    }
)
OPTION_PRICES = frozenset({"orderBook", "tOption", "bsInfo"})
OF_TRADES = frozenset({"lastTrade", "lastTradeV2", "kline", TRADES.data_type, KLINE.data_type})


class Hub:
    """The subscriptions of all connections. `bind` gives it the venue before anything is pushed."""

    def __init__(self, config: ServerConfig, user_ids: Mapping[str, int], faults: FaultTable) -> None:
        self._config = config
        self._user_ids = user_ids
        self._faults = faults
        self._venue: Venue | None = None
        self._followers: dict[Topic, set[Connection]] = {}
        self._books: dict[Topic, OrderBook] = {}
        self._books_seen: tuple[object, int, int] | None = None
        self._bars = LiveBars()
        self._printed_step = 0
        self._last_second = 0
        self._pinged_ns = 0
        self.connections: set[Connection] = set()
        self.frames_pushed = 0
        self.opened = 0
        self.dropped: Counter[str] = Counter()
        self.failures = 0

    def bind(self, venue: Venue) -> None:
        self._venue = venue
        self._rfq_pushes = RfqPushes(venue.config)
        self._futures_pushes = FuturesPushes(venue.config.switches, self._user_ids)
        self._spot_pushes = SpotPushes(venue.config.switches, self._user_ids)
        self._last_second = venue.now_ns() // NS_PER_S
        self._printed_step = venue.core.step

    @property
    def venue(self) -> Venue:
        assert self._venue is not None, "bind comes first"
        return self._venue

    @property
    def _switches(self) -> Switches:
        return self.venue.config.switches

    def join(self, connection: Connection) -> None:
        self.connections.add(connection)
        self.opened += 1

    def leave(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.dropped[connection.dropped or "closed"] += 1
        for topic in connection.topics:
            self._unfollow(topic, connection)
        connection.topics.clear()

    def subscribe(self, connection: Connection, request: Subscription) -> list[Topic]:
        """Add the subscription and return its topics. Raises ApiError when a subject is not listed, or too many."""
        topics = self._topics(connection.credential, request)
        for topic in topics:
            self._check_listed(topic)
        if len(connection.topics.union(topics)) > self._config.socket_subscriptions_max:
            raise ApiError(TOO_MANY_SUBSCRIPTIONS)
        # What was printed until now is told to those who followed before, and stands in the bars of who comes now.
        self._push_tape()
        for topic in topics:
            connection.topics.add(topic)
            self._followers.setdefault(topic, set()).add(connection)
            if topic.channel.kind == "kline":
                self._bars.follow(topic, self.venue.core)
        return topics

    def unsubscribe(self, connection: Connection, request: Subscription) -> None:
        """End what the request names: without symbols the whole channel, without a period all of a symbol's."""
        gone = {topic for topic in connection.topics if topic.channel is request.channel}
        if request.symbols and request.channel.kind == "kline" and not request.period:
            gone = {topic for topic in gone if topic.subject in request.symbols}
        elif request.symbols or request.channel.kind in ("account", "all"):
            gone &= set(self._topics(connection.credential, request))
        for topic in gone:
            connection.topics.discard(topic)
            self._unfollow(topic, connection)

    def push_image(self, connection: Connection, topics: Iterable[Topic]) -> None:
        """The present image of periodic market channels, so that a new follower need not wait for the next beat, and
        of private ones where the configuration says so."""
        for topic in topics:
            if self._is_frozen(topic, connection):
                continue
            if topic.channel.kind == "account":
                if self._switches.private_snapshot:
                    for text in self._private_image(topic):
                        self._push(connection, text)
            elif topic.channel.socket == "spot":
                for text in self._spot_image(topic):
                    self._push(connection, text)
            elif topic.channel.data_type in BOOKS | EVERY_STEP | EVERY_SECOND:
                for text in self._render(topic):
                    self._push(connection, text)

    def _private_image(self, topic: Topic) -> list[str]:
        """Open orders, positions or balance of an account; past fills are no state."""
        if topic.channel.socket == "futures":
            return self._futures_pushes.image(self.venue.core, topic)
        if topic.channel.socket == "spot_private":
            return self._spot_pushes.image(self.venue.core, topic)
        core, account_id = self.venue.core, topic.subject
        user_id = self._user_ids[account_id]
        pushes: list[Any]
        match topic.channel.data_type:
            case "order":
                orders = core.open_orders(account_id)
                pushes = [order_push(OrderEvent(kind="new", order=order), user_id) for order in orders]
            case "positionEvent":
                pushes = [position_push(each, user_id, self._switches) for each in core.positions(account_id)]
            case "rfqMaker" | "rfqTaker" | "rfqQuote" | "quoteReceived" as data_type:
                pushes = self._rfq_pushes.image(core, data_type, account_id)
            case _:
                return self._render(topic)
        return [data_frame(topic.channel.code, push, core.now_ns // NS_PER_MS) for push in pushes]

    def _spot_image(self, topic: Topic) -> list[str]:
        if topic.channel.kind == "kline":
            return self._render(topic)
        return self._spot_pushes.image(self.venue.core, topic)

    def has_sockets(self, account_id: str) -> bool:
        """Whether a client of the account is connected."""
        logins = (connection.credential for connection in self.connections)
        return any(login is not None and login.account_id == account_id for login in logins)

    def _unfollow(self, topic: Topic, connection: Connection) -> None:
        followers = self._followers.get(topic)
        if followers is None:
            return
        followers.discard(connection)
        if not followers:
            del self._followers[topic]
            self._books.pop(topic, None)
            self._spot_pushes.leave(topic)
            self._bars.leave(topic)

    def _topics(self, credential: Credential | None, request: Subscription) -> list[Topic]:
        if request.channel.kind == "account":
            assert credential is not None, "private channels belong to sockets that need a login"
            return [Topic(request.channel, credential.account_id)]
        if request.channel.kind == "all":
            return [Topic(request.channel, "")]
        return [
            Topic(request.channel, symbol, request.end_ms, request.period)
            for symbol in dict.fromkeys(request.symbols)
        ]

    def _check_listed(self, topic: Topic) -> None:
        core = self.venue.core
        if topic.channel.socket == "spot":
            if topic.channel.kind != "all" and core.spot.find(topic.subject) is None:
                raise ApiError(UNKNOWN_INSTRUMENT)
        elif topic.channel.socket == "futures" and topic.channel.data_type != "spotPrice":
            if topic.channel.kind != "account" and core.futures.find(topic.subject) is None:
                raise ApiError(UNKNOWN_INSTRUMENT)
        elif topic.channel.data_type == "spotPrice":
            if core.index_price(topic.subject.removesuffix("USD")) is None:
                raise ApiError(UNKNOWN_INDEX)
        elif topic.channel.kind == "chain":
            if core.chain(topic.subject, topic.end_ms * NS_PER_MS) is None:
                raise ApiError(UNKNOWN_INDEX)
        elif topic.channel.kind in ("symbol", "kline") and core.instrument(topic.subject) is None:
            raise ApiError(UNKNOWN_INSTRUMENT)

    def _push(self, connection: Connection, text: str) -> None:
        if not self._faults.silences(connection.path, self.venue.now_ns()):
            connection.push(text)
            self.frames_pushed += 1

    def _is_frozen(self, topic: Topic, connection: Connection) -> bool:
        is_price = topic.channel.socket == "options" and topic.channel.data_type in OPTION_PRICES
        return is_price and self._faults.freezes(connection.path, self.venue.now_ns())

    def _publish(self, topic: Topic, data: Any, ts_ms: int) -> None:
        """Render one frame and queue it to all followers; costs nothing without any."""
        followers = self._followers.get(topic)
        if followers:
            is_spot = topic.channel in SPOT_CHANNELS
            text = spot_frame(topic, data, ts_ms) if is_spot else data_frame(topic.channel.code, data, ts_ms)
            self._send_all(topic, [text])

    def _send_all(self, topic: Topic, texts: Sequence[str]) -> None:
        for connection in tuple(self._followers.get(topic, ())):
            if self._is_frozen(topic, connection):
                continue
            for text in texts:
                self._push(connection, text)

    def deliver(self, events: Sequence[ExchangeEvent]) -> None:
        """Push what the core reported, in its order. Called after the rows are committed, so it never raises:
        what is done is done, and must be answered as such."""
        for event in events:
            try:
                self._deliver(event)
            except Exception:
                self.failures += 1
                log.exception("an event could not be pushed", event_type=type(event).__name__)

    def _deliver(self, event: ExchangeEvent) -> None:
        for told in (*self._futures_pushes.of(event), *self._spot_pushes.of(event)):
            self._publish(told.topic, told.data, told.at_ns // NS_PER_MS)
        match event:
            case OrderEvent(order=order) if instrument_kind(order.symbol) != "option":
                pass
            case TradeEvent(fill=fill) if instrument_kind(fill.symbol) != "option":
                pass
            case OrderEvent(order=order):
                user_id = self._user_ids[order.account_id]
                self._publish_private("order", order.account_id, order_push(event, user_id), order.updated_ns)
            case TradeEvent(fill=fill):
                self._publish_private("trade", fill.account_id, trade_push(event, self._switches), fill.at_ns)
            case PositionEvent(position=position, expired=expired):
                user_id = self._user_ids[position.account_id]
                push = position_push(position, user_id, self._switches, expired=expired)
                self._publish_private("positionEvent", position.account_id, push, position.updated_ns)
            case AccountEvent(summary=summary):
                user_id = self._user_ids[summary.account_id]
                push = balance_push(summary, user_id)
                self._publish_private("accountBalance", summary.account_id, push, self.venue.now_ns())
            case MarketTradeEvent(trade=trade):
                self._push_tape()
                self._push_trade(trade)
            case InstrumentsEvent(base=base):
                log.info("listing changed", base=base)
            case FuturesPositionEvent():
                pass
            case _:
                for news in self._rfq_pushes.of(event):
                    self._publish(Topic(CHANNEL[news.data_type], news.subject), news.data, news.at_ns // NS_PER_MS)

    def _push_tape(self) -> None:
        """Push what the public tape printed since the last time, in options that somebody follows."""
        core = self.venue.core
        after, self._printed_step = self._printed_step, core.step
        followed = {topic.subject for topic in self._followers if topic.channel.data_type in OF_TRADES}
        if followed and core.step > after:
            for trade in core.tape(followed, after):
                self._push_trade(trade)
            for symbol in followed:
                for trade in (*core.futures.printed(symbol, after), *core.spot.printed(symbol, after)):
                    self._push_trade(trade)

    def _push_trade(self, trade: MarketTrade) -> None:
        ts_ms = trade.at_ns // NS_PER_MS
        self._bars.add(trade)
        kind = instrument_kind(trade.symbol)
        if kind == "spot":
            push = self._spot_pushes.of_trade(trade)
            self._publish(push.topic, push.data, ts_ms)
            return
        channels = CHANNEL if kind == "option" else FUTURES_CHANNEL
        self._publish(Topic(channels["lastTrade"], trade.symbol), [last_trade_push(trade)], ts_ms)
        self._publish(Topic(channels["lastTradeV2"], trade.symbol), [last_trade_v2_push(trade)], ts_ms)

    def _publish_private(self, data_type: str, account_id: str, data: Any, at_ns: int) -> None:
        self._publish(Topic(CHANNEL[data_type], account_id), data, at_ns // NS_PER_MS)

    async def step(self) -> None:
        """The periodic pushes that are due, prices before what takes long to render. Gives way to requests between
        two renderings."""
        now_ns = self.venue.now_ns()
        second = now_ns // NS_PER_S
        await self._push_due(EVERY_STEP)
        is_new_second = second != self._last_second
        if is_new_second:
            self._last_second = second
            self._drop_idle(now_ns)
        self._ping_spot(now_ns)
        try:
            self._push_tape()
        except Exception:
            self.failures += 1
            log.exception("the tape could not be pushed")
        if is_new_second:
            await self._push_due(EVERY_SECOND)

    async def push_books(self) -> None:
        """The order books that changed since the last time; costs nothing while market and orders stand still."""
        core = self.venue.core
        seen = (core, core.step, core.state.revision)
        if seen != self._books_seen or self._switches.repeat_books:
            self._books_seen = seen
            await self._push_due(BOOKS)

    async def _push_due(self, data_types: frozenset[str]) -> None:
        for topic in tuple(self._followers):
            if topic.channel.data_type in data_types:
                try:
                    self._send_all(topic, self._render(topic, only_changed=True))
                except Exception:
                    self.failures += 1
                    log.exception("a periodic push failed", channel=topic.channel.data_type, subject=topic.subject)
                await asyncio.sleep(0)

    def _ping_spot(self, now_ns: int) -> None:
        """Send the spot sockets a ping of their protocol, where the configuration says so."""
        every_ns = self._switches.spot_ping_ms * NS_PER_MS
        if not every_ns or now_ns - self._pinged_ns < every_ns:
            return
        self._pinged_ns = now_ns
        for connection in tuple(self.connections):
            if connection.socket in ("spot", "spot_private"):
                self._push(connection, encode({"ping": now_ns // NS_PER_MS}).decode())

    def _drop_idle(self, now_ns: int) -> None:
        """Cut those on which nothing came or went for too long, except while a fault keeps them silent."""
        for connection in tuple(self.connections):
            idle = connection.idle_ns() > self._config.socket_idle_ms * NS_PER_MS
            if idle and not self._faults.silences(connection.path, now_ns):
                connection.drop("idle")

    def _render(self, topic: Topic, *, only_changed: bool = False) -> list[str]:
        """The frames of one periodic topic now. An order book that did not change since the last step has none."""
        core = self.venue.core
        code, ts_ms = topic.channel.code, core.now_ns // NS_PER_MS
        if topic.channel.socket == "futures" and topic.channel.data_type not in ("orderBook", "kline"):
            return self._futures_pushes.render(core, topic)
        if topic.channel.socket == "spot":
            return self._render_spot(topic, only_changed)
        match topic.channel.data_type:
            case "tOption":
                chain = core.chain(topic.subject, topic.end_ms * NS_PER_MS)
                return [] if chain is None else [data_frame(code, t_option_rows(chain), ts_ms)]
            case "orderBook":
                return self._render_book(topic, only_changed)
            case "bsInfo":
                detail = core.detail(topic.subject)
                as_text = self._config.socket_numbers_as_text
                return [] if detail is None else [data_frame(code, bs_info_row(detail, as_text=as_text), ts_ms)]
            case "kline":
                bar = self._bars.bar(topic, only_changed=only_changed)
                return [] if bar is None else [data_frame(code, kline_push(bar), ts_ms)]
            case "position":
                user_id = self._user_ids[topic.subject]
                pushes = [
                    position_push(position, user_id, self._switches) for position in core.positions(topic.subject)
                ]
                return [data_frame(code, push, ts_ms) for push in pushes]
            case "accountBalance":
                push = balance_push(core.account_summary(topic.subject), self._user_ids[topic.subject])
                return [data_frame(code, push, ts_ms)]
            case _:
                return []

    def _render_spot(self, topic: Topic, only_changed: bool) -> list[str]:
        if topic.channel is not KLINE:
            return self._spot_pushes.render(self.venue.core, topic, only_changed=only_changed)
        bar = self._bars.bar(topic, only_changed=only_changed)
        return [] if bar is None else [self._spot_pushes.bar(topic, bar, self.venue.core.now_ns // NS_PER_MS)]

    def _render_book(self, topic: Topic, only_changed: bool) -> list[str]:
        core, symbol = self.venue.core, topic.subject
        is_option = topic.channel.socket == "options"
        book = core.order_book(symbol) if is_option else core.futures.order_book(symbol, FUTURES_BOOK_DEPTH)
        if book is None:
            return []
        before = self._books.get(topic)
        self._books[topic] = book
        only_changed = only_changed and not self._switches.repeat_books
        if only_changed and before is not None and (before.bids, before.asks) == (book.bids, book.asks):
            return []
        return [data_frame(topic.channel.code, order_book_push(book), book.at_ns // NS_PER_MS)]

    def disconnect(self, path_prefix: str, reason: str) -> int:
        """Cut all WebSockets whose path begins with the prefix; returns how many."""
        cut = [connection for connection in self.connections if connection.path.startswith(path_prefix)]
        for connection in cut:
            connection.drop(reason)
        return len(cut)
