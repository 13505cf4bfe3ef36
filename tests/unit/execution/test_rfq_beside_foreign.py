"""A lost accept beside a position held by hand: that is never taken for its execution, and never hides it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec
import pytest

from services.execution.rfq_rows import AcceptRequested, RfqSighted
from services.execution.rows import FillAssumed
from shared.messages.base import Side
from shared.messages.rfq import AcceptUnknown, RfqCancelled, RfqParams, VenueQuote
from shared.messages.venue import VenuePosition
from tests.unit.execution.makers import Makers
from tests.unit.execution.play import CALL, HIGH_CALL, Script, position

D = Decimal
SAME = {CALL: "2", HIGH_CALL: "-2"}
"""By hand, just what the request asks for."""
MORE = {CALL: "3"}
EXECUTED = {CALL: "2", HIGH_CALL: "-2"}
CLOSING: dict[str, Side] = {CALL: "sell", HIGH_CALL: "buy"}


def held(*parts: Mapping[str, str]) -> list[VenuePosition]:
    """What the venue shows where it holds all of `parts`."""
    symbols = sorted({symbol for part in parts for symbol in part})
    totals = {symbol: sum((D(part.get(symbol, "0")) for part in parts), D(0)) for symbol in symbols}
    return [position(symbol, str(total)) for symbol, total in totals.items() if total]


def lose(script: Script, quote: VenueQuote, restart: bool) -> None:
    """The accept gets no answer, or execution dies before it comes; what the venue shows after is up to the test."""
    if restart:
        script.restarted()
    else:
        script.wait(3_000)
        script.on(AcceptUnknown(request_id=quote.request_id, quote_id=quote.quote_id, reason="no answer"))


def looked(
    script: Script, makers: Makers, quote: VenueQuote, positions: list[VenuePosition], seconds: int = 30
) -> None:
    """The request is withdrawn, no list shows a block trade, and the venue holds `positions`."""
    script.snapshot(positions=positions).wait(8_000)
    script.on(RfqCancelled(request_id=quote.request_id)).wait(3_000)
    for _ in range(6):
        makers.block_list()
        script.snapshot(positions=positions).wait(5_000)


def sights(script: Script) -> list[str]:
    return [row.what for row in script.rows(RfqSighted)]


def known_by_hand(hand: Mapping[str, str]) -> tuple[Script, Makers]:
    script = Script().started()
    for _ in range(2):
        script.snapshot(positions=held(hand)).wait(2_100)
    assert set(script.alerts()) == ({"foreign_position"} if hand else set())
    return script, Makers(script)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("hand", [SAME, MORE])
def test_a_position_held_by_hand_is_not_the_execution_of_a_lost_accept(hand: dict[str, str], restart: bool) -> None:
    script, makers = known_by_hand(hand)
    trade_id, quote = makers.accepting(rfq=RfqParams(fallback=None))
    lose(script, quote, restart)
    looked(script, makers, quote, held(hand))
    assert sights(script) == ["gone"]
    assert not script.rows(FillAssumed)
    assert script.state(trade_id) == "FAILED"
    assert script.held(trade_id) == [D(0), D(0)]
    assert script.refolded().book == script.core.book


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("hand", [SAME, MORE, {}])
def test_an_executed_accept_is_recognised_beside_a_position_held_by_hand(hand: dict[str, str], restart: bool) -> None:
    script, makers = known_by_hand(hand)
    trade_id, quote = makers.accepting()
    lose(script, quote, restart)
    looked(script, makers, quote, held(hand, EXECUTED))
    assert sights(script) == ["gone", "executed"]
    assert not makers.fallbacks()
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"
    assert script.held(trade_id) == [D(2), D(2)]


@pytest.mark.parametrize("executed", [False, True])
def test_a_position_by_hand_that_was_seen_once_before_the_accept_was_there_before_it(executed: bool) -> None:
    script = Script().started()
    makers = Makers(script)
    _, request_id = makers.collecting(rfq=RfqParams(fallback=None))
    quote = makers.quote(request_id, {CALL: "1000", HIGH_CALL: "300"}, {CALL: "buy", HIGH_CALL: "sell"})
    script.on(quote).wait(4_000)
    makers.quotes(request_id, quote)
    script.wait(500).snapshot(positions=held(SAME)).wait(500)
    assert makers.accepts()
    lose(script, quote, restart=True)
    looked(script, makers, quote, held(SAME, EXECUTED if executed else {}))
    assert sights(script) == (["gone", "executed"] if executed else ["gone"])


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("executed", [False, True])
def test_a_lost_accept_of_a_close_is_judged_beside_what_is_held_by_hand(executed: bool, restart: bool) -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, opening = makers.accepting()
    makers.executed(opening)
    script.wait(10_000)
    for _ in range(2):
        script.snapshot(positions=held(EXECUTED, SAME)).wait(2_100)
    script.effects.clear()
    script.close(trade_id)
    (asked,) = makers.asked()
    request_id = makers.created(asked)
    quote = makers.quote(request_id, {CALL: "998", HIGH_CALL: "302"}, CLOSING)
    script.on(quote).wait(4_900).snapshot(positions=held(EXECUTED, SAME)).wait(200)
    assert makers.accepts()
    lose(script, quote, restart)
    looked(script, makers, quote, held(SAME) if executed else held(EXECUTED, SAME))
    assert sights(script) == (["gone", "executed"] if executed else ["gone"])
    assert bool(makers.fallbacks()) != executed


def test_the_row_of_an_accept_says_what_was_held_by_hand_and_an_older_one_is_read_without() -> None:
    script, makers = known_by_hand(MORE)
    _, quote = makers.accepting()
    (row,) = script.rows(AcceptRequested)
    assert row.foreign == {CALL: D(3)}
    older = msgspec.to_builtins(row)
    del older["foreign"]
    read = msgspec.convert(older, AcceptRequested)
    assert (read.quote_id, read.foreign) == (quote.quote_id, None)


def test_after_an_older_row_an_execution_that_only_the_positions_show_is_recognised_all_the_same() -> None:
    script = Script().started()
    makers = Makers(script)
    _, quote = makers.accepting()
    script.entries = [
        msgspec.structs.replace(entry, row=msgspec.structs.replace(entry.row, foreign=None))
        if isinstance(entry.row, AcceptRequested)
        else entry
        for entry in script.entries
    ]
    lose(script, quote, restart=True)
    looked(script, makers, quote, held(EXECUTED))
    assert sights(script) == ["gone", "executed"]
