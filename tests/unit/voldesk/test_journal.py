"""voldesk journal and old trades: what a person asks of the journal's file is what the book says."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.execution import tables
from services.execution.config import ExecutionConfig
from services.execution.rows import Row
from services.strategy.rows import Row as StrategyRow
from services.strategy.rows import StrategyTold
from shared.config import load_config
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.steps import Entry
from shared.messages.trades import TellTrade
from shared.messages.venue import StreamUp
from shared.service.journals import binding_of, journal_path
from shared.store import SqliteJournal
from shared.views import story_json
from tests.unit.execution.makers import Makers
from tests.unit.execution.play import ACCOUNT, CALL, HIGH_CALL, PUT, SECOND, Script, intent, leg, position
from tests.unit.execution.test_perpetual_trades import PerpetualScript, payment
from tests.unit.voldesk.peers import Ran
from voldesk.journal_tables import tables_path

DAY_NS = 86_400_000_000_000


def write(entries: list[Entry], service: str = "execution", row_types: Any = Row) -> None:
    desk = load_config()
    journal = SqliteJournal(journal_path(desk, service), binding_of(desk), row_types)
    journal.append(entries[journal.tail.sequence :])
    journal.close()


def asked(statement: str) -> Any:
    ran = Ran("journal", "sql", statement, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def played() -> Script:
    """A trade that was opened and closed, one that is open, a refusal, and a halt that was lifted."""
    script = Script(msgspec.structs.replace(ExecutionConfig(), retention_days=1)).started()
    first = script.opened(leg(CALL, "buy"))
    script.close(first)
    for order in script.placed():
        script.fills_all(order, 77)
    script.opened(leg(PUT, "buy"), ordinal=1)
    wanted = intent(leg(CALL, "buy"), ordinal=2, now_ns=script.now_ns)
    script.ask(msgspec.structs.replace(wanted, legs=(leg(CALL, "buy", "2"),)))
    script.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="operator"))
    script.ask(LiftHalts(requested_by="operator"))
    return script


@pytest.fixture
def script(home: Path) -> Script:
    """As `played`, in the journal's file."""
    script = played()
    write(script.entries)
    return script


def test_every_table_says_what_the_book_says(script: Script) -> None:
    book = script.core.book
    found = asked("SELECT * FROM trades ORDER BY trade_id")
    assert [row["trade_id"] for row in found] == sorted(book.trades)
    for row in found:
        trade = book.trades[row["trade_id"]]
        assert row["state"] == trade.state
        assert Decimal(row["fees_usd"]) == trade.fees_usd
        assert Decimal(row["realized_pnl_usd"]) == sum(each.realized_pnl_usd for each in trade.legs)
        legs = asked(f"SELECT * FROM legs WHERE trade_id = '{trade.trade_id}' ORDER BY leg_index")
        assert [Decimal(each["opened_quantity"]) for each in legs] == [each.opened_quantity for each in trade.legs]
        assert [Decimal(each["closed_quantity"]) for each in legs] == [each.closed_quantity for each in trade.legs]
    orders = {row["client_order_id"]: row for row in asked("SELECT * FROM orders")}
    assert {number: order.state for number, order in book.orders.items()} == {
        number: row["state"] for number, row in orders.items()
    }
    assert all(Decimal(orders[number]["filled_quantity"]) == book.orders[number].filled_quantity for number in orders)
    fills = asked("SELECT * FROM fills")
    assert {row["venue_trade_id"] for row in fills} == set(book.fills)
    (position,) = asked("SELECT symbol, quantity FROM positions")
    assert position == {"symbol": PUT, "quantity": "1"}
    decisions = asked("SELECT ordinal, decision, code FROM entry_decisions ORDER BY ordinal")
    assert [(row["ordinal"], row["decision"]) for row in decisions] == [(0, "opened"), (1, "opened"), (2, "refused")]
    assert decisions[2]["code"] == book.intents["demo-2"].refusal.code
    (state,) = asked("SELECT * FROM strategy_state")
    assert (state["strategy"], state["trades"], state["open_trades"], state["refused"]) == ("demo", 2, 1, 1)
    phases = {(row["trade_id"], row["phase"]): row for row in asked("SELECT * FROM execution_quality")}
    assert set(phases) == {(each.trade_id, each.phase) for each in book.qualities()}
    for each in book.qualities():
        row = phases[each.trade_id, each.phase]
        assert Decimal(row["slippage_usd"]) == each.slippage_usd
        assert (row["slippage_bp"], row["orders"]) == (each.slippage_bp, each.orders)
    (halt,) = asked("SELECT level, raised_by, lifted_by FROM halts")
    assert halt == {"level": "no_new_trades", "raised_by": "operator", "lifted_by": "operator"}


def test_requests_for_quote_and_how_each_quote_was_judged_can_be_asked_for(home: Path) -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting({CALL: "1003", HIGH_CALL: "297"})
    write(script.entries)
    (request,) = asked("SELECT trade_id, purpose, state, quote_id, book_cost_usd FROM rfqs")
    assert request == {
        "trade_id": trade_id,
        "purpose": "open",
        "state": "ACCEPTING",
        "quote_id": quote.quote_id,
        "book_cost_usd": 1440.0,
    }
    (judged,) = asked("SELECT quote_id, verdict, cost_usd, improvement_usd FROM quotes")
    assert judged == {
        "quote_id": quote.quote_id,
        "verdict": "good",
        "cost_usd": 1412.0,
        "improvement_usd": pytest.approx(28.0),
    }
    assert asked("SELECT DISTINCT quote_id FROM orders") == [{"quote_id": quote.quote_id}]
    makers.executed(quote)
    write(script.entries)
    assert asked("SELECT state FROM rfqs") == [{"state": "FILLED"}]


def test_what_was_written_since_is_added_and_gives_what_a_rebuild_gives(script: Script) -> None:
    asked("SELECT 1")
    script.close(asked("SELECT trade_id FROM positions")[0]["trade_id"])
    for order in script.placed():
        script.fills_all(order, 78)
    write(script.entries)
    contents = {table.name: asked(f"SELECT * FROM {table.name}") for table in tables.TABLES}
    assert contents["positions"] == []
    rebuilt = json.loads(Ran("journal", "rebuild", "--json").out)
    assert (rebuilt["sequence"], rebuilt["from_the_start"]) == (len(script.entries), True)
    assert {table.name: asked(f"SELECT * FROM {table.name}") for table in tables.TABLES} == contents


def test_only_new_rows_are_read_and_another_journal_is_read_from_its_start(script: Script) -> None:
    desk = load_config()
    built = json.loads(Ran("journal", "rebuild", "--json").out)
    with sqlite3.connect(tables_path(desk)) as connection:
        connection.execute("UPDATE trades SET state = 'seen'")
    connection.close()
    assert {row["state"] for row in asked("SELECT state FROM trades")} == {"seen"}, "nothing was read again"
    for file in journal_path(desk, "execution").parent.glob("execution-*"):
        file.unlink()
    other = Script().started()
    other.opened(leg(CALL, "buy"), ordinal=5)
    write(other.entries)
    assert built["sequence"] > len(other.entries) > 0
    assert asked("SELECT ordinal, state FROM trades") == [{"ordinal": 5, "state": "OPEN"}]


def test_what_a_strategy_was_told_is_read_from_its_hosts_journal(script: Script) -> None:
    told = StrategyTold(strategy="demo", action="pause", requested_by="operator")
    write([Entry(1, "", told)], "strategy", StrategyRow)
    assert asked("SELECT strategy, last_order FROM strategy_state") == [{"strategy": "demo", "last_order": "pause"}]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT absent FROM trades", "no such column: absent"),
        ("DELETE FROM trades", "attempt to write a readonly database"),
        ("ATTACH DATABASE '/tmp/x.sqlite3' AS x", "not authorized"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("", "the statement asks for nothing"),
    ],
)
def test_a_statement_that_cannot_be_answered_changes_nothing_and_says_where_the_tables_are(
    script: Script, statement: str, says: str
) -> None:
    ran = Ran("journal", "sql", statement)
    assert ran.code == 2
    assert says in ran.err
    assert len(asked("SELECT * FROM trades")) == 2


def test_amounts_are_added_up_exactly(script: Script) -> None:
    amounts = "(SELECT '0.1' AS usd UNION ALL SELECT '0.2' UNION ALL SELECT NULL)"
    assert asked(f"SELECT decimal_sum(usd) AS usd FROM {amounts}") == [{"usd": "0.3"}]
    refused = Ran("journal", "sql", "SELECT decimal_sum(state) FROM trades")
    assert refused.code == 2


def test_rows_are_a_table_and_no_more_than_wanted(script: Script) -> None:
    ran = Ran("journal", "sql", "SELECT strategy, ordinal, close_reason FROM trades ORDER BY ordinal", "--limit", "1")
    assert ran.code == 0
    assert "demo" in ran.out
    assert "enough" in ran.out
    assert "the first 1 rows" in ran.err


def test_without_a_journal_the_remedy_is_named(home: Path) -> None:
    ran = Ran("journal", "sql", "SELECT 1")
    assert ran.code == 1
    assert "there is no journal" in ran.err


def test_a_damaged_journal_is_told_and_leaves_the_tables_as_they_were(script: Script) -> None:
    before = asked("SELECT * FROM trades")
    path = journal_path(load_config(), "execution")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute("UPDATE entries SET row = x'00' WHERE sequence = 5")
    connection.close()
    ran = Ran("journal", "rebuild")
    assert ran.code == 1
    assert "row 5 is not as it was written" in ran.err
    assert asked("SELECT * FROM trades") == before


def test_a_file_of_tables_that_is_garbage_is_made_anew(script: Script) -> None:
    tables_path(load_config()).parent.mkdir()
    tables_path(load_config()).write_bytes(b"garbage" * 1_000)
    assert len(asked("SELECT * FROM trades")) == 2


@pytest.mark.parametrize("table", ["trades", "fills", "built"])
@pytest.mark.parametrize("command", [("rebuild",), ("sql", "SELECT * FROM trades")])
def test_tables_that_lost_a_page_are_made_anew(script: Script, table: str, command: tuple[str, ...]) -> None:
    before = asked("SELECT * FROM trades")
    lose_page_of(table)
    write(played_on(script).entries)
    ran = Ran("journal", *command, "--json")
    assert ran.code == 0, ran.err
    assert [row["trade_id"] for row in asked("SELECT * FROM trades")] == [row["trade_id"] for row in before]
    assert len(asked("SELECT * FROM fills")) == len(script.core.book.fills)
    assert asked("SELECT count(*) AS rows FROM built") == [{"rows": 1}]


def test_a_lost_page_that_only_the_question_meets_is_told_with_the_remedy(script: Script) -> None:
    asked("SELECT 1")
    lose_page_of("halts")
    ran = Ran("journal", "sql", "SELECT * FROM halts")
    assert ran.code == 1
    assert "is damaged" in ran.err
    assert "voldesk journal rebuild" in ran.err
    assert Ran("journal", "rebuild").code == 0
    assert len(asked("SELECT * FROM halts")) == 1


def test_a_book_beside_the_tables_that_cannot_be_read_has_them_made_anew(script: Script) -> None:
    before = asked("SELECT * FROM trades")
    with sqlite3.connect(tables_path(load_config())) as connection:
        connection.execute("UPDATE built SET book = x'c1'")
    connection.close()
    assert asked("SELECT * FROM trades") == before


def played_on(script: Script) -> Script:
    """With one more fill: what is asked next has rows to take in, of a trade that the tables have."""
    script.close(min(trade.trade_id for trade in script.core.book.active_trades()))
    for order in script.placed():
        script.fills_all(order, 78)
    return script


def lose_page_of(table: str) -> None:
    """As after a power cut: the first page of the table holds what was never written there."""
    path = tables_path(load_config())
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xa5" * size)


def test_the_story_of_a_trade_that_left_memory_is_told_from_the_journal(script: Script) -> None:
    (trade_id,) = (row["trade_id"] for row in asked("SELECT trade_id FROM trades WHERE closed_ns IS NOT NULL"))
    told = script.ask(TellTrade(trade_id=trade_id))
    for day in range(1, 5):
        script.now_ns += DAY_NS
        script.on(StreamUp())
        script.market()
        script.beats()
        script.snapshot(positions=script.positions())
        script.open(leg(CALL, "buy"), ordinal=10 + day, halt_epoch=1)
    assert trade_id not in script.core.book.trades
    write(script.entries)
    ran = Ran("trade", trade_id, "--json")
    assert ran.code == 0, ran.err
    expected = msgspec.json.encode(story_json(told)).decode().replace(f'"{ACCOUNT}"', '"acc1"')
    assert json.loads(ran.out) == json.loads(expected)
    shown = Ran("trade", trade_id)
    assert "It ended CLOSED" in shown.out


def test_a_trade_that_never_was_is_refused_with_the_first_reason(script: Script) -> None:
    ran = Ran("trade", "t5")
    assert ran.code != 0
    assert "execution does not answer" in ran.err


def test_changes_of_pnl_sum_to_every_trade_and_stay_so_over_refreshes(home: Path) -> None:
    entries = list(played().entries)
    for end in (len(entries) // 3, len(entries) // 2, len(entries)):
        write(entries[:end])
        sums = asked(
            "SELECT t.trade_id, t.realized_pnl_usd AS realized, t.fees_usd AS fees, decimal_sum(c.realized_pnl_usd) "
            "AS changed, decimal_sum(c.fees_usd) AS paid FROM trades t LEFT JOIN pnl_changes c USING (trade_id) "
            "GROUP BY t.trade_id"
        )
        for row in sums:
            assert Decimal(row["changed"] or 0) == Decimal(row["realized"])
            assert Decimal(row["paid"] or 0) == Decimal(row["fees"])
    assert any(Decimal(row["realized"]) for row in sums)
    assert asked("SELECT DISTINCT structure FROM trades ORDER BY 1") == [
        {"structure": "long call"},
        {"structure": "long put"},
    ]


def test_the_funding_of_a_perpetual_is_in_its_trade_and_the_changes_sum_to_it(home: Path) -> None:
    script = PerpetualScript()
    script.started()
    trade_id = script.opened("buy", "0.02", 1)
    funded_ns = script.now_ns
    script.now_ns += 41 * SECOND
    held = [position("BTCUSD", "0.02", mark=100_000.0)]
    script.snapshot(positions=held)
    script.snapshot(positions=held, funding=[payment("0.02", "-0.20000001", funded_ns)])
    write(script.entries)
    parts = "decimal_sum(realized_pnl_usd) AS pnl, decimal_sum(fees_usd) AS fees, decimal_sum(funding_usd) AS funding"
    (whole,) = asked(f"SELECT trade_id, {parts} FROM trades GROUP BY trade_id")
    assert (whole["trade_id"], Decimal(whole["funding"])) == (trade_id, Decimal("0.20000001"))
    (changed,) = asked(f"SELECT {parts} FROM pnl_changes GROUP BY trade_id")
    assert {name: Decimal(changed[name]) for name in ("pnl", "fees", "funding")} == {
        name: Decimal(whole[name]) for name in ("pnl", "fees", "funding")
    }
    (strategy,) = asked("SELECT funding_usd FROM strategy_state")
    assert Decimal(strategy["funding_usd"]) == Decimal("0.20000001")


def test_tables_without_a_column_that_another_version_has_are_made_anew(script: Script) -> None:
    before = asked("SELECT * FROM trades")
    with sqlite3.connect(tables_path(load_config())) as connection:
        connection.execute("ALTER TABLE trades DROP COLUMN funding_usd")
        connection.execute("UPDATE built SET program = 'of before'")
    connection.close()
    assert asked("SELECT * FROM trades") == before
