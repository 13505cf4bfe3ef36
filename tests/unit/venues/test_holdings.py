"""The account's assets as the cash rule reads them: strictly, since something is sold by them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.venues.coincall.parse import ParseError, parse_holdings

USDT = {"coin": "USDT", "cashBalanceAmount": 512.5, "equityAmount": "900", "availableBalance": "100.25"}
BTC = {"coin": "BTC", "cashBalanceAmount": "0.50000000", "equityAmount": "0.5", "availableBalance": "0.4"}


def summary(*accounts: dict[str, Any]) -> bytes:
    totals = {"equity": "1", "availableMargin": "1", "imAmount": "0", "mmAmount": "0"}
    return msgspec.json.encode({**totals, "accounts": list(accounts)})


def test_every_asset_has_its_cash_and_what_of_it_is_free() -> None:
    found = parse_holdings(
        summary(USDT, BTC, {**BTC, "coin": "ETH", "cashBalanceAmount": 0, "availableBalance": "0"})
    )
    assert (found["USDT"].cash, found["USDT"].free) == (Decimal("512.5"), Decimal("100.25"))
    assert (found["BTC"].cash, found["BTC"].free) == (Decimal("0.5"), Decimal("0.4"))
    assert found["ETH"].cash == 0


@pytest.mark.parametrize(
    "accounts",
    [
        (BTC,),
        (),
        (USDT, {**BTC, "availableBalance": None}),
        ({**USDT, "cashBalanceAmount": None}, BTC),
        (USDT, {**BTC, "cashBalanceAmount": "much"}),
    ],
)
def test_an_account_of_which_something_is_missing_is_not_read_at_all(accounts: Any) -> None:
    with pytest.raises(ParseError):
        parse_holdings(summary(*accounts), ("BTC",))


def test_an_asset_that_is_not_needed_and_cannot_be_read_is_left_out() -> None:
    bad = {**BTC, "coin": "ETH", "cashBalanceAmount": "much"}
    assert set(parse_holdings(summary(USDT, bad, BTC), ("BTC",))) == {"USDT", "BTC"}
