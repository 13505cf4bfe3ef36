"""voldesk cash: what the cash rule would do now, and why it does or does not act."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import typer

from shared.messages.cash import CashSale, CashStatus, GetCash
from shared.views import clock_text, iso, plain
from voldesk.asking import ask
from voldesk.console import Json, print_json, print_table
from voldesk.preflight import load_desk

_SHOWN = 10


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk cash --json")(cash)


def cash(as_json: Json = False) -> None:
    """Show what the cash rule keeps, what it would sell now and why it does or does not, and what it sold."""
    desk = load_desk()
    status = ask(desk, "execution", GetCash(), CashStatus)
    if as_json:
        print_json(cash_json(status))
        return
    asset = status.asset
    print_table(
        desk,
        f"cash rule: {status.mode.replace('_', ' ')}",
        ("", "", ""),
        [
            ("USDT", _text(status.usdt), f"minimum {status.minimum_usdt:f}, restored to {status.target_usdt:f}"),
            (asset, _text(status.held), f"{_text(status.free)} may be sold, {status.keep:f} are kept"),
            ("sold in 24 hours, USD", f"{status.used_usd:.2f}", f"of {status.cap_usd:f}"),
            ("account read (UTC)", clock_text(status.read_ns) if status.read_ns else "never", ""),
            ("now", status.code.replace("_", " "), status.detail),
        ],
    )
    if status.sales:
        print_table(
            desk,
            "sales, newest first",
            ("asked (UTC)", "sold", "at", "fee", "state", "because"),
            [_row(sale) for sale in status.sales[:_SHOWN]],
            right=("sold", "at", "fee"),
        )


def _row(sale: CashSale) -> tuple[str, ...]:
    return (
        clock_text(sale.requested_ns),
        f"{sale.filled_quantity:f}",
        _text(sale.average_price),
        "-" if sale.fee_usd is None else f"{sale.fee_usd:.2f}",
        sale.state,
        sale.reason or sale.why,
    )


def _text(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:f}"


def cash_json(status: CashStatus) -> dict[str, Any]:
    """The answer of `voldesk cash --json`; amounts are texts with every digit."""
    return {
        "account_id": status.account_id,
        "mode": status.mode,
        "asset": status.asset,
        "symbol": status.symbol,
        "minimum_usdt": plain(status.minimum_usdt),
        "target_usdt": plain(status.target_usdt),
        "keep": plain(status.keep),
        "cap_usd": plain(status.cap_usd),
        "used_usd": plain(status.used_usd),
        "usdt": plain(status.usdt),
        "held": plain(status.held),
        "free": plain(status.free),
        "read_at": iso(status.read_ns) if status.read_ns else None,
        "code": status.code,
        "detail": status.detail,
        "qty": plain(status.quantity),
        "price": plain(status.price),
        "sales": [
            {
                "order_id": str(sale.client_order_id),
                "symbol": sale.symbol,
                "qty": plain(sale.quantity),
                "price": plain(sale.price),
                "reserved_usd": plain(sale.reserved_usd),
                "why": sale.why,
                "state": sale.state,
                "reason": sale.reason,
                "filled_qty": plain(sale.filled_quantity),
                "average_price": plain(sale.average_price),
                "fee_usd": plain(sale.fee_usd),
                "asked_at": iso(sale.requested_ns),
                "updated_at": iso(sale.updated_ns),
            }
            for sale in status.sales
        ],
    }
