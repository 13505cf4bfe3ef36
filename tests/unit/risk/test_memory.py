"""Risk through weeks of virtual time: what it keeps does not depend on how long it runs."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import msgspec
import pytest

from services.risk import equity, reservations
from services.risk.inputs import AccountPollFailed, TransferSeen
from shared.messages.market import InstrumentList
from shared.options.chain import list_id_of
from soak.retained import grown, retained
from tests.unit.risk.desk import (
    CALL_110,
    LONG_CALL,
    OPTIONS,
    SECOND,
    START,
    Script,
    ask,
    halt_state,
    leg,
    option,
    position,
    trade,
)

HOUR_S = 3_600
DAY_S = 24 * HOUR_S


def one_day(script: Script, day: int) -> None:
    """New options are listed; each hour one trade is granted, opened and closed, one granted only, one refused."""
    fresh = tuple(
        msgspec.structs.replace(option(strike, "C"), symbol=f"BTCUSD-D{day}-{strike}-C") for strike in (1, 2, 3)
    )
    both = (*OPTIONS, *fresh)
    script.hear(InstrumentList(underlying="BTCUSD", list_id=list_id_of(both), instruments=both), day * DAY_S)
    for hour in range(24):
        at_s = day * DAY_S + hour * HOUR_S
        number = day * 24 + hour
        script.ready(at_s, positions=(position(CALL_110, "0.1"),))
        now_ns = START + at_s * SECOND
        deadline_ns = now_ns + 600 * SECOND
        grant = script.granted(ask(f"s-{number}", valid_until_ns=deadline_ns), at_s)
        script.granted(ask(f"unused-{number}", LONG_CALL, valid_until_ns=deadline_ns), at_s)
        script.refused(ask(f"large-{number}", (leg(CALL_110, "buy", "900"),), valid_until_ns=deadline_ns), at_s)
        name = f"t{number}"
        script.hear(trade(grant, now_ns, trade_id=name), at_s, "execution")
        script.hear(trade(grant, now_ns + 1, state="CLOSED", grant_open=False, trade_id=name), at_s + 1, "execution")
        script.hear(halt_state(number, "no_new_trades"), at_s + 2, "execution")
        script.hear(halt_state(number + 1), at_s + 3, "execution")
        script.on(TransferSeen(transfer_id=str(number), amount_usd=Decimal(1)), at_s + 4)
        script.on(AccountPollFailed("down"), at_s + 5)
        script.poll(at_s + 60)


def test_what_risk_keeps_does_not_grow_from_day_to_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "_INTENTS_REMEMBERED", 50)
    monkeypatch.setattr(equity, "_TRANSFERS_REMEMBERED", 50)
    script = Script()
    kept: list[Counter[str]] = []
    for day in range(8):
        one_day(script, day)
        kept.append(retained(script.core))
    assert kept[7]["._reservations._trade_of_intent"] == kept[7]["._equity._transfers"] == 50
    assert grown(kept[4], kept[7]) == {}
