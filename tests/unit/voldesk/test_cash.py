"""voldesk cash: the rule, what it saw, what it would do and what it sold."""

from __future__ import annotations

import json
from decimal import Decimal

from shared.messages.cash import CashSale, CashStatus
from tests.unit.voldesk.peers import Peers
from tests.unit.voldesk.samples import OPENED_NS
from tests.unit.voldesk.test_answers import Ran

SALE = CashSale(
    client_order_id=7509866275932225536,
    symbol="BTCUSDT",
    quantity=Decimal("0.015"),
    price=Decimal("99500.00"),
    reserved_usd=Decimal("1500.15"),
    why="500 USDT are below 1000",
    state="CANCELLED",
    reason="0.006 of 0.015 were sold; it rested for 10 s",
    filled_quantity=Decimal("0.006"),
    average_price=Decimal(99_990),
    fee_usd=Decimal("0.6"),
    requested_ns=OPENED_NS,
    updated_ns=OPENED_NS,
)
STATUS = CashStatus(
    account_id="acc1",
    mode="dry_run",
    asset="BTC",
    symbol="BTCUSDT",
    minimum_usdt=Decimal(1_000),
    target_usdt=Decimal(2_000),
    keep=Decimal("0.1"),
    cap_usd=Decimal(4_000),
    used_usd=Decimal("599.94"),
    usdt=Decimal("999.5"),
    held=Decimal(1),
    free=Decimal("0.9"),
    read_ns=OPENED_NS,
    code="would_sell",
    detail="999.5 USDT are below 1000: 0.01 BTC at 99500.00 or better",
    quantity=Decimal("0.01"),
    price=Decimal("99500.00"),
    sales=(SALE,),
)


def test_the_table_says_what_it_would_do_and_what_it_sold(peers: Peers) -> None:
    peers.answer("execution", lambda _: STATUS)
    shown = " ".join(Ran("cash").out.split())
    for text in ("cash rule: dry run", "would sell", "0.9 may be sold", "599.94", "of 4000", "CANCELLED", "0.006"):
        assert text in shown, text


def test_the_object_has_every_digit(peers: Peers) -> None:
    peers.answer("execution", lambda _: STATUS)
    told = json.loads(Ran("cash", "--json").out)
    assert (told["code"], told["qty"], told["price"]) == ("would_sell", "0.01", "99500.00")
    assert told["sales"][0]["order_id"] == "7509866275932225536"
    assert told["sales"][0]["filled_qty"] == "0.006"
