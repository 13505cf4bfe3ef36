"""The order book of one option: asked once, or leased and followed, of a marketdata on the real bus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal

import pytest

from shared.messages.base import Message
from shared.messages.on_demand import (
    BookRefused,
    BooksLeased,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    Kline,
    Klines,
    LastTrades,
    LeaseBooks,
    MarketTrade,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.topics import book_topic, last_trades_topic
from shared.messages.trades import Refusal
from shared.options.book import pack_levels
from tests.unit.voldesk.peers import Peers, Ran

SYMBOL = "BTCUSD-4DEC26-100000-C"
HOUR_NS = 3_600 * 10**9
RECEIVED_NS = 1_795_185_474_114_000_000
BOOK = OrderBook(
    symbol=SYMBOL,
    underlying="BTCUSD",
    venue_ns=0,
    received_ns=RECEIVED_NS,
    source="poll",
    missing="",
    bids=pack_levels([(3_661.0, 0.5), (3_650.5, 2.0)]),
    asks=pack_levels([(3_700.0, 1.0)]),
)
TRADES = tuple(
    MarketTrade(symbol=SYMBOL, side="buy", price=Decimal("3661.5"), quantity=Decimal("0.1"), venue_ns=RECEIVED_NS - n)
    for n in range(7)
)
KLINES = tuple(
    Kline(start_ns=RECEIVED_NS - n * HOUR_NS, open=10.0, high=30.0, low=5.0, close=10.0 + n, volume=0.5)
    for n in (3, 2, 0)
)


@pytest.fixture
def market(peers: Peers) -> Peers:
    def answer(message: Message) -> Message | None:
        match message:
            case GetOrderBook(symbol=symbol):
                if symbol != SYMBOL:
                    return Refusal(code="bad_symbol", detail=f"{symbol} is none", remedy="use another")
                return OrderBookAnswer(age_ms=1_500, book=BOOK)
            case GetLastTrades():
                return LastTrades(symbol=SYMBOL, received_ns=RECEIVED_NS, age_ms=0, trades=TRADES)
            case GetKlines(period=period):
                return Klines(symbol=SYMBOL, period=period, received_ns=RECEIVED_NS, age_ms=0, klines=KLINES)
            case LeaseBooks(symbols=symbols):
                refused = tuple(
                    BookRefused(symbol=each, code="not_listed", detail=f"{each} is not listed")
                    for each in symbols
                    if each != SYMBOL
                )
                return BooksLeased(until_ns=RECEIVED_NS, books=(BOOK,) if SYMBOL in symbols else (), refused=refused)
            case _:
                return None

    peers.answer("marketdata", answer)
    return peers


def test_a_book_is_a_table_with_its_age_and_the_last_trades(market: Peers) -> None:
    ran = Ran("book", SYMBOL.lower(), "--levels", "1")
    assert ran.code == 0, ran.err
    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.out.startswith(f"{SYMBOL} · paper · account ")
    assert ["0.5", "3,661", "3,700", "1"] in lines
    assert "3,650" not in ran.out
    assert "mid 3,680.5, spread 1.06%, 2 and 1 levels, read by REST 1.5 s ago" in ran.out
    assert sum("3661.5" in line for line in ran.out.splitlines()) == 5


def test_prices_of_one_table_have_the_same_decimals(market: Peers) -> None:
    lines = [line.split() for line in Ran("book", SYMBOL).out.splitlines()]
    assert ["0.5", "3,661.0", "3,700.0", "1"] in lines
    assert ["2", "3,650.5"] in lines


def test_a_book_in_json_has_its_levels_as_pairs(market: Peers) -> None:
    told = json.loads(Ran("book", SYMBOL, "--json").out)
    assert (told["bids"], told["asks"]) == ([[3661.0, 0.5], [3650.5, 2.0]], [[3700.0, 1.0]])
    assert (told["source"], told["age_ms"], told["venue_at"]) == ("poll", 1_500, None)
    assert (len(told["last_trades"]), told["last_trades"][0]["price"]) == (7, "3661.5")


def test_klines_are_a_curve_by_hours_and_bars_in_json(market: Peers) -> None:
    drawn = Ran("book", SYMBOL, "--klines", "1h").out
    assert "close, USD, by hours from now; k-lines of 1h" in drawn
    assert "13.0 ┤" in drawn
    assert "-3.0" in drawn
    assert "3 of the last 100 periods traded, volume 1.5" in drawn
    told = json.loads(Ran("book", SYMBOL, "--klines", "1h", "--json").out)["klines"]
    assert [bar["close"] for bar in told] == [13.0, 12.0, 10.0]
    assert told[0].keys() == {"started_at", "open", "high", "low", "close", "volume"}


def test_klines_of_no_period_or_while_following_are_a_mistake_in_the_command_line(market: Peers) -> None:
    for arguments, says in ((["--klines", "7h"], "7h"), (["--klines", "1h", "--follow"], "--follow")):
        ran = Ran("book", SYMBOL, *arguments)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert says in ran.err


def test_a_symbol_that_is_none_is_refused_in_one_line(market: Peers) -> None:
    for arguments in (["book", "nonsense"], ["book", "nonsense", "--follow"]):
        ran = Ran(*arguments)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert "NONSENSE is n" in ran.err


def test_a_followed_book_is_leased_shown_as_it_changes_and_given_back(market: Peers) -> None:
    later = OrderBook(
        symbol=SYMBOL,
        underlying="BTCUSD",
        venue_ns=RECEIVED_NS,
        received_ns=RECEIVED_NS,
        source="stream",
        missing="",
        bids=b"",
        asks=pack_levels([(3_690.0, 1.0)]),
    )
    command = [sys.executable, "-c", "from voldesk.main import app; app()", "book", SYMBOL, "-f", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ, text=True)
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["source"], first["bids"][0]) == ("poll", [3661.0, 0.5])
        market.publish("marketdata", book_topic("BTCUSD", SYMBOL), later, every_s=0.05)
        second = json.loads(process.stdout.readline())
        assert (second["source"], second["bids"], second["asks"]) == ("stream", [], [[3690.0, 1.0]])
        told = LastTrades(symbol=SYMBOL, received_ns=RECEIVED_NS, age_ms=0, trades=TRADES[:1])
        market.publish("marketdata", last_trades_topic("BTCUSD", SYMBOL), told, every_s=0.05)
        while "last_trades" not in (line := json.loads(process.stdout.readline())):
            assert line["source"] == "stream"
        assert [each["price"] for each in line["last_trades"]] == ["3661.5"]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    leases = [message.symbols for message in market.asked if isinstance(message, LeaseBooks)]
    assert leases == [(SYMBOL,), ()]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_leaves_ends_a_followed_book_quietly(market: Peers, form: list[str]) -> None:
    market.publish("marketdata", book_topic("BTCUSD", SYMBOL), BOOK, every_s=0.02)
    command = [sys.executable, "-c", "from voldesk.main import app; app()", "book", SYMBOL, "-f", *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait(timeout=60) == 0
        assert running.stderr.read() == b""
