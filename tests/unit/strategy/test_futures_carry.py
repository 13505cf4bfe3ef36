"""The carry of a dated future against the perpetual: which way round it is opened, and when it is not."""

from __future__ import annotations

import math
from decimal import Decimal as D

import msgspec
import pytest

from shared.options.chain import ChainView
from shared.strategy import EntryView, SelectionFailed, StrategyConfig, resolve_legs
from strategies.futures_carry import carry_pct, futures_carry
from tests.unit.dated_futures import view_with_futures
from tests.unit.strategy.making import NOON, chain

SOON, MARCH, JUNE = "BTCUSD-13MAR26", "BTCUSD-27MAR26", "BTCUSD-26JUN26"


def _view(june: float, funding_rate: float) -> ChainView:
    """The perpetual at 100,000 and a future of 113.8 days at `june`, beside two that are too near."""
    view = view_with_futures(chain(), {SOON: 100_050.0, MARCH: 100_200.0, JUNE: june})
    assert view.snapshot.perpetual is not None
    perpetual = msgspec.structs.replace(view.snapshot.perpetual, funding_rate=funding_rate)
    return ChainView(msgspec.structs.replace(view.snapshot, perpetual=perpetual), view.listed)


def _opened(config: StrategyConfig, view: ChainView) -> list[tuple[str, str, D]] | str:
    specs = config.specs(EntryView(account=None, chains={"BTCUSD": view}), NOON)
    if isinstance(specs, str):
        return specs
    legs = resolve_legs(specs, view, NOON)
    assert not isinstance(legs, SelectionFailed), legs
    return [(leg.side, leg.symbol, leg.quantity) for leg in legs]


def test_the_carry_is_the_basis_of_a_year_less_the_funding_of_a_year() -> None:
    found = carry_pct(_view(103_000.0, 0.00002), 25, NOON)
    assert not isinstance(found, str)
    carry, symbol = found
    assert symbol == JUNE
    # 3 % in 113 days and 20 hours, less 0.002 % three times a day
    assert carry == pytest.approx(3.0 * 365 / (113 + 20 / 24) - 0.002 * 3 * 365)


@pytest.mark.parametrize(
    ("june", "funding_rate", "sides"),
    [(103_000.0, 0.00002, ("buy", "sell")), (100_500.0, 0.0001, ("sell", "buy")), (98_000.0, 0.0, ("sell", "buy"))],
)
def test_the_dearer_side_is_sold_whichever_it_is(june: float, funding_rate: float, sides: tuple[str, str]) -> None:
    perpetual, future = sides
    assert _opened(futures_carry(quantity="0.2"), _view(june, funding_rate)) == [
        (perpetual, "BTCUSD", D("0.2")),
        (future, JUNE, D("0.2")),
    ]


def test_a_small_carry_opens_nothing_and_says_how_small() -> None:
    told = _opened(futures_carry(), _view(103_000.0, 0.0001))
    assert told == "the carry is -1.33 % a year, opens at 4 either way"


@pytest.mark.parametrize("missing", ["perpetual", "future", "funding"])
def test_without_a_price_or_the_funding_rate_nothing_is_opened(missing: str) -> None:
    view = _view(103_000.0, math.nan if missing == "funding" else 0.0)
    shown = view.snapshot
    if missing == "perpetual":
        shown = msgspec.structs.replace(shown, perpetual=None)
    elif missing == "future":
        shown = msgspec.structs.replace(shown, futures=shown.futures[:2])
    told = _opened(futures_carry(), ChainView(shown, view.listed))
    assert isinstance(told, str)
    assert "not known" in told or "no fresh price" in told
