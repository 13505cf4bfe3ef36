"""What execution counts of a trade's life, by the rows and effects of a real core."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from services.execution.cash_config import CashConfig
from services.execution.cash_effects import CashRead, StraysFound
from services.execution.cash_rule import CashSeen, Holding
from services.execution.config import ExecutionConfig
from services.execution.metrics import ExecutionMetrics, Outcome
from shared.messages.control import RaiseHalt
from shared.messages.inquiries import QuoteStructure
from shared.messages.rfq import AcceptUnknown, RfqRefused
from shared.messages.smart import SmartParams
from shared.messages.steps import Request, Step
from shared.messages.venue import OrderRefused, OutcomeUnknown
from shared.metrics import Metrics
from tests.unit.execution.makers import Makers
from tests.unit.execution.play import CALL, HIGH_CALL, MS, PUT, D, Script, acked, fill, gone, intent, leg, position
from tests.unit.execution.test_cash_rule import PAIR
from tests.unit.shared.test_metrics import scraped


class Watched(Script):
    """A script whose host observes; every intent was published 20 ms before it is handled."""

    def __init__(self) -> None:
        self.families = Metrics("execution", "paper", "a1")
        self.metrics: ExecutionMetrics | None = None
        super().__init__()
        self.watched()

    def watched(self) -> ExecutionMetrics:
        self.families = Metrics("risk", "paper", "main")
        self.metrics = ExecutionMetrics(self.families, self, lambda: self.core.book, lambda: self.now_ns)
        self.metrics.begin()
        return self.metrics

    @property
    def performed_ns(self) -> int:
        return self.now_ns

    def cause_of(self, cause_id: str) -> tuple[str, int]:
        return "open_trade", self.now_ns - 20 * MS

    def _take(self, step: Step) -> None:
        super()._take(step)
        if self.metrics is not None:
            self.metrics.committed(step.rows)
            for effect in step.effects:
                self.metrics.performed(effect, "r")

    def on(self, item: Any) -> Script:
        if self.metrics is not None and isinstance(item, Outcome):
            self.metrics.outcome(item)
        return super().on(item)

    def shown(self, name: str) -> dict[tuple[str, ...], float]:
        assert self.metrics is not None
        self.metrics.watch(is_synced=self.core.is_synced)
        return {tuple(value for _, value in labels): count for labels, count in scraped(self.families, name).items()}


@pytest.fixture
def desk() -> Watched:
    made = Watched()
    made.started()
    return made


def test_a_trade_is_counted_from_its_intent_to_its_money(desk: Watched) -> None:
    trade_id = desk.open(leg(CALL, "sell", "0.1"), leg(PUT, "sell", "0.1"))
    assert desk.shown("voldesk_trades")["OPENING",] == 1
    assert desk.shown("voldesk_orders")["SENDING",] == 2
    assert desk.shown("voldesk_intent_to_order_seconds_count") == {(): 1}
    assert desk.shown("voldesk_intent_to_order_seconds_sum") == {(): pytest.approx(0.02)}
    numbers = itertools.count(1)
    for order in desk.placed():
        desk.now_ns += 5 * MS
        desk.fills_all(order, next(numbers))
    assert desk.shown("voldesk_order_to_ack_seconds_count") == {("place", "acked"): 2}
    assert desk.shown("voldesk_order_to_ack_seconds_sum") == {("place", "acked"): pytest.approx(0.015)}
    desk.wait(5_000)
    desk.snapshot(positions=desk.positions())
    desk.close(trade_id)
    for order in desk.placed():
        desk.fills_all(order, next(numbers))
    assert desk.state(trade_id) == "CLOSED"
    strategy = desk.core.book.trades[trade_id].request.strategy
    assert desk.shown("voldesk_trades_requested_total") == {(strategy,): 1}
    assert desk.shown("voldesk_trades_ended_total") == {("CLOSED", strategy): 1}
    assert sum(desk.shown("voldesk_trades").values()) == 0
    assert desk.shown("voldesk_orders_requested_total") == {("open",): 2, ("close",): 2}
    assert desk.shown("voldesk_orders_ended_total") == {("FILLED", "open"): 2, ("FILLED", "close"): 2}
    assert desk.shown("voldesk_fills_total") == {("open",): 2, ("close",): 2}
    assert desk.shown("voldesk_realized_pnl_usd") == {(strategy,): pytest.approx(-3.8)}
    assert desk.shown("voldesk_fees_usd") == {(strategy,): pytest.approx(2)}


def test_money_is_the_same_after_a_restart_and_not_counted_twice(desk: Watched) -> None:
    trade_id = desk.open(leg(CALL, "buy", "0.1"))
    (order,) = desk.placed()
    desk.fills_all(order, 1)
    before = desk.shown("voldesk_fees_usd")
    assert list(before.values()) != [0]
    desk.core = desk.refolded()
    desk.watched()
    desk.restarted()
    assert desk.shown("voldesk_fees_usd") == before
    assert desk.state(trade_id) == "OPEN"


def test_a_repeated_intent_is_not_timed_again(desk: Watched) -> None:
    wish = intent(leg(CALL, "buy"), now_ns=desk.now_ns)
    desk.ask(wish)
    desk.ask(wish)
    assert desk.shown("voldesk_intent_to_order_seconds_count") == {(): 1}
    assert desk.shown("voldesk_trades_requested_total") == {("demo",): 1}


def test_refusals_unknown_outcomes_and_halts_are_counted_by_kind(desk: Watched) -> None:
    desk.open(leg(CALL, "buy", "0.1"))
    (order,) = desk.placed()
    desk.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="no answer"))
    assert desk.shown("voldesk_orders")["UNKNOWN",] == 1
    assert desk.shown("voldesk_orders_unknown_total") == {(): 1}
    assert desk.metrics is not None
    assert desk.metrics.words()["unknown_orders"] == 1
    desk.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10529, text="margin"))
    assert desk.shown("voldesk_orders_refused_total") == {("rejected",): 1}
    assert desk.shown("voldesk_orders")["UNKNOWN",] == 0
    desk.ask(RaiseHalt(level="cancel_all", reason="enough", requested_by="operator"))
    assert desk.shown("voldesk_halts") == {("no_new_trades",): 0, ("cancel_all",): 1, ("flatten",): 0}
    assert desk.shown("voldesk_halts_raised_total") == {("cancel_all",): 1}
    assert desk.shown("voldesk_order_to_ack_seconds_count") == {("place", "unknown"): 1}


def test_what_reconciliation_finds_is_counted_by_kind(desk: Watched) -> None:
    reports = desk.shown("voldesk_reconciliations_total")["test",]
    for _ in range(3):
        desk.snapshot(positions=[position(CALL, "3")])
        desk.wait(1_000)
    assert desk.shown("voldesk_reconciliations_total")["test",] == reports + 3
    assert desk.shown("voldesk_reconciliation_differences_total")["foreign_position",] >= 1
    assert desk.shown("voldesk_reconciled") == {(): 1}


def test_requests_for_quote_are_counted_with_their_verdicts_and_what_they_were_better_by(desk: Watched) -> None:
    makers = Makers(desk)
    _, quote = makers.accepting({CALL: "1003", HIGH_CALL: "297"})
    assert desk.shown("voldesk_rfqs")[("ACCEPTING",)] == 1
    makers.executed(quote)
    desk.open(leg(CALL, "buy", "0.1"), execution_mode="rfq", ordinal=1)
    assert desk.shown("voldesk_rfqs_requested_total") == {("open",): 1}
    assert desk.shown("voldesk_rfqs_ended_total") == {("open", "FILLED"): 1}
    assert desk.shown("voldesk_rfq_quotes_judged_total") == {("good",): 1}
    assert desk.shown("voldesk_rfq_improvement_usd_total") == {("open",): 28}
    assert desk.shown("voldesk_fallbacks_total") == {("below_min_notional", "open"): 1}
    assert desk.shown("voldesk_rfqs")[("ACCEPTING",)] == 0


def test_an_accepted_quote_whose_outcome_is_unknown_is_counted_and_shown_as_exposure(desk: Watched) -> None:
    _, quote = Makers(desk).accepting({CALL: "1003", HIGH_CALL: "297"})
    assert desk.shown("voldesk_rfq_accepts_unknown_total") == {(): 0}
    desk.on(AcceptUnknown(request_id=quote.request_id, quote_id=quote.quote_id, reason="no answer within 3 s"))
    assert desk.shown("voldesk_rfq_accepts_unknown_total") == {(): 1}
    assert desk.shown("voldesk_rfqs")[("ACCEPT_UNKNOWN",)] == 1


def test_openings_and_closes_are_counted_by_what_they_cost_a_gain_below_zero(desk: Watched) -> None:
    trade_id = desk.open(leg(CALL, "buy"))
    (order,) = desk.placed()
    desk.wait(2_000)
    desk.on(acked(order)).on(msgspec.structs.replace(fill(order, 1), price=D(995)))
    up_to = {labels[1]: count for labels, count in desk.shown("voldesk_slippage_bp_bucket").items()}
    assert (up_to["-100.0"], up_to["-50.0"], up_to["+Inf"]) == (0, 1, 1)
    assert desk.shown("voldesk_time_to_fill_seconds_sum")["limit", "open", "demo"] == pytest.approx(2.0)
    desk.close(trade_id)
    (close,) = desk.placed()
    desk.fills_all(close, 2)
    assert {labels[2] for labels in desk.shown("voldesk_slippage_bp_bucket")} == {"open", "close"}


def test_chunks_are_counted_by_how_they_end_and_what_crosses_the_spread(desk: Watched) -> None:
    smart = SmartParams(chunk_count=2, time_per_chunk_s=5.0, aggressive_attempts=1)
    desk.open(leg(CALL, "buy", "0.4"), execution_mode="smart", smart=smart, policy="best_effort")
    (first,) = desk.placed()
    desk.fills_all(first, 1)
    for _ in range(40):
        desk.wait(1_000)
        for order in desk.placed():
            desk.on(acked(order))
        for number in desk.cancelled():
            desk.on(gone(desk, number))
    assert desk.shown("voldesk_chunks_ended_total") == {("complete", "open"): 1, ("given_up", "open"): 1}
    assert desk.shown("voldesk_chunk_crossings_total") == {("open",): 1}


def test_inquiries_are_counted_by_their_answer(desk: Watched) -> None:
    for number, kind in enumerate(("rejected", "throttled")):
        desk.on(
            Request(f"i{number}", QuoteStructure(legs=(leg(CALL, "buy"),), collect_s=2.0, requested_by="eva"), "c")
        )
        assert desk.shown("voldesk_inquiries") == {(): 1}
        desk.on(RfqRefused(rfq_id=f"i{number}", kind=kind, code=10_000, text="no"))
    assert desk.shown("voldesk_inquiries_asked_total") == {(): 2}
    assert desk.shown("voldesk_inquiries_answered_total") == {("rfq_refused",): 1, ("rfq_throttled",): 1}
    assert desk.shown("voldesk_inquiries") == {(): 0}


def test_sales_of_the_cash_rule_are_counted_once_and_by_how_they_end(desk: Watched) -> None:
    rule = CashConfig(mode="on", minimum_usdt=D(1_000), cap_usd=D(4_000))
    desk.config = ExecutionConfig(cash=rule)
    desk.core = desk._new_core()
    desk.started()
    # nothing is sold before it is known that no order of an earlier journal rests, or may still come
    desk.wait(8_000)
    desk.on(StraysFound(asked_ns=desk.now_ns, orders=(), fills=()))
    seen = CashSeen(
        usdt=D(500),
        asset=Holding(D(1), D(1)),
        spec=PAIR,
        index=D(100_000),
        bids=((D(99_990), D(5)),),
        asks=((D(100_010), D(5)),),
    )
    for _ in range(2):
        desk.on(CashRead(desk.now_ns, seen))
    (sale,) = desk.core.book.cash.sales
    assert desk.shown("voldesk_cash_sales_live") == {(): 1}
    assert desk.shown("voldesk_cash_used_usd") == {(): float(desk.core.book.cash.sales[sale].reserved_usd)}
    desk.on(OrderRefused(client_order_id=sale, kind="rejected", code=1, text="no"))
    assert desk.shown("voldesk_cash_sales_total") == {(): 1}
    assert desk.shown("voldesk_cash_sales_ended_total") == {("REFUSED",): 1}
    assert desk.shown("voldesk_cash_sales_live") == {(): 0}
    assert desk.shown("voldesk_cash_used_usd") == {(): 0}
