"""Requests for quote at the venue: what is sent, what comes back, and what must be withdrawn."""

from __future__ import annotations

from decimal import Decimal

from services.execution.comparisons import ComparisonSchedule
from services.execution.depths import ask_for_depth
from services.execution.effects import AcceptQuote, CancelRfq, CreateRfq, FetchQuotes, QueryRfqs
from services.execution.facts import Facts
from services.execution.plan import AskForQuotes, TakeQuote
from services.execution.positions import PositionWitness
from services.execution.records import Trade
from services.execution.rfq import is_wanted
from services.execution.rfq_evidence import AcceptEvidence
from services.execution.rfq_rows import AcceptRequested, RfqRequested
from services.execution.rfq_work import CLOCK_SKEW_NS, RfqWork, key_taken
from services.execution.rfqs import Rfq
from services.execution.workspace import MS, SECOND, Workspace, earliest
from shared.messages.base import Side
from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    BlockTradesFailed,
    BlockTradesFetched,
    QuoteAccepted,
    QuotesFetched,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqsFailed,
    RfqsFetched,
    RfqState,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)

_LIFE_NS = 3_660 * SECOND
_UNCLAIMED_KEPT = 100
_ENDED: dict[str, RfqState] = {"cancelled": "CANCELLED", "expired": "EXPIRED"}


class RfqDesk:
    """Carries out what the plans decide about requests for quote, takes in the venue's answers and pushes, and
    withdraws what is not wanted any more. Accepted quotes are for `AcceptEvidence`."""

    def __init__(
        self, work: Workspace, facts: Facts, schedule: ComparisonSchedule, positions: PositionWitness
    ) -> None:
        self._work = work
        self._positions = positions
        self._rfq = RfqWork(work)
        self._accepts = AcceptEvidence(self._rfq, facts, schedule, positions)
        self._cannot_list = False
        self._unclaimed: dict[str, VenueRfq] = {}

    def begin(self) -> None:
        """After the fold: what was on its way when the last process died is unknown."""
        for rfq in self._work.book.rfqs.live_rfqs():
            reason = "execution restarted before an outcome was known"
            if rfq.state == "REQUESTING":
                self._rfq.move(rfq, "UNKNOWN", reason)
            elif rfq.state == "ACCEPTING":
                self._rfq.move(rfq, "ACCEPT_UNKNOWN", reason)

    def carry_out(self, trade: Trade, action: AskForQuotes | TakeQuote) -> None:
        """Journal what a plan decided, then send it, once."""
        if isinstance(action, AskForQuotes):
            self._request(trade, action)
        else:
            self._accept(trade, action)

    def _request(self, trade: Trade, action: AskForQuotes) -> None:
        attempt = len(self._work.book.rfqs.of_trade(trade.trade_id, action.purpose))
        rfq_id = f"{trade.trade_id}-{action.purpose}-{attempt}"
        self._work.record(
            RfqRequested(
                rfq_id=rfq_id,
                trade_id=trade.trade_id,
                purpose=action.purpose,
                attempt=attempt,
                legs=action.legs,
                notional_usd=action.notional_usd,
            )
        )
        self._work.send(CreateRfq(rfq_id=rfq_id, legs=action.legs, closes=action.purpose == "close"))

    def _accept(self, trade: Trade, action: TakeQuote) -> None:
        work, quote = self._work, action.quote
        rfq = work.book.rfqs.rfqs[action.rfq_id]
        work.record(action.judged)
        # The orders that stand in keep the positions from being judged until they are settled, after a restart too.
        beside = {leg.symbol: self._positions.beside(leg.symbol) for leg in quote.legs}
        work.record(
            AcceptRequested(
                rfq_id=rfq.rfq_id,
                quote_id=quote.quote_id,
                quote_expiry_ns=min(quote.expiry_ns, rfq.expiry_ns),
                foreign={symbol: quantity for symbol, quantity in beside.items() if quantity},
            )
        )
        for leg in quote.legs:
            index = next(number for number, each in enumerate(trade.legs) if each.symbol == leg.symbol)
            work.stand_in(trade, index, rfq.purpose, leg.quantity, leg.price, quote.quote_id)
        closes = rfq.purpose == "close"
        work.send(AcceptQuote(request_id=rfq.request_id, quote_id=quote.quote_id, closes=closes))

    def take(self, item: object) -> None:
        """An answer or a push of the venue; what is not about requests for quote is ignored."""
        match item:
            case RfqCreated() | RfqRefused() | RfqUnknown():
                self._created(item)
            case VenueQuote():
                self._work.quotes.take(item, self._work.now_ns)
                self._accepts.quote_seen(item)
            case QuotesFetched():
                self._work.quotes.take_list(item)
                for quote in item.quotes:
                    self._accepts.quote_seen(quote)
            case VenueRfq():
                self._seen(item)
            case RfqsFetched() | RfqsFailed():
                self._listed(item)
            case QuoteAccepted(quote_id=quote_id, trade=trade):
                key_taken(self._work, "accept")
                self._accepts.executed(self._work.book.rfqs.of_quote(quote_id), trade)
            case AcceptRefused() | AcceptUnknown():
                self._accepts.not_accepted(item)
            case BlockTrade():
                self._accepts.block_trade(item)
            case BlockTradesFetched() | BlockTradesFailed():
                self._accepts.block_trades(item)
            case RfqCancelled() | RfqCancelRefused() | RfqCancelUnknown():
                self._cancel_answered(item)

    def look(self) -> int | None:
        """Go through all requests that are not final; returns when to look again."""
        self._rfq.forget_final()
        return earliest(*(self._look_at(rfq) for rfq in self._work.book.rfqs.live_rfqs()))

    def _look_at(self, rfq: Rfq) -> int | None:
        match rfq.state:
            case "REQUESTING":
                guard_ns = rfq.state_ns + self._work.config.sending_guard_ms * MS
                if self._work.now_ns < guard_ns:
                    return guard_ns
                self._rfq.move(rfq, "UNKNOWN", "no outcome in time")
                return self._search(rfq)
            case "UNKNOWN":
                return self._search(rfq)
            case "COLLECTING":
                return self._collect(rfq)
            case "ACCEPTING" | "ACCEPT_UNKNOWN":
                return self._accepts.look_at(rfq)
            case "CANCELLING":
                return self._cancel_again(rfq)
            case _:
                return None

    def _created(self, item: RfqCreated | RfqRefused | RfqUnknown) -> None:
        rfq = self._work.book.rfqs.rfqs.get(item.rfq_id)
        if rfq is None or rfq.state not in ("REQUESTING", "UNKNOWN"):
            return
        match item:
            case RfqCreated(request_id=request_id, expiry_ns=expiry_ns):
                self._unclaimed.pop(request_id, None)
                key_taken(self._work, "rfq")
                if rfq.state == "REQUESTING":
                    self._rfq.move(rfq, "COLLECTING", "the venue asks makers", request_id, expiry_ns)
                else:
                    self._rfq.withdraw(rfq, "answered when it was given up", request_id, expiry_ns)
            case RfqRefused():
                self._rfq.refused(rfq, item)
            case RfqUnknown() if rfq.state == "REQUESTING":
                self._rfq.move(rfq, "UNKNOWN", item.reason)
        for seen in tuple(self._unclaimed.values()):
            self._seen(seen)

    def _seen(self, seen: VenueRfq) -> None:
        """A request as the venue shows it."""
        rfq = self._work.book.rfqs.of_request(seen.request_id)
        if rfq is None:
            self._orphan(seen)
            return
        if seen.state == "filled":
            self._accepts.sight(rfq, "executed", "the venue shows the request as filled")
        elif seen.state in _ENDED:
            if rfq.state in ("COLLECTING", "CANCELLING"):
                self._rfq.move(rfq, _ENDED[seen.state], f"{seen.state} at the venue")
            else:
                self._accepts.sight(rfq, "gone", f"the venue shows the request as {seen.state}")

    def _orphan(self, seen: VenueRfq) -> None:
        """A request that no row names: one of a lost create is withdrawn, one made by hand is left alone.

        While the answer to a create is still awaited the request is most likely that one.
        """
        if seen.role != "taker":
            return
        book = self._work.book.rfqs
        if seen.state == "active":
            self._unclaimed[seen.request_id] = seen
            if len(self._unclaimed) > _UNCLAIMED_KEPT:
                del self._unclaimed[next(iter(self._unclaimed))]
        if any(rfq.state == "REQUESTING" and _same_legs(rfq, seen) for rfq in book.live_rfqs()):
            return
        lost = next((rfq for rfq in book.rfqs.values() if _is_of(rfq, seen, self._rfq.validity_ns)), None)
        if lost is None:
            return
        self._unclaimed.pop(seen.request_id, None)
        if seen.state == "active":
            self._rfq.withdraw(lost, "a lost create, found at the venue", seen.request_id, seen.expiry_ns)
        elif lost.state == "UNKNOWN":
            state: RfqState = "EXPIRED" if seen.state == "expired" else "CANCELLED"
            self._rfq.move(lost, state, f"found {seen.state}", seen.request_id, seen.expiry_ns)

    def _search(self, rfq: Rfq) -> int | None:
        """A lost create is replaced at once; here it is looked for, to be withdrawn."""
        work = self._work
        life_ns = rfq.created_ns + _LIFE_NS
        if work.now_ns >= life_ns:
            self._rfq.move(rfq, "EXPIRED", "never found, and past any life it could have")
            return None
        if self._cannot_list:
            return life_ns
        return self._rfq.when_due(
            self._rfq.ask(rfq), lambda: work.send(QueryRfqs(since_ns=rfq.created_ns - CLOCK_SKEW_NS))
        )

    def _listed(self, item: RfqsFetched | RfqsFailed) -> None:
        if isinstance(item, RfqsFailed):
            self._cannot_list |= item.unsupported
            return
        for seen in item.rfqs:
            self._seen(seen)
        # Sent by the clock of another process, maybe: each may be off by the skew, either way.
        margin_ns = self._rfq.validity_ns + self._work.config.evidence_margin_ms * MS + 2 * CLOCK_SKEW_NS
        for rfq in self._work.book.rfqs.live_rfqs():
            if (
                rfq.state == "UNKNOWN"
                and item.asked_ns >= rfq.created_ns + margin_ns
                and item.since_ns <= rfq.created_ns
            ):
                self._rfq.move(rfq, "ABSENT", "in no list of the venue after the request's validity")

    def _collect(self, rfq: Rfq) -> int | None:
        work = self._work
        trade = work.book.trades.get(rfq.trade_id)
        if not is_wanted(rfq, trade, work):
            self._rfq.withdraw(rfq, "the trade does not want it any more")
            return self._cancel_again(rfq)
        if work.now_ns >= rfq.expiry_ns:
            self._rfq.move(rfq, "EXPIRED", "its time is over")
            return None
        ask = self._rfq.ask(rfq)
        if work.now_ns >= ask.next_ns:
            ask.next_ns = work.now_ns + work.config.rfq_poll_ms * MS
            work.send(FetchQuotes(request_id=rfq.request_id))
            ask_for_depth(((leg.symbol, leg.quantity) for leg in rfq.legs), work)
        return min(ask.next_ns, rfq.expiry_ns)

    def _cancel_again(self, rfq: Rfq) -> int | None:
        """Until the venue has an answer: a cancel too many does no harm, and a request ends by itself anyway."""
        if self._work.now_ns >= rfq.expiry_ns + CLOCK_SKEW_NS:
            self._rfq.move(rfq, "EXPIRED", "its time is over")
            return None
        return self._rfq.when_due(self._rfq.ask(rfq), lambda: self._work.send(CancelRfq(request_id=rfq.request_id)))

    def _cancel_answered(self, item: RfqCancelled | RfqCancelRefused | RfqCancelUnknown) -> None:
        rfq = self._work.book.rfqs.of_request(item.request_id)
        if rfq is None or isinstance(item, RfqCancelUnknown):
            return
        if rfq.state == "ACCEPT_UNKNOWN":
            if isinstance(item, RfqCancelled):
                self._accepts.sight(rfq, "gone", "the venue took the cancel of the request")
            elif not self._cannot_list:
                # It has ended: by our accept, or by a cancel whose answer was lost.
                self._work.send(QueryRfqs(since_ns=rfq.created_ns - CLOCK_SKEW_NS))
        elif rfq.state == "CANCELLING":
            reason = "the venue took the cancel"
            if isinstance(item, RfqCancelRefused):
                reason = f"it cannot be cancelled: {item.code}: {item.text}"
            self._rfq.move(rfq, "CANCELLED", reason)


def _is_of(rfq: Rfq, seen: VenueRfq, validity_ns: int) -> bool:
    """Whether a request at the venue may be the one of this lost create."""
    return (
        rfq.state in ("UNKNOWN", "ABSENT")
        and not rfq.request_id
        and _same_legs(rfq, seen)
        and rfq.created_ns - CLOCK_SKEW_NS <= seen.created_ns <= rfq.created_ns + validity_ns + CLOCK_SKEW_NS
    )


def _same_legs(rfq: Rfq, seen: VenueRfq) -> bool:
    def names(legs: tuple[RfqLeg, ...]) -> set[tuple[str, Side, Decimal]]:
        return {(leg.symbol, leg.side, leg.quantity) for leg in legs}

    return names(rfq.legs) == names(seen.legs)
