"""Changes of leverage on the whole desk: each is asked for once and told truly; each promise is seen to be broken."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import cache

import pytest

from services.execution.effects import SetLeverage
from services.execution.rows import LeverageAsked, RequestAnswered
from shared.messages.leverage import LeverageChanged
from shared.messages.steps import Entry
from world.desk import Desk
from world.directed import DIRECTED
from world.faults import SECOND
from world.leverage import VenueLeverage, asked_by, change_violations, leverage_violations
from world.perpetuals import leveraged
from world.simulate import desk_of, simulate
from world.violations import Violation

pytestmark = pytest.mark.simulation
_SEED = 1


@cache
def leveraged_desk() -> Desk:
    """A desk without faults on which a person changed the leverage of contracts for a while."""
    scenario = leveraged(_SEED)
    desk = desk_of(scenario, _SEED)
    assert scenario.script is not None
    scenario.script(desk, scenario.start_ns + 60 * SECOND)
    desk.engine.run_until(scenario.start_ns + 90 * SECOND)
    return desk


def entries() -> list[Entry]:
    return list(leveraged_desk().nodes["execution"].journal.entries)


def answered() -> LeverageAsked:
    """A change that was made."""
    told = {
        entry.row.request_id
        for entry in entries()
        if isinstance(entry.row, RequestAnswered) and isinstance(entry.row.answer, LeverageChanged)
    }
    return next(
        entry.row for entry in entries() if isinstance(entry.row, LeverageAsked) and entry.row.request_id in told
    )


def without(request_id: str) -> VenueLeverage:
    """The venue, if it had not made this change and had another leverage by now."""
    venue = copy.copy(leveraged_desk().venue.leverage)
    venue.taken = venue.taken - {request_id}
    venue.by_hand = set()
    venue.of = lambda symbol: 0  # type: ignore[method-assign]
    return venue


def a_change_asked_twice(_: Desk) -> Iterable[Violation]:
    row = answered()
    effect = SetLeverage(row.symbol, row.leverage)
    assert "in no row" in str(next(change_violations(effect, None, leveraged_desk().venue.leverage)))
    return change_violations(effect, row, leveraged_desk().venue.leverage)


def a_change_that_was_not_made(_: Desk) -> Iterable[Violation]:
    return leverage_violations(without(answered().request_id), entries(), at_rest=True)


def a_change_that_nobody_was_told_of(_: Desk) -> Iterable[Violation]:
    asked = answered().request_id
    rest = [
        entry for entry in entries() if not (isinstance(entry.row, RequestAnswered) and entry.row.request_id == asked)
    ]
    venue = leveraged_desk().venue.leverage
    assert list(leverage_violations(venue, rest, at_rest=False)) == []
    return leverage_violations(venue, rest, at_rest=True)


def test_without_faults_each_change_has_its_outcome() -> None:
    venue = leveraged_desk().venue.leverage
    assert list(leverage_violations(venue, entries(), at_rest=True)) == []
    assert venue.taken
    assert venue.taken <= venue.sent
    row = answered()
    assert asked_by(SetLeverage(row.symbol, row.leverage + 1), entries()) is None


@pytest.mark.long
def test_under_faults_no_change_is_asked_twice_or_told_wrongly() -> None:
    directed = DIRECTED["leveraged"]
    verdicts = [simulate(seed, directed.faults, directed.scenario(seed)) for seed in range(3)]
    assert [verdict.violations for verdict in verdicts] == [(), (), ()]
    assert all("leverage asked" in verdict.reached.rows for verdict in verdicts)
    assert any(verdict.crashes for verdict in verdicts)
