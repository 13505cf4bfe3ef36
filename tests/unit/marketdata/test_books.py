"""Order books on demand: kept while somebody leases them, emptied when nothing is known, frozen ones noticed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.marketdata.books import NOT_YET
from services.marketdata.config import MarketdataConfig
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import (
    BookRead,
    BookReadFailed,
    FollowBooks,
    InstrumentsLoaded,
    LastTradesRead,
    LastTradesReadFailed,
    ReadBook,
    ReadLastTrades,
    RenewBook,
)
from shared.messages.on_demand import (
    BookRefused,
    BooksLeased,
    GetOrderBook,
    LastTrades,
    LeaseBooks,
    MarketTrade,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.steps import LoopStalled, Publish, RaiseAlert, Reply, Request, Step, Tick
from shared.messages.trades import Refusal
from shared.messages.venue import StreamDown, StreamUp
from shared.options.book import BookView, pack_levels
from shared.venues.ports import BookPush, LastTradesPush
from soak.retained import retained
from tests.unit.marketdata.test_core import LISTED, SECOND, START

A, B, C = (each.symbol for each in LISTED[:3])
UP, DOWN = StreamUp("books"), StreamDown("books: reset", "books")


def book(symbol: str = A, *, bid: float = 10.0, ask: float = 11.0, venue_ns: int = 0) -> BookPush:
    bids, asks = pack_levels([(bid, 1.0), (bid - 1, 2.0)]), pack_levels([(ask, 3.0)])
    return BookPush(symbol=symbol, venue_ns=venue_ns, bids=bids, asks=asks)


class Desk:
    """Market data with its lists loaded, and consumers."""

    def __init__(self, **changes: Any) -> None:
        self.core = MarketdataCore(MarketdataConfig(**changes), ("BTCUSD",))
        self.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED))
        self._requests = 0

    def on(self, item: Any, at_s: float = 0.0) -> Step:
        return self.core.handle(item, START + int(at_s * SECOND))

    def lease(self, consumer: str, *symbols: str, at_s: float = 0.0, lease_ms: int = 15_000) -> Step:
        self._requests += 1
        ask = LeaseBooks(consumer=consumer, symbols=symbols, lease_ms=lease_ms)
        return self.on(Request(f"r{self._requests}", ask, consumer), at_s)

    def read(self, push: BookPush, at_s: float, asked_s: float | None = None) -> Step:
        asked_ns = START + int((at_s if asked_s is None else asked_s) * SECOND)
        return self.on(BookRead(asked_ns=asked_ns, book=push), at_s)

    def tick(self, at_s: float) -> list[Any]:
        """What of books a tick brings, chains left out."""
        return [
            each for each in self.on(Tick(), at_s).effects if isinstance(each, ReadBook | RenewBook | FollowBooks)
        ]


def answer(step: Step) -> Any:
    (reply,) = [effect for effect in step.effects if isinstance(effect, Reply)]
    return reply.message


def published(step: Step) -> list[OrderBook]:
    return [e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, OrderBook)]


def only(step: Step, kind: type) -> list[Any]:
    return [effect for effect in step.effects if isinstance(effect, kind)]


def frozen(step: Step) -> list[tuple[str, bool]]:
    return [(alert.subject, alert.resolved) for alert in only(step, RaiseAlert) if alert.code == "book_frozen"]


def test_the_first_consumer_has_the_book_read_and_followed_and_the_second_is_given_what_is_held() -> None:
    desk = Desk()
    first = desk.lease("one", A)
    assert [*only(first, ReadBook), *only(first, FollowBooks)] == [ReadBook(A), FollowBooks((A,))]
    (unknown,) = answer(first).books
    assert (unknown.missing, unknown.bids) == (NOT_YET, b"")
    desk.read(book(), 0.1)
    second = desk.lease("two", A, at_s=1)
    assert [*only(second, ReadBook), *only(second, FollowBooks)] == []
    (held,) = answer(second).books
    assert BookView(held).best_bid == 10.0
    assert (held.source, held.venue_ns, held.received_ns) == ("poll", 0, START + SECOND // 10)
    assert answer(second).until_ns == START + 16 * SECOND


def test_a_push_is_published_under_its_symbol_with_all_its_levels() -> None:
    desk = Desk()
    desk.lease("one", A)
    step = desk.on(book(venue_ns=7), 0.5)
    (effect,) = step.effects
    assert effect.topic == f"book.BTCUSD.{A}"
    view = BookView(effect.message)
    assert view.bids.tolist() == [[10.0, 9.0], [1.0, 2.0]]
    assert view.asks.tolist() == [[11.0], [3.0]]
    assert (effect.message.source, effect.message.venue_ns, effect.message.received_ns) == (
        "stream",
        7,
        START + 5 * 10**8,
    )


def test_a_book_ends_with_its_last_consumer_and_not_before() -> None:
    desk = Desk()
    desk.lease("one", A, B)
    desk.lease("two", A)
    assert only(desk.lease("one"), FollowBooks) == [FollowBooks((A,))]
    assert only(desk.lease("one"), FollowBooks) == []
    assert only(desk.lease("two"), FollowBooks) == [FollowBooks(())]
    assert published(desk.on(book())) == []


def test_a_dead_consumer_is_forgotten_when_its_lease_ends_and_one_that_renews_is_not() -> None:
    desk = Desk()
    desk.lease("dead", A, lease_ms=10_000)
    desk.lease("alive", B, lease_ms=10_000)
    desk.lease("alive", B, at_s=9, lease_ms=10_000)
    assert FollowBooks((B,)) not in desk.tick(9.9)
    assert FollowBooks((B,)) in desk.tick(10)
    assert FollowBooks(()) in desk.tick(19)
    assert desk.core.books.symbols == ()


def test_after_a_restart_nothing_is_followed_until_consumers_renew() -> None:
    desk = Desk()
    desk.lease("one", A)
    again = MarketdataCore(MarketdataConfig(), ("BTCUSD",))
    assert FollowBooks(()) in again.start(START).effects
    step = again.handle(Request("r9", LeaseBooks(consumer="one", symbols=(A,)), "one"), START)
    assert FollowBooks((A,)) in step.effects
    step = again.handle(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED[1:]), START)
    assert FollowBooks(()) in step.effects
    assert [message.missing for message in published(step)] == [f"{A} is not listed"]


def test_old_levels_do_not_outlive_a_reconnect() -> None:
    desk = Desk()
    desk.lease("one", A)
    desk.on(UP)
    desk.on(book(venue_ns=1), 1)
    down = desk.on(DOWN, 2)
    (empty,) = published(down)
    assert (empty.missing, empty.bids, empty.asks, empty.received_ns) == ("books: reset", b"", b"", 0)
    assert desk.core.books.held(A) is None
    desk.read(book(bid=9.5), 2.5)
    held = desk.core.books.held(A)
    assert held is not None
    assert (BookView(held).best_bid, held.source) == (9.5, "poll")
    assert only(desk.on(UP, 3), ReadBook) == [ReadBook(A)]


def test_what_was_read_while_the_stream_is_down_outlives_further_attempts_to_connect() -> None:
    desk = Desk()
    desk.lease("one", A)
    desk.on(UP)
    desk.on(DOWN, 1)
    desk.read(book(bid=9.5), 1.5)
    assert published(desk.on(DOWN, 2)) == []
    held = desk.core.books.held(A)
    assert held is not None
    assert BookView(held).best_bid == 9.5


def test_a_read_that_was_overtaken_by_the_stream_is_dropped() -> None:
    desk = Desk()
    desk.lease("one", A)
    desk.on(book(bid=10.5), 1)
    assert desk.read(book(bid=9.0), 1.1, asked_s=0.9).effects == []
    held = desk.core.books.held(A)
    assert held is not None
    assert BookView(held).best_bid == 10.5


def test_a_book_that_is_silent_because_nothing_changes_is_confirmed_by_rest_and_not_alarmed() -> None:
    desk = Desk()
    desk.lease("one", A, lease_ms=60_000)
    desk.on(UP)
    desk.read(book(), 0.05)
    desk.on(book(), 0.1)
    assert desk.tick(5) == []
    for at_s in (5.1, 10.1, 15.1):
        assert desk.tick(at_s) == [ReadBook(A)]
        step = desk.read(book(), at_s)
        assert [message.received_ns for message in published(step)] == [START + int(at_s * SECOND)]
        assert frozen(step) == []
    assert desk.core.books.frozen_of("BTCUSD") == ()


def test_a_book_that_froze_while_others_run_is_alarmed_read_by_rest_and_subscribed_again() -> None:
    desk = Desk()
    desk.lease("one", A, B, lease_ms=60_000)
    desk.on(UP)
    desk.read(book(A), 0.05)
    desk.on(book(A), 0.1)
    for at_s in range(1, 6):
        desk.on(book(B, venue_ns=at_s), at_s)
    assert desk.tick(5.1) == [ReadBook(A)]
    step = desk.read(book(bid=10.5), 5.2)
    assert BookView(published(step)[0]).best_bid == 10.5
    assert desk.core.books.frozen_of("BTCUSD") == ()
    step = desk.on(Tick(), 6.2)
    assert frozen(step) == [(A, False)]
    assert [*only(step, RenewBook), *only(step, ReadBook)] == [RenewBook(A), ReadBook(A)]
    assert desk.core.books.frozen_of("BTCUSD") == (A,)
    desk.read(book(bid=10.6), 6.3)
    step = desk.on(Tick(), 11.4)
    assert (frozen(step), only(step, RenewBook)) == ([], [RenewBook(A)])
    step = desk.on(book(venue_ns=9), 12)
    assert frozen(step) == [(A, True)]
    assert desk.core.books.frozen_of("BTCUSD") == ()


def test_a_stream_that_is_a_moment_behind_rest_is_not_frozen() -> None:
    desk = Desk()
    desk.lease("one", A, lease_ms=60_000)
    desk.on(UP)
    desk.read(book(), 0.05)
    desk.on(book(), 0.1)
    assert desk.tick(5.1) == [ReadBook(A)]
    desk.read(book(bid=10.5), 5.2)
    desk.on(book(bid=10.5, venue_ns=3), 5.3)
    assert RenewBook(A) not in desk.tick(6.3)
    assert desk.core.books.frozen_of("BTCUSD") == ()


def test_while_the_stream_is_down_a_changing_book_is_read_and_not_called_frozen() -> None:
    desk = Desk()
    desk.lease("one", A, lease_ms=60_000)
    desk.on(DOWN)
    for step_s in range(5):
        at_s = 5.1 * (step_s + 1)
        assert desk.tick(at_s)[-1:] in ([ReadBook(A)], [])
        assert published(desk.read(book(bid=10 + step_s / 10), at_s))
    assert desk.core.books.frozen_of("BTCUSD") == ()


def test_a_book_of_which_nothing_comes_is_emptied_with_the_reason() -> None:
    desk = Desk()
    desk.lease("one", A, lease_ms=60_000)
    desk.on(book(), 0)
    shown: list[str] = []
    for at_s in (5, 10, 15.5, 16, 20.5):
        step = desk.on(Tick(), at_s)
        shown += [message.missing for message in published(step)]
        if only(step, ReadBook):
            desk.on(BookReadFailed(symbol=A, kind="down", reason="no answer"), at_s)
    assert shown == ["nothing was received of it for 16 s"]
    assert desk.core.books.held(A) is None


def test_after_a_stall_books_are_unknown_and_leases_are_as_long_as_before() -> None:
    desk = Desk()
    desk.lease("one", A, lease_ms=10_000)
    desk.on(book(), 1)
    step = desk.on(LoopStalled(20 * SECOND), 21)
    assert [message.missing for message in published(step)] == ["the service stood still for 20.0 s"]
    assert FollowBooks(()) not in desk.tick(29)
    assert FollowBooks(()) in desk.tick(30)


def test_an_image_that_was_overtaken_is_dropped() -> None:
    desk = Desk()
    desk.lease("one", A)
    desk.on(book(bid=10.5, venue_ns=9), 1)
    assert desk.on(book(bid=10.0, venue_ns=8), 1.1).effects == []


def test_what_cannot_be_kept_is_refused_one_by_one_with_the_reason() -> None:
    desk = Desk(books_max=2)
    answered = answer(desk.lease("one", "nonsense", "x" * 10**6, "BTCUSD-6JUN23-1-C", "ETHUSD-6JUN23-1-C", A, B, C))
    assert isinstance(answered, BooksLeased)
    assert [(each.symbol, each.code) for each in answered.refused] == [
        ("nonsense", "bad_symbol"),
        ("x" * 64, "bad_symbol"),
        ("BTCUSD-6JUN23-1-C", "not_listed"),
        ("ETHUSD-6JUN23-1-C", "not_listed"),
        (C, "too_many_books"),
    ]
    assert all(isinstance(each, BookRefused) and each.detail for each in answered.refused)
    assert [each.symbol for each in answered.books] == [A, B]


def test_a_lease_that_cannot_be_is_refused_with_the_field_and_the_remedy() -> None:
    desk = Desk()
    many = [f"BTCUSD-26FEB26-{strike}-C" for strike in range(1, 202)]
    for step in (
        desk.lease("", A),
        desk.lease("x" * 101, A),
        desk.lease("one", A, lease_ms=1),
        desk.lease("one", *many),
    ):
        refusal = answer(step)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, bool(refusal.remedy)) == ("bad_request", True)
    for number in range(100):
        desk.lease(f"consumer {number}", A)
    assert answer(desk.lease("one too many", A)).code == "too_many_consumers"


def test_a_lost_stream_of_books_is_no_matter_any_more_once_nobody_wants_books() -> None:
    desk = Desk()
    desk.lease("one", A)
    assert [alert.resolved for alert in only(desk.on(DOWN), RaiseAlert)] == [False]
    assert [alert.resolved for alert in only(desk.lease("one"), RaiseAlert)] == [True]


def test_a_book_that_is_held_answers_at_once_and_an_exit_has_the_venue_asked() -> None:
    desk = Desk()
    desk.lease("one", A)
    desk.on(book(), 1)

    def ask(max_age_ms: int, at_s: float) -> list[Any]:
        request = Request(f"q{max_age_ms}", GetOrderBook(symbol=A, max_age_ms=max_age_ms), "cli")
        return [effect for effect in desk.on(request, at_s).effects if isinstance(effect, Reply)]

    assert ask(0, 1) == [], "not even what was received in the same moment"
    (reply,) = ask(30_000, 1.5)
    assert isinstance(reply.message, OrderBookAnswer)
    assert reply.message.age_ms == 500
    assert (ask(100, 1.5), ask(0, 1.5)) == ([], [])


def trade(at: int, quantity: str = "1") -> MarketTrade:
    return MarketTrade(symbol=A, side="buy", price=Decimal(5), quantity=Decimal(quantity), venue_ns=at)


def told_trades(step: Step) -> list[tuple[int, ...]]:
    messages = [each.message for each in step.effects if isinstance(each, Publish)]
    return [tuple(each.venue_ns for each in one.trades) for one in messages if isinstance(one, LastTrades)]


def test_last_trades_of_a_leased_option_are_read_first_and_then_grow_with_each_push() -> None:
    desk = Desk()
    assert ReadLastTrades(A) in desk.lease("one", A).effects
    step = desk.on(LastTradesRead(symbol=A, trades=(trade(2), trade(1))), 1)
    (effect,) = step.effects
    assert effect.topic == f"last_trades.BTCUSD.{A}"
    assert (effect.message.received_ns, told_trades(step)) == (START + SECOND, [(2, 1)])
    assert told_trades(desk.on(LastTradesPush(symbol=A, trades=(trade(4), trade(3))), 2)) == [(4, 3, 2, 1)]
    assert desk.on(LastTradesPush(symbol=B, trades=(trade(4),)), 2).effects == []


def test_a_trade_that_is_pushed_and_read_counts_once_and_two_alike_in_one_list_are_two() -> None:
    desk = Desk()
    desk.lease("one", A)
    desk.on(LastTradesPush(symbol=A, trades=(trade(3),)))
    assert told_trades(desk.on(LastTradesRead(symbol=A, trades=(trade(3), trade(1), trade(1))))) == [(3, 1, 1)]
    assert told_trades(desk.on(LastTradesRead(symbol=A, trades=(trade(3), trade(1), trade(1))))) == []


def test_trades_that_a_break_swallowed_are_read_after_it_and_a_failed_read_is_made_again() -> None:
    desk = Desk()
    desk.lease("one", A, lease_ms=60_000)
    desk.on(UP)
    desk.on(DOWN, 1)
    assert ReadLastTrades(A) in desk.on(UP, 2).effects
    assert desk.on(LastTradesReadFailed(A), 3).effects == []
    assert ReadLastTrades(A) not in desk.on(Tick(), 12).effects
    assert ReadLastTrades(A) in desk.on(Tick(), 13).effects


def test_no_more_than_fifty_trades_are_kept_of_an_option() -> None:
    desk = Desk()
    desk.lease("one", A)
    step = desk.on(LastTradesRead(symbol=A, trades=tuple(trade(at) for at in range(100, 0, -1))))
    assert told_trades(step) == [tuple(range(100, 50, -1))]


CONSUMERS = st.sampled_from(["one", "two", "three"])
MOVES = st.one_of(
    st.tuples(st.just("lease"), CONSUMERS, st.sets(st.sampled_from([A, B, C]))),
    st.tuples(st.just("wait"), st.floats(0.1, 20)),
    st.tuples(st.just("push"), st.sampled_from([A, B, C])),
    st.tuples(st.just("break")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, max_size=40))
def test_what_is_followed_is_always_what_somebody_with_a_lease_wants(moves: list[tuple[Any, ...]]) -> None:
    desk, at_s, followed = Desk(), 0.0, ()
    leases: dict[str, tuple[set[str], float]] = {}

    def seen(step: Step) -> None:
        nonlocal followed
        for effect in only(step, FollowBooks):
            followed = effect.symbols

    for move in moves:
        match move:
            case "lease", consumer, symbols:
                seen(desk.lease(consumer, *sorted(symbols), at_s=at_s, lease_ms=5_000))
                leases[consumer] = (symbols, at_s + 5)
            case "wait", seconds:
                at_s += seconds
                seen(desk.on(Tick(), at_s))
            case "push", symbol:
                desk.on(book(symbol, venue_ns=int(at_s * 1e9)), at_s)
            case _:
                seen(desk.on(DOWN, at_s))
                seen(desk.on(UP, at_s))
        seen(desk.on(Tick(), at_s))
        wanted = {symbol for symbols, until_s in leases.values() if until_s > at_s + 1e-6 for symbol in symbols}
        assert set(followed) >= wanted
        assert set(followed) <= {
            symbol for symbols, until_s in leases.values() if until_s > at_s - 1e-6 for symbol in symbols
        }
    seen(desk.on(Tick(), at_s + 10))
    assert followed == ()
    assert retained(desk.core.books)["._books"] == 0
