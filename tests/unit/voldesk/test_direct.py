"""The price of an order that closes a position straight at the venue."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import Clock
from shared.latch import read_latches, write_latch
from shared.messages.control import FlattenLatch
from shared.messages.market import Instrument
from shared.messages.venue import VenuePosition
from tests.unit.shared.full_disk import fill, small_disk
from voldesk.direct import Audit, ClosingQuote, closing_price, held_back, slices

QUOTE = ClosingQuote(bid=95.0, ask=105.0, mark=100.0, tick_size=Decimal("0.5"))
LONG, SHORT = Decimal("0.3"), Decimal("-0.3")


def quote(**changes: float | None) -> ClosingQuote:
    return msgspec.structs.replace(QUOTE, **changes)


@pytest.mark.parametrize("bid", [None, 99.5, 95.0, 80.0, 10.0])
@pytest.mark.parametrize("ask", [None, 100.5, 105.0, 120.0, 900.0])
def test_the_first_order_is_at_mark_whatever_the_book_holds(bid: float | None, ask: float | None) -> None:
    assert closing_price(LONG, quote(bid=bid, ask=ask), 0, 25.0) == Decimal("100.0")
    assert closing_price(SHORT, quote(bid=bid, ask=ask), 0, 25.0) == Decimal("100.0")


def test_the_reach_of_later_orders_grows_to_the_bound_and_no_further() -> None:
    sells = [closing_price(LONG, quote(bid=10.0), attempt, 20.0) for attempt in range(7)]
    assert sells == [Decimal(text) for text in ("100.0", "95.0", "90.0", "85.0", "80.0", "80.0", "80.0")]
    buys = [closing_price(SHORT, quote(ask=900.0), attempt, 20.0) for attempt in range(7)]
    assert buys == [Decimal(text) for text in ("100.0", "105.0", "110.0", "115.0", "120.0", "120.0", "120.0")]


def test_a_mark_between_two_ticks_is_not_passed_by_the_first_order() -> None:
    assert closing_price(LONG, quote(mark=100.2), 0, 20.0) == Decimal("100.5")
    assert closing_price(SHORT, quote(mark=100.2), 0, 20.0) == Decimal("100.0")


def test_a_missing_mark_is_replaced_by_the_other_side_of_the_book() -> None:
    assert closing_price(LONG, quote(mark=None), 0, 20.0) == Decimal("95.0")
    assert closing_price(SHORT, quote(mark=None), 1, 20.0) == Decimal("110.0")
    assert closing_price(LONG, quote(mark=None, bid=None), 0, 20.0) is None


def test_a_worthless_option_is_closed_at_one_tick() -> None:
    assert closing_price(LONG, quote(mark=0.3, bid=None), 9, 20.0) == Decimal("0.5")
    assert closing_price(SHORT, quote(mark=0.3, ask=None), 0, 20.0) == Decimal("0.5")


prices = st.one_of(st.none(), st.floats(min_value=0.1, max_value=50_000))


@given(
    bid=prices,
    ask=prices,
    mark=st.floats(min_value=0.1, max_value=50_000),
    attempt=st.integers(0, 20),
    bound_pct=st.floats(min_value=0.1, max_value=100),
    tick=st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal(5)]),
    quantity=st.sampled_from([LONG, SHORT]),
)
def test_a_price_is_on_a_tick_above_zero_and_never_past_the_bound(
    bid: float | None,
    ask: float | None,
    mark: float,
    attempt: int,
    bound_pct: float,
    tick: Decimal,
    quantity: Decimal,
) -> None:
    price = closing_price(quantity, ClosingQuote(bid=bid, ask=ask, mark=mark, tick_size=tick), attempt, bound_pct)
    assert price is not None
    assert price > 0
    assert price % tick == 0
    widest = max(mark * bound_pct / 100, 2 * float(tick))
    reach = 0.0 if attempt == 0 else max(min(1, attempt / 4) * mark * bound_pct / 100, 2 * float(tick))
    slack = 1e-6 * mark
    if quantity > 0:
        assert float(price) >= mark - min(reach, widest) - slack
    else:
        assert float(price) <= max(mark + min(reach, widest) + slack, float(tick))


def instrument(max_quantity: str) -> Instrument:
    return Instrument(
        symbol="BTCUSD-27NOV26-106000-C",
        underlying="BTCUSD",
        option_type="C",
        strike=Decimal(106_000),
        expiry_ns=2,
        last_trade_ns=1,
        tick_size=Decimal("0.5"),
        lot_size=Decimal("0.1"),
        min_quantity=Decimal("0.1"),
        max_quantity=Decimal(max_quantity),
    )


@pytest.mark.parametrize(
    ("quantity", "max_quantity", "expected"),
    [
        ("0.3", "100", ["0.3"]),
        ("-0.3", "100", ["0.3"]),
        ("100", "100", ["100"]),
        ("-250.5", "100", ["100", "100", "50.5"]),
        ("7", "0", ["7"]),
        ("250", "10", ["10"] * 20),
    ],
)
def test_no_order_is_larger_than_the_venue_takes(quantity: str, max_quantity: str, expected: list[str]) -> None:
    assert slices(Decimal(quantity), instrument(max_quantity)) == [Decimal(text) for text in expected]


def test_on_a_full_disk_the_audit_is_told_instead_and_the_halt_is_left_without_its_words(tmp_path: Path) -> None:
    told: list[str] = []
    with small_disk(tmp_path / "run", 1) as run_dir:
        fill(run_dir)
        audit = Audit(run_dir / "flatten-direct.jsonl", Clock(), told.append)
        audit.write("place", symbol="BTCUSD-27NOV26-106000-C")
        audit.close()
        write_latch(run_dir, FlattenLatch(latch_id="l", raised_by="test", reason="r"))
        (latch,) = read_latches(run_dir)
    assert latch.latch_id == "l"
    assert latch.reason.endswith("cannot be read")
    assert len(told) == 1
    assert '"step": "place", "symbol": "BTCUSD-27NOV26-106000-C"' in told[0]


@pytest.mark.parametrize(
    ("held", "waits"),
    [
        ({"95000-P": 1, "90000-P": -1, "110000-C": 1}, {"95000-P"}),
        ({"95000-P": 1, "110000-C": -1}, set()),
        ({"95000-P": 1, "90000-P": 2}, set()),
        ({"95000-P": -1, "90000-P": 1, "110000-C": -1, "115000-C": 1}, {"90000-P", "115000-C"}),
    ],
)
def test_a_long_option_waits_while_a_short_one_of_its_kind_is_left(held: dict[str, int], waits: set[str]) -> None:
    """The short put of a condor that does not fill would be naked without the long one."""
    positions = [_position(f"BTCUSD-27NOV26-{name}", quantity) for name, quantity in held.items()]
    assert held_back(positions) == {f"BTCUSD-27NOV26-{name}" for name in waits}


def test_what_covers_another_underlying_or_is_no_option_waits_for_nothing() -> None:
    rows = (("ETHUSD-27NOV26-3000-P", 1), ("BTCUSD-27NOV26-90000-P", -1), ("BTCUSD", 1))
    assert held_back([_position(symbol, quantity) for symbol, quantity in rows]) == frozenset()


def _position(symbol: str, quantity: int) -> VenuePosition:
    return VenuePosition(
        symbol=symbol, quantity=Decimal(quantity), average_price=Decimal(1), mark=None, unrealized_pnl_usd=None
    )


def test_a_perpetual_covers_a_short_call_and_is_covered_by_a_put() -> None:
    option = "BTCUSD-27NOV26-"
    rows = (("BTCUSD", 1), (f"{option}110000-C", -1), (f"{option}90000-P", 1), (f"{option}120000-C", 1))
    assert held_back([_position(symbol, quantity) for symbol, quantity in rows]) == {
        "BTCUSD",
        f"{option}90000-P",
        f"{option}120000-C",
    }
    alone = (("BTCUSD", -1), (f"{option}110000-C", 1), (f"{option}90000-P", 1))
    assert held_back([_position(symbol, quantity) for symbol, quantity in alone]) == {f"{option}110000-C"}
    sold = (("BTCUSD", -1), (f"{option}90000-P", -1), ("ETHUSD", 1), (f"{option}110000-C", 1))
    assert held_back([_position(symbol, quantity) for symbol, quantity in sold]) == {"BTCUSD", f"{option}110000-C"}
