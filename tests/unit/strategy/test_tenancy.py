"""A strategy has one host at a time, and moves to another one with what was written of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.strategy.config import StrategyHostConfig
from services.strategy.core import StrategyHostCore
from services.strategy.hedge_pauses import HedgePauses
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.rows import HedgingPaused, IvSampled, OrdinalUsed, Row, StrategyTaken, StrategyTold
from services.strategy.tenancy import Tenancy
from services.strategy.watchdog import Blocked, note_blocked, read_blocked
from shared.config import DeskConfig
from shared.messages.steps import Entry, Inbound, StreamSynced
from shared.service.journals import binding_of, journal_path
from shared.store import SqliteJournal
from shared.strategy_hosts import StrategyHosts
from tests.unit.shared.samples import write_desk
from tests.unit.strategy.making import ACCOUNT_ID, NOON, trade
from tests.unit.strategy.test_host_entry import straddler

NAME = "straddler"
PAUSED = StrategyTold(strategy=NAME, action="pause", requested_by="anna")
HEDGED = OrdinalUsed(strategy=f"{NAME}.hedge", ordinal=7)


@contextmanager
def journal_of(desk: DeskConfig, service: str) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(journal_path(desk, service), binding_of(desk), Row, "NORMAL")
    try:
        yield journal
    finally:
        journal.close()


async def taken(
    desk: DeskConfig, service: str, *strategies: LoadedStrategy, failures: tuple[LoadFailure, ...] = ()
) -> tuple[Tenancy, list[str], list[LoadFailure]]:
    """A host that starts: the names that it has, and what it has not."""
    tenancy = Tenancy(desk, service, patience_s=0.0)
    with journal_of(desk, service) as journal:
        kept, left_out = await tenancy.take(strategies, failures, journal, NOON)
    return tenancy, [each.name for each in kept], left_out


def rows_of(desk: DeskConfig, service: str) -> list[object]:
    with journal_of(desk, service) as journal:
        return [entry.row for entry in journal.load()]


def write(desk: DeskConfig, service: str, *rows: Row) -> None:
    with journal_of(desk, service) as journal:
        journal.append([Entry(NOON + number, "", row) for number, row in enumerate(rows)])


async def test_a_strategy_that_another_host_still_runs_is_left_out_with_what_to_do(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    first, names, _ = await taken(desk, "strategy", straddler())
    assert names == [NAME]
    second, names, failures = await taken(desk, "strategy-fast", straddler())
    assert (names, second.refused) == ([], {NAME})
    assert "voldesk restart strategy`" in failures[0].reason
    second.release()
    first.release()
    _, names, failures = await taken(desk, "strategy-fast", straddler())
    assert (names, failures) == ([NAME], [])


async def test_a_host_that_takes_a_strategy_knows_what_the_one_before_wrote_of_it_and_of_nothing_else(
    tmp_path: Path,
) -> None:
    desk = write_desk(tmp_path)
    sampled = IvSampled(underlying="BTCUSD", days=7.0, at_ns=NOON, vol=0.5)
    other = StrategyTold(strategy="other", action="stop", requested_by="anna")
    write(desk, "strategy", PAUSED, other, HEDGED, sampled)
    tenancy, _, _ = await taken(desk, "strategy-fast", straddler())
    assert tenancy.taken_from == {NAME: "strategy"}
    assert rows_of(desk, "strategy-fast") == [
        StrategyTaken(strategy=NAME, from_host="strategy"),
        PAUSED,
        HEDGED,
        sampled,
    ]
    tenancy.release()
    again, _, _ = await taken(desk, "strategy-fast", straddler())
    assert again.taken_from == {}, "it had it already"


async def test_what_was_known_here_before_counts_no_more_when_a_strategy_comes_back(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    write(desk, "strategy", PAUSED)
    (await taken(desk, "strategy-fast", straddler()))[0].release()
    resumed = StrategyTold(strategy=NAME, action="resume", requested_by="ben")
    write(desk, "strategy-fast", resumed)
    (await taken(desk, "strategy", straddler()))[0].release()
    assert rows_of(desk, "strategy")[1:] == [
        StrategyTaken(strategy=NAME, from_host="strategy-fast"),
        PAUSED,
        resumed,
    ]


async def test_a_strategy_whose_file_is_broken_is_taken_too_so_that_its_pause_is_there_when_it_loads(
    tmp_path: Path,
) -> None:
    desk = write_desk(tmp_path)
    write(desk, "strategy", PAUSED)
    failure = LoadFailure(name=NAME, source="straddler.py", reason="SyntaxError")
    _, _, failures = await taken(desk, "strategy-fast", failures=(failure,))
    assert failures == [failure]
    assert PAUSED in rows_of(desk, "strategy-fast")


async def test_a_memory_that_cannot_be_read_keeps_the_strategy_from_running_without_it(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    path = journal_path(desk, "strategy")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no journal at all, but long enough to be looked at as one" * 40)
    tenancy, names, failures = await taken(desk, "strategy-fast", straddler())
    assert (names, tenancy.refused) == ([], {NAME})
    assert "cannot be read" in failures[0].reason


async def test_the_journal_of_a_host_that_starts_for_the_first_time_too_has_nothing_in_it(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    path = journal_path(desk, "strategy")
    path.parent.mkdir(parents=True)
    path.touch()
    tenancy, names, failures = await taken(desk, "strategy-fast", straddler())
    assert (names, failures, tenancy.taken_from) == ([NAME], [], {})


async def test_a_lost_file_takes_nothing_from_a_host_whose_own_journal_is_newer(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    write(desk, "strategy", HEDGED)
    (await taken(desk, "strategy-fast", straddler()))[0].release()
    write(desk, "strategy-fast", HEDGED, PAUSED)
    kept = rows_of(desk, "strategy-fast")
    (desk.run_dir / "strategy-hosts" / NAME).unlink()
    (await taken(desk, "strategy-fast", straddler()))[0].release()
    assert rows_of(desk, "strategy-fast") == kept
    (desk.run_dir / "strategy-hosts" / NAME).write_text("")
    tenancy, _, _ = await taken(desk, "strategy", straddler())
    assert tenancy.taken_from == {NAME: "strategy-fast"}, "also where its host was not the default one"
    assert PAUSED in rows_of(desk, "strategy")


async def test_rows_that_were_copied_are_not_copied_again_when_the_file_could_not_be_written(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    sampled = IvSampled(underlying="BTCUSD", days=7.0, at_ns=NOON, vol=0.5)
    write(desk, "strategy", PAUSED, HEDGED, sampled)
    (await taken(desk, "strategy-fast", straddler()))[0].release()
    once = rows_of(desk, "strategy-fast")
    (desk.run_dir / "strategy-hosts" / NAME).write_text("strategy\n")
    tenancy, _, _ = await taken(desk, "strategy-fast", straddler())
    assert tenancy.taken_from == {NAME: "strategy"}
    assert rows_of(desk, "strategy-fast") == once


async def test_what_is_enabled_no_more_is_taken_with_its_memory_once_its_host_has_given_it_up(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    fast, _, _ = await taken(desk, "strategy-fast", straddler())
    write(desk, "strategy-fast", PAUSED)
    default, _, _ = await taken(desk, "strategy")
    assert (default.elsewhere, default.taken_from) == ({NAME}, {})
    default.release()
    fast.release()
    default, names, failures = await taken(desk, "strategy")
    assert (names, failures, default.elsewhere) == ([], [], set())
    assert rows_of(desk, "strategy") == [StrategyTaken(strategy=NAME, from_host="strategy-fast"), PAUSED]


async def test_a_host_that_cannot_read_what_was_known_of_a_strategy_still_keeps_others_from_its_trades(
    tmp_path: Path,
) -> None:
    desk = write_desk(tmp_path)
    path = journal_path(desk, "strategy")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no journal at all, but long enough to be looked at as one" * 40)
    first, _, _ = await taken(desk, "strategy-fast", straddler())
    assert (first.refused, first.elsewhere) == ({NAME}, set())
    second, _, _ = await taken(desk, "strategy-slow", straddler())
    assert second.elsewhere == {NAME}


def test_a_host_leaves_the_trades_alone_of_a_strategy_that_another_one_still_has() -> None:
    hosts = StrategyHosts({"fast": (NAME,)})

    def host(elsewhere: tuple[str, ...]) -> StrategyHostCore:
        core = StrategyHostCore(
            StrategyHostConfig(),
            (),
            account_id=ACCOUNT_ID,
            failures=[LoadFailure(name=NAME, source="", reason="it still runs in the host strategy")],
            service="strategy-fast",
            hosts=hosts,
            elsewhere=elsewhere,
        )
        core.start(NOON)
        core.handle(StreamSynced("execution", 1), NOON)
        core.handle(Inbound("t", trade(strategy=NAME), "m1", "execution", 1), NOON)
        core.handle(Inbound("t", trade(strategy="other", trade_id="t2"), "m2", "execution", 1), NOON)
        return core

    assert host(()).answers_for == (NAME,), "also without its file"
    assert host((NAME,)).answers_for == ()


def test_a_host_answers_for_what_it_runs_and_for_open_trades_of_what_is_enabled_no_more() -> None:
    core = StrategyHostCore(StrategyHostConfig(), (straddler(),), account_id=ACCOUNT_ID)
    core.start(NOON)
    core.handle(StreamSynced("execution", 1), NOON)
    core.handle(Inbound("t", trade(strategy="gone"), "m1", "execution", 1), NOON)
    core.handle(Inbound("t", trade(strategy="scalper.hedge", trade_id="t2"), "m2", "execution", 1), NOON)
    assert core.answers_for == ("gone", "scalper", NAME)


def test_two_hosts_that_end_together_both_leave_their_note(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(8)]
    ready = threading.Barrier(len(names))

    def end(name: str) -> None:
        ready.wait(60)
        note_blocked(tmp_path, Blocked(strategy=name, source="", modified_ns=0, where="", seconds=1.0))

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(end, names))
    assert sorted(each.strategy for each in read_blocked(tmp_path)) == names


@pytest.mark.parametrize("service", ["strategy", "strategy-fast"])
def test_rows_of_a_strategy_count_only_in_the_host_that_has_it_now(service: str) -> None:
    hosts = StrategyHosts({"fast": (NAME,)})
    core = StrategyHostCore(StrategyHostConfig(), (straddler(),), account_id="main", service=service, hosts=hosts)
    core.apply(Entry(NOON, "", PAUSED))
    assert core.slots[NAME].memory.told == ("pause" if service == "strategy-fast" else "resume")
    core.apply(Entry(NOON, "", StrategyTaken(strategy=NAME, from_host="strategy-slow")))
    assert core.slots[NAME].memory.told == "resume"


def test_a_pause_of_a_hedge_counts_no_more_once_the_strategy_was_taken_from_another_host() -> None:
    pauses = HedgePauses(lambda row: None)
    pauses.apply(HedgingPaused(strategy=NAME, trade_id="t1", requested_by="anna"))
    pauses.apply(HedgingPaused(strategy="other", trade_id="t2", requested_by="anna"))
    pauses.forget(NAME)
    assert (pauses.why("t1"), pauses.why("t2") is None) == (None, False)
