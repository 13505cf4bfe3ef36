"""Requests for quote as the journal knows them: their records and the fold. It makes no decisions."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

import msgspec

from services.execution import rows
from services.execution.rfq_rows import AcceptRequested, QuotesJudged, RfqMoved, RfqRequested, RfqRow, RfqSighted
from services.execution.states import rfq_may_move
from shared.messages.rfq import FINAL_RFQ_STATES, JudgedQuote, RfqLeg, RfqState
from shared.messages.venue import RefusalKind


class Rfq(msgspec.Struct, kw_only=True):
    """One request for quote. `legs` in the request's sides; `state_ns` is when it entered its state, by our clock.

    expiry_ns, quote_expiry_ns: by the venue's clock, 0 before they are known. order_ids: the orders that stand for
    the legs of the accepted quote. is_lost: its create had no outcome. executed_ns, gone_ns: when the venue showed
    the one or the other (`RfqSighted`); is_request_gone: of the request, and not of the quote alone. foreign: see
    `AcceptRequested`.
    """

    rfq_id: str
    trade_id: str
    purpose: Literal["open", "close"]
    attempt: int
    legs: tuple[RfqLeg, ...]
    notional_usd: float
    created_ns: int
    state: RfqState
    state_ns: int
    reason: str = ""
    request_id: str = ""
    expiry_ns: int = 0
    quote_id: str = ""
    quote_expiry_ns: int = 0
    accepted_ns: int = 0
    foreign: dict[str, Decimal] | None = None
    order_ids: list[int] = msgspec.field(default_factory=list)
    is_lost: bool = False
    executed_ns: int | None = None
    gone_ns: int | None = None
    is_request_gone: bool = False
    refusal_kind: RefusalKind | None = None
    book_cost_usd: float | None = None
    mark_cost_usd: float | None = None
    judged: tuple[JudgedQuote, ...] = ()

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_RFQ_STATES

    @property
    def is_throttled(self) -> bool:
        """Refused for being one too many just then: that says nothing of the next one."""
        return self.state == "REFUSED" and self.refusal_kind == "throttled"


class RfqBook(msgspec.Struct):
    """All requests that are known, and by what they are found."""

    rfqs: dict[str, Rfq] = msgspec.field(default_factory=dict)
    live: dict[str, None] = msgspec.field(default_factory=dict)
    by_trade: dict[str, list[str]] = msgspec.field(default_factory=dict)
    by_request: dict[str, str] = msgspec.field(default_factory=dict)
    by_quote: dict[str, str] = msgspec.field(default_factory=dict)

    def live_rfqs(self) -> list[Rfq]:
        """Those that are not final: at work, in doubt, or still to be withdrawn."""
        return [self.rfqs[rfq_id] for rfq_id in self.live]

    def of_trade(self, trade_id: str, purpose: Literal["open", "close"]) -> list[Rfq]:
        """The requests of a trade for one purpose, oldest first."""
        rfqs = (self.rfqs[rfq_id] for rfq_id in self.by_trade.get(trade_id, ()))
        return [rfq for rfq in rfqs if rfq.purpose == purpose]

    def of_request(self, request_id: str) -> Rfq | None:
        """Our request by the venue's id."""
        rfq_id = self.by_request.get(request_id)
        return None if rfq_id is None else self.rfqs[rfq_id]

    def of_quote(self, quote_id: str) -> Rfq | None:
        """The request on which this quote was accepted."""
        rfq_id = self.by_quote.get(quote_id)
        return None if rfq_id is None else self.rfqs[rfq_id]

    def trade_id_of(self, rfq_id: str) -> str:
        """The trade of a request; "" when it is not known any more."""
        rfq = self.rfqs.get(rfq_id)
        return "" if rfq is None else rfq.trade_id

    def apply(self, row: RfqRow, at_ns: int) -> None:
        """Fold one row."""
        if isinstance(row, RfqRequested):
            self._requested(row, at_ns)
            return
        rfq = self.rfqs[row.rfq_id]
        match row:
            case RfqMoved():
                self._move(rfq, row.state, row.reason, at_ns)
                rfq.refusal_kind = row.refusal_kind
                if row.request_id:
                    rfq.request_id = row.request_id
                    rfq.expiry_ns = row.expiry_ns
                    self.by_request[row.request_id] = rfq.rfq_id
            case QuotesJudged():
                rfq.book_cost_usd, rfq.mark_cost_usd, rfq.judged = row.book_cost_usd, row.mark_cost_usd, row.quotes
            case AcceptRequested():
                self._move(rfq, "ACCEPTING", f"quote {row.quote_id} is taken", at_ns)
                rfq.quote_id, rfq.quote_expiry_ns, rfq.accepted_ns = row.quote_id, row.quote_expiry_ns, at_ns
                rfq.foreign = row.foreign
                self.by_quote[row.quote_id] = rfq.rfq_id
            case RfqSighted(what="executed"):
                rfq.executed_ns = at_ns
            case RfqSighted(what=what):
                rfq.gone_ns = at_ns
                rfq.is_request_gone = what == "gone"

    def order_requested(self, row: rows.OrderRequested) -> None:
        """An order that stands for a leg of an accepted quote."""
        rfq = self.of_quote(row.quote_id)
        if rfq is not None:
            rfq.order_ids.append(row.client_order_id)

    def forget(self, trade_ids: Iterable[str]) -> None:
        """Forget all requests of these trades."""
        for trade_id in trade_ids:
            for rfq_id in self.by_trade.pop(trade_id, ()):
                rfq = self.rfqs.pop(rfq_id)
                self.live.pop(rfq_id, None)
                self.by_request.pop(rfq.request_id, None)
                self.by_quote.pop(rfq.quote_id, None)

    def _requested(self, row: RfqRequested, at_ns: int) -> None:
        assert row.rfq_id not in self.rfqs, f"request {row.rfq_id} made twice"
        self.rfqs[row.rfq_id] = Rfq(
            rfq_id=row.rfq_id,
            trade_id=row.trade_id,
            purpose=row.purpose,
            attempt=row.attempt,
            legs=row.legs,
            notional_usd=row.notional_usd,
            created_ns=at_ns,
            state="REQUESTING",
            state_ns=at_ns,
        )
        self.by_trade.setdefault(row.trade_id, []).append(row.rfq_id)
        self.live[row.rfq_id] = None

    def _move(self, rfq: Rfq, state: RfqState, reason: str, at_ns: int) -> None:
        assert rfq_may_move(rfq.state, state), f"{rfq.rfq_id}: {rfq.state} to {state}"
        rfq.state, rfq.state_ns, rfq.reason = state, at_ns, reason
        rfq.is_lost |= state == "UNKNOWN"
        if rfq.is_final:
            self.live.pop(rfq.rfq_id, None)
        else:
            self.live[rfq.rfq_id] = None
