"""The load at the venue's limits: arrivals are matched to what was asked, the cost is read off the samples."""

from __future__ import annotations

import pytest

from bench.memory import Sample
from bench.noting import first_id
from bench.quoting_load import Call, latencies_us
from bench.venue_limits import PARTS, SHAPES, Outcome, figures

AMEND, PLACE = "/open/option/order/modify/v1", "/open/option/order/create/v1"


def call(asked_ns: int, order: int = 7, count: int = 1) -> Call:
    return Call("amend", AMEND, order, count, asked_ns, asked_ns + 5)


def test_a_call_belongs_to_the_first_arrival_of_its_order_after_it_was_asked_for() -> None:
    notes = [
        ["call", 1_000, AMEND, 7],
        ["request", AMEND, "POST"],
        ["call", 5_000, PLACE, 7],
        ["call", 9_000, AMEND, 8],
        ["call", 7_000, AMEND, 7],
    ]
    calls = [call(900), call(2_000), call(2_000, 8), call(8_000)]
    assert [(each.asked_ns, us) for each, us in latencies_us(calls, notes)] == [
        (900, 0.1),
        (2_000, 5.0),
        (2_000, 7.0),
    ]


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b'{"orderId":12,"symbol":"BTCUSD-1-2-C","qty":1,"price":30}', 12),
        (b'{"symbol":"BTCUSD-1-2-C","qty":1,"clientOrderId":34,"reduceOnly":0}', 34),
        (b'{"orders":[{"symbol":"X","clientOrderId":56},{"symbol":"X","clientOrderId":57}]}', 56),
        (b'{"orderIdList":[78,79]}', 78),
        (b'{"legs":[{"instrumentName":"X"}]}', 0),
    ],
)
def test_the_first_id_of_a_body_names_the_call(body: bytes, first: int) -> None:
    assert first_id(body) == first


def test_cost_is_of_execution_and_risk_and_the_last_tenth_is_judged_by_the_first() -> None:
    def samples(at_s: float, cpu_s: float, own_mb: float) -> dict[str, Sample]:
        names = ("execution", "risk", "exchange", "marketdata")
        return {name: Sample(at_s, 99.0, own_mb, cpu_s) for name in names}

    seconds = 100.0
    outcome = Outcome(
        seconds=seconds,
        calls=[call(0, count=40)] * 3_000,
        latencies=[(part * seconds / PARTS, 1_000.0 * (1 + part)) for part in range(PARTS)],
        samples=[samples(0.0, 1.0, 30.0), samples(seconds, 16.0, 45.0)],
        missed=9,
        refused={"market_stale": 2},
    )
    sent, cpu, _, p99, last, memory = figures(SHAPES["batches"], outcome)
    assert (sent.value, sent.ratio) == (30.0, 0.5)
    assert "1,200 orders a second; 9 turns" in sent.note
    assert "refused: 2 market_stale" in sent.note
    assert (cpu.value, cpu.met) == (30.0, False)
    assert p99.value == pytest.approx(9_910.0)
    assert (last.value, last.beside_value, last.met) == (10_000.0, 1_000.0, False)
    assert (memory.value, memory.beside_value) == (45.0, 30.0)
