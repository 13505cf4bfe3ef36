"""Requests for quote in the story of a trade, each row as a sentence that a trader reads."""

from __future__ import annotations

from services.execution.rfq_rows import AcceptRequested, QuotesJudged, RfqMoved, RfqRequested, RfqRow, RfqSighted
from shared.messages.rfq import JudgedQuote

_TOLD_MAX = 5


def rfq_text(row: RfqRow) -> str:
    """The sentence of one row."""
    match row:
        case RfqRequested():
            legs = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in row.legs)
            return f"Makers are asked for quotes, {row.rfq_id}: {legs}, notional {row.notional_usd:.0f} USD."
        case RfqMoved():
            named = f" It is {row.request_id} at the venue." if row.request_id else ""
            return f"Request {row.rfq_id} {_MOVED[row.state]}: {row.reason}.{named}"
        case QuotesJudged():
            return _judged(row)
        case AcceptRequested():
            return f"Quote {row.quote_id} is accepted, once."
        case RfqSighted(what="executed"):
            return f"The accepted quote of {row.rfq_id} was executed: {row.reason}."
        case RfqSighted():
            return f"The accepted quote of {row.rfq_id} cannot be executed any more: {row.reason}."


_MOVED = {
    "REQUESTING": "is being sent",
    "UNKNOWN": "has an unknown outcome; it is replaced, and withdrawn when it is found",
    "COLLECTING": "collects quotes",
    "ACCEPTING": "is being executed",
    "ACCEPT_UNKNOWN": "may have been executed or not; nothing is sent before the venue shows which",
    "CANCELLING": "is being withdrawn",
    "FILLED": "is executed",
    "CANCELLED": "is withdrawn",
    "EXPIRED": "has expired",
    "REFUSED": "is refused by the venue",
    "ABSENT": "never reached the venue",
}


def _judged(row: QuotesJudged) -> str:
    book = "the book lacks the size" if row.book_cost_usd is None else f"on the book {_money(row.book_cost_usd)}"
    mark = "mark is not known" if row.mark_cost_usd is None else f"at mark {_money(row.mark_cost_usd)}"
    count = "1 quote is" if len(row.quotes) == 1 else f"{len(row.quotes)} quotes are"
    chosen = f"Quote {row.chosen} is taken." if row.chosen else "None is taken."
    sentences = [f"The structure: {book}, {mark}; {count} in. {chosen}"]
    sentences += [_quote(quote) for quote in row.quotes[:_TOLD_MAX]]
    if len(row.quotes) > _TOLD_MAX:
        sentences.append(f"and {len(row.quotes) - _TOLD_MAX} more")
    return "\n".join(sentences)


def _quote(quote: JudgedQuote) -> str:
    parts = [f"Quote {quote.quote_id}"]
    if quote.cost_usd is not None:
        parts.append(_money(quote.cost_usd))
    if quote.improvement_usd is not None:
        pct = "" if quote.improvement_pct is None else f" ({quote.improvement_pct:+.2f} %)"
        parts.append(f"{quote.improvement_usd:+.2f} USD{pct} against the book")
    if quote.over_mark_pct is not None:
        parts.append(f"{quote.over_mark_pct:+.2f} % against mark")
    verdict = "the other side" if quote.verdict == "wrong_side" else quote.verdict.replace("_", " ")
    return f"{', '.join(parts)}: {verdict}."


def _money(cost_usd: float) -> str:
    return f"{abs(cost_usd):.2f} USD {'received' if cost_usd < 0 else 'paid'}"
