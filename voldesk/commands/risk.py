"""voldesk risk: every limit with its use, the stress grid, and whether a structure would be granted."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.config import DeskConfig
from shared.messages.control import Halt
from shared.messages.risk import BreakersReset, GetRisk, ResetBreaker, RiskAnswer, WhatIf, WhatIfAnswer
from shared.messages.trades import LegOrder
from shared.risk_views import breaker_json, limits_json, stress_json, what_if_json
from shared.views import iso
from voldesk.asking import ask, operator
from voldesk.commands.halt import halts_in_force
from voldesk.commands.rfq import legs_of
from voldesk.completion import complete_strategy
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, Json, Yes, confirm, print_json
from voldesk.preflight import load_desk
from voldesk.risk_tables import show_breakers, show_limits, show_stress, show_what_if

_MARKS = ("drawdown", "daily_loss")


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        invoke_without_command=True,
        help="Show every limit with its use, nearest first, halts, breakers and margin; --stress the stress grid.",
        epilog="Example: voldesk risk; voldesk risk --stress; voldesk risk check --strategy demo_strangle",
    )
    group.callback()(risk)
    group.command(
        epilog="Example: voldesk risk check --strategy demo_strangle; "
        "voldesk risk check sell 0.5 BTCUSD-26JUN26-100000-C --max-loss 2000"
    )(check)
    group.command(epilog="Example: voldesk risk reset consecutive_losses --of short_strangle")(reset)
    app.add_typer(group, name="risk")


def risk(
    context: typer.Context,
    stress: Annotated[
        bool, typer.Option("--stress", help="What the positions make if spot and volatility move.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every limit with its use, nearest first, halts, breakers and margin; --stress the stress grid."""
    if context.invoked_subcommand is not None:
        if stress or as_json:
            raise Failure("give options after the subcommand", "as in: voldesk risk check --json", EXIT_USAGE)
        return
    desk = load_desk()
    answer = ask(desk, "risk", GetRisk(), RiskAnswer)
    if answer.limits is None or answer.stress is None:
        raise Failure("risk has not read the account yet", "see `voldesk status` for the reason", EXIT_UNREACHABLE)
    if stress:
        if as_json:
            print_json(stress_json(answer.stress))
        else:
            show_stress(desk, answer.stress)
        return
    halts = _halts(desk)
    if as_json:
        print_json(limits_json(answer.limits) | {"halts": _halts_json(halts)})
    else:
        show_limits(desk, answer.limits, halts)


def check(
    structure: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STRUCTURE]", help="Its legs: buy|sell QUANTITY SYMBOL, once for each leg."),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="The strategy that asks; without a structure the legs that it would open now.",
            autocompletion=complete_strategy,
        ),
    ] = "",
    max_loss: Annotated[
        float | None, typer.Option("--max-loss", min=0, help="The maximum loss that the trade declares, USD.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask risk whether a structure would be granted now, and what it would do to margin and limits.

    Nothing is granted or reserved. With a strategy alone its legs are selected on the newest chain, whatever its
    gates say.
    """
    desk = load_desk()
    if structure:
        legs = legs_of(structure)
    elif strategy:
        legs, max_loss = _legs_of_strategy(desk, strategy, max_loss)
    else:
        raise Failure(
            "nothing to check", "give --strategy NAME, or a structure as buy 0.1 BTCUSD-26JUN26-100000-C", EXIT_USAGE
        )
    asked = WhatIf(account_id=desk.account_id, strategy=strategy, legs=legs, max_loss_usd=max_loss)
    answer = ask(desk, "risk", asked, WhatIfAnswer)
    if as_json:
        shown = [{"side": leg.side, "qty": f"{leg.quantity:f}", "symbol": leg.symbol} for leg in legs]
        print_json({"strategy": strategy, "legs": shown, "declared_max_loss_usd": max_loss} | what_if_json(answer))
    else:
        text = ", ".join(f"{leg.side} {leg.quantity:f} {leg.symbol}" for leg in legs)
        show_what_if(desk, f"{strategy}: {text}" if strategy else text, answer)


def reset(
    name: Annotated[
        str, typer.Argument(help="The breaker, as `voldesk risk` names it; drawdown and daily_loss: accept the loss.")
    ],
    of: Annotated[str, typer.Option("--of", help="That of one strategy; * for all of that name.")] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Close a circuit breaker before its pause is over, so that trades are granted again. Asks first.

    `reset drawdown` measures the fall from the equity of now instead of the peak, `reset daily_loss` instead of the
    day's first: the loss is accepted, which is written down with your name. A halt stays until `voldesk resume`.
    """
    desk = load_desk()
    what = (
        f"accept the loss, and measure {name} from the equity of now"
        if name in _MARKS
        else f"reset the breaker {name}"
    )
    confirm(desk, f"{what}{f' of {of}' if of else ''}, so that new trades are granted?", yes=yes)
    answer = ask(desk, "risk", ResetBreaker(name=name, subject=of, requested_by=operator()), BreakersReset)
    if as_json:
        print_json([breaker_json(breaker) for breaker in answer.breakers])
    else:
        show_breakers(desk, answer.breakers)


def _halts(desk: DeskConfig) -> tuple[Halt, ...] | None:
    """Those in force, None while execution does not answer."""
    try:
        return halts_in_force(desk)
    except Failure as error:
        if error.exit_code != EXIT_UNREACHABLE:
            raise
        return None


def _halts_json(halts: tuple[Halt, ...] | None) -> list[dict[str, str | None]] | None:
    if halts is None:
        return None
    return [
        {"level": h.level, "reason": h.reason, "raised_by": h.raised_by, "raised_at": iso(h.raised_ns)} for h in halts
    ]


def _legs_of_strategy(
    desk: DeskConfig, name: str, max_loss: float | None
) -> tuple[tuple[LegOrder, ...], float | None]:
    """The legs that a strategy would open on the newest chains, and the loss that it would declare."""
    # imported here because arrays take longer to load than any other command takes to run
    from voldesk.would_open import would_open

    found, _, _ = would_open(desk, name)
    return found.legs, found.max_loss_usd if max_loss is None else max_loss
