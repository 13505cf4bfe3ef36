"""Mistakes with requests for quote: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Mutant, in_execution

_IN_DOUBT = """self._rfq.move(rfq, "ACCEPT_UNKNOWN", reason)"""
_ACCEPT_AGAIN = """self._rfq.move(rfq, "ACCEPT_UNKNOWN", reason)
        from services.execution.effects import AcceptQuote

        self._work.send(AcceptQuote(request_id=rfq.request_id, quote_id=rfq.quote_id))"""

RFQ_MUTANTS: tuple[Mutant, ...] = (
    in_execution(
        "second_accept",
        "a lost accept is sent again",
        ("rfq_evidence.py", _IN_DOUBT, _ACCEPT_AGAIN),
        scenario="quoted",
    ),
    in_execution(
        "lost_accept_is_refused",
        "an accept without an answer counts as refused, and the trade falls back",
        (
            "rfq_evidence.py",
            "self._in_doubt(rfq, item.reason)",
            "self._in_doubt(rfq, item.reason), self._give_up(rfq, item.reason)",
        ),
        scenario="lost_accepts",
    ),
    in_execution(
        "wrong_rfq_side",
        "the quote on the other side of the structure is taken",
        ("quotes.py", "side != opposite(wanted.side_of(leg))", "side != wanted.side_of(leg)"),
        scenario="quoted",
    ),
    in_execution(
        "block_trade_on_any_side",
        "the legs of a block trade are booked whatever their side",
        ("rfq_evidence.py", "order is None or order.side != fill.side or", "order is None or"),
        ("quotes.py", "side != opposite(wanted.side_of(leg))", "side != wanted.side_of(leg)"),
        scenario="quoted",
    ),
    in_execution(
        "quote_past_the_grant",
        "the worst prices of the grant do not bind quotes",
        ("quotes.py", "    if bound is None:\n        return False", "    return False"),
        scenario="narrow_collar",
    ),
    in_execution(
        "request_left_open",
        "a request that the trade does not want any more is not withdrawn",
        ("rfq_desk.py", "if not is_wanted(rfq, trade, work):", "if False:"),
        scenario="quoted",
    ),
    in_execution(
        "orphan_left_open",
        "a lost request is not looked for",
        (
            "rfq_desk.py",
            'if seen.state == "active":\n            self._rfq.withdraw',
            "if False:\n            self._rfq.withdraw",
        ),
        scenario="quoted",
    ),
)
