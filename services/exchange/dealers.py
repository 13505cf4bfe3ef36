"""The simulated dealers: when they answer a request and what they quote, a pure function.

Random numbers are hashes of seed, dealer, request and round, so that looking at a request changes nothing and a
restarted exchange answers as it would have. A dealer quotes from the market makers' book alone, at the request's full
size. Per leg its price lies between book and mark, the same share of the way in each; the share is what makes the
whole structure as much better than the book as the dealer wants to be, but leaves it its edge over the mark.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from services.exchange.config import DealerConfig, RfqConfig
from services.exchange.ladder import uniform
from services.exchange.market import stream_key
from services.exchange.model import Level, Side
from services.exchange.rfq_model import QuoteState, RequestForQuote, RfqQuote

NS_PER_MS = 1_000_000
BEYOND_BOOK_MAX = 3.0
"""A dealer who quotes worse than the book stays within so many times the way from mark to book."""
MISSING_DEPTH_SHARE = 0.1
"""Where the book is not deep enough, the rest is as much worse than the mark, as a share of it."""
_ANSWER, _SILENCE, _BETTER, _TWO_WAY = range(31, 35)


class Answer(NamedTuple):
    """When a dealer answers a request; `number` counts its answers, the silent ones included."""

    due_ns: int
    dealer: int
    number: int


class LegMarket(NamedTuple):
    """What a dealer sees of one leg, with the taker's side in it: the mark, and the book's other side, best first."""

    side: Side
    quantity: Decimal
    tick_size: Decimal
    mark: float
    levels: Sequence[Level]


def next_answer(
    config: RfqConfig, seed: int, request: RequestForQuote, dealer_index: int, quotes: Sequence[RfqQuote]
) -> Answer | None:
    """A dealer's next answer to an active request, given its quotes so far; None while one of them is open, and when
    it will not answer any more."""
    if request.dealers_silent or any(quote.state is QuoteState.OPEN for quote in quotes):
        return None
    dealer = config.dealers[dealer_index]
    from_ns, number = request.created_ns + request.dealers_late_ms * NS_PER_MS, 0
    if quotes:
        from_ns, number = max(quote.updated_ns for quote in quotes), quotes[-1].number + 1
    while (due_ns := from_ns + _delay_ns(dealer, seed, request.request_id, number)) < request.ends_ns:
        if _draw(dealer, seed, request.request_id, number, _SILENCE) >= dealer.no_quote_probability:
            return Answer(due_ns, dealer_index, number)
        from_ns, number = due_ns + config.quote_life_ms * NS_PER_MS, number + 1
    return None


def sides_quoted(dealer: DealerConfig, seed: int, request_id: int, number: int) -> tuple[Side, ...]:
    """SELL, the side that the request's legs ask for, and BUY where the dealer quotes both."""
    two_way = _draw(dealer, seed, request_id, number, _TWO_WAY) < dealer.two_way_probability
    return (Side.SELL, Side.BUY) if two_way else (Side.SELL,)


def prices(
    dealer: DealerConfig, seed: int, request_id: int, number: int, side: Side, legs: Sequence[LegMarket]
) -> list[Decimal]:
    """A price per leg, on the tick, for a quote of `side`; the legs' sides are the taker's if it accepts."""
    book = [_cost_in_book(leg) for leg in legs]
    size = [float(leg.quantity) * leg.side.sign for leg in legs]
    cost = sum(price * quantity for price, quantity in zip(book, size, strict=True))
    spread = sum((price - leg.mark) * quantity for price, leg, quantity in zip(book, legs, size, strict=True))
    drawn = _draw(dealer, seed, request_id, number, _BETTER + int(side) * 8)
    better = dealer.better_min_pct + (dealer.better_max_pct - dealer.better_min_pct) * drawn
    wanted = max(abs(cost), spread) * better / 100.0
    share = 0.0 if spread <= 0.0 else min(wanted / spread, 1.0 - dealer.edge_min_pct / 100.0)
    share = max(share, -BEYOND_BOOK_MAX)
    return [
        _on_tick(price + (leg.mark - price) * share, leg.side, leg.tick_size)
        for price, leg in zip(book, legs, strict=True)
    ]


def _cost_in_book(leg: LegMarket) -> float:
    """Mean price of the leg's full size in the book; what the book lacks costs more than mark and last level."""
    left, paid, worst = float(leg.quantity), 0.0, None
    for level in leg.levels:
        taken = min(left, float(level.quantity))
        paid += taken * float(level.price)
        left -= taken
        worst = float(level.price)
        if left <= 0.0:
            break
    if left > 0.0:
        sign = leg.side.sign
        beyond = leg.mark + sign * max(leg.mark * MISSING_DEPTH_SHARE, float(leg.tick_size))
        beyond = beyond if worst is None else sign * max(sign * beyond, sign * worst)
        paid += left * max(beyond, 0.0)
    return paid / float(leg.quantity)


def _on_tick(price: float, taker_side: Side, tick: Decimal) -> Decimal:
    """The nearest tick in the dealer's favour, at least one."""
    ticks = Decimal(format(price, ".8f")) / tick
    rounded = ticks.to_integral_value("ROUND_CEILING" if taker_side is Side.BUY else "ROUND_FLOOR")
    return Decimal(format(max(rounded, Decimal(1)) * tick, "f"))


def _delay_ns(dealer: DealerConfig, seed: int, request_id: int, number: int) -> int:
    drawn = _draw(dealer, seed, request_id, number, _ANSWER)
    return round((dealer.answer_min_ms + (dealer.answer_max_ms - dealer.answer_min_ms) * drawn) * NS_PER_MS)


def _draw(dealer: DealerConfig, seed: int, request_id: int, number: int, purpose: int) -> float:
    return _drawn(dealer.name, seed, request_id, number, purpose)


@lru_cache(maxsize=4_096)
def _drawn(name: str, seed: int, request_id: int, number: int, purpose: int) -> float:
    """Remembered, since each change of any request asks again when all dealers answer."""
    key = np.array([stream_key(seed, "dealer", name)], dtype=np.uint64)
    return float(uniform(key, request_id, number, purpose)[0])
