"""A whole desk whose strategies wait for the market: one opens when candles say so, the others say what they see."""

from __future__ import annotations

import msgspec

from shared.messages.base import Message
from shared.messages.conditions import EntryCondition
from shared.messages.control import ListStrategies, StrategyList
from shared.messages.trades import ListTrades, TradeList
from shared.strategy import StrategyConfig, funding_rate, iv_rank, not_, spot_move, strangle
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS


def asked(desk: Desk, service: str, question: Message) -> Message:
    """The answer of a service to a question that is put now."""
    answers = desk.operate_at(desk.engine.now_ns, service, question, f"question at {desk.engine.now_ns}")
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    return answers[0]


def strategy(name: str, *entries: EntryCondition) -> StrategyConfig:
    return StrategyConfig(
        name=name,
        legs=strangle("0.1", dte="next", side="buy"),
        entry_conditions=list(entries),
        execution_mode="limit",
        max_trades_per_day=1,
        check_interval_seconds=1,
    )


def gates(desk: Desk) -> dict[str, tuple[bool, str]]:
    """The first entry of each strategy, and the one on funding."""
    answer = asked(desk, "strategy", ListStrategies())
    assert isinstance(answer, StrategyList)
    found = {}
    for status in answer.strategies:
        for gate in status.gates:
            if gate.name in ("not", "spot_move", "iv_rank", "funding_rate"):
                name = "funding" if gate.name == "funding_rate" else status.strategy
                found[name] = gate.open, gate.reason
    return found


def trades(desk: Desk) -> list[str]:
    answer = asked(desk, "execution", ListTrades())
    assert isinstance(answer, TradeList)
    return [trade.strategy for trade in answer.trades]


def test_strategies_open_when_candles_and_funding_say_so_and_only_then() -> None:
    desk = Desk(
        Engine(START_NS, 1),
        Faults.none(),
        [
            strategy("calm", not_(spot_move(20, minutes=1)), funding_rate(-0.75, 0.75)),
            strategy("wild", spot_move(20, minutes=1)),
            strategy("ranked", iv_rank(50, lookback_days=30)),
        ],
        small_exchange(1),
    )
    desk.engine.run_until(START_NS + 40 * SECOND)
    early = gates(desk)
    assert early["calm"][0] is early["wild"][0] is False
    assert "of 2 1m candles of BTCUSD are known" in early["calm"][1]
    assert early["ranked"][0] is False
    assert early["ranked"][1].startswith("waiting: iv samples of BTCUSD in 30 days reach back")
    assert not trades(desk)
    desk.engine.run_until(START_NS + 240 * SECOND)
    late = gates(desk)
    assert late["calm"][0] is True
    assert late["calm"][1].startswith("not: BTCUSD moved ")
    assert late["wild"][0] is False
    assert late["wild"][1].startswith("BTCUSD moved ")
    assert late["ranked"][0] is False
    assert late["funding"][0] is True
    assert late["funding"][1].startswith("funding of BTCUSD is ")
    assert trades(desk) == ["calm"]


def test_reads_that_were_lost_and_hosts_that_were_killed_cost_time_only() -> None:
    engine = Engine(START_NS, 5)
    faults = msgspec.structs.replace(Faults.none(), bus_drop=0.2, bus_duplicate=0.2, read_fails=0.5)
    waits = strategy("wild", spot_move(20, minutes=1), funding_rate(-0.75, 0.75))
    desk = Desk(engine, faults, [waits], small_exchange(5))
    for at_s in (60, 110, 140):
        engine.run_until(START_NS + at_s * SECOND)
        desk.nodes["strategy"].crash()
        desk.nodes["marketdata"].crash()
    engine.run_until(START_NS + 150 * SECOND)
    desk.heal()
    engine.run_until(START_NS + 260 * SECOND)
    judged = gates(desk)
    assert judged["wild"][0] is False
    assert judged["wild"][1].startswith("BTCUSD moved ")
    assert judged["funding"][0] is True
