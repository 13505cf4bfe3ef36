"""What the two halves of requests for quote share: moving a request on, withdrawing it, and asking in good time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from services.execution.records import Order
from services.execution.rfq_rows import RfqMoved
from services.execution.rfqs import Rfq
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns
from shared.messages.rfq import RfqRefused, RfqState

CLOCK_SKEW_NS = 10 * SECOND
"""How far the venue's clock may be from ours where times of both are compared."""


KeyUse = Literal["rfq", "accept"]


def key_refused(work: Workspace, use: KeyUse, code: int, what: str) -> None:
    """Tell a person that the venue refuses the key for this, which it may do while it takes orders."""
    text = f"the venue refuses the key with code {code} for {what}: check its rights, block trades too, and addresses"
    work.alert("venue_auth", "critical", f"{work.account_id}/{use}", text)


def key_taken(work: Workspace, use: KeyUse) -> None:
    """The venue let this key do it."""
    what = "requests for quote" if use == "rfq" else "accepts of quotes"
    work.resolve("venue_auth", f"{work.account_id}/{use}", f"the venue takes {what} with this key again")


class Ask(msgspec.Struct):
    """The questions asked about one request while it is in its state.

    failures: reads of block trades that failed in a row. listed_ns: when the newest list of block trades that reaches
    back far enough was asked for. is_contradicted: a block trade of the quote was not what was accepted.
    """

    state: RfqState
    next_ns: int
    first_ns: int
    asked: int = 0
    failures: int = 0
    listed_ns: int = 0
    is_contradicted: bool = False


class RfqWork:
    """Volatile: a restart asks anew."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self._asks: dict[str, Ask] = {}

    @property
    def validity_ns(self) -> int:
        """How long the venue may still act on what was sent."""
        return self.work.config.order_validity_ms * MS

    def orders(self, rfq: Rfq) -> list[Order]:
        """The orders that stand for the legs of the accepted quote."""
        return [self.work.book.orders[number] for number in rfq.order_ids]

    def move(self, rfq: Rfq, state: RfqState, reason: str, request_id: str = "", expiry_ns: int = 0) -> None:
        self.work.record(
            RfqMoved(rfq_id=rfq.rfq_id, state=state, reason=reason, request_id=request_id, expiry_ns=expiry_ns)
        )

    def refused(self, rfq: Rfq, item: RfqRefused) -> None:
        """The venue certainly did not take it."""
        reason = f"{item.code}: {item.text}"
        self.work.record(RfqMoved(rfq_id=rfq.rfq_id, state="REFUSED", reason=reason, refusal_kind=item.kind))
        if item.kind == "auth":
            key_refused(self.work, "rfq", item.code, f"request for quote {rfq.rfq_id}")

    def withdraw(self, rfq: Rfq, reason: str, request_id: str = "", expiry_ns: int = 0) -> None:
        """The request has to go: its cancel is sent in this step, and again until the venue answers."""
        self.move(rfq, "CANCELLING", reason, request_id, expiry_ns)

    def ask(self, rfq: Rfq) -> Ask:
        ask = self._asks.get(rfq.rfq_id)
        if ask is None or ask.state != rfq.state:
            now_ns = self.work.now_ns
            ask = self._asks[rfq.rfq_id] = Ask(state=rfq.state, next_ns=now_ns, first_ns=now_ns)
        return ask

    def ask_soon(self, rfq: Rfq) -> None:
        """Something was learned: do not wait for the end of a long pause."""
        ask = self.ask(rfq)
        ask.next_ns = min(ask.next_ns, self.work.now_ns + self.work.config.query_retry_first_ms * MS)

    def when_due(self, ask: Ask, send: Callable[[], None]) -> int:
        """Ask if it is time to, later each time; returns when it is next."""
        config = self.work.config
        if self.work.now_ns >= ask.next_ns:
            send()
            ask.asked += 1
            pause_ns = backoff_ns(config.query_retry_first_ms, config.query_retry_max_ms, ask.asked)
            ask.next_ns = self.work.now_ns + pause_ns
        return ask.next_ns

    def forget_final(self) -> None:
        """Drop the questions about requests that are final."""
        for rfq_id in [rfq_id for rfq_id in self._asks if rfq_id not in self.work.book.rfqs.live]:
            del self._asks[rfq_id]
            self.work.resolve("accept_unresolved", rfq_id, f"what became of {rfq_id} is known")
