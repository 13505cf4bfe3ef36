"""The public tape: the same whoever looks and whenever, at the makers' quotes; k-lines that add up to it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from services.exchange.config import TapeConfig
from services.exchange.core import ExchangeCore
from services.exchange.klines import PERIODS, Period, bar_start, bar_starts, extended, next_bar_start, period_of
from services.exchange.model import MarketTrade, Side
from tests.unit.exchange.harness import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, T0, A, Venue, small_config, with_base

BUSY = TapeConfig(trades_per_hour=120)


def venue(**switches: Any) -> Venue:
    config = with_base(small_config(), tape=BUSY)
    return Venue(msgspec.structs.replace(config, switches=msgspec.structs.replace(config.switches, **switches)))


def walked(core: ExchangeCore, symbols: list[str], until_ns: int, by_ns: int) -> list[MarketTrade]:
    """What is printed on the way, step by step."""
    trades: list[MarketTrade] = []
    while core.now_ns < until_ns:
        before = core.step
        if not before % 700:
            core.chain("BTCUSD")
        core.advance(min(core.now_ns + by_ns, until_ns))
        trades += core.tape(symbols, before)
    return trades


def test_trades_are_printed_once_at_the_makers_best_price_within_its_size() -> None:
    desk = venue()
    symbols = [option.symbol for option in desk.core.instruments("BTC")]
    seen = 0
    while desk.core.now_ns < T0 + 10 * MINUTE_NS:
        before = desk.core.step
        desk.core.advance(desk.core.now_ns + 250_000_000)
        for trade in desk.core.tape(symbols, before):
            book = desk.core.order_book(trade.symbol)
            assert book is not None
            best = (book.asks if trade.side is Side.BUY else book.bids)[0]
            assert trade.price == best.price
            assert 0 < trade.quantity <= best.quantity
            assert trade.at_ns == desk.core.now_ns
            seen += 1
    assert seen > 20


def test_neither_the_pace_of_time_nor_looking_changes_the_tape() -> None:
    slow, fast = venue(), venue()
    symbols = [option.symbol for option in slow.core.instruments("BTC")]
    stepped = walked(slow.core, symbols, T0 + HOUR_NS, 250_000_000 * 7)
    fast.core.advance(T0 + HOUR_NS)
    slow.core.advance(T0 + HOUR_NS)
    by_id = {trade.trade_id: trade for trade in stepped}
    assert len(by_id) == len(stepped) > 100
    for symbol in symbols:
        newest = fast.core.market_trades(symbol, 1_000)
        assert list(newest) == list(slow.core.market_trades(symbol, 1_000))
        mine = [trade for trade in by_id.values() if trade.symbol == symbol]
        assert [trade for trade in newest[::-1] if trade.at_ns <= stepped[-1].at_ns] == mine


def test_the_tape_follows_an_operators_moves_of_index_and_volatility() -> None:
    desk = venue()
    symbols = [option.symbol for option in desk.core.instruments("BTC")]
    desk.core.advance(T0 + 20 * SECOND_NS)
    desk.core.chain("BTCUSD")
    desk.core.move_index("BTC", -3.0, desk.core.now_ns)
    desk.core.move_vol("BTC", 50.0, desk.core.now_ns)
    seen = 0
    while desk.core.now_ns < T0 + 5 * MINUTE_NS:
        before = desk.core.step
        desk.core.advance(desk.core.now_ns + 250_000_000)
        for trade in desk.core.tape(symbols, before):
            book = desk.core.order_book(trade.symbol)
            chain = desk.core.chain("BTCUSD")
            assert book is not None
            assert chain is not None
            assert trade.price == (book.asks if trade.side is Side.BUY else book.bids)[0].price
            assert chain.last[chain.symbols.index(trade.symbol)] == float(
                desk.core.market_trades(trade.symbol, 1)[0].price
            )
            seen += 1
    assert seen > 10


def test_another_seed_prints_other_trades() -> None:
    other = Venue(with_base(small_config(seed=8), tape=BUSY))
    one = venue()
    symbol = one.option().symbol
    for each in (one, other):
        each.core.advance(T0 + 3 * HOUR_NS)
    assert one.core.market_trades(symbol) != other.core.market_trades(symbol)


def test_figures_of_the_day_are_those_of_the_list_also_after_midnight_and_after_expiry() -> None:
    desk = venue()
    for wait_ns in (40 * MINUTE_NS, 14 * HOUR_NS, 9 * HOUR_NS, 26 * HOUR_NS):
        desk.core.advance(desk.core.now_ns + wait_ns)
        fresh = ExchangeCore(desk.config, T0)
        fresh.advance(desk.core.now_ns)
        for core in (desk.core, fresh):
            chain = core.chain("BTCUSD")
            assert chain is not None
            midnight = core.now_ns // DAY_NS * DAY_NS
            for row, symbol in list(enumerate(chain.symbols))[::9]:
                trades = core.market_trades(symbol, 5_000)
                today = [trade for trade in trades if trade.at_ns >= midnight]
                assert chain.volume[row] == pytest.approx(float(sum(trade.quantity for trade in today)))
                assert chain.last[row] == float(trades[0].price) if trades else np.isnan(chain.last[row])
                detail = core.detail(symbol)
                assert detail is not None
                assert detail.volume == sum(trade.quantity for trade in today)
                assert detail.volume_usd == sum(trade.quantity * trade.price for trade in today)
                assert all(detail.low <= float(trade.price) <= detail.high for trade in today)


def test_a_restarted_exchange_tells_the_same_past() -> None:
    desk = venue()
    symbol = desk.option().symbol
    desk.core.advance(T0 + HOUR_NS)
    desk.now_ns = T0 + HOUR_NS
    desk.buy_from_makers(A, symbol, "0.05")
    desk.core.advance(T0 + 5 * HOUR_NS)
    again = ExchangeCore.restore(desk.config, T0, desk.rows)
    again.advance(T0 + 5 * HOUR_NS)
    assert again.market_trades(symbol) == desk.core.market_trades(symbol)
    for period in PERIODS:
        assert again.klines(symbol, period, 0, 2 * T0) == desk.core.klines(symbol, period, 0, 2 * T0)


def test_no_trade_is_printed_before_listing_nor_in_the_last_quarter_of_an_hour() -> None:
    desk = venue()
    first = desk.core.instruments("BTC")[0]
    desk.core.advance(first.expiry_ns - MINUTE_NS)
    of_expiry = [option for option in desk.core.instruments("BTC") if option.expiry_ns == first.expiry_ns]
    trades = [trade for option in of_expiry for trade in desk.core.market_trades(option.symbol, 5_000)]
    assert trades
    assert max(trade.at_ns for trade in trades) < first.expiry_ns - 15 * MINUTE_NS
    assert min(trade.at_ns for trade in trades) >= first.listed_ns
    desk.core.advance(first.expiry_ns)
    assert desk.core.market_trades(first.symbol) == ()
    assert desk.core.klines(first.symbol, "h1", 0, 2 * T0) is None


def test_options_at_the_money_trade_most() -> None:
    desk = venue()
    desk.core.advance(T0 + 12 * HOUR_NS)
    chain = desk.core.chain("BTCUSD", desk.option().expiry_ns)
    assert chain is not None
    counts = [len(desk.core.market_trades(symbol, 10_000)) for symbol in chain.symbols]
    centre = np.abs(np.abs(chain.delta) - 0.5) < 0.25
    assert np.mean(np.array(counts)[centre]) > 2 * np.mean(np.array(counts)[~centre])


def _bars_by_hand(trades: list[MarketTrade], period: Period) -> list[tuple[Any, ...]]:
    bars: dict[int, list[MarketTrade]] = {}
    for trade in sorted(trades, key=lambda each: (each.at_ns, each.trade_id)):
        bars.setdefault(bar_start(trade.at_ns, period), []).append(trade)
    return [
        (
            start,
            inside[0].price,
            max(trade.price for trade in inside),
            min(trade.price for trade in inside),
            inside[-1].price,
            sum(trade.quantity for trade in inside),
        )
        for start, inside in bars.items()
    ]


@pytest.mark.parametrize("period", PERIODS)
def test_bars_add_up_to_the_tape_and_the_clients_trades(period: Period) -> None:
    desk = venue()
    symbol = desk.option().symbol
    for _ in range(4):
        desk.core.advance(desk.core.now_ns + 37 * MINUTE_NS)
        desk.now_ns = desk.core.now_ns + 100
        desk.buy_from_makers(A, symbol, "0.03")
    desk.core.advance(desk.core.now_ns + 8 * HOUR_NS)
    bars = desk.core.klines(symbol, period, 0, 2 * T0)
    assert bars is not None
    trades = list(desk.core.market_trades(symbol, 10_000))
    assert len(trades) > 100
    shown = [(bar.start_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    assert shown == _bars_by_hand(trades, period)


def test_bars_are_cut_to_the_range_and_the_newest() -> None:
    desk = venue()
    symbol = desk.option().symbol
    desk.core.advance(T0 + 6 * HOUR_NS)
    whole = desk.core.klines(symbol, "m5", 0, 2 * T0)
    assert whole is not None
    middle = whole[10].start_ns
    assert desk.core.klines(symbol, "m5", middle, whole[20].start_ns) == whole[10:21]
    assert desk.core.klines(symbol, "m5", middle + 1, whole[20].start_ns) == whole[11:21]
    newest = desk.core.klines(symbol, "h1", 0, 2 * T0, 2)
    assert newest is not None
    assert newest == desk.core.klines(symbol, "h1", T0 + 5 * HOUR_NS, 2 * T0)
    assert desk.core.klines(symbol, "h1", 2 * T0, 3 * T0) == []
    assert desk.core.klines("BTCUSD-1JAN20-1-C", "h1", 0, T0) is None


def test_an_interval_without_trades_is_left_out_or_flat_at_the_last_close_as_configured() -> None:
    gaps, flat = venue(), venue(empty_klines="previous_close")
    symbol = gaps.option().symbol
    for each in (gaps, flat):
        each.core.advance(T0 + 2 * HOUR_NS)
    with_gaps = gaps.core.klines(symbol, "m1", 0, 2 * T0)
    without = flat.core.klines(symbol, "m1", 0, 2 * T0)
    assert with_gaps is not None
    assert without is not None
    starts = [bar.start_ns for bar in without]
    assert starts == list(range(starts[0], starts[-1] + 1, MINUTE_NS))
    assert len(with_gaps) < len(without)
    assert [bar for bar in without if bar.volume] == with_gaps
    for before, bar in pairwise(without):
        if not bar.volume:
            assert {bar.open, bar.high, bar.low, bar.close} == {before.close}
    later = flat.core.klines(symbol, "m1", starts[50], 2 * T0)
    assert later == without[50:]


@pytest.mark.parametrize("empty_klines", ["omit", "previous_close"])
def test_a_bar_extended_trade_by_trade_is_the_bar_that_is_read(empty_klines: str) -> None:
    desk = venue(empty_klines=empty_klines)
    symbol = desk.option().symbol
    desk.core.advance(T0 + HOUR_NS)
    found = desk.core.klines(symbol, "m5", bar_start(desk.core.now_ns, "m5"), desk.core.now_ns, 1)
    assert found is not None
    bar, seen = found[-1] if found else None, 0
    for _ in range(40):
        before = desk.core.step
        desk.core.advance(desk.core.now_ns + 11 * SECOND_NS)
        trades = desk.core.tape([symbol], before)
        for trade in trades:
            bar = extended(bar, trade, "m5")
        if trades:
            assert bar is not None
            assert desk.core.klines(symbol, "m5", bar.start_ns, bar.start_ns, 1) == [bar]
            seen += len(trades)
    assert seen > 5


def test_a_tape_of_no_trades_is_empty() -> None:
    desk = Venue()
    desk.core.advance(T0 + 6 * HOUR_NS)
    symbol = desk.option().symbol
    assert desk.core.market_trades(symbol) == ()
    assert desk.core.klines(symbol, "d1", 0, 2 * T0) == []
    assert desk.core.detail(symbol).last_price is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("period", "start", "following"),
    [
        ("m1", "2026-01-12T10:00:00", "2026-01-12T10:01:00"),
        ("h4", "2026-01-12T08:00:00", "2026-01-12T12:00:00"),
        ("d1", "2026-01-12T00:00:00", "2026-01-13T00:00:00"),
        ("w1", "2026-01-12T00:00:00", "2026-01-19T00:00:00"),
        ("mn1", "2026-01-01T00:00:00", "2026-02-01T00:00:00"),
        ("quarter", "2026-01-01T00:00:00", "2026-04-01T00:00:00"),
    ],
)
def test_bars_begin_at_the_calendars_boundaries(period: Period, start: str, following: str) -> None:
    first = int(np.datetime64(start, "ns").astype(np.int64))
    second = int(np.datetime64(following, "ns").astype(np.int64))
    assert bar_start(T0, period) == first
    assert next_bar_start(first, period) == second
    assert bar_start(second - 1, period) == first
    assert bar_starts(first, second, period, 10) == [first, second]
    assert bar_starts(0, second, period, 1) == [second]


def test_periods_are_read_in_any_case_and_others_are_refused() -> None:
    assert [period_of(text) for text in ("D1", "mN1", "quarter", "h2")] == ["d1", "mn1", "quarter", None]


def test_a_bar_at_the_edge_of_the_year_belongs_to_its_quarter() -> None:
    december = int(np.datetime64("2026-12-31T23:59:00", "ns").astype(np.int64))
    assert bar_start(december, "quarter") == int(np.datetime64("2026-10-01", "ns").astype(np.int64))
    assert next_bar_start(bar_start(december, "quarter"), "quarter") == december + MINUTE_NS
    assert next_bar_start(bar_start(december, "mn1"), "mn1") == december + MINUTE_NS
