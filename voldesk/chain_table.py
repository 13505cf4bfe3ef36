"""An option chain heard from the bus, as a table at most 80 characters wide, as smiles and as JSON."""

from __future__ import annotations

import asyncio
import math
import sys
from datetime import UTC, date, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.bus import Bus
from shared.clock import Clock
from shared.config import DeskConfig
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.messages.steps import Inbound, StreamSynced
from shared.options.chain import ChainView, OptionList
from shared.options.futures_curve import FuturePoint, futures_curve
from shared.options.smiles import SMILE_DELTA_MIN, STRIKES_AROUND, Smile, smile_curve, strikes_around
from shared.views import duration_text
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, say, title
from voldesk.listening import require
from voldesk.plot import Curve, plot

_EXPIRIES_SHOWN = 2


def newest_chain(desk: DeskConfig, underlying: str, patience_s: float) -> ChainView:
    """The next chain of `underlying` that marketdata publishes. Raises Failure (69) when none comes in time."""
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)
    return asyncio.run(_newest_chain(desk, underlying, patience_s))


async def _newest_chain(desk: DeskConfig, underlying: str, patience_s: float) -> ChainView:
    lists: dict[str, OptionList] = {}
    waiting: list[ChainSnapshot] = []
    found: asyncio.Future[ChainView] = asyncio.get_running_loop().create_future()

    def deliver(item: Inbound | StreamSynced) -> None:
        match item:
            case Inbound(message=InstrumentList() as listed):
                lists[listed.list_id] = OptionList(listed)
            case Inbound(message=ChainSnapshot() as snapshot):
                waiting[:] = [snapshot]
        if waiting and waiting[0].list_id in lists and not found.done():
            found.set_result(ChainView(waiting[0], lists[waiting[0].list_id]))

    async with Bus.client(desk) as bus:
        await require(bus, desk, "marketdata")
        bus.subscribe("marketdata", (f"md.{underlying}.instruments", f"md.{underlying}.chain"), deliver)
        try:
            return await asyncio.wait_for(found, patience_s)
        except TimeoutError:
            raise Failure(
                f"marketdata published no chain of {underlying} within {patience_s:g} s",
                "see `voldesk status` and `voldesk logs marketdata`",
                EXIT_UNREACHABLE,
            ) from None


def choose(known: list[Smile], wanted: list[str]) -> list[Smile]:
    """The expiries meant, the next two without a wish. Raises Failure naming those that are listed."""
    if not wanted:
        return known[:_EXPIRIES_SHOWN]
    if any(text.lower() == "all" for text in wanted):
        return known
    chosen: list[Smile] = []
    for text in wanted:
        matching = [row for row in known if text.upper() in (row.name, row.name.partition(" ")[0], _date(row))]
        if not matching:
            names = ", ".join(row.name for row in known)
            raise Failure(f"no listed expiry is {text!r}", f"use one of: {names}", EXIT_USAGE)
        chosen += [row for row in matching if row not in chosen]
    return chosen


def _date(smile: Smile) -> str:
    day: date = datetime.fromtimestamp(smile.expiry_ns // 1_000_000_000, UTC).date()
    return day.isoformat()


def show(desk: DeskConfig, view: ChainView, chosen: list[Smile], every: bool) -> None:
    """One table per expiry."""
    console = Console(file=sys.stdout, highlight=False)
    now_ns = Clock().now_ns()
    age_s = max(0, now_ns - view.snapshot.received_ns) / 1e9
    index = "-" if math.isnan(view.snapshot.index_price) else f"{view.snapshot.index_price:,.2f}"
    spot = view.snapshot.spot
    pair = "" if spot is None else f" · spot {spot.bid:,.2f} / {spot.ask:,.2f}"
    told = f"{view.snapshot.underlying} · index {index}{pair} · data {age_s:.1f} s old · {title(desk)}"
    console.print(Text(told, style="bold"))
    for smile in chosen:
        left = duration_text((smile.expiry_ns - now_ns) / 1e9)
        forward = "-" if math.isnan(smile.forward) else f"{smile.forward:,.2f}"
        console.print(Text(f"{smile.name} · expires in {left} · forward {forward}", style="bold cyan"))
        console.print(_table(view, smile, every))
    if futures := futures_curve(view):
        console.print(Text("futures · basis against the index; a year of it, or of the funding", style="bold cyan"))
        console.print(_futures(futures, now_ns))


def _table(view: ChainView, smile: Smile, every: bool) -> Table:
    """At most 80 characters wide. The side in the money is dim, the strike at the money bold."""
    strikes = smile.strikes if every else strikes_around(smile, STRIKES_AROUND)
    nearest = min(strikes, key=lambda strike: abs(strike - smile.forward)) if strikes else math.nan
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    side = ("bid", "ask", "mark", "IV", "delta", "OI")
    for name in ("calls\nbid", *side[1:], "\nstrike", "puts\nbid", *side[1:]):
        table.add_column(name if "\n" in name else f"\n{name}", justify="right", no_wrap=True)
    for strike in strikes:
        calls = _cells(view, smile.calls.get(strike), "dim" if strike < smile.forward else "")
        puts = _cells(view, smile.puts.get(strike), "dim" if strike > smile.forward else "")
        at_money = Text(
            f"{strike:g}" if strike < 1e6 else f"{strike:.0f}", "bold yellow" if strike == nearest else ""
        )
        table.add_row(*calls, at_money, *puts)
    return table


def _futures(points: list[FuturePoint], now_ns: int) -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column("", justify="left")
    for name in ("bid", "ask", "mark", "basis %", "% a year", "age s"):
        table.add_column(name, justify="right")
    for point in points:
        age = "-" if point.received_ns is None else f"{max(0, now_ns - point.received_ns) / 1e9:.1f}"
        prices = [_fit(price, 1, 10) for price in (point.bid, point.ask, point.mark)]
        shares = [_fit(share, 2, 8) for share in (point.basis_pct, point.year_pct)]
        table.add_row(point.symbol.partition("-")[2] or "perpetual", *prices, *shares, age)
    return table


def _cells(view: ChainView, row: int | None, style: str) -> list[Text]:
    if row is None:
        return [Text("-", style)] * 6
    value = {name: float(view.column(name)[row]) for name in ("bid", "ask", "mark", "mark_iv", "delta")}
    interest = float(view.column("open_interest")[row])
    decimals = max(0, -int(view.instruments[row].tick_size.normalize().as_tuple().exponent))
    return [
        *(Text(_fit(value[name], decimals, 6), style) for name in ("bid", "ask", "mark")),
        Text(_fit(value["mark_iv"] * 100, 1, 4), style),
        Text(_fit(value["delta"], 2, 5), style),
        Text(_count(interest), style),
    ]


def _fit(value: float, decimals: int, width: int) -> str:
    """With as many decimals as the width holds; "-" for what is missing."""
    if not math.isfinite(value):
        return "-"
    for shown in range(decimals, -1, -1):
        text = f"{value:.{shown}f}"
        if len(text) <= width:
            return text
    return text


def _count(value: float) -> str:
    """Open interest in four characters: 0.5, 12.4, 340, 1.2k."""
    if not math.isfinite(value):
        return "-"
    if value >= 10_000:
        return f"{value / 1_000:.0f}k"
    return f"{value / 1_000:.1f}k" if value >= 1_000 else _fit(value, 1, 4)


def show_smiles(view: ChainView, chosen: list[Smile]) -> None:
    """The smiles of these expiries in one plot."""
    curves = [curve for smile in chosen if (curve := Curve(smile.name, *smile_curve(view, smile))).x.size > 1]
    console = Console(file=sys.stdout, highlight=False)
    if not curves:
        say("no smile: too few options have a volatility")
        return
    console.print(Text("\nimplied volatility of the mark, %, by strike", style="bold"))
    for line in plot(curves, min(console.width, 100)):
        line.rstrip()
        console.print(line)
    say(f"options out of the money with |delta| of at least {SMILE_DELTA_MIN:g}")
