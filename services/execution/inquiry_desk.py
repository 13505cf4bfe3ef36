"""Carries out inquiries: asks makers, shows what they quote against the book, and withdraws. It accepts nothing."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.execution.depths import ask_for_depth
from services.execution.effects import CancelRfq, CreateRfq, FetchQuotes, QueryRfqs
from services.execution.halted import cancelling_halt, halt_text
from services.execution.inquiries import Inquiry
from services.execution.inquiry_answer import answer_of, request_legs
from services.execution.inquiry_rows import InquiryAnswered, InquiryAsked, InquiryEnded, InquiryTaken
from services.execution.rfq_work import CLOCK_SKEW_NS, key_refused, key_taken
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns, earliest
from shared.ids import MAX_LEGS
from shared.messages.base import Side
from shared.messages.inquiries import (
    InquiryList,
    ListInquiries,
    QuoteStructure,
    StructureQuotes,
)
from shared.messages.rfq import (
    QuotesFailed,
    QuotesFetched,
    RfqCancelled,
    RfqCancelRefused,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqsFailed,
    RfqsFetched,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
from shared.messages.steps import Reply
from shared.messages.trades import LegOrder, Refusal
from shared.options.chain import snap_quantity

COLLECT_S_MIN, COLLECT_S_MAX = 0.5, 60.0
_POLL_NS = SECOND
_LAST_LOOK_NS = 3 * SECOND
_LIFE_NS = 3_660 * SECOND
_CANCEL_RETRY_FIRST_MS, _CANCEL_RETRY_MAX_MS = 2_000, 60_000
_LIST_MAX = 200
_UNCLAIMED_KEPT = 100


class _Work(msgspec.Struct):
    """What is known of a live inquiry beside the journal; a restart begins anew. `read_ns`: when its quotes were
    asked for last."""

    quotes: dict[str, VenueQuote] = msgspec.field(default_factory=dict)
    read_ns: int = 0
    next_ns: int = 0
    asked: int = 0


class InquiryDesk:
    """One inquiry is collected at a time: makers answer one request of a kind, and a flood of them none."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._at_work: dict[str, _Work] = {}
        self._cannot_list = False
        self._unclaimed: dict[str, VenueRfq] = {}

    def begin(self) -> None:
        """After the fold: an inquiry that was at work when the last process died is answered so, and withdrawn."""
        for inquiry in self._work.book.inquiries.live_inquiries():
            if inquiry.answer is None:
                self._refuse(inquiry, "interrupted", "execution restarted while quotes were collected", "ask again")

    def ask(self, inquiry_id: str, asked: QuoteStructure) -> None:
        """Ask the venue; the answer to the request follows when the quotes are in. A repeated id gets the first."""
        known = self._work.book.inquiries.inquiries.get(inquiry_id)
        if known is not None:
            if known.answer is not None:
                self._work.send(Reply(inquiry_id, known.answer))
            return
        refusal = self._refusal(asked)
        if refusal is not None:
            self._work.send(Reply(inquiry_id, refusal))
            return
        self._work.record(
            InquiryAsked(
                inquiry_id=inquiry_id,
                legs=asked.legs,
                collect_s=asked.collect_s,
                requested_by=asked.requested_by[:100],
            )
        )
        self._work.send(CreateRfq(rfq_id=inquiry_id, legs=request_legs(asked.legs)))

    def history(self, asked: ListInquiries) -> InquiryList:
        limit = min(max(asked.limit, 0), _LIST_MAX)
        return InquiryList(inquiries=tuple(self._work.book.inquiries.answered()[:limit]))

    def quotes(self, inquiry: Inquiry) -> list[VenueQuote]:
        """What makers quoted so far."""
        at_work = self._at_work.get(inquiry.inquiry_id)
        return [] if at_work is None else list(at_work.quotes.values())

    def answer_so_far(self, inquiry: Inquiry) -> StructureQuotes:
        """What would be answered now."""
        work = self._work
        return answer_of(inquiry, self.quotes(inquiry), work.market, work.now_ns, work.account_id, "")

    def _refusal(self, asked: QuoteStructure) -> Refusal | None:
        """Why this cannot be asked; None when it can."""
        work = self._work
        if work.space.level != "disk":
            return Refusal(
                code="disk_full",
                detail="the journal cannot be written, so that nothing new is asked of the venue",
                remedy="free space on its disk",
            )
        if (halt := cancelling_halt(work.book)) is not None:
            return Refusal(code="halted", detail=halt_text(halt), remedy="the operator lifts it: voldesk resume")
        if any(each.answer is None for each in work.book.inquiries.live_inquiries()):
            return Refusal(
                code="busy", detail="another inquiry collects quotes just now", remedy="ask again when it has ended"
            )
        if not COLLECT_S_MIN <= asked.collect_s <= COLLECT_S_MAX:
            return _bad(f"collect_s {asked.collect_s:g} must be {COLLECT_S_MIN:g} to {COLLECT_S_MAX:g}")
        if not 1 <= len(asked.legs) <= MAX_LEGS:
            return _bad(f"a structure has 1 to {MAX_LEGS} legs, not {len(asked.legs)}")
        if len({leg.symbol for leg in asked.legs}) != len(asked.legs):
            return _bad("each leg must be of a symbol of its own")
        return next((refusal for leg in asked.legs if (refusal := self._leg_refusal(leg)) is not None), None)

    def _leg_refusal(self, leg: LegOrder) -> Refusal | None:
        instrument = self._work.market.instrument(leg.symbol)
        if instrument is None:
            return Refusal(
                code="unknown_instrument",
                detail=f"{leg.symbol[:60]} is not listed",
                remedy="see what is: voldesk chain UNDERLYING --all",
            )
        if not instrument.is_option:
            return Refusal(
                code="not_tradable",
                detail=f"makers are not asked for {leg.symbol}, which is no option",
                remedy="ask for the options alone",
            )
        if self._work.now_ns >= instrument.last_trade_ns:
            return Refusal(
                code="not_tradable", detail=f"{leg.symbol} does not trade any more", remedy="choose another"
            )
        least, most = instrument.min_quantity, instrument.max_quantity
        if not leg.quantity.is_finite() or not least <= leg.quantity <= most:
            return _bad(f"quantity {leg.quantity} of {leg.symbol} must be {least} to {most}")
        if snap_quantity(leg.quantity, instrument.lot_size) != leg.quantity:
            return _bad(f"quantity {leg.quantity} of {leg.symbol} is no multiple of {instrument.lot_size}")
        return None

    def take(self, item: object) -> None:
        """An answer or a push of the venue; what is about no inquiry is ignored."""
        match item:
            case RfqCreated(rfq_id=inquiry_id) | RfqRefused(rfq_id=inquiry_id) | RfqUnknown(rfq_id=inquiry_id):
                inquiry = self._work.book.inquiries.inquiries.get(inquiry_id)
                if inquiry is not None and not inquiry.request_id and inquiry.state != "ENDED":
                    self._created(inquiry, item)
                self._answered()
            case VenueQuote():
                self._quoted(item.request_id, (item,))
            case QuotesFetched():
                self._quoted(item.request_id, item.quotes)
                self._looked(item.request_id, item.asked_ns)
            case QuotesFailed():
                self._looked(item.request_id, None)
            case VenueRfq():
                self._seen(item)
            case RfqsFetched():
                for each in item.rfqs:
                    self._seen(each)
                self._missed(item)
            case RfqsFailed(unsupported=unsupported):
                self._cannot_list |= unsupported
            case RfqCancelled() | RfqCancelRefused():
                self._withdrawn(item)

    def _created(self, inquiry: Inquiry, item: RfqCreated | RfqRefused | RfqUnknown) -> None:
        if isinstance(item, RfqCreated):
            key_taken(self._work, "rfq")
        elif isinstance(item, RfqRefused) and item.kind == "auth":
            key_refused(self._work, "rfq", item.code, f"the inquiry {inquiry.inquiry_id}")
        match item:
            case RfqCreated():
                self._taken(inquiry, item.request_id, item.expiry_ns)
            case RfqRefused(kind="throttled") if inquiry.answer is None:
                detail = f"too many requests for quote just now: {item.code}: {item.text}"
                self._refuse(inquiry, "rfq_throttled", detail, "ask again in a few seconds")
                self._end(inquiry, "refused by the venue")
            case RfqRefused() if inquiry.answer is None:
                detail = f"the venue refused the request for quote: {item.code}: {item.text}"
                self._refuse(inquiry, "rfq_refused", detail, "see the venue's rules for such requests")
                self._end(inquiry, "refused by the venue")
            case RfqRefused():
                self._end(inquiry, "refused by the venue")
            case RfqUnknown() if inquiry.answer is None:
                self._lose(inquiry, item.reason)

    def _taken(self, inquiry: Inquiry, request_id: str, expiry_ns: int) -> None:
        row = InquiryTaken(inquiry_id=inquiry.inquiry_id, request_id=request_id, expiry_ns=expiry_ns)
        self._work.record(row)
        self._at_work.pop(inquiry.inquiry_id, None)

    def _lose(self, inquiry: Inquiry, reason: str) -> None:
        detail = f"it is not known whether the request for quote reached the venue: {reason}"
        self._refuse(
            inquiry, "rfq_unknown", detail, "ask again: the lost one trades nothing and is withdrawn if found"
        )

    def _quoted(self, request_id: str, quotes: tuple[VenueQuote, ...]) -> None:
        inquiry = self._work.book.inquiries.of_request(request_id)
        if inquiry is None or inquiry.state != "COLLECTING":
            return
        known = self._work_of(inquiry).quotes
        for quote in quotes:
            before = known.get(quote.quote_id)
            if before is None or before.state == "open":
                known[quote.quote_id] = quote

    def _looked(self, request_id: str, asked_ns: int | None) -> None:
        """The quotes were read at `asked_ns`, or could not be read: the last look ends the collection."""
        inquiry = self._work.book.inquiries.of_request(request_id)
        if inquiry is None or inquiry.state != "COLLECTING":
            return
        end_ns = inquiry.collected_until_ns
        if self._work.now_ns >= end_ns and (asked_ns is None or asked_ns >= end_ns):
            self._conclude(inquiry, "")

    def _seen(self, seen: VenueRfq) -> None:
        """The request as the venue shows it: ended before its time, or the one of an inquiry that was lost."""
        inquiry = self._work.book.inquiries.of_request(seen.request_id)
        if inquiry is None:
            self._found(seen)
        elif seen.state != "active":
            if inquiry.state == "COLLECTING":
                self._conclude(inquiry, f"the venue shows the request as {seen.state}")
            self._end(inquiry, f"{seen.state} at the venue")

    def _found(self, seen: VenueRfq) -> None:
        """A request that no inquiry is known to have: one of a lost create is withdrawn, of an inquiry that has ended
        too; any other is left alone.

        While the answer to a create of the same legs is still awaited the request is most likely that one.
        """
        if seen.role != "taker" or self._is_known(seen.request_id):
            return
        self._unclaimed.pop(seen.request_id, None)
        if seen.state == "active" and self._is_awaited(seen):
            self._unclaimed[seen.request_id] = seen
            if len(self._unclaimed) > _UNCLAIMED_KEPT:
                del self._unclaimed[next(iter(self._unclaimed))]
            return
        inquiries = self._work.book.inquiries.inquiries.values()
        lost = next((each for each in inquiries if _is_of(each, seen, self._validity_ns)), None)
        if lost is None:
            return
        if seen.state == "active":
            self._taken(lost, seen.request_id, seen.expiry_ns)
        elif lost.state == "LOST":
            self._end(lost, f"found {seen.state}")

    def _is_known(self, request_id: str) -> bool:
        book = self._work.book
        return book.rfqs.of_request(request_id) is not None or any(
            each.request_id == request_id for each in book.inquiries.inquiries.values()
        )

    def _is_awaited(self, seen: VenueRfq) -> bool:
        """Whether the answer to a create of these legs, a trade's or an inquiry's, is still to come."""
        book, wanted = self._work.book, _key(seen.legs)
        return any(each.state == "REQUESTING" and _key(each.legs) == wanted for each in book.rfqs.live_rfqs()) or any(
            each.state == "ASKING" and _key(request_legs(each.legs)) == wanted
            for each in book.inquiries.live_inquiries()
        )

    def _answered(self) -> None:
        """A create was answered, or is not waited for any more: whose request was pushed before is clear now."""
        for seen in tuple(self._unclaimed.values()):
            self._unclaimed.pop(seen.request_id)
            self._found(seen)

    def _missed(self, item: RfqsFetched) -> None:
        """A list that reaches back to a lost request, was asked for after it could still arrive, and lacks it."""
        # Sent by the clock of another process, maybe: each may be off by the skew, either way.
        margin_ns = self._validity_ns + self._work.config.evidence_margin_ms * MS + 2 * CLOCK_SKEW_NS
        for inquiry in self._work.book.inquiries.live_inquiries():
            is_due = item.asked_ns >= inquiry.asked_ns + margin_ns
            if inquiry.state == "LOST" and is_due and item.since_ns <= inquiry.asked_ns:
                self._end(inquiry, "in no list of the venue after the request's validity")

    def _withdrawn(self, item: RfqCancelled | RfqCancelRefused) -> None:
        inquiry = self._work.book.inquiries.of_request(item.request_id)
        if inquiry is not None and inquiry.state == "WITHDRAWING":
            self._end(inquiry, "withdrawn" if isinstance(item, RfqCancelled) else f"{item.code}: {item.text}")

    def look(self) -> int | None:
        """Go through all live inquiries; returns when to look again."""
        live = self._work.book.inquiries.live
        for inquiry_id in [each for each in self._at_work if each not in live]:
            del self._at_work[inquiry_id]
        return earliest(*(self._look_at(each) for each in self._work.book.inquiries.live_inquiries()))

    def _look_at(self, inquiry: Inquiry) -> int | None:
        if inquiry.state == "ASKING":
            guard_ns = inquiry.asked_ns + self._work.config.sending_guard_ms * MS
            if self._work.now_ns < guard_ns:
                return guard_ns
            self._lose(inquiry, "no outcome in time")
            self._answered()
        if inquiry.state == "COLLECTING":
            wake_ns = self._collect(inquiry)
            if wake_ns is not None:
                return wake_ns
        if inquiry.state == "WITHDRAWING":
            return self._again(inquiry, inquiry.expiry_ns + CLOCK_SKEW_NS, CancelRfq(request_id=inquiry.request_id))
        if inquiry.state == "LOST":
            if self._cannot_list:
                return self._until_over(inquiry, inquiry.asked_ns + _LIFE_NS)
            since_ns = inquiry.asked_ns - CLOCK_SKEW_NS
            return self._again(inquiry, inquiry.asked_ns + _LIFE_NS, QueryRfqs(since_ns=since_ns))
        return None

    def _collect(self, inquiry: Inquiry) -> int | None:
        now_ns, end_ns = self._work.now_ns, inquiry.collected_until_ns
        if (halt := cancelling_halt(self._work.book)) is not None:
            self._conclude(inquiry, f"withdrawn early by {halt_text(halt)}")
            return None
        if now_ns >= end_ns + _LAST_LOOK_NS:
            self._conclude(inquiry, "the venue did not list the quotes at the end; these were pushed or read before")
            return None
        at_work = self._work_of(inquiry)
        last_look = now_ns >= end_ns and at_work.read_ns < end_ns
        if last_look or now_ns >= (at_work.read_ns or inquiry.state_ns) + _POLL_NS:
            self._work.send(FetchQuotes(request_id=inquiry.request_id))
            ask_for_depth(((leg.symbol, leg.quantity) for leg in inquiry.legs), self._work)
            at_work.read_ns = now_ns
        due_ns = (at_work.read_ns or inquiry.state_ns) + _POLL_NS
        return min(due_ns, end_ns if now_ns < end_ns else end_ns + _LAST_LOOK_NS)

    def _until_over(self, inquiry: Inquiry, over_ns: int) -> int | None:
        """When it is over by itself; None when it is."""
        if self._work.now_ns < over_ns:
            return over_ns
        self._end(inquiry, "its time is over")
        return None

    def _again(self, inquiry: Inquiry, over_ns: int, effect: CancelRfq | QueryRfqs) -> int | None:
        """Send it now and again, less and less often, until it is over by itself."""
        now_ns = self._work.now_ns
        if self._until_over(inquiry, over_ns) is None:
            return None
        at_work = self._work_of(inquiry)
        if now_ns >= at_work.next_ns:
            pause_ns = backoff_ns(_CANCEL_RETRY_FIRST_MS, _CANCEL_RETRY_MAX_MS, at_work.asked)
            at_work.next_ns, at_work.asked = now_ns + pause_ns, at_work.asked + 1
            self._work.send(effect)
        return min(at_work.next_ns, over_ns)

    def _conclude(self, inquiry: Inquiry, reason: str) -> None:
        """Answer with what came, and withdraw."""
        quotes = list(self._work_of(inquiry).quotes.values())
        now_ns = self._work.now_ns
        answer = answer_of(inquiry, quotes, self._work.market, now_ns, self._work.account_id, reason)
        self._answer(inquiry, answer)

    def _refuse(self, inquiry: Inquiry, code: str, detail: str, remedy: str) -> None:
        self._answer(inquiry, Refusal(code=code, detail=detail[:500], remedy=remedy))

    def _answer(self, inquiry: Inquiry, answer: StructureQuotes | Refusal) -> None:
        self._work.record(InquiryAnswered(inquiry_id=inquiry.inquiry_id, answer=answer))
        self._work.send(Reply(inquiry.inquiry_id, answer))
        self._at_work.pop(inquiry.inquiry_id, None)

    def _end(self, inquiry: Inquiry, reason: str) -> None:
        if inquiry.state != "ENDED":
            self._work.record(InquiryEnded(inquiry_id=inquiry.inquiry_id, reason=reason[:200]))

    def _work_of(self, inquiry: Inquiry) -> _Work:
        return self._at_work.setdefault(inquiry.inquiry_id, _Work())

    @property
    def _validity_ns(self) -> int:
        return self._work.config.order_validity_ms * MS


def _is_of(inquiry: Inquiry, seen: VenueRfq, validity_ns: int) -> bool:
    """Whether a request at the venue may be the one of this lost inquiry."""
    return (
        inquiry.lost_ns > 0
        and not inquiry.request_id
        and _key(request_legs(inquiry.legs)) == _key(seen.legs)
        and inquiry.asked_ns - CLOCK_SKEW_NS <= seen.created_ns <= inquiry.lost_ns + validity_ns + CLOCK_SKEW_NS
    )


def _key(legs: tuple[RfqLeg, ...]) -> set[tuple[str, Side, Decimal]]:
    return {(leg.symbol, leg.side, leg.quantity) for leg in legs}


def _bad(detail: str) -> Refusal:
    return Refusal(code="bad_inquiry", detail=detail, remedy="correct it and ask again")
