"""voldesk positions: what the account holds at the venue."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from shared.config import DeskConfig
from shared.messages.account import AccountSnapshot
from shared.messages.control import AccountAnswer, GetAccount
from shared.messages.trades import TradeUpdate
from shared.views import money_text, plain, position_json, price_text
from voldesk.asking import DEADLINE_MS, ask
from voldesk.console import EXIT_UNREACHABLE, Failure, Json, print_json, print_table
from voldesk.preflight import load_desk

_MARKS_DEADLINE_MS = 1_000


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


def marks_of(desk: DeskConfig, trades: Sequence[TradeUpdate]) -> dict[str, float]:
    """Marks of the account's positions by symbol, if one of the trades holds anything; none when risk is away."""
    if not any(leg.held_quantity for trade in trades for leg in trade.legs):
        return {}
    try:
        account = newest_account(desk, _MARKS_DEADLINE_MS)
    except Failure as error:
        if error.exit_code != EXIT_UNREACHABLE:
            raise
        return {}
    return {position.symbol: position.mark for position in account.positions if position.mark is not None}


def newest_account(desk: DeskConfig, deadline_ms: int = DEADLINE_MS) -> AccountSnapshot:
    """What risk knows of the account. Raises Failure when risk is away or has not read it yet."""
    account = ask(desk, "risk", GetAccount(), AccountAnswer, deadline_ms).account
    if account is None:
        raise Failure(
            "risk has not read the account yet", "repeat in a few seconds; see `voldesk status`", EXIT_UNREACHABLE
        )
    return account
