"""The time that is asked of risk for an opening covers what each plan may take for it."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations_with_replacement
from typing import Any, get_args

import msgspec
import pytest

from services.execution.covering import opens_before
from services.execution.records import Leg
from services.risk.config import RiskConfig
from shared.messages.base import Side
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.trades import ExecutionParams, LegOrder, LimitPhase
from shared.messages.venue import NewOrder
from shared.strategy.opening_time import LegKind, levels
from shared.strategy.protocol import OpenStructure
from tests.unit.execution.makers import Makers
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    MARKS,
    MS,
    PUT,
    SECOND,
    Script,
    acked,
    fill,
    gone,
    instrument,
    leg,
    seen,
)

PATIENT = ExecutionParams(
    phases=(LimitPhase(pricing="mid", duration_s=300, reprice_interval_s=30),), fill_timeout_s=30
)
KINDS = [(side, kind) for side in get_args(Side) for kind in get_args(LegKind)]


def depth(legs: list[Leg], index: int) -> int:
    """The length of the longest chain of legs that ends with this one."""
    return 1 + max((depth(legs, other) for other in opens_before(legs, index)), default=0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_as_many_levels_are_counted_as_execution_opens_one_after_the_other(count: int) -> None:
    for kinds in combinations_with_replacement(KINDS, count):
        legs = [
            Leg(
                symbol=str(number),
                side=side,
                quantity=Decimal(1),
                instrument=msgspec.structs.replace(
                    instrument(CALL),
                    option_type="P" if kind == "P" else "C",
                    strike=Decimal(0 if kind == "linear" else 100_000),
                ),
            )
            for number, (side, kind) in enumerate(kinds)
        ]
        chain = max(depth(legs, index) for index in range(count))
        assert levels(kinds) == chain


class Market:
    """Takes every order and every cancel, and fills an order of a leg once the leg has been worked so long."""

    def __init__(self, script: Script, fills_after_s: int, cancel_ms: int = 0) -> None:
        self.script = script
        self.fills_after_s = fills_after_s
        self.cancel_ms = cancel_ms
        self.resting: dict[int, NewOrder] = {}
        self.begun_ns: dict[str, int] = {}
        self.reduced = False

    def second(self) -> None:
        for order in self.script.placed():
            self.script.on(acked(order))
            self.resting[order.client_order_id] = order
            self.begun_ns.setdefault(order.symbol, self.script.now_ns)
            self.reduced |= order.reduce_only
        for number in self.script.cancelled():
            del self.resting[number]
            self.script.wait(self.cancel_ms).on(gone(self.script, number))
        for number, order in list(self.resting.items()):
            worked_ns = self.script.now_ns - self.begun_ns[order.symbol]
            if worked_ns >= self.fills_after_s * SECOND:
                del self.resting[number], self.begun_ns[order.symbol]
                self.script.on(fill(order, number)).on(seen(order, "filled", str(order.quantity)))
        self.script.wait(1_000).snapshot(positions=self.script.positions())


def opening(script: Script, *legs: LegOrder, **changes: Any) -> str:
    """The trade of a structure whose grant is as long as risk gives it."""
    changes.setdefault("execution_params", PATIENT)
    structure = OpenStructure(legs=legs, **changes)
    ttl_ns = RiskConfig().ttl_ms(structure.opening_s) * MS
    return script.open(*legs, deadline_ns=script.now_ns + ttl_ns, **changes)


@pytest.mark.parametrize("mode", ["limit", "rfq", "auto"])
def test_an_atomic_trade_is_not_undone_while_a_leg_still_has_patience(mode: Any) -> None:
    script = Script().started()
    rfq = RfqParams(timeout_s=60)
    trade_id = opening(script, leg(CALL, "buy"), leg(HIGH_CALL, "sell"), execution_mode=mode, rfq=rfq)
    makers = Makers(script)
    for asked in makers.asked():
        makers.created(asked)
    market = Market(script, 290)
    for _ in range(660):
        market.second()
    assert script.state(trade_id) == "OPEN"
    assert not market.reduced


def test_a_trade_in_chunks_is_not_undone_while_the_legs_of_a_chunk_are_late_with_their_attempts() -> None:
    script = Script().started()
    changes: dict[str, Any] = {"execution_mode": "smart", "execution_params": ExecutionParams()}
    legs = (leg(CALL, "buy", "6"), leg(HIGH_CALL, "sell", "6"))
    trade_id = opening(script, *legs, smart=SmartParams(chunk_count=6), **changes)
    # a price that moves has every attempt across the spread replaced, and each is a while going
    market = Market(script, 83, cancel_ms=800)
    began_ns = script.now_ns
    while script.state(trade_id) in ("PENDING_OPEN", "OPENING"):
        move = (script.now_ns - began_ns) // SECOND % 7 * 3
        script.chain_options = {"marks": {**MARKS, CALL: 1000.0 + move, HIGH_CALL: 300.0 + move}}
        market.second()
    assert script.state(trade_id) == "OPEN"
    # twelve legs, each past the 80 s of a leg whose attempts are on time
    assert script.now_ns - began_ns > 12 * 80 * SECOND


def test_what_each_mode_asks_for() -> None:
    legs = (leg(CALL, "buy"), leg(HIGH_CALL, "sell"))

    def asked_s(*legs: LegOrder, **changes: Any) -> float:
        return OpenStructure(legs=legs, execution_params=PATIENT, **changes).opening_s

    limit_s = 2 * (300 + 2 + 15)
    smart_s = 2 * 2 * (20 + 2 * 60 + 2 + 15)
    assert asked_s(*legs, execution_mode="limit") == limit_s
    assert asked_s(*legs, execution_mode="smart") == smart_s
    assert asked_s(*legs, execution_mode="rfq", rfq=RfqParams(timeout_s=20)) == 2 * 20 + 60 + limit_s
    assert asked_s(*legs, execution_mode="rfq", rfq=RfqParams(fallback=None)) == 2 * 15 + 60
    assert asked_s(*legs, rfq=RfqParams(fallback="smart")) == 2 * 15 + 60 + smart_s
    # one leg is not opened in chunks, and no maker is asked for a future
    assert asked_s(legs[0], rfq=RfqParams(fallback=None)) == limit_s / 2
    assert asked_s(leg("BTCUSD", "buy"), leg(PUT, "buy"), rfq=RfqParams(timeout_s=300)) == smart_s
    scaled = msgspec.structs.replace(PATIENT, scale_to_filled=True)
    assert OpenStructure(legs=legs, execution_mode="limit", execution_params=scaled).opening_s == 1.5 * limit_s


def test_chunks_over_time_take_until_the_last_of_them_which_begins_before_the_end_has_had_its_time() -> None:
    spread = SmartParams(chunk_count=4, total_duration_s=14_400.0)
    alone = msgspec.structs.replace(spread, chunk_count=1, total_duration_s=0.0)
    assert spread.longest_s(2, 15.0) == 10_800.0 + alone.longest_s(2, 15.0)
    assert spread.longest_s(2, 15.0) < RiskConfig().grant_ttl_max_ms / 1_000
