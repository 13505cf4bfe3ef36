"""voldesk adopt: make a trade of a position that was opened by hand."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from shared.messages.reconciliation import AdoptPosition, DifferenceList, ForeignPosition, PositionAdopted
from shared.views import plain, price_text
from voldesk.asking import ask, operator
from voldesk.commands.reconcile import compared
from voldesk.completion import complete_foreign_symbol, complete_strategy
from voldesk.console import EXIT_USAGE, Failure, Json, Yes, confirm, note, print_json, say, title
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk adopt BTCUSD-27NOV26-100000-C --strategy hedge")(adopt)


def adopt(
    symbol: Annotated[
        str,
        typer.Argument(
            help="An option, perpetual or dated future that `voldesk reconcile` shows as a foreign position.",
            autocompletion=complete_foreign_symbol,
        ),
    ],
    strategy: Annotated[
        str,
        typer.Option(help="Whose trade it is from then on: it counts there.", autocompletion=complete_strategy),
    ],
    quantity: Annotated[
        str | None, typer.Option(help="How much of it, above 0; all that belongs to no trade unless given.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a trade of a position at the venue that is not the desk's, at the venue's average price.

    It has no exit conditions: it is held until `voldesk close`, a flatten or its expiry.
    """
    desk = load_desk()
    enabled = desk.enabled_strategies
    wanted = None if quantity is None else _quantity(quantity)
    found = _foreign(compared(desk), symbol)
    much = "all of" if wanted is None else str(plain(wanted))
    held = "" if found is None else f" (the venue holds {plain(found.quantity)} at {price_text(found.average_price)})"
    confirm(desk, f"adopt {much} {symbol}{held} for {strategy}?", yes=yes)
    request = AdoptPosition(symbol=symbol, quantity=wanted, strategy=strategy, requested_by=operator())
    adopted = ask(desk, "execution", request, PositionAdopted)
    if as_json:
        print_json(
            {
                "trade_id": adopted.trade_id,
                "strategy": strategy,
                "symbol": adopted.symbol,
                "side": adopted.side,
                "qty": plain(adopted.quantity),
                "entry_price": plain(adopted.entry_price),
            }
        )
        return
    say(
        f"{title(desk)}: trade {adopted.trade_id} of {strategy} holds {adopted.side} {plain(adopted.quantity)} "
        f"{adopted.symbol} at {price_text(adopted.entry_price)}; close it with `voldesk close {adopted.trade_id}`"
    )
    if strategy not in enabled:
        note(f"voldesk: no enabled strategy is called {strategy}: only you close this trade before its expiry")


def _quantity(text: str) -> Decimal:
    try:
        quantity = Decimal(text)
    except InvalidOperation:
        quantity = Decimal(0)
    if not quantity.is_finite() or quantity <= 0:
        raise Failure(f"--quantity {text!r} is not a number above 0", "give it in coins, such as 0.5", EXIT_USAGE)
    return quantity


def _foreign(answer: DifferenceList, symbol: str) -> ForeignPosition | None:
    """What the venue holds of the symbol beyond the desk's trades."""
    for found in answer.differences:
        difference = found.difference
        if found.stands and isinstance(difference, ForeignPosition) and difference.symbol == symbol:
            return difference
    return None
