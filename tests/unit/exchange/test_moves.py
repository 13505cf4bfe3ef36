"""What an operator does to the market: it counts from the next step on and is kept in rows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.exchange.core import ExchangeCore
from services.exchange.model import Rejection
from tests.unit.exchange.harness import HOUR_NS, MINUTE_NS, T0, Venue


def shift_vol(venue: Venue, pct: float) -> None:
    outcome = venue.core.move_vol("BTC", pct, venue.now_ns)
    assert not isinstance(outcome.result, Rejection)
    venue.keep(outcome.rows, outcome.events)


def test_a_move_of_volatility_lifts_the_level_from_the_next_step_on() -> None:
    moved, still = Venue(), Venue()
    before = moved.chain().mark_iv.copy()
    shift_vol(moved, 30.0)
    assert (moved.chain().mark_iv == before).all()
    for venue in (moved, still):
        venue.wait(venue.config.step_ms * 1_000_000)
    assert moved.core.index_price("BTC") == still.core.index_price("BTC")
    ratio = moved.chain().mark_iv / still.chain().mark_iv
    assert (ratio > 1.1).all()
    assert ratio.max() == pytest.approx(1.3, rel=0.01), "at the money; the wings of the surface flatten as it rises"
    assert (moved.chain().mark >= still.chain().mark).all()
    assert moved.core.vol_factor("BTC") == pytest.approx(1.3)


def test_a_restored_exchange_has_the_moves_and_the_listings_of_the_one_before() -> None:
    venue = Venue()
    shift_vol(venue, 50.0)
    venue.wait(MINUTE_NS)
    shift_vol(venue, -20.0)
    venue.jump(-5.0)
    outcome = venue.core.list_expiry("BTC", venue.now_ns // MINUTE_NS * MINUTE_NS + 20 * MINUTE_NS, venue.now_ns)
    venue.keep(outcome.rows, outcome.events)
    venue.wait(MINUTE_NS)
    paid = venue.core.deposit("alice", Decimal(1), venue.now_ns)
    venue.keep(paid.rows, paid.events)
    restored = ExchangeCore.restore(venue.config, T0, venue.rows)
    assert restored.state == venue.core.state
    restored_chain = restored.chain("BTCUSD")
    assert restored_chain is not None
    assert (restored_chain.mark == venue.chain().mark).all()
    assert restored.vol_factor("BTC") == pytest.approx(1.2)


@pytest.mark.parametrize("pct", [-91.0, 901.0, float("nan")])
def test_a_move_of_volatility_out_of_bounds_is_refused(pct: float) -> None:
    venue = Venue()
    assert isinstance(venue.core.move_vol("BTC", pct, venue.now_ns).result, Rejection)
    assert isinstance(venue.core.move_vol("DOGE", 1.0, venue.now_ns).result, Rejection)
    assert venue.core.vol_factor("BTC") == 1.0


def test_moves_of_volatility_do_not_add_up_without_end() -> None:
    venue = Venue()
    shift_vol(venue, 900.0)
    shift_vol(venue, 900.0)
    assert isinstance(venue.core.move_vol("BTC", 10.0, venue.now_ns).result, Rejection)
    shift_vol(venue, -90.0)


def test_expiries_of_one_date_have_symbols_of_their_own_as_long_as_there_is_room() -> None:
    venue = Venue()
    for hours in (1, 2, 3, 4):
        outcome = venue.core.list_expiry("BTC", venue.now_ns + hours * HOUR_NS, venue.now_ns)
        assert not isinstance(outcome.result, Rejection)
        venue.keep(outcome.rows, outcome.events)
        listed = [
            option for option in venue.core.instruments("BTC") if option.expiry_ns == venue.now_ns + hours * HOUR_NS
        ]
        assert len(listed) > 20
        assert len({option.strike % 1_000 for option in listed}) == 1
    symbols = [option.symbol for option in venue.core.instruments("BTC")]
    assert len(set(symbols)) == len(symbols)
    refused = venue.core.list_expiry("BTC", venue.now_ns + 5 * HOUR_NS, venue.now_ns).result
    assert isinstance(refused, Rejection)
    assert "too many expiries of that date" in refused.message
    venue.wait(HOUR_NS + MINUTE_NS)
    again = venue.core.list_expiry("BTC", T0 + 5 * HOUR_NS, venue.now_ns)
    assert not isinstance(again.result, Rejection)
    venue.keep(again.rows, again.events)
    symbols = [option.symbol for option in venue.core.instruments("BTC")]
    assert len(set(symbols)) == len(symbols)
    assert any(option.expiry_ns == T0 + 5 * HOUR_NS for option in venue.core.instruments("BTC"))
    assert ExchangeCore.restore(venue.config, T0, venue.rows).instruments("BTC") == venue.core.instruments("BTC")
