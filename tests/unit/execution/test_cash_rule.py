"""What the cash rule sells on one reading of account and market: bounded by holding, cap, book and lot."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.cash_config import CashConfig
from services.execution.cash_rule import CashSeen, Holding, Sell, Wait, decide, free_of
from shared.messages.contracts import SpotSpec

PAIR = SpotSpec(
    symbol="BTCUSDT",
    coin="BTC",
    tick_size=D("0.01"),
    lot_size=D("0.00001"),
    min_quantity=D("0.00001"),
    max_quantity=D(1000),
)
ON = CashConfig(mode="on", minimum_usdt=D(1_000), target_usdt=D(2_000), cap_usd=D(5_000))


def seen(**changes: Any) -> CashSeen:
    base = CashSeen(
        usdt=D(500),
        asset=Holding(D(1), D(1)),
        spec=PAIR,
        index=D(100_000),
        bids=((D(99_990), D(5)), (D(99_000), D(50))),
        asks=((D(100_010), D(5)),),
    )
    return msgspec.structs.replace(base, **changes)


def code(config: CashConfig, reading: CashSeen, used_usd: D = D(0)) -> str:
    decision = decide(config, reading, used_usd)
    assert isinstance(decision, Wait), decision
    return decision.code


def sold(config: CashConfig, reading: CashSeen, used_usd: D = D(0)) -> Sell:
    decision = decide(config, reading, used_usd)
    assert isinstance(decision, Sell), decision
    return decision


def test_it_sells_what_restores_the_target_after_the_fee_within_the_bound() -> None:
    sell = sold(ON, seen())
    assert sell.quantity == D("0.01501")
    assert D(1_500) - 1 <= sell.quantity * D(99_990) * D("0.999") <= D(1_500)
    assert sell.price == D("99500.00")
    assert sell.reserved_usd == D("1501.16")


def test_enough_is_enough() -> None:
    assert code(ON, seen(usdt=D(1_000))) == "enough"
    assert decide(ON, seen(usdt=D("999.99")), D(0)) != decide(ON, seen(usdt=D(1_000)), D(0))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spec": None}, "no_pair"),
        ({"index": None}, "no_price"),
        ({"bids": ()}, "no_price"),
        ({"asks": ()}, "no_price"),
        ({"index": D(101_000)}, "price_too_low"),
        ({"asks": ((D(102_000), D(1)),)}, "price_too_low"),
        ({"asset": Holding(D(1), D(0))}, "nothing_free"),
        ({"asset": Holding(D(0), D(0))}, "nothing_free"),
        ({"claimed": D(1)}, "nothing_free"),
        ({"bids": ((D(99_990), D("0.0001")),)}, "book_thin"),
    ],
)
def test_what_is_missing_or_out_of_bounds_sells_nothing_and_says_so(changes: Any, expected: str) -> None:
    assert code(ON, seen(**changes)) == expected


def test_coins_that_are_kept_are_not_sold() -> None:
    config = msgspec.structs.replace(ON, keep=D("0.995"))
    assert sold(config, seen()).quantity == D("0.005")
    assert code(msgspec.structs.replace(ON, keep=D(1)), seen()) == "nothing_free"
    assert free_of(config, seen(asset=Holding(D(1), D("0.4")))) == 0
    assert free_of(msgspec.structs.replace(ON, keep=D("0.3")), seen(asset=Holding(D(1), D("0.4")))) == D("0.1")
    half_kept = msgspec.structs.replace(ON, keep=D("0.5"))
    assert free_of(half_kept, seen(claimed=D("0.3"))) == D("0.2"), (
        "what somebody else sells does not come out of keep"
    )
    assert free_of(ON, seen(asset=Holding(D(1), D(1)), claimed=D("0.7"))) == D("0.3")


def test_the_cap_bounds_a_sale_and_then_ends_them() -> None:
    assert sold(ON, seen(), D(4_500)).reserved_usd <= D(500)
    assert code(ON, seen(), D(4_990)) == "cap_reached"
    assert code(ON, seen(), D(6_000)) == "cap_reached"


def test_a_small_want_is_raised_to_the_smallest_sale_and_a_small_holding_is_left() -> None:
    config = msgspec.structs.replace(ON, target_usdt=D(1000))
    sell = sold(config, seen(usdt=D("999.5")))
    assert D(50) <= sell.quantity * D(99_990) < D(51)
    assert code(config, seen(asset=Holding(D("0.0004"), D("0.0004")))) == "nothing_free"


_money = st.decimals(min_value=0, max_value=20_000, places=2)
_coins = st.decimals(min_value=0, max_value=3, places=8)


@given(
    usdt=_money,
    cash=_coins,
    free=_coins,
    claimed=_coins,
    keep=_coins,
    used_usd=_money,
    cap_usd=st.decimals(min_value=50, max_value=20_000, places=2),
    index=st.decimals(min_value=1, max_value=200_000, places=2),
    spread=st.decimals(min_value="0.01", max_value=50, places=2),
    off=st.decimals(min_value="0.98", max_value="1.02", places=4),
    sizes=st.lists(st.decimals(min_value="0.00001", max_value=2, places=5), min_size=1, max_size=4),
    slippage=st.sampled_from([0.05, 0.5, 3.0]),
)
def test_whatever_is_read_a_sale_stays_within_every_bound(
    usdt: D,
    cash: D,
    free: D,
    claimed: D,
    keep: D,
    used_usd: D,
    cap_usd: D,
    index: D,
    spread: D,
    off: D,
    sizes: list[D],
    slippage: float,
) -> None:
    config = CashConfig(
        mode="on", minimum_usdt=D(10_000), cap_usd=cap_usd, keep=keep, max_slippage_pct=slippage, min_sale_usd=D(50)
    )
    bid = max(D("0.01"), (index * off).quantize(D("0.01")))
    bids = tuple((max(D("0.01"), bid - number), size) for number, size in enumerate(sizes))
    reading = seen(
        usdt=usdt,
        asset=Holding(cash, free),
        claimed=claimed,
        index=index,
        bids=bids,
        asks=((bid + spread, D(1)),),
    )
    decision = decide(config, reading, used_usd)
    if isinstance(decision, Wait):
        assert decision.detail
        return
    quantity = decision.quantity
    assert usdt < config.minimum_usdt
    assert quantity % PAIR.lot_size == 0
    assert PAIR.min_quantity <= quantity <= min(free, cash - claimed) - keep
    assert quantity * bid >= config.min_sale_usd
    assert decision.reserved_usd + used_usd <= cap_usd
    assert decision.reserved_usd >= quantity * max(index, bid + spread) - D("0.01")
    assert decision.price >= index * (1 - D(str(slippage)) / 100)
    assert bid >= decision.price
    assert quantity <= sum((size for price, size in bids if price >= decision.price), D(0))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mode": "on"}, "minimum_usdt"),
        ({"mode": "on", "minimum_usdt": D(1)}, "cap_usd"),
        ({"mode": "dry_run", "minimum_usdt": D(1), "cap_usd": D(10)}, "min_sale_usd"),
        ({"target_usdt": D(1), "minimum_usdt": D(2)}, "target_usdt"),
        ({"keep": D(-1)}, "keep"),
        ({"asset": "USDT"}, "asset"),
        ({"interval_s": 10, "rest_s": 10}, "interval_s"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(fields: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CashConfig(**fields)
