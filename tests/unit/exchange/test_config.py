"""The configuration refuses what cannot work and says why."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.exchange.config import (
    BTC,
    AccountConfig,
    ExchangeConfig,
    FeeConfig,
    KeyConfig,
    ListingConfig,
)
from services.exchange.model import SelfTradePrevention
from services.exchange.switches import Switches


def test_the_shipped_configuration_survives_a_round_trip() -> None:
    config = ExchangeConfig(accounts=(AccountConfig(account_id="a", keys=(KeyConfig(api_key="k", api_secret="s"),)),))
    assert msgspec.json.decode(msgspec.json.encode(config), type=ExchangeConfig) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExchangeConfig(step_ms=7_000), "step_ms 7000 must divide a minute"),
        (lambda: ExchangeConfig(bases=(BTC, BTC)), "base must be unique"),
        (lambda: ExchangeConfig(accounts=(AccountConfig(account_id="a"),) * 2), "account_id must be unique"),
        (lambda: AccountConfig(account_id="a", initial_balance_usd=Decimal(-1)), "initial_balance_usd -1"),
        (lambda: FeeConfig(taker=Decimal(1)), "fee taker 1"),
        (lambda: Switches(default_stp=SelfTradePrevention.DEFAULT), "default_stp must name a mode"),
        (lambda: msgspec.structs.replace(BTC, tick_size=Decimal(0)), "tick_size 0 of BTC"),
        (lambda: ListingConfig(strike_steps=(Decimal(0),) * 4), "strike_steps"),
        (
            lambda: ListingConfig(strike_steps=(Decimal(1),) * 4, dailies=0, weeklies=0, monthlies=0, quarterlies=0),
            "at least one of dailies",
        ),
    ],
)
def test_contradictions_are_refused_with_the_name_of_the_field(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "text",
    ['{"unknown": 1}', '{"step_ms": 5}', '{"seed": -1}', '{"bases": []}', '{"switches": {"suspended_code": 1}}'],
)
def test_what_is_not_in_the_schema_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ExchangeConfig)


def test_a_key_used_twice_is_refused_without_showing_it() -> None:
    key = KeyConfig(api_key="verysecretkey", api_secret="s")
    with pytest.raises(ValueError, match="api_key must be unique") as caught:
        ExchangeConfig(
            accounts=(AccountConfig(account_id="a", keys=(key,)), AccountConfig(account_id="b", keys=(key,)))
        )
    assert "verysecretkey" not in str(caught.value)


def test_secrets_do_not_show_in_the_repr() -> None:
    config = AccountConfig(account_id="a", keys=(KeyConfig(api_key="abcdefgh", api_secret="topsecret"),))
    assert "topsecret" not in repr(config)
    assert "abcdefgh" not in repr(config)
