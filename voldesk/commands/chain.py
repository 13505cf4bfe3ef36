"""voldesk chain: the option chain of an underlying, calls and puts side by side, and its smiles."""

from __future__ import annotations

from typing import Annotated

import typer

from voldesk.completion import complete_underlying
from voldesk.console import Json, print_json, progress, say
from voldesk.listening import underlying_of
from voldesk.preflight import load_desk

_PATIENCE_S = 10.0


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk chain BTCUSD --expiry 4DEC26 --all")(chain)


def chain(
    underlying: Annotated[
        str, typer.Argument(help="The index symbol, as BTCUSD or BTC.", autocompletion=complete_underlying)
    ],
    expiry: Annotated[
        list[str] | None,
        typer.Option(help="An expiry, as 4DEC26 or 2026-12-04; may be given several times; 'all' for every one."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every strike, not only those around the money.")] = False,
    smile: Annotated[bool, typer.Option("--smile/--no-smile", help="Draw implied volatility against strike.")] = True,
    as_json: Json = False,
) -> None:
    """Show an option chain, calls left and puts right, futures and smiles; the next two expiries unless told."""
    # imported here because arrays take longer to load than any other command takes to run
    from shared.options.smiles import chain_json, smiles_of
    from voldesk import chain_table

    desk = load_desk()
    symbol = underlying_of(desk, underlying)
    with progress("waiting for the next chain"):
        view = chain_table.newest_chain(desk, symbol, _PATIENCE_S)
    known = smiles_of(view)
    chosen = chain_table.choose(known, expiry or [])
    if as_json:
        print_json(chain_json(view, chosen, every))
        return
    chain_table.show(desk, view, chosen, every)
    if smile:
        chain_table.show_smiles(view, chosen)
    hidden = [row.name for row in known if row not in chosen]
    if hidden:
        say(f"further expiries: {', '.join(hidden)}; --expiry NAME shows one, --expiry all every one")
