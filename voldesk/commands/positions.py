"""voldesk positions: what the account holds at the venue."""

from __future__ import annotations

import typer

from shared.config import DeskConfig
from shared.messages.account import AccountSnapshot
from shared.messages.control import AccountAnswer, GetAccount
from voldesk.asking import ask
from voldesk.console import EXIT_UNREACHABLE, Failure, Json, print_json, print_table
from voldesk.preflight import load_desk
from voldesk.views import money_text, plain, position_json, price_text


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk positions --json")(positions)


def positions(as_json: Json = False) -> None:
    """List the account's net positions with mark, profit and Greeks (signed quantity times per-unit Greek)."""
    desk = load_desk()
    account = newest_account(desk)
    if as_json:
        print_json([position_json(position) for position in account.positions])
        return
    print_table(
        desk,
        "positions",
        ("symbol", "quantity", "average", "mark", "P&L", "delta", "theta"),
        [
            (
                row.symbol,
                str(plain(row.quantity)),
                price_text(row.average_price),
                money_text(row.mark),
                money_text(row.unrealized_pnl_usd),
                "-" if row.greeks is None else f"{row.greeks.delta:.4f}",
                "-" if row.greeks is None else f"{row.greeks.theta:.2f}",
            )
            for row in account.positions
        ],
        right=("quantity", "average", "mark", "P&L", "delta", "theta"),
    )


def newest_account(desk: DeskConfig) -> AccountSnapshot:
    """What risk knows of the account. Raises Failure when risk is away or has not read it yet."""
    account = ask(desk, "risk", GetAccount(), AccountAnswer).account
    if account is None:
        raise Failure(
            "risk has not read the account yet", "repeat in a few seconds; see `voldesk status`", EXIT_UNREACHABLE
        )
    return account
