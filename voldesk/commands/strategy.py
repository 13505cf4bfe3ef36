"""voldesk strategy: one strategy begun, or looked at closely."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from shared.clock import Clock
from shared.config import DeskConfig
from shared.ledger.stats import TradeStats, stats_by_strategy, stats_json, stats_of
from shared.messages.control import DryTradeList, ListDryTrades
from shared.views import clock_text, money_text, plain, trade_json
from voldesk.asking import ask_hosts
from voldesk.completion import complete_strategy
from voldesk.console import Json, note, print_json, print_table, say, state_text, title
from voldesk.dry_trade import DRY_FIGURES, DRY_NOTE, dry_figures
from voldesk.ledger_sources import Since, ledger_of, period
from voldesk.preflight import load_desk
from voldesk.strategy_files import load_runner
from voldesk.strategy_new import new
from voldesk.strategy_schedule import firing_json, local_text, preview
from voldesk.strategy_show import show

_NUMBERS = ("trades", "win %", "net", "average", "avg win", "avg loss", "R", "drawdown")


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Begin a strategy file, or look at one strategy closely: what it would open, how its trades did.",
        epilog="Example: voldesk strategy stats short_strangle --since 30d",
    )
    group.callback()(strategy)
    group.command(epilog="Example: voldesk strategy stats short_strangle --since 30d")(stats)
    group.command("dry-run", epilog="Example: voldesk strategy dry-run short_strangle")(dry_run)
    group.command(epilog="Example: voldesk strategy show short_strangle --plot payoff.png")(show)
    group.command(epilog="Example: voldesk strategy new my_condor --like iron_condor")(new)
    group.command(epilog="Example: voldesk strategy schedule short_strangle --count 20")(schedule)
    app.add_typer(group, name="strategy")


def strategy() -> None:
    """Begin a strategy file, or look at one strategy closely: what it would open, how its trades did."""


def stats(
    name: Annotated[
        str, typer.Argument(help="The strategy; without one all that traded.", autocompletion=complete_strategy)
    ] = "",
    since: Since = "all",
    as_json: Json = False,
) -> None:
    """Show win rate, average, expectancy and drawdown of a strategy's ended trades, net of fees and funding.

    It is read from execution's journal, whether the desk runs or not. R is expectancy in units of the average loss.
    """
    desk = load_desk()
    since_ns, _ = period(desk, since)
    trades = [each for each in ledger_of(desk).trades(since_ns) if name in ("", each.strategy)]
    found = [stats_of(name, trades)] if name else stats_by_strategy(trades)
    if as_json:
        print_json([stats_json(each) | {"mode": desk.mode} for each in found])
        return
    ended = "so far" if not since_ns else f"since {clock_text(since_ns)} UTC"
    if not any(each.trades for each in found):
        say(f"{title(desk)}: no trade {f'of {escape(name)} ' if name else ''}with a fill ended {ended}")
    else:
        _show(desk, found, ended)


def dry_run(
    name: Annotated[str, typer.Argument(help="The strategy.", autocompletion=complete_strategy)],
    as_json: Json = False,
) -> None:
    """List the trades that a strategy with `dry_run` would have made, at the prices of the books at that time."""
    desk = load_desk()
    trades = ask_hosts(desk, ListDryTrades(strategy=name), DryTradeList).trades
    if as_json:
        print_json([trade_json(trade) for trade in trades])
        return
    if not trades:
        say(f"{title(desk)}: {escape(name)} has made no trade of a dry run")
        return
    columns = ("trade", "state", "opened UTC", "legs", *DRY_FIGURES)
    rows = [
        (
            trade.trade_id,
            state_text(trade.state),
            clock_text(trade.opened_ns)[:11],
            "\n".join(f"{leg.side} {plain(leg.quantity)} {leg.symbol}" for leg in trade.legs),
            *dry_figures(trade),
        )
        for trade in reversed(trades)
    ]
    print_table(desk, "trades of a dry run: nothing was sent", columns, rows, right=DRY_FIGURES)
    say(DRY_NOTE)


def schedule(
    name: Annotated[str, typer.Argument(help="The strategy.", autocompletion=complete_strategy)],
    count: Annotated[
        int, typer.Option(min=1, max=1_000, help="So many firings, and the first of each schedule.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Preview when a strategy looks at entries and exits, and when its scheduled actions come, by its file."""
    desk = load_desk()
    coming = preview(load_runner(desk, name).config, Clock().now_ns(), count)
    if as_json:
        print_json([firing_json(*each) for each in coming])
        return
    if not coming:
        say(f"{title(desk)}: {escape(name)} has no schedule that fires: it looks every check_interval_seconds")
        return
    rows = [
        (clock_text(at_ns), local_text(at_ns, each.zone), escape(does), escape(each.text))
        for at_ns, does, each in coming
    ]
    print_table(desk, f"next firings of {escape(name)}", ("UTC", "local", "does", "schedule"), rows)


def _show(desk: DeskConfig, found: list[TradeStats], ended: str) -> None:
    shown = [each for each in found if each.trades]
    columns = ("strategy", *_NUMBERS)
    rows = [_cells(each) for each in shown]
    print_table(desk, f"trades ended {ended}", columns, rows, right=_NUMBERS, whole=("strategy",), tight=True)
    if len(shown) == 1:
        only = shown[0]
        say(
            f"{only.wins} won, {only.losses} lost, at most {only.losses_in_a_row} lost in a row; best "
            f"{money_text(only.best_usd)}, worst {money_text(only.worst_usd)}; profit factor "
            f"{_ratio(only.profit_factor)}; held {_ratio(only.held_hours)} h on average; "
            f"{only.unfilled} ended without a fill"
        )
    say("USD, net of fees and funding; R = expectancy in units of the average loss; drawdown of the sum of trades")
    missing = sum(each.fees_missing for each in shown)
    if missing:
        note(f"of {missing} trades the venue has not told every fee")


def _cells(each: TradeStats) -> tuple[str, ...]:
    return (
        escape(each.strategy),
        str(each.trades),
        "-" if each.win_rate_pct is None else f"{each.win_rate_pct:.0f}",
        money_text(each.net_usd),
        money_text(each.average_usd),
        money_text(each.average_win_usd),
        money_text(each.average_loss_usd),
        _ratio(each.expectancy_r),
        money_text(each.max_drawdown_usd),
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
