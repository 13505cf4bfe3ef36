"""Where commands find what the desk traded and what it was worth: execution's journal as tables, and the history."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from services.monitor.config import MonitorConfig
from services.monitor.history.config import HistoryConfig
from services.monitor.history.store import HistoryReader, history_path
from shared.clock import Clock
from shared.config import DeskConfig
from shared.ledger.pnl import since_ns_of, trading_days
from shared.ledger.tables import LedgerTables
from voldesk.console import EXIT_USAGE, Failure, progress
from voldesk.journal_tables import refresh, tables_path

Since = Annotated[
    str,
    typer.Option(
        help="Since then: 12h, 7d, 2w, today, all, or a date as 2026-11-27 (the trading day begins as configured)."
    ),
]


def ledger_of(desk: DeskConfig) -> LedgerTables:
    """The ledger, brought up to date with the journal. Raises Failure."""
    with progress("reading the journal") as tell:
        refresh(desk, tell)
    return LedgerTables(tables_path(desk))


def history_of(desk: DeskConfig) -> HistoryReader:
    """The samples of the monitor."""
    return HistoryReader(history_path(desk.run_dir), desk.account_id)


def history_config(desk: DeskConfig) -> HistoryConfig:
    return desk.section("monitor", MonitorConfig).history


def period(desk: DeskConfig, since: str) -> tuple[int, int]:
    """The beginning of the period and now. Raises Failure."""
    now_ns = Clock().now_ns()
    try:
        since_ns = since_ns_of(since, now_ns, trading_days(desk.day_boundary_minute))
    except ValueError as error:
        raise Failure(str(error), "see --help", EXIT_USAGE) from None
    if since_ns >= now_ns:
        raise Failure(f"{since} has not begun yet", "give a beginning in the past", EXIT_USAGE)
    return since_ns, now_ns


@contextmanager
def readable(desk: DeskConfig) -> Iterator[None]:
    """Say what an error of SQLite in the block means. Raises Failure."""
    try:
        yield
    except sqlite3.Error as error:
        raise Failure(
            f"{history_path(desk.run_dir)} cannot be read: {error}",
            "the monitor makes it at its first start: voldesk up",
        ) from None
