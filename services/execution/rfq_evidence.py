"""Accepted quotes: what was executed, and what counts as evidence where the accept has no outcome."""

from __future__ import annotations

from services.execution import rows
from services.execution.comparisons import ComparisonSchedule
from services.execution.effects import CancelRfq, FetchQuotes, QueryBlockTrades
from services.execution.facts import Facts
from services.execution.positions import PositionWitness
from services.execution.records import ZERO, Order
from services.execution.rfq_rows import RfqSight, RfqSighted
from services.execution.rfq_work import CLOCK_SKEW_NS, Ask, RfqWork, key_refused
from services.execution.rfqs import Rfq
from services.execution.workspace import MS, SECOND, earliest
from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    BlockTradesFailed,
    BlockTradesFetched,
    VenueQuote,
)
from shared.messages.trades import FINAL_ORDER_STATES
from shared.messages.venue import VenueFill

_LOOK_AGAIN_NS = 10 * SECOND
_FAILURES_MAX = 3


class AcceptEvidence:
    """An accept is sent once. Until the venue has shown what became of it, nothing else is done for the trade."""

    def __init__(
        self, rfq_work: RfqWork, facts: Facts, schedule: ComparisonSchedule, positions: PositionWitness
    ) -> None:
        self._rfq = rfq_work
        self._work = rfq_work.work
        self._facts = facts
        self._schedule = schedule
        self._positions = positions

    def look_at(self, rfq: Rfq) -> int | None:
        """Guard an accept on its way, and ask about one in doubt; returns when to look again."""
        if rfq.state == "ACCEPTING":
            guard_ns = rfq.state_ns + self._work.config.sending_guard_ms * MS
            if self._done(rfq):
                return None
            if self._work.now_ns < guard_ns:
                return guard_ns
            self._in_doubt(rfq, "no outcome in time")
        return self._resolve(rfq)

    def not_accepted(self, item: AcceptRefused | AcceptUnknown) -> None:
        rfq = self._work.book.rfqs.of_quote(item.quote_id)
        if rfq is None or rfq.state not in ("ACCEPTING", "ACCEPT_UNKNOWN"):
            return
        if isinstance(item, AcceptUnknown):
            if rfq.state == "ACCEPTING":
                self._in_doubt(rfq, item.reason)
            return
        orders = self._rfq.orders(rfq)
        if rfq.executed_ns is not None or any(order.filled_quantity for order in orders):
            return
        reason = f"{item.code}: {item.text}"
        for order in orders:
            if order.state in ("SENDING", "UNKNOWN"):
                row = rows.OrderMoved(
                    client_order_id=order.client_order_id,
                    state="REFUSED",
                    reason=reason,
                    refusal_kind=item.kind,
                    refusal_code=item.code,
                )
                self._work.record(row)
        if item.kind == "auth":
            key_refused(self._work, "accept", item.code, f"the accept of quote {item.quote_id}")
        self._rfq.withdraw(rfq, f"the venue refuses the accept: {reason}")

    def quote_seen(self, quote: VenueQuote) -> None:
        """Evidence when it is the one that was accepted; the others are judged by the plan."""
        rfq = self._work.book.rfqs.of_quote(quote.quote_id)
        if rfq is not None and quote.state == "filled":
            self.sight(rfq, "executed", "the venue shows the quote as filled")
        elif rfq is not None and quote.state in ("cancelled", "expired"):
            self.sight(rfq, "quote_gone", f"the venue shows the quote as {quote.state}")

    def sight(self, rfq: Rfq, what: RfqSight, reason: str) -> None:
        """Evidence about the accepted quote. Executed counts for ever; gone only while nothing says executed."""
        if not rfq.quote_id:
            return
        if what == "executed":
            tells = rfq.executed_ns is None and not self._is_booked(rfq)
        else:
            tells = rfq.gone_ns is None and rfq.executed_ns is None and rfq.state == "ACCEPT_UNKNOWN"
        if tells:
            self._work.record(RfqSighted(rfq_id=rfq.rfq_id, what=what, reason=reason))
            self._rfq.ask_soon(rfq)

    def block_trade(self, trade: BlockTrade) -> None:
        """A block trade belongs to the request whose quote it names."""
        rfq = self._work.book.rfqs.of_quote(trade.quote_id)
        if rfq is not None:
            self.executed(rfq, trade)
            return
        asked = self._work.book.rfqs.of_request(trade.request_id)
        if asked is None or trade.role != "taker":
            return
        self._work.alert(
            "block_trade_foreign",
            "critical",
            trade.quote_id,
            f"{asked.trade_id}: somebody else accepted quote {trade.quote_id} on its request for quote; the desk "
            "does not count it: compare positions",
        )
        if asked.state == "ACCEPT_UNKNOWN":
            # A request is executed once: it was not ours.
            self._give_up(asked, f"somebody else's accept of quote {trade.quote_id} executed the request")

    def executed(self, rfq: Rfq | None, trade: BlockTrade) -> None:
        """Book each leg on the order that stands for it; what is known already is not counted again."""
        if rfq is None:
            return
        orders = self._rfq.orders(rfq)
        ask = self._rfq.ask(rfq)
        for fill in trade.legs:
            order = next((each for each in orders if each.symbol == fill.symbol), None)
            if order is None or order.side != fill.side or fill.quantity > order.quantity:
                self._work.alert(
                    "block_trade_mismatch",
                    "critical",
                    f"{trade.quote_id}/{fill.symbol}",
                    f"{rfq.trade_id}: the block trade of quote {trade.quote_id} has {fill.side} {fill.quantity} "
                    f"{fill.symbol}, which was not accepted: compare positions",
                )
                ask.is_contradicted = True
                continue
            self._facts.fill(fill, order.client_order_id)
        if not self._done(rfq):
            self.sight(rfq, "executed", "its block trade is at the venue, not all executions are told")
            if rfq.state == "ACCEPTING":
                self._in_doubt(rfq, "executions of its block trade are missing")

    def block_trades(self, item: BlockTradesFetched | BlockTradesFailed) -> None:
        in_doubt = [rfq for rfq in self._work.book.rfqs.live_rfqs() if rfq.state == "ACCEPT_UNKNOWN"]
        for rfq in in_doubt:
            ask = self._rfq.ask(rfq)
            if isinstance(item, BlockTradesFailed):
                ask.failures += 1
            else:
                ask.failures = 0
                if item.since_ns < rfq.accepted_ns:
                    ask.listed_ns = max(ask.listed_ns, item.asked_ns)
        if isinstance(item, BlockTradesFetched):
            for trade in item.trades:
                self.block_trade(trade)

    def _in_doubt(self, rfq: Rfq, reason: str) -> None:
        self._rfq.move(rfq, "ACCEPT_UNKNOWN", reason)
        for order in self._rfq.orders(rfq):
            if order.state == "SENDING":
                self._facts.move(order, "UNKNOWN", reason)

    def _resolve(self, rfq: Rfq) -> int | None:
        """An accept without an outcome: neither repeated nor replaced until the venue has shown what became of it."""
        work, config = self._work, self._work.config
        self._claim(rfq)
        if self._done(rfq):
            return None
        ask = self._rfq.ask(rfq)
        alert_ns = ask.first_ns + config.query_alert_after_ms * MS
        if work.now_ns >= alert_ns:
            work.alert(
                "accept_unresolved",
                "critical",
                rfq.rfq_id,
                f"{rfq.trade_id}: whether quote {rfq.quote_id} was executed is not known since "
                f"{(work.now_ns - rfq.state_ns) // SECOND} s; the venue is asked again and again",
            )
        wake_ns = self._rfq.when_due(ask, lambda: self._ask_about(rfq))
        if rfq.executed_ns is not None:
            return earliest(wake_ns, self._assume(rfq, ask))
        validity_ns = rfq.accepted_ns + self._rfq.validity_ns + config.evidence_margin_ms * MS
        certain_ns = rfq.quote_expiry_ns + config.rfq_evidence_after_expiry_ms * MS
        if rfq.gone_ns is not None and ask.failures < _FAILURES_MAX:
            # Only a list that can be read makes it safe to conclude so early.
            certain_ns = min(certain_ns, max(rfq.gone_ns + config.evidence_margin_ms * MS, validity_ns))
        # Times of an earlier process are by its clock: this one waits for the lists to catch up by its own.
        certain_ns = max(certain_ns, ask.first_ns + config.evidence_margin_ms * MS)
        if work.now_ns < certain_ns:
            return earliest(wake_ns, certain_ns)
        listed = ask.listed_ns >= certain_ns or ask.failures >= _FAILURES_MAX
        if listed and self._schedule.looked_since(certain_ns):
            return earliest(wake_ns, self._never(rfq))
        if not self._schedule.looked_since(certain_ns):
            self._schedule.want("rfq_accept", work.now_ns)
        if not listed:
            self._rfq.ask_soon(rfq)
        return wake_ns

    def _ask_about(self, rfq: Rfq) -> None:
        """Block trades and quotes; and once the accept cannot arrive any more, a cancel, so that it never will."""
        work = self._work
        work.send(QueryBlockTrades(since_ns=rfq.accepted_ns - CLOCK_SKEW_NS))
        work.send(FetchQuotes(request_id=rfq.request_id))
        if rfq.gone_ns is None and rfq.executed_ns is None and work.now_ns >= rfq.accepted_ns + self._rfq.validity_ns:
            work.send(CancelRfq(request_id=rfq.request_id))

    def _claim(self, rfq: Rfq) -> None:
        """Executions of a block trade that nobody named: they are this quote's when all its legs are among them."""
        orders = [order for order in self._rfq.orders(rfq) if not order.is_settled]
        found: dict[int, VenueFill] = {}
        for order in orders:
            fill = next((fill for fill in self._facts.unnamed() if _is_leg(fill, order, rfq.accepted_ns)), None)
            if fill is not None:
                found[order.client_order_id] = fill
        if not orders or len(found) < len(orders):
            if found:
                self._rfq.ask_soon(rfq)
            return
        for number, fill in found.items():
            self._facts.claim(fill, number)

    def _assume(self, rfq: Rfq, ask: Ask) -> int | None:
        """Executed for certain, and the executions cannot be had for long: they count as the quote said."""
        work = self._work
        assert rfq.executed_ns is not None
        assume_ns = rfq.executed_ns + work.config.assume_fill_after_ms * MS
        if ask.is_contradicted:
            return None
        if work.now_ns < assume_ns:
            return assume_ns
        for order in self._rfq.orders(rfq):
            if order.is_settled:
                continue
            row = rows.FillAssumed(
                client_order_id=order.client_order_id, filled_quantity=order.quantity, average_price=order.price
            )
            work.record(row)
            if order.state not in FINAL_ORDER_STATES:
                self._facts.move(order, "FILLED", "the quote was executed")
        self._done(rfq)
        return None

    def _never(self, rfq: Rfq) -> int | None:
        """No list shows an execution although it would have to by now; the venue's positions have the last word.

        While they cannot say, as something of ours traded in a leg just before, a further look is asked for: returns
        when it is due.
        """
        orders = self._rfq.orders(rfq)
        foreign = [None if rfq.foreign is None else rfq.foreign.get(order.symbol, ZERO) for order in orders]
        shown = [self._positions.surplus(order.symbol, beside) for order, beside in zip(orders, foreign, strict=True)]
        if None in shown:
            traded_ns = max(self._work.last_traded_ns.get(order.symbol, 0) for order in orders)
            look_ns = max(self._work.now_ns, traded_ns + self._work.config.settled_view_ms * MS + MS)
            self._schedule.want("rfq_accept", look_ns)
            return look_ns if look_ns > self._work.now_ns else None
        signed = [order.quantity if order.side == "buy" else -order.quantity for order in orders]
        if shown == signed:
            self.sight(rfq, "executed", "the venue's positions hold it")
        elif any(surplus and (surplus > 0) == (wanted > 0) for surplus, wanted in zip(shown, signed, strict=True)):
            # a part of it is there, or somebody else's: to open anew now could be to open twice
            look_ns = self._work.now_ns + _LOOK_AGAIN_NS
            self._schedule.want("rfq_accept", look_ns)
            return look_ns
        else:
            self._give_up(rfq, "no execution in any list of the venue, and none can come any more")
        return None

    def _give_up(self, rfq: Rfq, reason: str) -> None:
        for order in self._rfq.orders(rfq):
            if order.state == "UNKNOWN" and not order.filled_quantity:
                self._facts.move(order, "NEVER_PLACED", reason)
        if rfq.is_request_gone or rfq.executed_ns is not None:
            self._rfq.move(rfq, "CANCELLED", reason)
        else:
            # Where its quote was taken back the request may still be there.
            self._rfq.withdraw(rfq, reason)

    def _done(self, rfq: Rfq) -> bool:
        """Close the request when every execution of its quote is known; True if it is."""
        if not self._is_booked(rfq):
            return False
        if rfq.state != "FILLED":
            self._rfq.move(rfq, "FILLED", "all executions are known")
        return True

    def _is_booked(self, rfq: Rfq) -> bool:
        orders = self._rfq.orders(rfq)
        return bool(orders) and all(order.is_settled and order.filled_quantity >= order.quantity for order in orders)


def _is_leg(fill: VenueFill, order: Order, accepted_ns: int) -> bool:
    return (
        fill.is_block
        and fill.client_order_id is None
        and (fill.symbol, fill.side, fill.quantity, fill.price)
        == (order.symbol, order.side, order.quantity, order.price)
        and fill.venue_ns >= accepted_ns - CLOCK_SKEW_NS
    )
