"""What execution decided, as lines of the log."""

from __future__ import annotations

from typing import get_args

import msgspec

from services.execution import rows
from services.execution.inquiry_rows import InquiryAnswered, InquiryTaken
from services.execution.rfq_rows import QuotesJudged
from services.execution.telling import _RENAMED, _SHOWN, ExecutionNarrator
from shared.log_lines import IN_EVERY_LINE, Told
from shared.messages.control import RaiseHalt
from shared.messages.venue import OrderRefused, OutcomeUnknown
from tests.unit.execution.play import CALL, PUT, Script, acked, fill, intent, leg
from tests.unit.execution.test_quoting import holding, place, quoting, wish

TOLD_BY_ITSELF = {
    rows.OrderRequested,
    rows.OrderMoved,
    rows.FillSeen,
    rows.TradeMoved,
    rows.TradeRequested,
    rows.TradeAdopted,
    rows.IntentRefused,
    rows.RequestAnswered,
    rows.OpeningMeasured,
    QuotesJudged,
    rows.DifferenceFound,
    rows.DirectFlattenFound,
}
SILENT = {
    rows.MarketNoted,
    rows.OrderSighted,
    rows.FeeLearned,
    rows.DifferencesEnded,
    rows.VenueCompared,
    InquiryTaken,
    InquiryAnswered,
    rows.EndedForgotten,
}


def told(script: Script) -> list[Told]:
    narrator = ExecutionNarrator(lambda: script.core.book)
    lines = [line for entry in script.entries for line in narrator.told(entry.row)]
    assert not [line for line in lines if IN_EVERY_LINE & line.fields.keys()]
    return lines


def events(script: Script, level: str = "info") -> list[str]:
    return [line.event for line in told(script) if (line.level == "debug") is (level == "debug")]


def test_each_kind_of_row_is_a_line_or_known_to_be_none_and_names_only_fields_that_it_has() -> None:
    kinds = set(get_args(rows.Row))
    assert kinds == set(_SHOWN) | TOLD_BY_ITSELF | SILENT
    assert not (set(_SHOWN) & TOLD_BY_ITSELF)
    assert not (SILENT & (set(_SHOWN) | TOLD_BY_ITSELF))
    for kind, (_, names) in _SHOWN.items():
        assert set(names) <= {field.name for field in msgspec.structs.fields(kind)}, kind
        assert not IN_EVERY_LINE & {_RENAMED.get(name, name) for name in names}, kind


def test_the_life_of_a_trade_is_told_and_each_line_names_trade_intent_and_strategy() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "buy"))
    script.close(trade_id)
    lines = told(script)
    shown = [line.event for line in lines]
    for wanted in ("trade accepted", "order sent", "fill", "order filled", "trade moved", "close requested"):
        assert wanted in shown
    request = script.core.book.trades[trade_id].request
    for line in lines:
        assert line.track == "execution"
        assert line.fields["trade_id"] == trade_id
        assert line.fields["intent_id"] == request.intent_id
        assert line.fields["strategy"] == request.strategy
    filled = next(line for line in lines if line.event == "fill")
    assert filled.fields["client_order_id"] in script.core.book.orders
    assert filled.fields["venue_order_id"]
    assert "requested_by" in next(line for line in lines if line.event == "close requested").fields


def test_what_becomes_of_an_order_has_the_reason_and_what_is_doubtful_is_a_warning() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="no answer"))
    script.on(acked(order))
    script.on(fill(order, 1, "0.4"))
    script.open(leg(PUT, "buy"), ordinal=1)
    (other,) = script.placed()
    script.on(OrderRefused(client_order_id=other.client_order_id, code=10_001, text="no", kind="other"))
    moves = {line.event: line for line in told(script) if line.event.startswith("order ")}
    assert moves["order unknown"].level == "warning"
    assert "no answer" in str(moves["order unknown"].fields["reason"])
    assert moves["order refused"].level == "warning"
    assert moves["order refused"].fields["refusal_code"] == 10_001


def test_refusals_and_halts_are_told_with_their_reasons() -> None:
    script = Script().started()
    script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="anna"))
    script.ask(intent(leg(CALL, "buy")))
    lines = {line.event: line for line in told(script)}
    halt = lines["halt raised"]
    assert (halt.fields["halt_level"], halt.fields["raised_by"], halt.level) == ("no_new_trades", "anna", "warning")
    refused = lines["intent refused"]
    assert refused.fields["code"]
    assert refused.fields["intent_id"]
    assert refused.level == "warning"


def test_the_orders_of_a_quoting_trade_are_for_debugging_and_its_fills_are_not() -> None:
    script = Script().started()
    trade_id = quoting(script)
    place(script, trade_id, wish("1", "980"))
    assert {"order sent", "order acked"} <= set(events(script, "debug"))
    assert not {"order sent", "order acked"} & set(events(script))
    holding(script, trade_id)
    assert "fill" in events(script)
    assert "trade moved" in events(script)
