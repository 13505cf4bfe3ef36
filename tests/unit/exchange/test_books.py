"""Makers' ladders, books and chains: determinism, order, consistency."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.config import ExchangeConfig, LadderConfig
from services.exchange.core import ExchangeCore
from services.exchange.ladder import consume, still_consumed
from services.exchange.model import Side
from tests.unit.exchange.harness import HOUR_NS, SECOND_NS, T0, A, B, D, Venue, small_config, with_base

FULL = ExchangeConfig()


@given(seed=st.integers(0, 2**62), seconds=st.integers(0, 5_000))
@settings(max_examples=15, deadline=None)
def test_no_book_is_crossed_and_all_prices_are_on_tick_and_lot(seed: int, seconds: int) -> None:
    core = ExchangeCore(small_config(seed), T0)
    core.advance(T0 + seconds * SECOND_NS)
    chain = core.chain("BTCUSD")
    assert chain is not None
    two_sided = (chain.bid > 0) & (chain.ask > 0)
    assert two_sided.mean() > 0.5
    assert (chain.bid[two_sided] < chain.mark[two_sided]).all()
    assert (chain.mark[two_sided] < chain.ask[two_sided]).all()
    for symbol in chain.symbols[::7]:
        book = core.order_book(symbol)
        assert book is not None
        bids, asks = [level.price for level in book.bids], [level.price for level in book.asks]
        assert bids == sorted(set(bids), reverse=True)
        assert asks == sorted(set(asks))
        assert all(price > 0 and price % D("0.1") == 0 for price in bids + asks)
        assert all(level.quantity > 0 and level.quantity % D("0.01") == 0 for level in book.bids + book.asks)


@given(seed=st.integers(0, 2**62), seconds=st.integers(0, 5_000))
@settings(max_examples=8, deadline=None)
def test_one_option_alone_is_quoted_as_in_the_chain(seed: int, seconds: int) -> None:
    config = ExchangeConfig(seed=seed)
    with_chain, alone = ExchangeCore(config, T0), ExchangeCore(config, T0)
    with_chain.advance(T0 + seconds * SECOND_NS)
    alone.advance(T0 + seconds * SECOND_NS)
    for index in ("BTCUSD", "ETHUSD"):
        chain = with_chain.chain(index)
        assert chain is not None
        for row in range(0, len(chain.symbols), 23):
            book, detail = alone.order_book(chain.symbols[row]), alone.detail(chain.symbols[row])
            assert book is not None
            assert detail is not None
            assert detail.mark_price == chain.mark[row]
            assert (float(book.bids[0].price) if book.bids else 0.0) == chain.bid[row]
            assert (float(book.asks[0].price) if book.asks else 0.0) == chain.ask[row]
            assert (float(book.bids[0].quantity) if book.bids else 0.0) == chain.bid_size[row]
            assert (float(book.asks[0].quantity) if book.asks else 0.0) == chain.ask_size[row]


def test_looking_changes_nothing() -> None:
    looked_at, left_alone = Venue(), Venue()
    for _ in range(40):
        for option in looked_at.core.instruments("BTC")[::5]:
            looked_at.core.order_book(option.symbol)
            looked_at.core.detail(option.symbol)
        looked_at.chain()
        looked_at.wait(SECOND_NS)
    left_alone.wait(40 * SECOND_NS)
    assert looked_at.rows == left_alone.rows == []
    for option in looked_at.core.instruments("BTC"):
        assert looked_at.core.order_book(option.symbol) == left_alone.core.order_book(option.symbol)


def test_a_chain_is_computed_once_per_step_and_cannot_be_written_to() -> None:
    venue = Venue()
    chain = venue.chain()
    assert venue.chain() is chain
    with pytest.raises(ValueError, match="read-only"):
        chain.bid[0] = 1.0
    venue.wait(SECOND_NS)
    assert venue.chain() is not chain


def test_the_chain_of_one_expiry_is_a_part_of_the_whole() -> None:
    venue = Venue()
    whole = venue.chain()
    expiry = whole.expiry_ns[-1]
    part = venue.core.chain("BTCUSD", int(expiry))
    assert part is not None
    assert set(part.expiry_ns.tolist()) == {int(expiry)}
    assert part.symbols == whole.symbols[-len(part.symbols) :]
    assert np.array_equal(part.bid, whole.bid[-len(part.symbols) :])
    assert venue.core.chain("BTCUSD", 1) is None
    assert venue.core.chain("DOGEUSD") is None


def test_chain_prices_print_as_exact_decimals() -> None:
    chain = ExchangeCore(FULL, T0).chain("BTCUSD")
    assert chain is not None
    for value in [*chain.bid.tolist(), *chain.ask.tolist(), *chain.bid_size.tolist()]:
        assert -Decimal(repr(value)).as_tuple().exponent <= 2  # type: ignore[operator]


def test_quotes_are_arbitrage_free_across_strikes() -> None:
    """Buying the lower strike and selling the higher one never pays at once."""
    chain = ExchangeCore(FULL, T0).chain("BTCUSD")
    assert chain is not None
    for expiry in np.unique(chain.expiry_ns):
        rows = np.flatnonzero((chain.expiry_ns == expiry) & chain.is_call)
        ask, bid = chain.ask[rows][:-1], chain.bid[rows][1:]
        assert (ask[ask > 0] >= bid[ask > 0]).all()


def test_far_wings_are_wider_thinner_and_sometimes_empty() -> None:
    chain = ExchangeCore(FULL, T0).chain("BTCUSD")
    assert chain is not None
    both = (chain.bid > 0) & (chain.ask > 0)
    spread = (chain.ask - chain.bid) / chain.mark
    near, far = np.abs(np.abs(chain.delta) - 0.5) < 0.15, np.abs(chain.delta) < 0.05
    assert np.median(spread[both & far]) > 3 * np.median(spread[both & near])
    assert np.median(chain.bid_size[both & far]) < np.median(chain.bid_size[both & near])
    assert ((chain.bid == 0) | (chain.ask == 0))[far].any()
    assert both[near].all()


def test_bid_and_ask_volatilities_enclose_the_marks() -> None:
    chain = Venue().chain()
    known = np.isfinite(chain.bid_iv) & np.isfinite(chain.ask_iv)
    assert known.mean() > 0.5
    assert (chain.bid_iv[known] < chain.mark_iv[known]).all()
    assert (chain.mark_iv[known] < chain.ask_iv[known]).all()


def test_liquidity_taken_from_the_top_is_gone_and_comes_back() -> None:
    venue = Venue()
    symbol = venue.option().symbol
    before = venue.core.order_book(symbol)
    assert before is not None
    venue.buy_from_makers(A, symbol, str(before.asks[0].quantity))
    after = venue.core.order_book(symbol)
    assert after is not None
    assert after.asks == before.asks[1:]
    assert after.bids == before.bids
    assert venue.chain().ask[venue.chain().symbols.index(symbol)] == float(before.asks[1].price)
    venue.wait(venue.config.bases[0].ladder.replenish_steps * venue.config.step_ms * 1_000_000)
    later, untouched = venue.core.order_book(symbol), Venue()
    untouched.wait(venue.now_ns - T0)
    assert later == untouched.core.order_book(symbol)


@given(st.integers(1, 10_000), st.integers(1, 100))
def test_consumed_liquidity_comes_back_evenly_and_never_early(lots: int, steps: int) -> None:
    missing = [still_consumed(lots, 5, 5 + step, steps) for step in range(steps + 2)]
    assert missing[0] == lots
    assert missing[-1] == missing[-2] == 0
    assert missing == sorted(missing, reverse=True)
    assert all(left * steps >= lots * (steps - step) for step, left in enumerate(missing[: steps + 1]))


@given(st.lists(st.integers(1, 50), max_size=10), st.integers(0, 300))
def test_consuming_takes_from_the_top_only(sizes: list[int], lots: int) -> None:
    levels = [(100 - number, size) for number, size in enumerate(sizes)]
    left = consume(levels, lots)
    assert sum(size for _, size in left) == max(sum(sizes) - lots, 0)
    assert left[1:] == levels[len(levels) - len(left) :][1:]


def test_clients_orders_are_in_book_and_chain() -> None:
    venue = Venue()
    symbol = venue.option().symbol
    bid, ask = venue.best(symbol)
    price = bid + D("0.5")
    venue.accepted(A, Side.BUY, symbol, "0.30", price)
    venue.accepted(B, Side.BUY, symbol, "0.20", price)
    book = venue.core.order_book(symbol, depth=1)
    assert book is not None
    assert book.bids == ((price, D("0.50")),)
    assert len(book.asks) == 1
    chain = venue.chain()
    row = chain.symbols.index(symbol)
    assert (chain.bid[row], chain.bid_size[row], chain.ask[row]) == (float(price), 0.5, float(ask))


def test_detail_and_last_trades_follow_a_trade() -> None:
    venue = Venue()
    symbol = venue.option().symbol
    assert venue.core.detail(symbol).last_price is None  # type: ignore[union-attr]
    order = venue.buy_from_makers(A, symbol, "0.01")
    detail = venue.core.detail(symbol)
    assert detail is not None
    assert detail.last_price == order.average_price
    assert detail.volume == D("0.01")
    trades = venue.core.market_trades(symbol)
    assert [(trade.price, trade.quantity, trade.side) for trade in trades] == [
        (detail.last_price, D("0.01"), Side.BUY)
    ]
    venue.wait(15 * HOUR_NS)
    assert venue.core.detail(symbol).volume == 0  # type: ignore[union-attr]


def test_what_is_not_listed_has_neither_book_nor_detail() -> None:
    core = Venue().core
    for symbol in ("BTCUSD-1JAN20-1-C", "DOGEUSD-13JAN26-1-C", "nonsense", ""):
        assert core.order_book(symbol) is None
        assert core.detail(symbol) is None
        assert core.instrument(symbol) is None
        assert not core.is_tradable(symbol)
        assert core.market_trades(symbol) == ()
    assert core.index_price("DOGE") is None
    assert core.instruments("DOGE") == ()


def test_a_market_without_noise_in_the_wings_quotes_everything() -> None:
    config = with_base(small_config(), ladder=LadderConfig(empty_side_probability=0.0))
    assert (Venue(config).chain().ask > 0).all()
