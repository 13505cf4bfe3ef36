"""Answers that a frozen book repeats are kept no longer than it stands still."""

from __future__ import annotations

from services.exchange.server.faults import Fault, FaultTable

SECOND = 1_000_000_000
PATH = "/open/option/get/v1/BTCUSD"


def frozen_book(now_ns: int) -> FaultTable:
    faults = FaultTable()
    faults.add(Fault(kind="frozen_book", duration_ms=5_000), now_ns)
    assert faults.freezes(PATH, now_ns)
    faults.frozen[PATH] = b"a chain"
    return faults


def test_answers_go_when_the_time_of_a_frozen_book_is_over() -> None:
    faults = frozen_book(0)
    assert faults.freezes(PATH, 4 * SECOND)
    assert faults.frozen
    assert not faults.freezes(PATH, 5 * SECOND)
    assert not faults.frozen


def test_answers_go_with_the_faults_that_a_person_clears() -> None:
    faults = frozen_book(0)
    faults.clear()
    assert not faults.frozen
