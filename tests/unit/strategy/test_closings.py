"""A strategy is told once of each trade of its that has ended, whatever host runs it then."""

from __future__ import annotations

from shared.messages.trades import TradeUpdate
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import HOUR, NOON, SECOND, moved, trade
from tests.unit.strategy.test_host_control import straddler


def follower() -> tuple[Dialogue, list[str]]:
    told: list[str] = []
    return Dialogue(straddler(on_trade_closed=lambda update: told.append(update.trade_id))), told


def test_a_trade_is_told_once_though_its_end_is_told_again_and_the_host_restarts() -> None:
    desk, told = follower()
    ended = moved(trade("OPEN"), "CLOSED", NOON + SECOND)
    desk.opened(trade("OPEN"))
    desk.opened(ended)
    desk.opened(ended)
    desk.restart()
    desk.opened(ended)
    desk.opened(moved(ended, "CLOSED", NOON + 2 * SECOND))
    assert told == ["t1001"]


def test_a_trade_that_ended_while_the_host_was_away_is_told_when_it_is_back() -> None:
    desk, told = follower()
    desk.opened(trade("OPEN"))
    desk.restart()
    desk.opened(moved(trade("OPEN"), "CLOSED", NOON + SECOND))
    desk.opened(moved(trade("OPEN", ordinal=2), "FAILED", NOON + SECOND))
    assert told == ["t1001", "t1002"]


def test_trades_of_different_ends_are_told_in_any_order() -> None:
    desk, told = follower()
    for ordinal in (3, 1, 2):
        desk.opened(moved(trade("OPEN", ordinal=ordinal), "CLOSED", NOON + ordinal * SECOND))
    assert told == ["t1003", "t1001", "t1002"]


def test_what_ended_before_the_strategy_was_first_followed_is_history() -> None:
    desk, told = follower()
    desk.opened(moved(trade("OPEN", ordinal=1, created_ns=NOON - HOUR), "CLOSED", NOON - 60 * SECOND))
    desk.opened(trade("OPEN", ordinal=2, created_ns=NOON - HOUR))
    desk.opened(moved(trade("OPEN", ordinal=2, created_ns=NOON - HOUR), "CLOSED", NOON + SECOND))
    assert told == ["t1002"], "one that was seen open is told"


def test_a_callback_that_raised_is_not_called_again_and_what_came_meanwhile_is_told_after_it_is_resumed() -> None:
    told: list[str] = []

    def closed(update: TradeUpdate) -> None:
        told.append(update.trade_id)
        if len(told) == 1:
            raise RuntimeError("first")

    desk = Dialogue(straddler(on_trade_closed=closed))
    for ordinal in (1, 2, 3):
        desk.opened(moved(trade("OPEN", ordinal=ordinal), "CLOSED", NOON + SECOND))
    assert (told, desk.status().state) == (["t1001"], "failed")
    desk.command("resume")
    assert (told, desk.status().state) == (["t1001", "t1002", "t1003"], "running")


def test_a_strategy_without_the_callback_writes_no_row_for_it() -> None:
    desk = Dialogue(straddler())
    desk.opened(moved(trade("OPEN"), "CLOSED", NOON + SECOND))
    assert {type(entry.row).__name__ for entry in desk.journal} == {"OrdinalUsed"}
