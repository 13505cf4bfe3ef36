"""What the venue's answers mean for a caller: its codes as a table, and the outcome of each kind of order call.

An order call is refused only for a code listed here: for any other answer the order may exist.
"""

from __future__ import annotations

import msgspec

from shared.messages.venue import (
    AmendAcked,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    CountdownRefused,
    CountdownSet,
    CountdownUnknown,
    OrderAcked,
    OrderRefused,
    OutcomeUnknown,
    RefusalKind,
)
from shared.venues.coincall.wire import Answer, Lost, NotSent, parse_order_id
from shared.venues.ports import VenueErrorKind

NOT_SENT_CODE = 0
"""Code of a refusal that the venue never saw: nothing left this host, a new attempt is safe."""

ORDER_NOT_FOUND = 10584
NO_MORE_MARGIN = 10529
LEVERAGE_BLOCKED = 40038
COUNTDOWN_FIRED = 10619
"""A countdown was not renewed: no order of its underlying is taken until it is set anew."""

TIMESTAMP_CODES = frozenset({10557, 10561})
"""Our time does not suit the venue: measure the offset again, then the next attempt is good."""

_REJECTED = (
    (10004, 10005, 10010),  # parameter illegal
    (10104, 10105, 10106, 10107, 10108, 10567, 10570, 10571, 10572, 10573, 10575, 10580),  # missing or wrong field
    (
        NO_MORE_MARGIN,
        10530,
        10531,
        10532,
        10533,
        10534,
        10535,
        10536,
        10538,
        10539,
        10541,
        10542,
        10558,
    ),  # price, size, margin
    (10574, 10578, 10579, 10581, 40034),  # no such instrument or position
    (10609, COUNTDOWN_FIRED, 10620),  # not tradable now
    (12011, 12012, 12013, 40035, 40036, 40037, 40039, 60001),
)
_AUTH = (
    (2015, 2016, 2017, 4002, 4003, 4004, 4006, 7001),
    (10006, 10007, 10008, 10519, 10521, 10551, 10554, 10555, 10556, 10560, 10562, 10563, 10564),
    (10568, 10569, 10587, 10588, 10594, 30000, 30001, 30002, 40001),
)
_THROTTLED = (10000, 10605, 10557, 10561)
_DOWN = (500, 10002, 10103, 10553, 10565, 10566, 10596)
ALREADY_DONE = frozenset({10537, 10540, ORDER_NOT_FOUND, 11101, 11102})
"""What is to be cancelled or changed is not there any more. It refuses that; of a new order it says nothing."""

NO_RIGHT = frozenset({10001, 10009, 10591})
"""Operation not allowed, method not supported, no such address: of a call that exists only for those who have it."""

_NOT_PERMITTED = frozenset({7001, 10554})
"""No permission, not authorised for this request."""

QUOTE_REFUSED = frozenset({50012, 50014})
"""The quote is not valid, or there is one already: nothing was executed."""

WRONG_BODY = frozenset({10004, 10567})
"""Nothing was read of the call, as its body was not of the form that the venue wants today."""

CODES: dict[int, VenueErrorKind] = {
    **{code: "rejected" for group in _REJECTED for code in group},
    **{code: "auth" for group in _AUTH for code in group},
    **dict.fromkeys(_THROTTLED, "throttled"),
    **dict.fromkeys(_DOWN, "down"),
    ORDER_NOT_FOUND: "rejected",
}
"""Venue code to what a caller may do. A code that is not here is "unknown".

Duplicate order ids (10576, 10577) and duplicate requests (4005) are absent on purpose: they say that an order under
this id exists, so that only a query can tell what became of it.
"""

_REFUSAL_KINDS: dict[VenueErrorKind, RefusalKind] = {
    "rejected": "rejected",
    "throttled": "throttled",
    "auth": "auth",
}
_STATUS_KINDS: dict[int, VenueErrorKind] = {401: "auth", 403: "auth", 404: "rejected", 429: "throttled"}


class Refused(msgspec.Struct, frozen=True):
    """A call that certainly changed nothing. `code` is the venue's, `kind` ours."""

    kind: RefusalKind
    code: int
    text: str


def kind_of(answer: Answer) -> VenueErrorKind | None:
    """What went wrong with a read; None when nothing did."""
    if answer.status >= 500:
        return "down"
    if answer.code is None:
        return _STATUS_KINDS.get(answer.status, "down")
    if answer.code == 0:
        return None if answer.status < 400 else "unknown"
    return CODES.get(answer.code) or _STATUS_KINDS.get(answer.status, "unknown")


def is_not_found(answer: Answer) -> bool:
    """The venue does not know the order that was asked for."""
    return answer.code == ORDER_NOT_FOUND or answer.status == 404


def lacks_right(result: Answer | NotSent | Lost) -> bool:
    """Whether the answer certainly says that this account has no such call: nothing of it was carried out."""
    if not isinstance(result, Answer) or result.status >= 500:
        return False
    if result.code is None:
        return result.status == 404
    return result.code in NO_RIGHT or result.code in _NOT_PERMITTED


def describe(answer: Answer) -> str:
    """One line for logs and errors."""
    if answer.code is None:
        return f"HTTP {answer.status} without a readable body"
    return f"HTTP {answer.status}, code {answer.code}: {answer.text}"


def refusal_of(result: Answer | NotSent | Lost, also: frozenset[int] = frozenset()) -> Refused | None:
    """Why the call certainly changed nothing; None when it did or may have. `also`: codes that refuse this call
    beside those of the table.

    A call that never left this host has kind "throttled", NOT_SENT_CODE and a text that begins with "not sent".
    """
    if isinstance(result, NotSent):
        return Refused("throttled", NOT_SENT_CODE, f"not sent: {result.reason}")
    if isinstance(result, Lost):
        return None
    if result.code in also and result.status < 500:
        return Refused("rejected", result.code or 0, result.text)
    if result.code in ALREADY_DONE or (result.code not in CODES and result.status not in (401, 403, 429)):
        return None
    kind = kind_of(result)
    refusal = None if kind is None else _REFUSAL_KINDS.get(kind)
    return None if refusal is None else Refused(refusal, result.code or result.status, result.text)


def data_of(result: Answer | NotSent | Lost) -> bytes | None:
    """The data of an answer that says that the call took effect; None for any other."""
    return result.data if isinstance(result, Answer) and kind_of(result) is None else None


def reason_of(result: Answer | NotSent | Lost) -> str:
    """Why the outcome is not known, in one line."""
    return describe(result) if isinstance(result, Answer) else result.reason


def place_outcome(
    client_order_id: int, result: Answer | NotSent | Lost, also: frozenset[int] = frozenset()
) -> OrderAcked | OrderRefused | OutcomeUnknown:
    """The outcome of placing."""
    refusal = refusal_of(result, also)
    if refusal is not None:
        return OrderRefused(client_order_id=client_order_id, kind=refusal.kind, code=refusal.code, text=refusal.text)
    data = data_of(result)
    if data is None:
        return OutcomeUnknown(client_order_id=client_order_id, reason=reason_of(result))
    venue_order_id = parse_order_id(data)
    if venue_order_id is None:
        return OutcomeUnknown(client_order_id=client_order_id, reason="accepted, but the answer has no order id")
    return OrderAcked(client_order_id=client_order_id, venue_order_id=venue_order_id)


def amend_outcome(client_order_id: int, result: Answer | NotSent | Lost) -> AmendAcked | AmendRefused | AmendUnknown:
    """The outcome of an amendment: as `place_outcome`; for an order that is already gone it is refused too."""
    match place_outcome(client_order_id, result, ALREADY_DONE):
        case OrderAcked(venue_order_id=venue_order_id):
            return AmendAcked(client_order_id=client_order_id, venue_order_id=venue_order_id)
        case OrderRefused(kind=kind, code=code, text=text):
            return AmendRefused(client_order_id=client_order_id, kind=kind, code=code, text=text)
        case OutcomeUnknown(reason=reason):
            return AmendUnknown(client_order_id=client_order_id, reason=reason)


def countdown_outcome(
    underlying: str, countdown_ms: int, result: Answer | NotSent | Lost
) -> CountdownSet | CountdownRefused | CountdownUnknown:
    """The outcome of arming or disarming a countdown."""
    if data_of(result) is not None:
        return CountdownSet(underlying=underlying, countdown_ms=countdown_ms)
    if isinstance(result, Answer) and (result.status == 404 or result.code in NO_RIGHT or kind_of(result) == "auth"):
        return CountdownRefused(underlying=underlying, lacks_right=True, text=describe(result))
    refusal = refusal_of(result)
    if refusal is not None:
        return CountdownRefused(underlying=underlying, lacks_right=False, text=f"{refusal.code}: {refusal.text}")
    return CountdownUnknown(underlying=underlying, reason=reason_of(result))


def cancel_outcome(
    client_order_id: int, result: Answer | NotSent | Lost
) -> CancelAcked | CancelRefused | OutcomeUnknown:
    """The outcome of a cancel."""
    refusal = refusal_of(result, ALREADY_DONE)
    if refusal is not None:
        return CancelRefused(client_order_id=client_order_id, code=refusal.code, text=refusal.text)
    if data_of(result) is None:
        return OutcomeUnknown(client_order_id=client_order_id, reason=reason_of(result))
    return CancelAcked(client_order_id=client_order_id)
