"""voldesk book: the order book of one option and its last trades, once or as it changes."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext, suppress
from itertools import zip_longest
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shared.bus import Bus, NoAnswer
from shared.clock import Clock
from shared.config import DeskConfig
from shared.messages.on_demand import (
    PERIOD_NS,
    BooksLeased,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    KlinePeriod,
    Klines,
    LastTrades,
    LeaseBooks,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.topics import book_topic, last_trades_topic
from shared.options.instruments import underlying_of
from shared.tasks import spawn
from shared.views import clock_text, iso, plain
from voldesk.asking import ask_on
from voldesk.bus_json import levels_of
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, Json, note, print_json, say, title, write_line
from voldesk.preflight import load_desk

_SERVICE = "marketdata"
_DEADLINE_MS = 10_000
_BOOK_AGE_MAX_MS = 1_000
_TRADES_AGE_MAX_MS = 5_000
_LEASE_MS = 15_000
_RENEW_S = _LEASE_MS / 3e3
_RENEW_MS = 3_000
_GIVE_BACK_MS = 500
_TRADES_SHOWN = 5
_SYMBOLS = "An option, BTCUSD-4DEC26-100000-C, a future, BTCUSD or BTCUSD-25DEC26, or a spot pair, BTCUSDT."
_PERIODS = GetKlines(symbol="", period="1h").periods
_NS_PER_S = 1e9
_NS_PER_HOUR = 3_600e9


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk book BTCUSD-4DEC26-100000-C --levels 5 --follow")(book)


def book(
    symbol: Annotated[str, typer.Argument(help=_SYMBOLS)],
    levels: Annotated[int, typer.Option(min=1, max=100, help="Levels a side.")] = 10,
    klines: Annotated[
        KlinePeriod | None, typer.Option(metavar="PERIOD", help=f"Also draw closing prices: {', '.join(PERIOD_NS)}.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with every change until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show book and last trades of an option, future or spot pair, with their age; --json --follow: a line each.

    --klines draws the prices of the last 100 periods in which it traded, the running one included.
    """
    if follow and klines is not None:
        raise Failure("--klines does not go with --follow", "ask for the k-lines once, without --follow", EXIT_USAGE)
    desk = load_desk()
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)
    if follow:
        asyncio.run(_follow(desk, symbol.upper(), levels, as_json))
    else:
        asyncio.run(_once(desk, symbol.upper(), levels, klines, as_json))


async def _once(desk: DeskConfig, symbol: str, levels: int, period: KlinePeriod | None, as_json: bool) -> None:
    async with Bus.client(desk) as bus:
        wanted = GetOrderBook(symbol=symbol, max_age_ms=_BOOK_AGE_MAX_MS)
        found = await ask_on(bus, desk, _SERVICE, wanted, OrderBookAnswer, _DEADLINE_MS)
        wanted_trades = GetLastTrades(symbol=symbol, max_age_ms=_TRADES_AGE_MAX_MS)
        trades = await ask_on(bus, desk, _SERVICE, wanted_trades, LastTrades, _DEADLINE_MS)
        bars = None
        if period is not None:
            bars = await ask_on(bus, desk, _SERVICE, GetKlines(symbol=symbol, period=period), Klines, _DEADLINE_MS)
    if as_json:
        told = {**_book_json(found.book, levels), "age_ms": found.age_ms, "last_trades": _trades_json(trades)}
        print_json(told if bars is None else {**told, "klines": _klines_json(bars)})
        return
    console = Console(file=sys.stdout, highlight=False)
    console.print(Group(_table(desk, found.book, levels, found.age_ms / 1e3), _trades(trades)))
    if bars is not None:
        _draw(console, bars)


async def _follow(desk: DeskConfig, symbol: str, levels: int, as_json: bool) -> None:
    """Lease the book, show every image of it, and give the lease back at the end."""
    consumer = f"cli-{os.getpid()}"
    underlying = underlying_of(symbol)
    topics = [book_topic(underlying, symbol), last_trades_topic(underlying, symbol)]
    shown: asyncio.Queue[OrderBook | LastTrades] = asyncio.Queue()

    def hear(item: Inbound | StreamSynced) -> None:
        if isinstance(item, Inbound) and isinstance(item.message, OrderBook | LastTrades):
            shown.put_nowait(item.message)

    async with Bus(consumer, desk) as bus:
        bus.subscribe(_SERVICE, topics, hear)
        lease = LeaseBooks(consumer=consumer, symbols=(symbol,), lease_ms=_LEASE_MS)
        answer = await ask_on(bus, desk, _SERVICE, lease, BooksLeased, _DEADLINE_MS)
        for refused in answer.refused:
            raise Failure(
                f"{refused.detail} ({refused.code})", "see the symbols in `voldesk chain UNDERLYING --json`"
            )
        for held in answer.books:
            shown.put_nowait(held)
        renewing = spawn(_renew(bus, lease), name="renew the lease")
        try:
            if as_json:
                await _print_lines(shown, levels)
            else:
                await _redraw(desk, shown, levels)
        finally:
            renewing.cancel()
            with suppress(NoAnswer):
                await bus.ask(_SERVICE, LeaseBooks(consumer=consumer, symbols=()), _GIVE_BACK_MS)


async def _renew(bus: Bus, lease: LeaseBooks) -> None:
    """Ask again well before the lease ends, also while market data is away: after a restart it is told so."""
    is_away = False
    while True:
        await asyncio.sleep(_RENEW_S)
        try:
            await bus.ask(_SERVICE, lease, _RENEW_MS)
        except NoAnswer:
            if not is_away:
                note("marketdata does not answer; the book goes on when it does")
            is_away = True
        else:
            is_away = False


async def _print_lines(shown: asyncio.Queue[OrderBook | LastTrades], levels: int) -> None:
    while True:
        newest = await shown.get()
        if isinstance(newest, OrderBook):
            told = _book_json(newest, levels)
        else:
            told = {"symbol": newest.symbol, "last_trades": _trades_json(newest)}
        if not write_line(msgspec.json.encode(told).decode()):
            return


async def _redraw(desk: DeskConfig, shown: asyncio.Queue[OrderBook | LastTrades], levels: int) -> None:
    """The newest image and the last trades in place on a terminal; one after the other elsewhere."""
    clock, console = Clock(), Console(file=sys.stdout, highlight=False)
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        newest: OrderBook | None = None
        trades: LastTrades | None = None
        while True:
            for item in [await shown.get(), *(shown.get_nowait() for _ in range(shown.qsize()))]:
                if isinstance(item, OrderBook):
                    newest = item
                else:
                    trades = item
            if newest is None:
                continue
            age_s = (clock.now_ns() - newest.received_ns) / _NS_PER_S if newest.received_ns else None
            table = _table(desk, newest, levels, age_s)
            if trades is not None:
                table = Group(table, _trades(trades))
            if live is not None:
                live.update(table, refresh=True)
            elif not write_line(_as_text(console, table)):
                return


def _as_text(console: Console, table: RenderableType) -> str:
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _table(desk: DeskConfig, book: OrderBook, levels: int, age_s: float | None) -> RenderableType:
    """Bids left, asks right, the best on top; below it mid, spread, and how old it is."""
    table = Table(box=None, padding=(0, 1))
    for column in ("size", "bid", "ask", "size"):
        table.add_column(column, justify="right")
    bids, asks = _levels(book.bids), _levels(book.asks)
    decimals = max((_decimals(price) for price, _ in (*bids[:levels], *asks[:levels])), default=0)
    for bid, ask in zip_longest(bids[:levels], asks[:levels]):
        bid_cells = ("", "") if bid is None else (f"{bid[1]:g}", f"{bid[0]:,.{decimals}f}")
        ask_cells = ("", "") if ask is None else (f"{ask[0]:,.{decimals}f}", f"{ask[1]:g}")
        table.add_row(*bid_cells, *ask_cells)
    heading = Text(f"{book.symbol} · {title(desk)}", style="bold")
    return Group(heading, table, Text(_below(book, bids, asks, age_s)))


def _decimals(price: float) -> int:
    return len(f"{price:.8f}".rstrip("0").partition(".")[2])


def _below(book: OrderBook, bids: list[list[float]], asks: list[list[float]], age_s: float | None) -> str:
    if book.missing:
        return f"not known: {book.missing}"
    parts = []
    if bids and asks:
        mid = (bids[0][0] + asks[0][0]) / 2
        parts.append(f"mid {mid:,g}, spread {(asks[0][0] - bids[0][0]) / mid:.2%}")
    else:
        parts.append("no bids" if asks else "no asks" if bids else "no orders")
    parts.append(f"{len(bids)} and {len(asks)} levels")
    parts.append("pushed" if book.source == "stream" else "read by REST")
    return ", ".join(parts) + ("" if age_s is None else f" {age_s:.1f} s ago")


def _trades(found: LastTrades) -> RenderableType:
    table = Table(box=None, padding=(0, 1))
    for column in ("time", "taker", "quantity", "price"):
        table.add_column(column, justify="right" if column in ("quantity", "price") else "left")
    for trade in found.trades[:_TRADES_SHOWN]:
        table.add_row(clock_text(trade.venue_ns), trade.side, plain(trade.quantity), plain(trade.price))
    return Group(Text("last trades, UTC"), table) if found.trades else Text("no trades lately")


def _draw(console: Console, bars: Klines) -> None:
    """Closing prices against hours from now."""
    # imported here because arrays take longer to load than the rest of the command
    import numpy as np

    from voldesk.plot import Curve, plot

    if len(bars.klines) < 2:
        say(f"no curve: {len(bars.klines)} of the last {_PERIODS} periods of {bars.period} traded")
        return
    console.print(Text(f"\nclose, USD, by hours from now; k-lines of {bars.period}", style="bold"))
    hours = np.array([(bar.start_ns - bars.received_ns) / _NS_PER_HOUR for bar in bars.klines])
    close = np.array([bar.close for bar in bars.klines])
    for line in plot([Curve("close", hours, close)], min(console.width, 100), x_decimals=1):
        line.rstrip()
        console.print(line)
    say(
        f"{len(bars.klines)} of the last {_PERIODS} periods traded, volume {sum(bar.volume for bar in bars.klines):g}"
    )


def _klines_json(bars: Klines) -> list[dict[str, Any]]:
    return [
        {
            "started_at": iso(bar.start_ns),
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
        }
        for bar in bars.klines
    ]


def _book_json(book: OrderBook, levels: int) -> dict[str, Any]:
    return {
        "symbol": book.symbol,
        "underlying": book.underlying,
        "source": book.source,
        "missing": book.missing,
        "received_at": iso(book.received_ns or None),
        "venue_at": iso(book.venue_ns or None),
        "bids": _levels(book.bids)[:levels],
        "asks": _levels(book.asks)[:levels],
    }


def _trades_json(found: LastTrades) -> list[dict[str, Any]]:
    return [
        {
            "side": trade.side,
            "quantity": plain(trade.quantity),
            "price": plain(trade.price),
            "traded_at": iso(trade.venue_ns),
        }
        for trade in found.trades
    ]


def _levels(packed: bytes) -> list[list[float]]:
    """Pairs of price and size. Raises Failure for bytes that are none."""
    levels = levels_of(packed)
    if isinstance(levels, str):
        raise Failure("marketdata answered with a book that cannot be read", "see its log")
    return levels
