"""The perpetual beside the chain: shown with book and mark together, none of it longer than it is fresh."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from services.marketdata.effects import FundingRead, InstrumentsLoaded
from shared.messages.contracts import FundingRate
from shared.messages.market import PerpetualQuote
from shared.messages.steps import LoopStalled
from shared.options.book import pack_levels
from shared.options.chain import ChainView, list_id_of
from shared.venues.ports import BookPush, IndexPush
from tests.unit.marketdata.test_core import LISTED, NEAR, START, Script, push, shown
from tests.unit.perpetuals import PERPETUAL

SECOND = 1_000_000_000


def _script() -> Script:
    script = Script()
    script.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED, perpetual=PERPETUAL))
    script.on(push(NEAR))
    return script


def _book(bid: float, *, venue_ns: int = 1, asks: bool = True) -> BookPush:
    sides = pack_levels([(bid, 2.0), (bid - 1, 9.0)]), pack_levels([(bid + 1, 3.0)] if asks else [])
    return BookPush(symbol="BTCUSD", venue_ns=venue_ns, bids=sides[0], asks=sides[1])


def _mark(script: Script, mark: float, at_s: float = 0.0) -> None:
    script.on(IndexPush(underlying="BTCUSD", price=100.0, venue_ns=0, perpetual_mark=mark), at_s)


def _quote(view: ChainView) -> PerpetualQuote:
    assert view.snapshot.perpetual is not None
    return view.snapshot.perpetual


def test_book_mark_and_funding_are_shown_with_the_chain() -> None:
    script = _script()
    script.on(_book(101.0))
    _mark(script, 101.4)
    rate = FundingRate(symbol="BTCUSD", rate=Decimal("0.0003"), next_funding_ns=START + 9, venue_ns=START)
    script.on(FundingRead(rate))
    view = shown(script.chain(1))
    quote = _quote(view)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (101.0, 2.0, 102.0, 3.0)
    assert (quote.mark, quote.funding_rate, quote.next_funding_ns) == (101.4, 0.0003, START + 9)
    asked = view.quote("BTCUSD")
    assert asked is not None
    assert (asked.bid, asked.mark, asked.delta, asked.mid) == (101.0, 101.4, 1.0, 101.5)
    assert [view.value("BTCUSD", name) for name in ("gamma", "vega", "theta", "mark_iv")] == [0.0, 0.0, 0.0, None]
    assert view.instrument("BTCUSD") == PERPETUAL
    assert view.instruments == LISTED


def test_its_listing_makes_another_list() -> None:
    assert list_id_of(LISTED, PERPETUAL) != list_id_of(LISTED)
    assert shown(_script().chain(1)).listed.list_id == list_id_of(LISTED, PERPETUAL)


@pytest.mark.parametrize("without", ["book", "mark"])
def test_one_without_the_other_shows_nothing_of_it(without: str) -> None:
    script = _script()
    if without == "book":
        _mark(script, 101.4)
    else:
        script.on(_book(101.0))
    view = shown(script.chain(1))
    assert view.snapshot.perpetual is None
    assert view.quote("BTCUSD") is None
    assert view.value("BTCUSD", "delta") is None


def test_what_is_too_old_is_missing_and_options_are_shown_on() -> None:
    script = _script()
    script.on(_book(101.0))
    _mark(script, 101.4, 0)
    _mark(script, 101.5, 4)
    script.on(push(NEAR), 4)
    assert _quote(shown(script.chain(4))).mark == 101.5
    script.on(push(NEAR), 4.5)
    _mark(script, 101.6, 4.5)
    view = shown(script.chain(5))
    assert view.snapshot.perpetual is None
    assert view.value(LISTED[0].symbol, "bid") == 1.0


def test_it_has_an_age_of_its_own_and_options_look_no_older_for_it() -> None:
    script = _script()
    script.on(_book(101.0))
    _mark(script, 101.4)
    script.on(push(NEAR), 3)
    _mark(script, 101.4, 3)
    view = shown(script.chain(3.5))
    assert (view.snapshot.received_ns, _quote(view).received_ns) == (START + 3 * SECOND, START)


def test_an_empty_side_is_missing_and_an_older_book_is_left_out() -> None:
    script = _script()
    script.on(_book(101.0, venue_ns=5))
    script.on(_book(90.0, venue_ns=4), 0.1)
    _mark(script, 101.4)
    assert _quote(shown(script.chain(1))).bid == 101.0
    script.on(_book(103.0, venue_ns=6, asks=False), 1.1)
    quote = _quote(shown(script.chain(2.2)))
    assert quote.bid == 103.0
    assert math.isnan(quote.ask)
    assert math.isnan(quote.ask_size)


def test_after_a_stall_nothing_of_it_is_fresh() -> None:
    script = _script()
    script.on(_book(101.0))
    _mark(script, 101.4)
    script.on(LoopStalled(gap_ns=3 * SECOND), 1)
    script.on(push(NEAR), 1)
    assert shown(script.chain(2)).snapshot.perpetual is None


def test_a_silent_book_is_one_to_poll() -> None:
    script = _script()
    perpetual = script.core.future("BTCUSD")
    assert perpetual is not None
    assert perpetual.book_is_silent(START, 3 * SECOND)
    script.on(_book(101.0))
    assert not perpetual.book_is_silent(START + 3 * SECOND, 3 * SECOND)
    assert perpetual.book_is_silent(START + 4 * SECOND, 3 * SECOND)
    assert script.core.future("ETHUSD") is None


def test_a_desk_without_futures_knows_nothing_of_it() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    script.on(_book(101.0))
    _mark(script, 101.4)
    view = shown(script.chain(1))
    assert view.snapshot.perpetual is None
    assert view.listed.perpetual is None
