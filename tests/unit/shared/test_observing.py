"""What observers are told of a core's decisions: in order, later, and each whatever the others do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.messages.steps import Entry, Inbound, Tick
from shared.service.observing import Observed
from tests.unit.shared.samples import heartbeat


class Noting:
    hears = frozenset[type]({str})

    def __init__(self, observed: Observed, *, fails: bool = False) -> None:
        self._observed = observed
        self._fails = fails
        self.told: list[Any] = []

    def committed(self, entries: Sequence[Entry]) -> None:
        self.told.append([entry.row for entry in entries])

    def performed(self, effect: Any, cause_id: str) -> None:
        if self._fails:
            raise ValueError("told to fail")
        seen = self._observed
        self.told.append((effect, seen.performed_ns, seen.decided_ns, seen.cause_of(cause_id)))


def test_each_batch_is_told_with_its_own_causes_and_times_however_late() -> None:
    observed = Observed(lambda error: None)
    noting = Noting(observed)
    observed.add(noting)
    beat = Inbound("topic", heartbeat("risk", {}), "m1", "risk", 1, 70)
    observed.begin([beat], 0, 100)
    observed.committed([Entry(100, "m1", "row")])
    observed.performed("first", "m1", 110)
    observed.begin([Tick()], 150, 200)
    observed.performed("second", "", 210)
    assert noting.told == []
    observed.tell()
    assert noting.told == [
        ["row"],
        ("first", 110, 100, ("heartbeat", 70)),
        ("second", 210, 200, ("timer", 150)),
    ]
    observed.tell()
    assert len(noting.told) == 3


def test_one_that_raises_keeps_nobody_else_from_being_told() -> None:
    errors: list[Exception] = []
    observed = Observed(errors.append)
    failing, noting = Noting(observed, fails=True), Noting(observed)
    observed.add(failing)
    observed.add(noting)
    observed.begin((), 0, 1)
    observed.performed("effect", "unknown", 2)
    observed.performed("another", "unknown", 3)
    observed.tell()
    assert [what[0] for what in noting.told] == ["effect", "another"]
    assert noting.told[0][3] == ("", 0)
    assert [str(error) for error in errors] == ["told to fail"] * 2
