"""voldesk export: the ledger, fills, P&L and the history as files for spreadsheets and notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from services.monitor.history.keeping import read_series
from services.monitor.history.series import Bucket
from shared.config import DeskConfig
from voldesk.columns import Column, Format, write_rows
from voldesk.console import EXIT_USAGE, Failure, Json, print_json, say
from voldesk.ledger_sources import Since, history_config, history_of, ledger_of, period, readable
from voldesk.preflight import load_desk

What = Literal["ledger", "legs", "fills", "pnl", "history"]

_POINTS = 1_000_000
"""More buckets than any level keeps in two years: nothing is thinned."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk export ledger --since 30d --format parquet --to trades.parquet")(export)


def export(
    what: Annotated[
        What,
        typer.Argument(help="Trades, their legs, executions, each change of P&L and fees, or the sampled history."),
    ],
    form: Annotated[Format, typer.Option("--format", help="Parquet needs: make install-parquet.")] = "csv",
    to: Annotated[
        Path | None, typer.Option(help="The file; else WHAT-ACCOUNT.csv or .parquet in this directory.")
    ] = None,
    since: Since = "all",
    series: Annotated[list[str], typer.Option(help="Of the history only this series; may be repeated.")] = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Write the ledger, its legs, fills, changes of P&L or the history to a file, as CSV or Parquet.

    Amounts are exact decimals in both, times are UTC, what is not known is empty. docs/history.md has the columns.
    """
    desk = load_desk()
    since_ns, now_ns = period(desk, since)
    target = to or Path(f"{what}-{desk.account_id}.{form}")
    if target.exists() and not overwrite:
        raise Failure(f"{target} exists already", "name another with --to, or give --overwrite", EXIT_USAGE)
    if series and what != "history":
        raise Failure(
            f"--series is of the history, not of {what}", "voldesk export history --series NAME", EXIT_USAGE
        )
    columns, rows = _found(desk, what, since_ns, now_ns, series)
    try:
        write_rows(target, form, columns, rows)
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror or error}", "name another with --to") from None
    if as_json:
        print_json({"file": str(target), "rows": len(rows), "columns": [column.name for column in columns]})
    else:
        say(f"{len(rows):,} rows of {desk.mode} account {desk.account_id} are in {target}")


def _found(
    desk: DeskConfig, what: What, since_ns: int, now_ns: int, series: list[str]
) -> tuple[tuple[Column, ...], list[Any]]:
    match what:
        case "ledger":
            return (_mode(desk), *_TRADE), list(ledger_of(desk).trades(since_ns))
        case "legs":
            trades = ledger_of(desk).trades(since_ns)
            return _LEG, [(trade, number, leg) for trade in trades for number, leg in enumerate(trade.legs)]
        case "fills":
            return (_mode(desk), *_FILL), list(ledger_of(desk).fills(since_ns))
        case "pnl":
            return (_mode(desk), *_CHANGE), list(ledger_of(desk).changes(since_ns, now_ns))
        case "history":
            return _BUCKET, _buckets(desk, since_ns, now_ns, series)


def _buckets(desk: DeskConfig, since_ns: int, now_ns: int, series: list[str]) -> list[tuple[str, Bucket]]:
    reader, config = history_of(desk), history_config(desk)
    with readable(desk):
        known = reader.names()
        missing = [name for name in series if name not in known]
        if missing:
            raise Failure(f"{missing[0]} was never sampled", f"there are: {', '.join(known)}", EXIT_USAGE)
        return [
            (name, bucket)
            for name in series or known
            for bucket in read_series(reader, config, name, since_ns, now_ns, now_ns, _POINTS)
            if bucket is not None
        ]


def _mode(desk: DeskConfig) -> Column:
    """So that nobody takes paper for money."""
    return Column("mode", "text", lambda _: desk.mode)


def _column(name: str, kind: Any, of: str = "") -> Column:
    return Column(name, kind, lambda row: getattr(row, of or name))


_TRADE: tuple[Column, ...] = (
    _column("trade_id", "text"),
    _column("strategy", "text"),
    _column("structure", "text"),
    _column("state", "text"),
    _column("execution_mode", "text"),
    _column("created_at", "time", "created_ns"),
    _column("opened_at", "time", "opened_ns"),
    _column("closed_at", "time", "closed_ns"),
    Column("legs", "text", lambda trade: " / ".join(leg.text for leg in trade.legs)),
    _column("entry_premium_usd", "amount"),
    _column("realized_pnl_usd", "amount"),
    _column("fees_usd", "amount"),
    _column("fees_complete", "flag"),
    _column("funding_usd", "amount"),
    _column("net_pnl_usd", "amount"),
    _column("slippage_usd", "amount"),
    _column("close_reason", "text"),
    _column("close_requested_by", "text"),
)
_LEG: tuple[Column, ...] = (
    Column("trade_id", "text", lambda row: row[0].trade_id),
    Column("leg_index", "integer", lambda row: row[1]),
    Column("symbol", "text", lambda row: row[2].symbol),
    Column("side", "text", lambda row: row[2].side),
    Column("quantity", "amount", lambda row: row[2].quantity),
    Column("opened_quantity", "amount", lambda row: row[2].opened_quantity),
    Column("open_price", "amount", lambda row: row[2].open_price),
    Column("closed_quantity", "amount", lambda row: row[2].closed_quantity),
    Column("close_price", "amount", lambda row: row[2].close_price),
)
_FILL: tuple[Column, ...] = (
    *(_column(name, "integer") for name in ("venue_trade_id", "client_order_id")),
    _column("trade_id", "text"),
    _column("leg_index", "integer"),
    *(_column(name, "text") for name in ("purpose", "symbol", "side")),
    *(_column(name, "amount") for name in ("quantity", "price", "fee_usd")),
    _column("is_taker", "flag"),
    _column("executed_at", "time", "venue_ns"),
)
_CHANGE: tuple[Column, ...] = (
    _column("at", "time", "at_ns"),
    _column("trade_id", "text"),
    *(_column(name, "amount") for name in ("realized_pnl_usd", "fees_usd", "funding_usd")),
)
_BUCKET: tuple[Column, ...] = (
    Column("series", "text", lambda row: row[0]),
    Column("first_at", "time", lambda row: row[1].first_ns),
    Column("last_at", "time", lambda row: row[1].last_ns),
    *(
        Column(name, "number", lambda row, name=name: getattr(row[1], name))  # type: ignore[misc]
        for name in ("first", "last", "low", "high")
    ),
    Column("samples", "integer", lambda row: row[1].count),
)
