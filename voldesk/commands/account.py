"""voldesk account: equity, margin, holdings and Greeks."""

from __future__ import annotations

import typer

from shared.views import account_json, clock_text, money_text
from voldesk.commands.positions import newest_account
from voldesk.console import Json, note, print_json, print_table
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk account --json")(account)


def account(as_json: Json = False) -> None:
    """Show equity, margin, the cash of each asset and the account's Greeks per underlying."""
    desk = load_desk()
    snapshot = newest_account(desk)
    if as_json:
        print_json(account_json(snapshot))
        return
    used = float(snapshot.initial_margin_usd / snapshot.equity_usd * 100) if snapshot.equity_usd else None
    print_table(
        desk,
        "account in USD",
        ("", "", ""),
        [
            ("equity", money_text(snapshot.equity_usd), f"peak {money_text(snapshot.peak_equity_usd)}"),
            ("unrealized P&L", money_text(snapshot.unrealized_pnl_usd), ""),
            ("available margin", money_text(snapshot.available_margin_usd), ""),
            ("initial margin", money_text(snapshot.initial_margin_usd), f"{money_text(used)} % of equity"),
            ("maintenance margin", money_text(snapshot.maintenance_margin_usd), ""),
            (
                "granted, not used",
                money_text(snapshot.outstanding_margin_usd),
                f"{snapshot.outstanding_grants} grants",
            ),
            ("as of (UTC)", clock_text(snapshot.received_ns), ""),
        ],
    )
    if snapshot.balances:
        print_table(
            desk,
            "holdings",
            ("asset", "quantity"),
            [(asset, format(amount, "f")) for asset, amount in sorted(snapshot.balances.items())],
            right=("quantity",),
        )
    print_table(
        desk,
        "Greeks",
        ("underlying", "delta", "gamma", "vega", "theta", "rho"),
        [
            (
                name,
                f"{row.delta:.4f}",
                f"{row.gamma:.4g}",
                *(f"{value:.2f}" for value in (row.vega, row.theta, row.rho)),
            )
            for name, row in sorted(snapshot.greeks.items())
        ],
        right=("delta", "gamma", "vega", "theta", "rho"),
    )
    if not snapshot.greeks_complete:
        note("some positions have no Greeks now: the sums leave them out")
