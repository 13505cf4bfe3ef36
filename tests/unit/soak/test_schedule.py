"""The schedule of blows: the same for a seed, calm between bursts, every fault one that the exchange takes."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from services.exchange.server.faults import Fault
from soak.schedule import CALM_S, SERVICES, cause_of, lasts_s, schedule


def test_a_seed_is_a_schedule_and_another_is_another() -> None:
    assert schedule(3, 7_200) == schedule(3, 7_200)
    assert schedule(3, 7_200) != schedule(4, 7_200)


def test_between_bursts_it_is_calm_for_minutes_and_nothing_comes_after_the_end() -> None:
    acts = schedule(1, 7_200)
    pauses = [later.at_s - earlier.at_s for earlier, later in pairwise(acts)]
    assert sum(pause >= CALM_S[0] for pause in pauses) >= 10
    assert 0 < acts[0].at_s < acts[-1].at_s < 7_200


def test_in_two_hours_every_service_is_hit_and_every_fault_is_one_of_the_exchanges_that_ends() -> None:
    acts = schedule(1, 7_200)
    assert {act.service for act in acts if act.service} == set(SERVICES)
    assert {bool(act.stop_s) for act in acts if act.service} == {True, False}
    for act in acts:
        if act.fault is not None:
            fault = msgspec.convert(act.fault, Fault)
            assert fault.duration_ms is not None
            assert lasts_s(act.fault) == fault.duration_ms / 1_000


def test_what_a_fault_is_a_cause_of() -> None:
    assert cause_of({"kind": "lost_answer"}) == "venue"
    assert cause_of({"kind": "silence"}) == "stream"
    assert cause_of({"kind": "frozen_book"}) == "frozen"
    assert cause_of({"kind": "no_quotes"}) == "dealers"
