"""Dated futures beside the chain: each with a book, a mark and an age of its own."""

from __future__ import annotations

from datetime import date

from services.marketdata.effects import FuturesRead, InstrumentsLoaded
from shared.messages.contracts import FuturesTicker
from shared.messages.steps import LoopStalled
from shared.options.book import pack_levels
from shared.options.chain import list_id_of
from shared.options.instruments import format_future_symbol, future_expiry_ns
from shared.venues.ports import BookPush
from tests.unit.dated_futures import future
from tests.unit.marketdata.test_core import LISTED, NEAR, START, Script, push, shown
from tests.unit.marketdata.test_perpetuals import SECOND
from tests.unit.perpetuals import PERPETUAL

MARCH, JUNE = "BTCUSD-27MAR26", "BTCUSD-26JUN26"


def _script(*symbols: str) -> Script:
    script = Script()
    futures = tuple(future(symbol) for symbol in symbols or (MARCH, JUNE))
    script.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED, perpetual=PERPETUAL, futures=futures))
    script.on(push(NEAR))
    return script


def _book(symbol: str, bid: float) -> BookPush:
    sides = pack_levels([(bid, 2.0), (bid - 1, 9.0)]), pack_levels([(bid + 1, 3.0)])
    return BookPush(symbol=symbol, venue_ns=1, bids=sides[0], asks=sides[1])


def _marks(**marks: float | None) -> FuturesRead:
    """By month in upper case; the perpetual by its own name."""
    symbols = {"MARCH": MARCH, "JUNE": JUNE, "PERPETUAL": "BTCUSD"}
    return FuturesRead(
        tuple(
            FuturesTicker(
                symbol=symbols[name],
                underlying="BTCUSD",
                kind="perpetual" if name == "PERPETUAL" else "future",
                expiry_ns=None if name == "PERPETUAL" else future_expiry_ns(symbols[name]),
                last=None,
                mark=mark,
                index=100.0,
            )
            for name, mark in marks.items()
        )
    )


def test_book_and_mark_of_each_are_shown_with_the_chain_and_its_delta_is_one() -> None:
    script = _script()
    script.on(_book(MARCH, 101.0))
    script.on(_book(JUNE, 105.0))
    script.on(_marks(MARCH=101.4, JUNE=105.4))
    view = shown(script.chain(1))
    assert [(each.symbol, each.bid, each.ask, each.mark) for each in view.snapshot.futures] == [
        (MARCH, 101.0, 102.0, 101.4),
        (JUNE, 105.0, 106.0, 105.4),
    ]
    quote = view.quote(JUNE)
    assert quote is not None
    assert (quote.bid, quote.ask_size, quote.mark, quote.delta, quote.mid) == (105.0, 3.0, 105.4, 1.0, 105.5)
    assert [view.value(JUNE, name) for name in ("gamma", "vega", "theta", "mark_iv")] == [0.0, 0.0, 0.0, None]
    assert view.instrument(JUNE) == future(JUNE)
    assert view.instruments == LISTED
    assert view.snapshot.perpetual is None


def test_their_listing_makes_another_list_in_which_what_has_expired_is_not() -> None:
    gone = format_future_symbol("BTC", date(2025, 1, 31))
    listed = shown(_script(gone, MARCH).chain(1)).listed
    assert [each.symbol for each in listed.futures] == [MARCH]
    assert listed.list_id == list_id_of(LISTED, PERPETUAL, None, (future(MARCH),)) != list_id_of(LISTED, PERPETUAL)


def test_one_without_a_mark_or_without_a_book_is_missing_beside_one_that_has_both() -> None:
    script = _script()
    script.on(_book(MARCH, 101.0))
    script.on(_marks(MARCH=101.4, JUNE=105.4))
    view = shown(script.chain(1))
    assert [each.symbol for each in view.snapshot.futures] == [MARCH]
    assert view.quote(JUNE) is None
    assert view.value(JUNE, "delta") is None
    script.on(_book(JUNE, 105.0), 1.1)
    script.on(_marks(MARCH=None, JUNE=105.4), 1.1)
    view = shown(script.chain(2.2))
    assert {each.symbol: each.mark for each in view.snapshot.futures} == {MARCH: 101.4, JUNE: 105.4}


def test_each_has_an_age_of_its_own_and_what_is_too_old_is_missing() -> None:
    script = _script()
    script.on(_book(MARCH, 101.0))
    script.on(_book(JUNE, 105.0))
    script.on(_marks(MARCH=101.4, JUNE=105.4))
    script.on(push(NEAR), 3)
    script.on(_book(JUNE, 105.0), 3)
    script.on(_marks(MARCH=101.5, JUNE=105.5), 3)
    view = shown(script.chain(3.5))
    ages = {each.symbol: each.received_ns - START for each in view.snapshot.futures}
    assert ages == {MARCH: 0, JUNE: 3 * SECOND}
    assert view.received_ns(MARCH) == START
    assert view.received_ns(LISTED[0].symbol) == START + 3 * SECOND
    script.on(push(NEAR), 5)
    script.on(_marks(MARCH=101.5, JUNE=105.5), 5)
    assert [each.symbol for each in shown(script.chain(5.5)).snapshot.futures] == [JUNE]


def test_the_mark_of_the_perpetual_is_not_taken_from_what_is_read_of_dated_futures() -> None:
    script = _script()
    script.on(_book("BTCUSD", 100.0))
    script.on(_marks(PERPETUAL=99.0))
    assert shown(script.chain(1)).snapshot.perpetual is None


def test_after_a_stall_nothing_of_them_is_fresh_and_their_books_are_to_be_polled() -> None:
    script = _script()
    script.on(_book(MARCH, 101.0))
    script.on(_book(JUNE, 105.0))
    script.on(_marks(MARCH=101.4, JUNE=105.4))
    assert script.core.silent_futures("BTCUSD", START, 3_000) == ("BTCUSD",)
    script.on(LoopStalled(gap_ns=3 * SECOND), 1)
    script.on(push(NEAR), 1)
    assert shown(script.chain(2)).snapshot.futures == ()
    assert script.core.silent_futures("BTCUSD", START + 2 * SECOND, 3_000) == ("BTCUSD", MARCH, JUNE)
    assert script.core.futures() == ("BTCUSD", MARCH, JUNE)


def test_what_is_received_of_one_outlives_a_new_listing() -> None:
    script = _script(MARCH)
    script.on(_book(MARCH, 101.0))
    script.on(_marks(MARCH=101.4))
    both = (future(MARCH), future(JUNE))
    script.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED, perpetual=PERPETUAL, futures=both), 0.5)
    view = shown(script.chain(1))
    assert [each.symbol for each in view.snapshot.futures] == [MARCH]
    assert [each.symbol for each in view.listed.futures] == [MARCH, JUNE]
