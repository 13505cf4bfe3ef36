"""One trade of a dry run, as the host of its strategy keeps it."""

from __future__ import annotations

from shared.config import DeskConfig
from shared.ids import hedged_name
from shared.messages.control import DryTradeList, ListDryTrades
from shared.messages.trades import TradeUpdate
from shared.views import clock_text, money_text, price_text, trade_json
from voldesk.asking import ask_hosts
from voldesk.console import Failure, print_json, print_table, say, state_text

DRY_FIGURES = ("realised", "fees", "funding", "net")
DRY_NOTE = (
    "USD; bought at the ask, sold at the bid, with the venue's fee; funding > 0 is paid, by rate and mark as seen "
    "before it; what is open is not in realised"
)
_PREFIX = "dry-"


def is_dry_id(trade_id: str) -> bool:
    """Whether an id is that of a trade of a dry run."""
    return trade_id.startswith(_PREFIX)


def dry_figures(trade: TradeUpdate) -> tuple[str, ...]:
    """`DRY_FIGURES` of a trade."""
    amounts = (trade.realized_pnl_usd, trade.fees_usd, trade.funding_usd, trade.net_realized_usd)
    return tuple(map(money_text, amounts))


def show_dry_trade(desk: DeskConfig, trade_id: str, *, as_json: bool) -> None:
    """Print it. Raises Failure when its host does not know it."""
    named, _, _ = trade_id.removeprefix(_PREFIX).rpartition("-")
    listed = ask_hosts(desk, ListDryTrades(strategy=hedged_name(named)), DryTradeList).trades
    trade = next((each for each in listed if each.trade_id == trade_id), None)
    if trade is None:
        raise Failure(
            f"no trade {trade_id} of a dry run is known",
            f"voldesk strategy dry-run {hedged_name(named) or 'NAME'}",
        )
    if as_json:
        print_json(trade_json(trade))
        return
    columns = ("strategy", "state", "opened UTC", "closed UTC", *DRY_FIGURES)
    times = (clock_text(trade.opened_ns), clock_text(trade.closed_ns))
    row = (trade.strategy, state_text(trade.state), *times, *dry_figures(trade))
    print_table(desk, f"trade {trade.trade_id}: nothing was sent", columns, [row], right=DRY_FIGURES)
    legs = [
        (each.symbol, each.side, f"{each.quantity:f}", price_text(each.open_price), price_text(each.close_price))
        for each in trade.legs
    ]
    names = ("quantity", "opened at", "closed at")
    print_table(desk, "legs", ("instrument", "side", *names), legs, right=names)
    say(DRY_NOTE)
    if trade.reason:
        say(f"reason: {trade.reason}")
    if trade.hedge_of:
        say(f"it hedges trade {trade.hedge_of}")
