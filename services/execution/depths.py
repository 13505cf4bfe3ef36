"""Asks market data for the whole order book of legs whose top lacks the size. Nothing depends on an answer: without
one, mark decides."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from services.execution.workspace import MS, Workspace
from shared.messages.on_demand import GetOrderBook
from shared.messages.steps import SendRequest

_ASK_AGAIN_MS = 1_000
_AGE_MAX_MS = 1_000
_DEADLINE_MS = 2_000


def ask_for_depth(legs: Iterable[tuple[str, Decimal]], work: Workspace) -> None:
    """Ask for the books of those (symbol, quantity) that need it, each once a second at most."""
    market, now_ns = work.market, work.now_ns
    for symbol, quantity in legs:
        instrument = market.instrument(symbol)
        if instrument is None or not market.is_shallow(instrument, quantity, now_ns):
            continue
        if market.asks_for_book(symbol, now_ns, _ASK_AGAIN_MS * MS):
            ask = GetOrderBook(symbol=symbol, max_age_ms=_AGE_MAX_MS)
            work.send(SendRequest("marketdata", ask, f"depth/{symbol}/{now_ns}", _DEADLINE_MS))
