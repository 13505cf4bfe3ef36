"""What must hold in every run: safety while faults are on, liveness once they have stopped."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from services.exchange import model as ex
from services.execution.book import Book
from services.execution.records import Trade
from shared.ids import parse_client_order_id, trade_id
from shared.messages.trades import GrantLeg
from world.cash import is_spot
from world.faults import SECOND
from world.node import Node
from world.venue import Venue
from world.violations import Violation

ZERO = Decimal(0)


def safety_violations(venue: Venue, book: Book, desk_number: int) -> Iterator[Violation]:
    """Broken promises visible at any moment, compared between the venue and execution's book."""
    yield from _sent_once(venue)
    yield from _closes_reduce(venue, desk_number)
    yield from _inside_grants(venue, book, desk_number)
    yield from _quotes_inside_grants(book)
    yield from _one_trade_per_intent(book)
    yield from _legs_not_overfilled(venue, book, desk_number)


def countdown_violations(venue: Venue, execution: Node, lasts_ns: int) -> Iterator[Violation]:
    """Countdowns that fired although execution ran all the time and could have set them anew, or disarmed them.

    lasts_ns: for how long they are armed.
    """
    for index, fired_ns in venue.fired_ns.items():
        armed_ns = fired_ns - lasts_ns
        asked = any(armed_ns + SECOND < at_ns < fired_ns for at_ns in venue.countdown_asks)
        if not asked and execution.was_up(armed_ns):
            text = f"the countdown of {index} fired, and in {lasts_ns // SECOND} s nothing was asked of it"
            yield Violation("countdown_kept", text)


def liveness_violations(venue: Venue, book: Book) -> Iterator[Violation]:
    """What must have come to an end when the faults stopped long enough ago."""
    for trade in book.trades.values():
        if not trade.is_final:
            yield Violation("comes_to_rest", f"{trade.trade_id} is still {trade.state}: {trade.reason}")
        if not trade.is_flat:
            yield Violation("comes_to_rest", f"{trade.trade_id} is {trade.state} and still holds something")
    for order in book.orders.values():
        if not order.is_settled:
            yield Violation(
                "orders_resolved", f"order {order.client_order_id} is still {order.state}: {order.reason}"
            )
    for symbol, quantity in venue.own_positions().items():
        yield Violation("flat_at_venue", f"the venue still holds {quantity} {symbol}")
    for resting in venue.products.open_orders():
        if resting.order_id not in venue.by_hand | venue.cash.foreign:
            yield Violation("nothing_rests", f"order {resting.client_order_id} still rests at the venue")
    for request_id in venue.rfqs.active():
        yield Violation("nothing_rests", f"request for quote {request_id} is still open at the venue")
    for rfq in book.rfqs.live_rfqs():
        yield Violation("orders_resolved", f"request for quote {rfq.rfq_id} is still {rfq.state}: {rfq.reason}")
    if not venue.foreign and len(book.funding) < len(venue.products.funding()):
        yield Violation("comes_to_rest", "a funding payment is in the P&L of no trade yet")
    if not any(
        trade.state in ("CLOSED", "SETTLED") or _was_not_filled(trade, book) for trade in book.trades.values()
    ):
        yield Violation("trades_again", "no trade was opened and closed, or tried at the venue")
    yield from _fills_equal(venue, book)


def _was_not_filled(trade: Trade, book: Book) -> bool:
    """Whether its opening was given up when quotes or books did not serve: some drawn plans never trade in a thin
    book."""
    asked = any(rfq.trade_id == trade.trade_id for rfq in book.rfqs.rfqs.values())
    return trade.state == "FAILED" and not trade.was_filled and (asked or bool(trade.order_ids))


def fold_violations(node: Node, fold: Book, live: Book) -> Iterator[Violation]:
    """The state of execution is the fold of its journal."""
    if fold != live:
        yield Violation(
            "fold_is_live", f"{node.name}: the fold of {len(node.journal.entries)} rows is not the live state"
        )


def _sent_once(venue: Venue) -> Iterator[Violation]:
    for number, times in venue.sent.items():
        if times > 1:
            yield Violation("sent_once", f"order {number} was sent {times} times")
    for request_id, times in Counter(request_id for request_id, _ in venue.rfqs.accepted.elements()).items():
        if times > 1:
            yield Violation("sent_once", f"{times} quotes were accepted on request {request_id}")


def _inside_grants(venue: Venue, book: Book, desk_number: int) -> Iterator[Violation]:
    for order in venue.opening_orders:
        trade, leg = _leg_of(book, order.client_order_id, desk_number)
        if trade is None or leg is None:
            yield Violation("inside_grant", f"opening order {order.client_order_id} belongs to no grant")
            continue
        worse = order.price > leg.worst_price if order.side == "buy" else order.price < leg.worst_price
        if worse:
            yield Violation(
                "inside_grant",
                f"order {order.client_order_id} at {order.price} is past its grant's {leg.worst_price}",
            )
        if order.side != leg.side or order.symbol != leg.symbol:
            yield Violation(
                "inside_grant", f"order {order.client_order_id} is not on the side or symbol of its grant"
            )


def _legs_not_overfilled(venue: Venue, book: Book, desk_number: int) -> Iterator[Violation]:
    """A trade opens no more of a leg than was granted, but for what the venue took after it should have dropped it;
    one that quotes holds no more of it, for it opens and reduces again and again."""
    opened: dict[tuple[str, int], Decimal] = {}
    for number, quantity in venue.fills_by_client_order(book).items():
        key = parse_client_order_id(number, desk_number)
        if key is None or number in venue.expired:
            continue
        place = (trade_id(key.trade_number), key.leg_index)
        known = book.trades.get(place[0])
        if key.purpose == "open":
            opened[place] = opened.get(place, ZERO) + quantity
        elif known is not None and known.mode == "quoting":
            opened[place] = opened.get(place, ZERO) - quantity
    for (name, leg_index), quantity in opened.items():
        trade = book.trades.get(name)
        if trade is None:
            yield Violation(
                "not_overfilled", f"the venue filled {quantity} for {name}, which the journal does not know"
            )
        elif quantity > trade.request.grant.legs[leg_index].max_quantity:
            yield Violation(
                "not_overfilled",
                f"{name} leg {leg_index}: {quantity} filled of {trade.request.grant.legs[leg_index].max_quantity}",
            )


def _quotes_inside_grants(book: Book) -> Iterator[Violation]:
    for order in book.orders.values():
        if not order.quote_id or order.purpose != "open":
            continue
        leg = book.trades[order.trade_id].request.grant.legs[order.leg_index]
        worse = order.price > leg.worst_price if order.side == "buy" else order.price < leg.worst_price
        if worse or order.side != leg.side or order.symbol != leg.symbol or order.quantity > leg.max_quantity:
            text = f"quote {order.quote_id}: {order.side} {order.quantity} {order.symbol} at {order.price}"
            yield Violation("inside_grant", f"{text} is outside its grant")


def _one_trade_per_intent(book: Book) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    for trade in book.trades.values():
        other = seen.setdefault(trade.request.intent_id, trade.trade_id)
        if other != trade.trade_id:
            yield Violation(
                "one_trade_per_intent", f"intent {trade.request.intent_id} opened {other} and {trade.trade_id}"
            )


def _closes_reduce(venue: Venue, desk_number: int) -> Iterator[Violation]:
    opening = {sent.client_order_id for sent in venue.opening_orders}
    in_blocks = venue.rfqs.orders()
    for order in (
        *venue.products.open_orders(),
        *venue.products.order_history(),
    ):
        if order.client_order_id in opening or order.reduce_only:
            continue
        if is_spot(order.symbol):
            # The venue has no reduce-only orders of it: what is sold is judged by what the trade bought.
            continue
        # A block trade cannot reduce only: what it closes is judged by what its trade held.
        if order.order_id not in venue.by_hand | in_blocks:
            yield Violation("closes_reduce_only", f"order {order.order_id} closes and is not reduce-only")
    for sent in venue.opening_orders:
        key = parse_client_order_id(sent.client_order_id, desk_number)
        if key is not None and key.purpose != "open":
            yield Violation("closes_reduce_only", f"order {sent.client_order_id} closes and is not reduce-only")


def _fills_equal(venue: Venue, book: Book) -> Iterator[Violation]:
    filled = venue.fills_by_client_order(book)
    for order in book.orders.values():
        venue_quantity = filled.pop(order.client_order_id, ZERO)
        if order.filled_quantity != venue_quantity:
            yield Violation(
                "fills_equal",
                f"order {order.client_order_id}: {order.filled_quantity} here, {venue_quantity} at the venue",
            )
    for number, quantity in filled.items():
        yield Violation(
            "fills_equal", f"the venue filled {quantity} of order {number}, which the journal does not know"
        )
    for block in venue.exchange.rfq.blocks(venue.account_id):
        if book.rfqs.of_quote(str(block.block_id)) is None:
            yield Violation("fills_equal", f"the venue made block trade {block.block_id}, which the journal lacks")


def naked_leg_violations(fills: list[ex.Fill], book: Book, desk_number: int) -> Iterator[Violation]:
    """No short leg, and no future, is open while what protects it in the same trade is not."""
    held: dict[str, dict[int, Decimal]] = {}
    ordered = sorted(fills, key=lambda one: one.fill_id)
    for fill, following in itertools.zip_longest(ordered, ordered[1:]):
        key = parse_client_order_id(fill.client_order_id or 0, desk_number)
        trade = None if key is None else book.trades.get(trade_id(key.trade_number))
        if key is None or trade is None:
            continue
        legs = held.setdefault(trade.trade_id, {})
        change = fill.quantity if key.purpose == "open" else -fill.quantity
        legs[key.leg_index] = legs.get(key.leg_index, ZERO) + change
        if not _in_one_block(fill, following):
            yield from _uncovered(trade, legs, fill.at_ns)


def _in_one_block(fill: ex.Fill, following: ex.Fill | None) -> bool:
    """The legs of a block trade are executed in one piece."""
    return (
        following is not None
        and fill.order_type is following.order_type is ex.OrderType.BLOCK_TRADE
        and fill.at_ns == following.at_ns
    )


_PROTECTED: tuple[tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]], ...] = (
    ("calls and futures", (("C", "sell"), ("future", "sell")), (("C", "buy"), ("future", "buy"))),
    ("puts", (("P", "sell"),), (("P", "buy"), ("future", "sell"))),
    ("futures", (("future", "buy"),), (("P", "buy"),)),
)
"""What is exposed, and what protects it, each by kind and side."""


def _uncovered(trade: Trade, held: dict[int, Decimal], at_ns: int) -> Iterator[Violation]:
    """What is exposed must not exceed what protects it, where the structure has enough of that. What has expired is
    not exposed any more, and whose protection has expired lost it by no fill."""
    kinds = [
        ("future" if not leg.instrument.is_option else leg.instrument.option_type, leg.side) for leg in trade.legs
    ]
    for what, exposed, covers in _PROTECTED:
        exposures = [index for index, kind in enumerate(kinds) if kind in exposed]
        protections = [index for index, kind in enumerate(kinds) if kind in covers]
        total_exposed = sum((trade.legs[index].quantity for index in exposures), ZERO)
        total_covered = sum((trade.legs[index].quantity for index in protections), ZERO)
        has_expired = any(trade.legs[index].instrument.expiry_ns <= at_ns for index in protections)
        if not protections or total_covered < total_exposed or has_expired:
            continue
        alive = [index for index in exposures if trade.legs[index].instrument.expiry_ns > at_ns]
        exposed_held = sum((held.get(index, ZERO) for index in alive), ZERO)
        covered_held = sum((held.get(index, ZERO) for index in protections), ZERO)
        if exposed_held > covered_held:
            text = f"{trade.trade_id}: {exposed_held} of {what} is open against {covered_held} that protects it"
            yield Violation("protected_short", text)


def _leg_of(book: Book, number: int, desk_number: int) -> tuple[Trade | None, GrantLeg | None]:
    key = parse_client_order_id(number, desk_number)
    trade = None if key is None else book.trades.get(trade_id(key.trade_number))
    if key is None or trade is None:
        return None, None
    return trade, trade.request.grant.legs[key.leg_index]
