"""The spot pair beside the chain: shown with the age of its book, read by REST while its stream is silent."""

from __future__ import annotations

import math
from decimal import Decimal

from services.marketdata.effects import BookRead, InstrumentsLoaded, ReadVenue
from shared.messages.contracts import SpotSpec, SpotTicker
from shared.messages.market import SpotQuote
from shared.messages.on_demand import (
    BooksLeased,
    GetKlines,
    GetOrderBook,
    LeaseBooks,
    MarketTrade,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.steps import LoopStalled, Publish, RaiseAlert, Reply, Request, Step, Tick
from shared.options.book import BookView, pack_levels
from shared.options.chain import list_id_of
from shared.venues.ports import BookPush, IndexPush, LastTradesPush
from tests.unit.marketdata.test_core import LISTED, NEAR, START, Script, push, shown

SECOND = 1_000_000_000
PAIR = SpotSpec(
    symbol="BTCUSDT",
    coin="BTC",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    max_quantity=Decimal(1_000),
)


def _script() -> Script:
    script = Script()
    script.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED, spot=PAIR))
    script.on(push(NEAR))
    return script


def _book(bid: float, *, venue_ns: int = 1) -> BookPush:
    sides = pack_levels([(bid, 2.0), (bid - 1, 9.0)]), pack_levels([(bid + 1, 3.0)])
    return BookPush(symbol="BTCUSDT", venue_ns=venue_ns, bids=sides[0], asks=sides[1])


def _ticker(last: float) -> SpotTicker:
    return SpotTicker(symbol="BTCUSDT", last=last, index=100.0)


def _spot(script: Script, at_s: float) -> SpotQuote | None:
    return shown(script.chain(at_s)).snapshot.spot


def _ask(script: Script, message: GetOrderBook | GetKlines | LeaseBooks, at_s: float = 0.0) -> Step:
    return script.on(Request(request_id="r", client="test", message=message), at_s)


def test_book_and_last_price_are_shown_with_the_chain_and_its_listing_makes_another_list() -> None:
    script = _script()
    script.on(_book(101.0))
    script.on(_ticker(101.4))
    quote = _spot(script, 1)
    assert quote is not None
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.last) == (101.0, 2.0, 102.0, 3.0, 101.4)
    assert (quote.venue_ns, quote.received_ns) == (1, START)
    assert shown(script.chain(2)).listed.list_id == list_id_of(LISTED, None, PAIR) != list_id_of(LISTED)


def test_a_trade_is_a_last_price_too() -> None:
    script = _script()
    script.on(_book(101.0))
    trade = MarketTrade(symbol="BTCUSDT", side="buy", price=Decimal(103), quantity=Decimal(1), venue_ns=0)
    script.on(LastTradesPush(symbol="BTCUSDT", trades=(trade,)))
    quote = _spot(script, 1)
    assert quote is not None
    assert quote.last == 103.0


def test_a_book_that_is_too_old_is_missing_and_one_read_by_rest_takes_its_place() -> None:
    script = _script()
    script.on(_book(101.0))
    script.on(push(NEAR), 4.5)
    assert _spot(script, 5) is None
    script.on(BookRead(asked_ns=START + 5 * SECOND, book=_book(90.0, venue_ns=7)), 5.5)
    quote = _spot(script, 6.1)
    assert quote is not None
    assert quote.bid == 90.0
    assert math.isnan(quote.last)


def test_an_older_book_does_not_overtake_a_newer_one() -> None:
    script = _script()
    script.on(_book(101.0, venue_ns=5))
    script.on(BookRead(asked_ns=START, book=_book(90.0, venue_ns=4)), 0.1)
    quote = _spot(script, 1)
    assert quote is not None
    assert quote.bid == 101.0


def test_after_a_stall_nothing_of_it_is_fresh() -> None:
    script = _script()
    script.on(_book(101.0))
    script.on(LoopStalled(gap_ns=3 * SECOND), 1)
    script.on(push(NEAR), 1)
    assert _spot(script, 2) is None


def test_a_silent_pair_is_one_to_poll_and_after_a_while_a_person_is_told() -> None:
    script = _script()
    pair = script.core.spot("BTCUSDT")
    assert pair is not None
    script.on(_book(101.0))
    assert not pair.is_silent(START + 3 * SECOND, 3 * SECOND)
    assert pair.is_silent(START + 4 * SECOND, 3 * SECOND)
    texts: list[str] = []
    for at_s in range(1, 13):
        script.on(push(NEAR), at_s)
        script.on(IndexPush(underlying="BTCUSD", price=100.0, venue_ns=0), at_s)
        step = script.on(Tick(), at_s)
        texts += [each.text for each in step.effects if isinstance(each, RaiseAlert) and "spot" in each.text]
    assert texts
    assert "spot" in script.core.stale_streams("BTCUSD", START + 12 * SECOND)


def test_what_comes_by_rest_alone_for_long_is_told_as_a_silent_stream() -> None:
    script = _script()
    script.on(_book(101.0))
    for at_s in (60, 95):
        script.on(BookRead(asked_ns=START + at_s * SECOND, book=_book(101.0)), at_s)
    assert "spot" in script.core.silent_streams("BTCUSD", START + 95 * SECOND)
    script.on(_book(101.0), 96)
    assert "spot" not in script.core.silent_streams("BTCUSD", START + 96 * SECOND)


def test_its_book_is_answered_from_the_stream_and_what_is_not_held_is_asked_of_the_venue() -> None:
    script = _script()
    script.on(_book(101.0))
    (reply,) = _ask(script, GetOrderBook(symbol="BTCUSDT", max_age_ms=5_000), 2).effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.message, OrderBookAnswer)
    assert (reply.message.age_ms, reply.message.book.source) == (2_000, "stream")
    assert BookView(reply.message.book).best_bid == 101.0
    (read,) = _ask(script, GetOrderBook(symbol="BTCUSDT", max_age_ms=0), 2).effects
    assert isinstance(read, ReadVenue)
    (read,) = _ask(script, GetKlines(symbol="BTCUSDT", period="1h"), 2).effects
    assert isinstance(read, ReadVenue)


def test_its_book_can_be_leased_and_flows_on_its_underlyings_topic() -> None:
    script = _script()
    step = _ask(script, LeaseBooks(consumer="c", symbols=("BTCUSDT", "ETHUSDT")))
    leased = next(each.message for each in step.effects if isinstance(each, Reply))
    assert isinstance(leased, BooksLeased)
    assert [(each.symbol, each.code) for each in leased.refused] == [("ETHUSDT", "not_listed")]
    published = [each for each in script.on(_book(101.0), 1).effects if isinstance(each, Publish)]
    assert [(each.topic, type(each.message)) for each in published] == [("book.BTCUSD.BTCUSDT", OrderBook)]


def test_a_desk_that_does_not_look_at_spot_knows_nothing_of_it() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    script.on(_book(101.0))
    assert _spot(script, 1) is None
    step = _ask(script, LeaseBooks(consumer="c", symbols=("BTCUSDT",)))
    leased = next(each.message for each in step.effects if isinstance(each, Reply))
    assert isinstance(leased, BooksLeased)
    assert [each.code for each in leased.refused] == ["not_listed"]
