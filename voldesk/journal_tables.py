"""The SQL tables of execution's journal: built into a file of their own, brought up to date, and asked read-only.

The file can be removed at any time: all of it comes from the journal, which is read and never written here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec

from services.execution import pnl_changes, rows, tables
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.fold import SOURCES
from services.execution.pnl_changes import Money, changes_money, money_of, pnl_change
from services.execution.quality import qualities_of
from services.strategy.rows import OrdinalUsed, StrategyTold
from services.strategy.rows import Row as StrategyRow
from shared.config import DeskConfig
from shared.entries import START, JournalReader, Tail
from shared.errors import JournalDamaged, StartRefused
from shared.messages.steps import Entry
from shared.options import structures
from shared.service.journals import binding_of, journal_path
from shared.snapshots import fold_name
from voldesk.console import EXIT_USAGE, Failure

Tell = Callable[[str], None]

_ROWS_PER_WRITE = 2_000
_HOUR_NS = 3_600_000_000_000
_META = "CREATE TABLE built (sequence INTEGER NOT NULL, checksum INTEGER, program TEXT NOT NULL, book BLOB NOT NULL)"
_SHOWN_BY = tuple(Path(str(module.__file__)) for module in (tables, pnl_changes, structures))
"""What the tables hold follows from these too: tables made by others are made anew."""

_DENIED = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh did. sequence: the newest row of the journal that is in the tables."""

    file: str
    sequence: int
    rows_read: int
    from_the_start: bool


def tables_path(desk: DeskConfig) -> Path:
    return desk.run_dir / "tables" / f"execution-{desk.account_id}.sqlite3"


def refresh(desk: DeskConfig, tell: Tell, *, rebuild: bool = False) -> Built:
    """Bring the tables up to date with the journal: only the rows since the last time, unless `rebuild`, or another
    journal or version of the desk made what is there. Raises Failure."""
    path = tables_path(desk)
    source = journal_path(desk, "execution")
    if not source.exists():
        raise Failure(f"there is no journal {source}", "execution makes it at its first start: voldesk up")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        reader = JournalReader(source, binding_of(desk), rows.Row)
        with closing(reader):
            try:
                return _refreshed(desk, path, reader, tell, rebuild=rebuild)
            except (sqlite3.DatabaseError, _TablesDamaged) as error:
                if not is_damage(error):
                    raise
            tell("the file of the tables is damaged: it is made anew")
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            return _refreshed(desk, path, reader, tell, rebuild=True)
    except JournalDamaged as damage:
        raise Failure(f"{damage.reason}; the tables end before it", "see docs/journal.md") from None
    except StartRefused as error:
        raise Failure(error.reason, error.remedy) from None
    except sqlite3.OperationalError as error:
        raise Failure(
            f"{path} cannot be written: {error}", "wait for another `voldesk journal`, or free space"
        ) from None


class _TablesDamaged(Exception):
    """What the file holds contradicts itself, by SQLite's own check."""


def is_damage(error: Exception) -> bool:
    """Whether the file is no database, or one that lost part of itself: it is not synced, a power cut can do that."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _TablesDamaged) or code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _refreshed(desk: DeskConfig, path: Path, reader: JournalReader, tell: Tell, *, rebuild: bool) -> Built:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        return _Refresh(desk, path, reader, connection, tell).run(rebuild=rebuild)


class _Refresh:
    """One refresh. What rows changed is collected and written every few thousand rows; the book goes along."""

    def __init__(
        self, desk: DeskConfig, path: Path, reader: JournalReader, connection: sqlite3.Connection, tell: Tell
    ) -> None:
        self._desk = desk
        self._path = path
        self._reader = reader
        self._connection = connection
        self._tell = tell
        # Short stories, as they are not in the tables.
        self._empty = Book.empty(ExecutionConfig(answers_kept=1, story_lines_max=4))
        self._empty.unfilled_kept_ns = 2 * _HOUR_NS
        self._program = fold_name(Book, self._empty, (*SOURCES, *_SHOWN_BY, Path(__file__)))
        self._book = self._empty
        self._trades: dict[str, None] = {}
        self._orders: dict[int, None] = {}
        self._rfqs: dict[str, None] = {}
        self._written_ns = 0

    def run(self, *, rebuild: bool) -> Built:
        begin = None if rebuild else self._restored()
        end = self._reader.tail()
        total = end.sequence if end is not None else 0
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if begin is None:
                self._create()
            tail = begin or START
            for last, entry in self._reader.entries(tail):
                # Before the row is folded: it may let go of what ended long ago.
                forgets = isinstance(entry.row, rows.EndedForgotten)
                late = entry.at_ns - self._written_ns > _HOUR_NS // 2
                if forgets or late or last.sequence % _ROWS_PER_WRITE == 0:
                    self._write(entry.at_ns)
                money = self._money(entry.row)
                self._book.apply(entry)
                self._note(entry, last.sequence)
                self._note_money(entry, last.sequence, money)
                tail = last
                if last.sequence % _ROWS_PER_WRITE == 0:
                    self._tell(f"reading the journal: row {last.sequence:,} of {total:,}")
            self._write(0)
            self._summarise()
            self._connection.execute("DELETE FROM built")
            encoded = msgspec.msgpack.encode(self._book)
            self._connection.execute(
                "INSERT INTO built VALUES (?, ?, ?, ?)", (tail.sequence, tail.checksum, self._program, encoded)
            )
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite rolls back by itself after some errors.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return Built(
            file=str(self._path),
            sequence=tail.sequence,
            rows_read=tail.sequence - (begin or START).sequence,
            from_the_start=begin is None,
        )

    def _restored(self) -> Tail | None:
        """Where the last refresh ended, with its book; None when it was of another journal or version."""
        try:
            found = self._connection.execute("SELECT sequence, checksum, program, book FROM built").fetchone()
        except sqlite3.OperationalError:
            return None
        if found is None or found[2] != self._program:
            return None
        tail = Tail(found[0], found[1])
        if tail != START and self._reader.tail(tail.sequence) != tail:
            return None
        try:
            self._book = msgspec.msgpack.decode(found[3], type=Book)
        except (msgspec.DecodeError, TypeError):
            return None
        return tail

    def _create(self) -> None:
        # Dropping a damaged table may free pages that another one still uses.
        if self._connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise _TablesDamaged
        existing = self._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in existing:
            self._connection.execute(f'DROP TABLE "{name}"')
        for statement in (_META, *(table.sql for table in tables.TABLES), *tables.INDEXES):
            self._connection.execute(statement)
        self._book = self._empty

    def _note(self, entry: Entry, sequence: int) -> None:
        row: rows.Row = entry.row
        trade = self._book.trade_of_row(row)
        if trade is not None:
            self._trades[trade.trade_id] = None
        number = getattr(row, "client_order_id", None)
        if number is not None:
            self._orders[number] = None
        rfq_id = getattr(row, "rfq_id", None)
        if rfq_id is not None:
            self._rfqs[rfq_id] = None
        decision = tables.decision_of(entry.at_ns, row)
        if decision is not None:
            self._put(tables.ENTRY_DECISIONS, decision)
        match row:
            case rows.FillSeen():
                self._put(tables.FILLS, tables.OfFill(row, self._book.orders[row.client_order_id], sequence))
            case rows.FeeLearned():
                fee = (format(row.fee_usd, "f"), row.venue_trade_id)
                self._connection.execute("UPDATE fills SET fee_usd = ? WHERE venue_trade_id = ?", fee)
            case rows.HaltRaised():
                self._put(tables.HALTS, tables.HaltSpan(sequence, row.level, row.reason, row.raised_by, entry.at_ns))
            case rows.HaltsLifted():
                ended = (entry.at_ns, row.lifted_by)
                self._connection.execute(
                    "UPDATE halts SET lifted_ns = ?, lifted_by = ? WHERE lifted_ns IS NULL", ended
                )
            case _:
                pass

    def _money(self, row: rows.Row) -> Money | None:
        """What the trade of the row has made before it, where the row may change that."""
        return money_of(self._book.trade_of_row(row)) if changes_money(row) else None

    def _note_money(self, entry: Entry, sequence: int, before: Money | None) -> None:
        if before is None:
            return
        change = pnl_change(sequence, entry.at_ns, entry.row, before, self._book)
        if change is not None:
            self._put(tables.PNL_CHANGES, change)

    def _put(self, table: tables.Table, source: Any) -> None:
        self._connection.execute(table.upsert, table.row(source))

    def _write(self, at_ns: int) -> None:
        """Put down what changed since the last time."""
        self._written_ns = at_ns
        book = self._book
        rfqs = [book.rfqs.rfqs[rfq_id] for rfq_id in self._rfqs if rfq_id in book.rfqs.rfqs]
        touched = [book.trades[trade_id] for trade_id in self._trades if trade_id in book.trades]
        for table, sources in (
            (tables.TRADES, touched),
            (tables.LEGS, list(_legs(touched))),
            (tables.EXECUTION_QUALITY, [each for trade in touched for each in qualities_of(trade, with_legs=False)]),
            (tables.ORDERS, [book.orders[number] for number in self._orders if number in book.orders]),
            (tables.RFQS, rfqs),
            (tables.QUOTES, [tables.OfQuote(rfq, quote) for rfq in rfqs for quote in rfq.judged]),
        ):
            self._connection.executemany(table.upsert, map(table.row, sources))
        self._trades.clear()
        self._orders.clear()
        self._rfqs.clear()

    def _summarise(self) -> None:
        """The tables that say how things stand now."""
        connection = self._connection
        connection.execute("DELETE FROM positions")
        held = (of for of in _legs(self._book.active_trades()) if of.leg.held_quantity)
        connection.executemany(tables.POSITIONS.upsert, map(tables.POSITIONS.row, held))
        connection.execute("DELETE FROM strategy_state")
        states = self._strategies(self._told())
        connection.executemany(tables.STRATEGY_STATE.upsert, map(tables.STRATEGY_STATE.row, states))

    def _strategies(self, told: dict[str, str]) -> Iterator[tables.StrategyState]:
        connection = self._connection
        money: dict[str, list[Decimal]] = {}
        amounts = "SELECT strategy, realized_pnl_usd, fees_usd, funding_usd FROM trades"
        for strategy, *parts in connection.execute(amounts):
            sums = money.setdefault(strategy, [Decimal(0)] * 3)
            for index, part in enumerate(parts):
                sums[index] += Decimal(part)
        opened = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT strategy, count(*), sum(closed_ns IS NULL), max(created_ns), max(closed_ns) FROM trades "
                "GROUP BY strategy"
            )
        }
        refused = dict(
            connection.execute(
                "SELECT strategy, count(*) FROM entry_decisions WHERE decision = 'refused' GROUP BY strategy"
            ).fetchall()
        )
        for strategy in sorted({*opened, *refused, *told}):
            trades, still_open, last_opened_ns, last_closed_ns = opened.get(strategy, (0, 0, None, None))
            pnl, fees, funding = money.get(strategy, [Decimal(0)] * 3)
            yield tables.StrategyState(
                strategy,
                told.get(strategy, ""),
                self._book.highest_ordinal.get(strategy),
                trades,
                still_open,
                refused.get(strategy, 0),
                last_opened_ns,
                last_closed_ns,
                pnl,
                fees,
                funding,
            )

    def _told(self) -> dict[str, str]:
        """What each strategy was last told, by the journal of the strategy host that runs it; empty without one."""
        told: dict[str, str] = {}
        for host in self._desk.strategy_hosts.services:
            path = journal_path(self._desk, host)
            if not path.exists():
                continue
            with closing(JournalReader(path, binding_of(self._desk), StrategyRow)) as reader:
                for _, entry in reader.entries():
                    match entry.row:
                        case StrategyTold(strategy=strategy, action=action) if self._is_run_by(host, strategy):
                            told[strategy] = action
                        case OrdinalUsed(strategy=strategy) if self._is_run_by(host, strategy):
                            told.setdefault(strategy, "")
        return told

    def _is_run_by(self, host: str, strategy: str) -> bool:
        return self._desk.strategy_hosts.of(strategy) == host


def _legs(trades: Any) -> Iterator[tables.OfLeg]:
    for trade in trades:
        for index, leg in enumerate(trade.legs):
            yield tables.OfLeg(trade, index, leg)


def query(desk: DeskConfig, statement: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and at most `limit` rows. The tables cannot be changed, nor other files opened. Raises Failure."""
    with closing(sqlite3.connect(f"file:{tables_path(desk)}?mode=ro", uri=True, timeout=10)) as connection:
        connection.execute("PRAGMA query_only=ON")
        connection.create_aggregate("decimal_sum", 1, cast(Any, _DecimalSum))
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK)
        try:
            cursor = connection.execute(statement)
            if cursor.description is None:
                raise Failure(
                    "the statement asks for nothing", 'begin with SELECT, as "SELECT * FROM trades"', EXIT_USAGE
                )
            names = _unique([column[0] for column in cursor.description])
            return names, cursor.fetchmany(limit)
        except (sqlite3.Error, sqlite3.Warning) as error:
            if is_damage(error):
                raise Failure(f"{tables_path(desk)} is damaged: {error}", "voldesk journal rebuild") from None
            remedy = "the tables and their columns: voldesk journal tables"
            raise Failure(f"SQL: {error}", remedy, EXIT_USAGE) from None


class _DecimalSum:
    """decimal_sum(x): every digit of a sum of amounts; NULL counts as nothing."""

    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, value: str | int | float | None) -> None:
        """One more amount."""
        if value is not None:
            self._sum += Decimal(str(value))

    def finalize(self) -> str:
        """The sum as text."""
        return format(self._sum, "f")


def _unique(names: list[str]) -> list[str]:
    """Two columns of one name get a number, so that none is lost in JSON."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
