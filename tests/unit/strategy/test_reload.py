"""A file that changes while its host runs: it takes over, open trades keep their exits, a broken one waits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.loader import load_enabled, load_strategies
from services.strategy.reloads import ReloadRefused, StrategyReloaded
from services.strategy.validation import StrategyFiles, validate
from services.strategy.watcher import FileWatcher
from shared.config import DeskConfig
from shared.messages.conditions import HostFunction
from shared.messages.control import RequestGrant
from shared.strategy.views import ExitView
from tests.unit.shared.samples import MINIMAL, write_desk
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import NOON, SECOND, leg, moved, trade
from tests.unit.strategy.test_host_control import straddler

SYMBOL = "BTCUSD-12MAR26-100000-C"


def enough(view: ExitView, now_ns: int) -> bool:
    return False


def changed_enough() -> Any:
    def enough(view: ExitView, now_ns: int) -> bool:
        return True

    return enough


def held(ordinal: int) -> Any:
    return trade("OPEN", ordinal=ordinal, legs=[leg(SYMBOL)], exits=[HostFunction(name="enough")])


def never(view: Any, now_ns: int) -> bool:
    return False


def test_the_changed_file_decides_on_what_is_opened_from_now_on() -> None:
    desk = Dialogue(straddler(entry_conditions=[never]))
    desk.ready()
    desk.wait(30)
    assert desk.count(RequestGrant) == 0
    desk.put(StrategyReloaded(loaded=straddler()))
    assert desk.count(RequestGrant) == 1, "at once, not with the next check of the old file"
    assert [alert.code for alert in desk.alerts] == ["strategy_reloaded"]


def test_an_intent_on_its_way_has_its_outcome_after_a_reload() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.put(StrategyReloaded(loaded=straddler(entry_conditions=[never])))
    assert desk.give_grant().intent_id == "straddler-1"
    desk.accept("t1001")
    desk.opened(trade("OPEN"))
    assert (desk.status().open_trades, desk.status().signals_executed) == (1, 1)


def test_an_open_trade_keeps_the_function_that_it_was_opened_with() -> None:
    desk = Dialogue(straddler(exit_conditions=[enough]))
    desk.opened(held(1))
    desk.ready()
    desk.put(StrategyReloaded(loaded=straddler(exit_conditions=[changed_enough()])))
    desk.wait(3)
    assert desk.closes() == []
    desk.opened(held(2))
    desk.wait(3)
    assert {close.trade_id for close in desk.closes()} == {"t1002"}
    desk.put(StrategyReloaded(loaded=straddler(exit_conditions=[changed_enough()])))
    desk.wait(3)
    assert {close.trade_id for close in desk.closes()} == {"t1002"}, "also after the next change"


def test_a_broken_file_leaves_the_old_one_running_and_says_so() -> None:
    desk = Dialogue(straddler())
    desk.put(ReloadRefused(name="straddler", reason="SyntaxError at straddler.py:3"))
    assert [(alert.code, alert.severity) for alert in desk.alerts] == [("strategy_not_reloaded", "warning")]
    assert desk.status().state == "running"
    assert desk.status().reason.startswith("its changed file is not used: SyntaxError at straddler.py:3")
    desk.ready()
    assert desk.count(RequestGrant) == 1
    desk.put(StrategyReloaded(loaded=straddler()))
    assert [(alert.code, alert.resolved) for alert in desk.alerts[1:]] == [
        ("strategy_not_reloaded", True),
        ("strategy_reloaded", False),
    ]
    assert "not used" not in desk.status().reason


def test_a_failed_strategy_begins_anew_with_its_changed_file_and_a_paused_one_stays_paused() -> None:
    def raising(view: Any, now_ns: int) -> bool:
        raise RuntimeError("no")

    desk = Dialogue(straddler(entry_conditions=[raising]))
    desk.ready()
    assert desk.status().state == "failed"
    desk.put(StrategyReloaded(loaded=straddler()))
    assert desk.status().state == "running"
    desk.command("pause")
    desk.put(StrategyReloaded(loaded=straddler()))
    assert desk.status().state == "paused"


def test_a_file_that_could_not_be_loaded_joins_when_it_can_with_what_it_was_told_before() -> None:
    desk = Dialogue(straddler())
    desk.command("pause")
    desk._strategies, desk._failures = (), [LoadFailure(name="straddler", source="straddler.py", reason="typo")]
    desk.restart()
    assert desk.status().state == "failed"
    desk.put(StrategyReloaded(loaded=straddler()))
    assert desk.status().state == "paused"
    assert [(alert.code, alert.resolved) for alert in desk.alerts] == [
        ("strategy_load_failed", False),
        ("strategy_load_failed", True),
        ("strategy_reloaded", False),
    ]


FILE = """
from shared.strategy import StrategyConfig, max_hold_hours, strangle


def mine():
    return StrategyConfig(name={name!r}, legs=strangle("0.1"), exit_conditions=[max_hold_hours({hours})])
"""


class Watched:
    """A desk with one strategy file, its watcher, and what the watcher handed to the core. A file is rewritten as an
    editor does it: the new one takes the place of the old one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "files" / "mine.py"
        self.path.parent.mkdir()
        self.write(FILE.format(name="mine", hours=1))
        self.desk = write_desk(folder, MINIMAL + '[strategy]\nenabled = ["mine"]\nfolders = ["files"]\n')
        loaded, failures = load_enabled(self.desk)
        self.put: list[StrategyReloaded | ReloadRefused] = []
        self.asked: list[Sequence[str]] = []
        self.watcher = FileWatcher(self.desk, loaded, failures, self.put.append, Silent(), self.validate)

    async def validate(self, desk: DeskConfig, names: Sequence[str]) -> StrategyFiles:
        self.asked.append(names)
        return validate(desk, names)

    def write(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    async def looks(self, count: int) -> None:
        for _ in range(count):
            await self.watcher.look()

    def hours(self, loaded: LoadedStrategy) -> float:
        runner: Any = loaded.make(StrategyHostConfig())
        return float(runner.config.exits[0].hours)


class Silent:
    def info(self, *_: object, **__: object) -> None: ...
    def error(self, *_: object, **__: object) -> None: ...


async def test_a_changed_file_is_used_once_it_is_written(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    await watched.looks(3)
    assert (watched.asked, watched.put) == ([], [])
    watched.write(FILE.format(name="mine", hours=2))
    await watched.looks(1)
    assert watched.put == [], "two looks must find the same"
    await watched.looks(1)
    (reloaded,) = watched.put
    assert isinstance(reloaded, StrategyReloaded)
    assert watched.hours(reloaded.loaded) == 2
    assert [watched.hours(each) for each in watched.watcher.running] == [2]
    await watched.looks(3)
    assert len(watched.asked) == 1


async def test_a_broken_file_is_refused_with_its_line_and_used_once_it_is_mended(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.write("def mine():\n    return 1 / 0\n")
    await watched.looks(4)
    (refused,) = watched.put
    assert isinstance(refused, ReloadRefused)
    assert (refused.name, refused.reason) == ("mine", f"ZeroDivisionError: division by zero at {watched.path}:2")
    assert [watched.hours(each) for each in watched.watcher.running] == [1]
    watched.write(FILE.format(name="mine", hours=3))
    await watched.looks(2)
    assert isinstance(watched.put[1], StrategyReloaded)


async def test_a_file_that_would_end_the_host_is_found_out_in_a_process_of_its_own(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.write("import os\nos._exit(3)\n")
    await watched.looks(2)
    (refused,) = watched.put
    assert isinstance(refused, ReloadRefused)
    assert refused.reason.startswith("the process that loads them ended with code 3")


async def test_a_changed_name_is_refused_because_trades_have_the_old_one(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.write(FILE.format(name="yours", hours=1))
    await watched.looks(2)
    (refused,) = watched.put
    assert isinstance(refused, ReloadRefused)
    assert "its name is 'yours' now and was 'mine'" in refused.reason


async def test_a_file_that_begins_to_hedge_what_another_strategy_hedges_is_refused(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    hedgers, _ = load_strategies(["account_delta_hedger"])
    loaded, _ = load_enabled(watched.desk)
    watched.watcher = FileWatcher(
        watched.desk, [*loaded, *hedgers], [], watched.put.append, Silent(), watched.validate
    )
    hedges = "from shared.strategy import AccountDeltaHedger\n\n\ndef mine():\n    return AccountDeltaHedger"
    watched.write(f'{hedges}("mine", "BTC")\n')
    await watched.looks(2)
    (refused,) = watched.put
    assert isinstance(refused, ReloadRefused)
    assert "account_delta_hedger keeps the account's delta in BTCUSD already" in refused.reason


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.path.unlink()
    await watched.looks(3)
    assert watched.put == []


async def test_a_file_that_changes_while_it_is_validated_is_looked_at_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    asked: list[int] = []

    async def slow(desk: DeskConfig, names: Sequence[str]) -> StrategyFiles:
        asked.append(len(asked))
        if len(asked) == 1:
            watched.write(FILE.format(name="mine", hours=7))
        return StrategyFiles(loaded=("mine",))

    watched.watcher._validate = slow
    watched.write(FILE.format(name="mine", hours=5))
    await watched.looks(2)
    assert watched.put == []
    await watched.looks(2)
    (reloaded,) = watched.put
    assert isinstance(reloaded, StrategyReloaded)
    assert watched.hours(reloaded.loaded) == 7


def test_a_trade_that_closed_meanwhile_is_no_matter_to_the_reload() -> None:
    desk = Dialogue(straddler(exit_conditions=[enough]))
    desk.opened(held(1))
    desk.opened(moved(held(1), "CLOSED", NOON + SECOND))
    desk.put(StrategyReloaded(loaded=straddler(exit_conditions=[changed_enough()])))
    assert desk.status().open_trades == 0
