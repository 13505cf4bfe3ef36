"""voldesk exchange: move the simulated market, list a short expiry, make the venue misbehave."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any, Literal

import typer

from shared.clock import Clock
from shared.config import DeskConfig
from shared.views import clock_text, duration_text, iso
from voldesk.completion import complete_underlying
from voldesk.console import EXIT_USAGE, Failure, Json, note, print_json, print_table, say, title
from voldesk.listening import underlying_of
from voldesk.preflight import load_desk

FaultName = Literal[
    "latency",
    "errors",
    "http-500",
    "lost-answers",
    "rate-limit",
    "disconnect",
    "silence",
    "frozen-book",
    "no-quotes",
    "late-quotes",
    "list",
    "clear",
]
_KINDS = {
    "latency": "latency",
    "errors": "error_code",
    "http-500": "http_500",
    "lost-answers": "lost_answer",
    "rate-limit": "rate_limit",
    "disconnect": "disconnect",
    "silence": "silence",
    "frozen-book": "frozen_book",
    "no-quotes": "no_quotes",
    "late-quotes": "late_quotes",
}
_WITHOUT_COUNT = ("silence", "frozen-book")
_LAST_TRADE_S = 900
_TRADABLE = (
    ("strategy", "no_trade_margin_s", 1.0),
    ("risk", "min_time_to_last_trade_ms", 0.001),
    ("execution", "tradable_margin_s", 1.0),
)
"""Settings that keep the desk out of options which soon stop trading, with their unit in seconds."""

Underlying = Annotated[
    str, typer.Argument(help="The index symbol, as BTCUSD or BTC.", autocompletion=complete_underlying)
]
Percent = Annotated[float, typer.Option(help="By how many per cent, -90 to 900.", min=-90, max=900)]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Move the simulated market, list a short expiry, inject faults. Refused unless the venue is sim.",
        epilog="Example: voldesk exchange move BTCUSD --pct -5",
    )
    group.command(epilog="Example: voldesk exchange status")(status)
    group.command(epilog="Example: voldesk exchange move BTCUSD --pct -5")(move)
    group.command(epilog="Example: voldesk exchange vol BTCUSD --pct 20")(vol)
    group.command(epilog="Example: voldesk exchange fault latency --ms 800 --for 30s")(fault)
    group.command("list-expiry", epilog="Example: voldesk exchange list-expiry BTCUSD --in 20m")(list_expiry)
    app.add_typer(group, name="exchange")


def status(as_json: Json = False) -> None:
    """Show the simulated market: index, moves of volatility, expiries, clients, requests, faults in force."""
    desk, control = _control()
    state = control.get("/sim/state")
    if as_json:
        print_json(_state_json(state))
        return
    now_ns = state["nowNs"]
    print_table(
        desk,
        "simulated market",
        ("underlying", "index", "volatility", "options", "next expiry UTC", "trading stops in"),
        [
            (
                f"{base}USD",
                f"{Decimal(str(index)):,.2f}",
                f"×{state['volFactors'][base]:.3f}",
                str(state["options"][base]),
                clock_text(min(state["expiries"][base])),
                _until_last_trade(min(state["expiries"][base]), now_ns),
            )
            for base, index in state["indices"].items()
        ],
        right=("index", "volatility", "options", "trading stops in"),
    )
    say(f"{state['sockets']} WebSocket clients, {state['framesPushed']} frames pushed")
    say(f"{state['requestsForQuote']} requests for quote open, {state['openQuotes']} quotes")
    _show_faults(desk, state["faults"], now_ns)


def move(underlying: Underlying, pct: Percent, as_json: Json = False) -> None:
    """Multiply the index by 1 + pct / 100 from the next step on. Kept by the exchange across restarts."""
    _shift("market", underlying, pct, as_json, "the index")


def vol(underlying: Underlying, pct: Percent, as_json: Json = False) -> None:
    """Multiply the level of volatility by 1 + pct / 100 from the next step on. Kept across restarts.

    The volatility at the money moves by it and that of the wings by less: the surface stays free of arbitrage.
    """
    _shift("vol", underlying, pct, as_json, "the level of volatility")


def fault(
    kind: Annotated[FaultName, typer.Argument(help="What to do wrong; or list, or clear, those in force.")],
    path: Annotated[str, typer.Option(help="Only paths that begin so: /open/option/order, /options.")] = "/",
    count: Annotated[int | None, typer.Option(min=1, help="For so many requests.")] = None,
    lasting: Annotated[str | None, typer.Option("--for", help="For so long: 30s, 5m.")] = None,
    ms: Annotated[int, typer.Option(min=1, max=60_000, help="With latency and late-quotes: so much later.")] = 1_000,
    code: Annotated[int, typer.Option(help="With errors: the venue's code.")] = 10_001,
    as_json: Json = False,
) -> None:
    """Make the exchange misbehave until `fault clear`, or for a count or a time; a restart forgets faults.

    latency: answers come later. errors: requests are refused with --code. http-500: with HTTP 500. rate-limit: as too
    often. lost-answers: executed, never answered. disconnect: WebSockets are cut and refused (cut once without a
    count or time). silence: WebSockets stay connected and say nothing. frozen-book: option prices stand still.
    no-quotes: no dealer answers the requests for quote that are made now. late-quotes: they answer later.
    """
    desk, control = _control()
    if kind == "clear":
        control.delete("/sim/faults")
    elif kind != "list":
        if count is not None and kind in _WITHOUT_COUNT:
            raise Failure(f"{kind} is not counted in requests", "use --for, or `fault clear` to end it", EXIT_USAGE)
        control.post("/sim/faults", **_fault_body(kind, path, count, lasting, ms, code))
    state = control.get("/sim/state")
    if as_json:
        print_json(_faults_json(state["faults"]))
    else:
        _show_faults(desk, state["faults"], state["nowNs"])


def list_expiry(
    underlying: Underlying,
    within: Annotated[str, typer.Option("--in", help="How far away: 20m, 1h.")] = "20m",
    as_json: Json = False,
) -> None:
    """List options that expire soon, on a whole minute and no sooner than asked, so that a settlement can be watched.

    Trading in them stops 15 minutes before; they settle on the mean of the index over the last 30. A symbol names
    only a date: on a date that is listed already their strikes lie between the others.
    """
    from voldesk.exchange_control import base_of, seconds_of

    desk, control = _control()
    symbol = underlying_of(desk, underlying)
    minutes = math.ceil(seconds_of(within) / 60)
    if not 1 <= minutes <= 10_080:
        raise Failure(f"{within} is not possible", "choose 1m to 7d", EXIT_USAGE)
    listed = control.post(
        "/sim/expiry", if_refused="choose another time with --in", base=base_of(symbol), minutes=minutes
    )
    expiry_ns = listed["endTime"] * 1_000_000
    stops_ns = expiry_ns - _LAST_TRADE_S * 1_000_000_000
    if as_json:
        print_json({"underlying": symbol, "expires_at": iso(expiry_ns), "trading_stops_at": iso(stops_ns)})
        return
    now_ns = Clock().now_ns()
    say(f"{title(desk)}: {symbol} options that expire at {clock_text(expiry_ns)} UTC are listed")
    say(f"trading in them stops at {clock_text(stops_ns)} UTC, {_until_last_trade(expiry_ns, now_ns)}")
    say("the desk sees them when it next reads the list, within [marketdata] instruments_interval_ms")
    _warn_of_margins(desk, (stops_ns - now_ns) / 1e9)


def _control() -> tuple[DeskConfig, Any]:
    # imported here because the HTTP client takes longer to load than any other command takes to run
    from voldesk.exchange_control import ExchangeControl

    desk = load_desk()
    return desk, ExchangeControl(desk)


def _shift(what: str, underlying: str, pct: float, as_json: bool, named: str) -> None:
    from voldesk.exchange_control import base_of

    desk, control = _control()
    symbol = underlying_of(desk, underlying)
    control.post(f"/sim/{what}", base=base_of(symbol), pct=pct)
    if as_json:
        print_json({"underlying": symbol, "pct": pct})
    else:
        say(f"{title(desk)}: {named} of {symbol} moves by {pct:+g} % with the next step")


def _warn_of_margins(desk: DeskConfig, tradable_s: float) -> None:
    """What of the configuration keeps the desk from opening in options that trade for so long."""
    from voldesk.preflight import sections_of

    sections = sections_of(desk)
    for section, key, unit_s in _TRADABLE:
        margin_s = getattr(sections[section], key) * unit_s
        if margin_s >= tradable_s:
            note(
                f"voldesk: the desk opens nothing in them, [{section}] {key} keeps it out for the last "
                f"{duration_text(margin_s)}; lower it and restart {section} to trade them"
            )


def _until_last_trade(expiry_ns: int, now_ns: int) -> str:
    left_s = (expiry_ns - now_ns) / 1e9 - _LAST_TRADE_S
    return duration_text(left_s) if left_s > 0 else "stopped"


def _fault_body(kind: str, path: str, count: int | None, lasting: str | None, ms: int, code: int) -> dict[str, Any]:
    from voldesk.exchange_control import seconds_of

    body: dict[str, Any] = {"kind": _KINDS[kind], "path_prefix": path}
    if count is not None:
        body["count"] = count
    if lasting is not None:
        body["duration_ms"] = max(1, round(seconds_of(lasting) * 1_000))
    if kind in ("latency", "late-quotes"):
        body["latency_ms"] = ms
    if kind == "errors":
        body["code"] = code
    return body


def _show_faults(desk: DeskConfig, faults: list[dict[str, Any]], now_ns: int) -> None:
    if not faults:
        say("no fault is in force")
        return
    print_table(
        desk,
        "faults in force",
        ("fault", "paths", "hits", "left", "ends in"),
        [
            (
                _fault_name(row["fault"]),
                f"{row['fault'].get('path_prefix', '/')}…",
                str(row["hits"]),
                "-" if row["hits_left"] is None else str(row["hits_left"]),
                "-" if row["until_ns"] is None else duration_text(max(0, row["until_ns"] - now_ns) / 1e9),
            )
            for row in faults
        ],
        right=("hits", "left", "ends in"),
    )


def _fault_name(fault: dict[str, Any]) -> str:
    name = next((name for name, kind in _KINDS.items() if kind == fault["kind"]), fault["kind"])
    later = f" {fault.get('latency_ms')} ms"
    detail = {"latency": later, "late-quotes": later, "errors": f" {fault.get('code')}"}
    return name + detail.get(name, "")


def _faults_json(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "fault": _fault_name(row["fault"]),
            "path": row["fault"].get("path_prefix", "/"),
            "hits": row["hits"],
            "hits_left": row["hits_left"],
            "until": iso(row["until_ns"]),
        }
        for row in faults
    ]


def _state_json(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "now": iso(state["nowNs"]),
        "underlyings": [
            {
                "underlying": f"{base}USD",
                "index": str(index),
                "volatility_factor": state["volFactors"][base],
                "options": state["options"][base],
                "expiries": [iso(expiry_ns) for expiry_ns in state["expiries"][base]],
            }
            for base, index in state["indices"].items()
        ],
        "requests_for_quote": state["requestsForQuote"],
        "open_quotes": state["openQuotes"],
        "sockets": state["sockets"],
        "faults": _faults_json(state["faults"]),
    }
