"""Reads on request: answered from the cache with their age while young, read anew otherwise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.marketdata.effects import ReadKey, ReadVenue, VenueRead, VenueReadFailed
from services.marketdata.reads import Reads
from shared.messages.contracts import FundingRate
from shared.messages.on_demand import (
    FundingRateAnswer,
    GetFundingRate,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    Kline,
    Klines,
    LastTrades,
    MarketTrade,
    OrderBookAnswer,
)
from shared.messages.steps import Reply, Step
from shared.messages.trades import Refusal
from shared.options.book import BookView, pack_levels
from shared.venues.ports import BookPush
from tests.unit.marketdata.test_core import SECOND, START

SYMBOL = "BTCUSD-26FEB26-100-C"
KEY = GetLastTrades(symbol=SYMBOL, max_age_ms=0)
TRADE = MarketTrade(symbol=SYMBOL, side="buy", price=Decimal("1.5"), quantity=Decimal("0.1"), venue_ns=1)


class Asked:
    def __init__(self, entries_max: int = 100) -> None:
        self.reads = Reads(entries_max)
        self._requests = 0

    def ask(self, ask: ReadKey, at_s: float = 0.0) -> list[Any]:
        self._requests += 1
        self.reads.ask(step := Step(), f"r{self._requests}", ask, START + int(at_s * SECOND))
        return step.effects

    def read(self, key: ReadKey, at_s: float = 0.0, value: Any = (TRADE,)) -> list[Any]:
        self.reads.on_read(step := Step(), VenueRead(key=key, value=value), START + int(at_s * SECOND))
        return step.effects


def test_the_venue_is_asked_once_and_then_the_cache_answers_with_the_age_until_it_is_too_old() -> None:
    asked = Asked()
    assert asked.ask(GetLastTrades(symbol=SYMBOL)) == [ReadVenue(KEY)]
    expected = LastTrades(symbol=SYMBOL, received_ns=START + SECOND, age_ms=0, trades=(TRADE,))
    assert asked.read(KEY, 1) == [Reply("r1", expected)]
    (reply,) = asked.ask(GetLastTrades(symbol=SYMBOL), 11.5)
    assert (reply.message.age_ms, reply.message.received_ns) == (10_500, START + SECOND)
    assert [type(effect) for effect in asked.ask(GetLastTrades(symbol=SYMBOL), 31)] == [Reply]
    assert asked.ask(GetLastTrades(symbol=SYMBOL), 31.1) == [ReadVenue(KEY)]
    assert (asked.reads.hits, asked.reads.misses) == (2, 2)


def test_however_old_a_request_tolerates_nothing_older_than_half_a_minute_is_answered() -> None:
    asked = Asked()
    asked.ask(KEY)
    asked.read(KEY)
    assert asked.ask(GetLastTrades(symbol=SYMBOL, max_age_ms=10**9), 30.1) == [ReadVenue(KEY)]


def test_an_exit_bypasses_the_cache_even_for_what_was_received_in_the_same_moment() -> None:
    asked = Asked()
    asked.ask(KEY)
    asked.read(KEY, 5)
    assert asked.ask(KEY, 5) == [ReadVenue(KEY)]
    assert [type(effect) for effect in asked.ask(GetLastTrades(symbol=SYMBOL, max_age_ms=1), 5)] == [Reply]


def test_a_failed_read_is_refused_to_all_who_wait_and_what_was_kept_before_is_not_passed_off_as_fresh() -> None:
    asked = Asked()
    asked.ask(KEY)
    asked.read(KEY)
    asked.ask(KEY, 1)
    asked.ask(KEY, 1)
    asked.reads.on_read_failed(step := Step(), VenueReadFailed(key=KEY, kind="down", reason="no answer"))
    assert [effect.request_id for effect in step.effects] == ["r2", "r3"]
    refusals = [effect.message for effect in step.effects]
    assert all(isinstance(each, Refusal) and each.code == "venue_away" and each.remedy for each in refusals)


def test_requests_for_the_same_thing_share_one_read() -> None:
    asked = Asked()
    asked.ask(KEY)
    assert asked.ask(GetLastTrades(symbol=SYMBOL)) == []
    assert [effect.request_id for effect in asked.read(KEY, 1)] == ["r1", "r2"]
    assert asked.read(KEY, 2) == []


def test_the_least_recently_used_answer_is_forgotten_first() -> None:
    asked = Asked(entries_max=2)
    keys = [GetLastTrades(symbol=f"BTCUSD-26FEB26-{strike}-C", max_age_ms=0) for strike in (1, 2, 3)]
    for key in keys[:2]:
        asked.ask(key)
        asked.read(key)
    asked.ask(GetLastTrades(symbol=keys[0].symbol))
    asked.ask(keys[2])
    asked.read(keys[2])
    assert asked.reads.entries == 2
    assert [type(asked.ask(GetLastTrades(symbol=key.symbol))[0]) for key in keys] == [Reply, ReadVenue, Reply]


def test_the_cache_never_holds_more_than_its_bound_nor_what_is_too_old() -> None:
    asked = Asked(entries_max=100)
    for number in range(500):
        key = GetLastTrades(symbol=f"BTCUSD-26FEB26-{number + 1}-C", max_age_ms=0)
        asked.ask(key)
        asked.read(key)
    assert asked.reads.entries == 100
    asked.ask(KEY, 60)
    asked.read(KEY, 60)
    assert asked.reads.entries == 1


def test_too_many_reads_at_once_are_refused_instead_of_queued() -> None:
    asked = Asked()
    answers = [asked.ask(GetLastTrades(symbol=f"BTCUSD-26FEB26-{n + 1}-C")) for n in range(17)]
    assert all(isinstance(effects[0], ReadVenue) for effects in answers[:16])
    assert answers[16][0].message.code == "busy"


def test_books_and_klines_are_answered_in_their_own_form() -> None:
    asked = Asked()
    book_key = GetOrderBook(symbol=SYMBOL, max_age_ms=0)
    asked.ask(book_key)
    (reply,) = asked.read(
        book_key, value=BookPush(symbol=SYMBOL, venue_ns=0, bids=pack_levels([(1.0, 2.0)]), asks=b"")
    )
    assert isinstance(reply.message, OrderBookAnswer)
    assert (BookView(reply.message.book).best_bid, reply.message.book.underlying) == (1.0, "BTCUSD")
    bars = (Kline(start_ns=1, open=1.0, high=2.0, low=0.5, close=1.5, volume=3.0),)
    keys: list[ReadKey] = [GetKlines(symbol=SYMBOL, period=period, max_age_ms=0) for period in ("1m", "1h")]
    for key in keys:
        assert asked.ask(key) == [ReadVenue(key)]
    (reply,) = asked.read(keys[1], value=bars)
    assert reply.message == Klines(symbol=SYMBOL, period="1h", received_ns=START, age_ms=0, klines=bars)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (GetLastTrades(symbol="nonsense"), "bad_symbol"),
        (GetLastTrades(symbol="BTCUSD-6JUN23-" + "1" * 10**6 + "-C"), "bad_symbol"),
        (GetLastTrades(symbol="BTCUSD-26FEB26-100-C/../../x"), "bad_symbol"),
        (GetKlines(symbol=SYMBOL, period="1h", periods=0), "bad_request"),
        (GetKlines(symbol=SYMBOL, period="1h", periods=1_001), "bad_request"),
        (GetOrderBook(symbol=SYMBOL, max_age_ms=-1), "bad_request"),
    ],
)
def test_a_request_that_cannot_be_is_refused_before_the_venue_is_asked(ask: ReadKey, code: str) -> None:
    (reply,) = Asked().ask(ask)
    assert len(reply.message.detail) < 200
    assert (reply.message.code, bool(reply.message.detail), bool(reply.message.remedy)) == (code, True, True)


def test_k_lines_of_a_perpetual_are_read_and_of_what_is_no_contract_refused() -> None:
    asked = Asked()
    key = GetKlines(symbol="BTCUSD", period="1m", max_age_ms=0)
    assert asked.ask(key) == [ReadVenue(key)]
    bar = Kline(start_ns=START, open=1, high=2, low=1, close=2, volume=3)
    (reply,) = asked.read(key, 1, (bar,))
    assert reply.message == Klines(symbol="BTCUSD", period="1m", received_ns=START + SECOND, age_ms=0, klines=(bar,))
    dated = GetKlines(symbol="BTCUSD-26JUN26", period="1h", max_age_ms=0)
    assert asked.ask(dated) == [ReadVenue(dated)]
    for symbol in (
        "",
        "USD",
        "BTC",
        "USDT",
        "btcUSDT",
        "btcUSD",
        "BTC/USD",
        "BTCUSD-26JUX26",
        "A" * 70 + "USD",
        "BTCUSD-1-2",
    ):
        (refused,) = asked.ask(GetKlines(symbol=symbol, period="1m"))
        assert refused.message.code == "bad_symbol", symbol


def test_a_funding_rate_is_read_once_for_all_who_ask_and_only_of_a_perpetual() -> None:
    asked = Asked()
    key = GetFundingRate(symbol="BTCUSD", max_age_ms=0)
    assert asked.ask(GetFundingRate(symbol="BTCUSD")) == [ReadVenue(key)]
    assert asked.ask(GetFundingRate(symbol="BTCUSD")) == []
    told = FundingRate(symbol="BTCUSD", rate=Decimal("0.0001"), next_funding_ns=START + 9, venue_ns=START)
    replies = asked.read(key, 1, told)
    expected = FundingRateAnswer(
        symbol="BTCUSD", rate=0.0001, next_funding_ns=START + 9, received_ns=START + SECOND, age_ms=0
    )
    assert replies == [Reply("r1", expected), Reply("r2", expected)]
    (later,) = asked.ask(GetFundingRate(symbol="BTCUSD"), 6)
    assert later.message.age_ms == 5_000
    for symbol in (SYMBOL, "BTCUSDT", "BTCUSD-26JUN26", ""):
        (refused,) = asked.ask(GetFundingRate(symbol=symbol))
        assert refused.message.code == "bad_symbol", symbol
