"""The strategy host through weeks of virtual time: trades come and go, what is kept stays the same."""

from __future__ import annotations

from collections import Counter

from services.strategy.loaded import LoadedStrategy
from shared.messages.control import GrantRefused, RequestGrant
from shared.messages.steps import StreamSynced
from shared.strategy import StrategyConfig, max_hold_hours, straddle
from soak.retained import grown, retained
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import HOUR, instruments, leg, listing, moved, snapshot, trade

STRADDLER = LoadedStrategy.from_config(
    StrategyConfig(
        name="straddler",
        legs=straddle("0.1"),
        exit_conditions=[max_hold_hours(1 / 3600)],
        max_trades_per_day=0,
        check_interval_seconds=1,
    )
)


def one_day(desk: Dialogue, day: int) -> None:
    """Tomorrow's options are listed; twice an intent is refused, then one opens, and its trade is closed."""
    for turn in range(2):
        listed = instruments(desk.now_ns)
        desk.hear(listing(listed), "marketdata")
        desk.hear(snapshot(listed, desk.now_ns), "marketdata")
        desk.ready()
        asked = desk.last(RequestGrant)
        desk.answer(GrantRefused(intent_id=asked.intent_id, strategy="straddler", code="drill", detail="no"))
        desk.sent.clear()
        while not desk.sent:
            desk.wait(1)
        intent = desk.give_grant()
        name = f"t{day}-{turn}"
        desk.accept(name)
        legs = [leg(each.symbol, each.side) for each in intent.legs]
        opened = trade(
            ordinal=intent.ordinal,
            legs=legs,
            exits=[max_hold_hours(1 / 3600)],
            created_ns=desk.now_ns,
            opened_ns=desk.now_ns,
            trade_id=name,
        )
        desk.opened(opened)
        desk.wait(3)
        assert desk.closes()[-1].trade_id == name
        desk.opened(moved(opened, "CLOSED", desk.now_ns))
        desk.put(StreamSynced("execution", 1))
        desk.sent.clear()
        desk.now_ns += 12 * HOUR


def test_what_the_strategy_host_keeps_does_not_grow_from_day_to_day() -> None:
    desk = Dialogue(STRADDLER)
    kept: list[Counter[str]] = []
    for day in range(22):
        one_day(desk, day)
        kept.append(retained(desk.core))
    assert grown(kept[17], kept[21]) == {}
