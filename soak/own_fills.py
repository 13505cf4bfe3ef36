"""Each trade's own fills, as its journal has them, against the venue's fills of that trade's orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.records import Order
from services.execution.rows import Row
from shared.config import DeskConfig
from shared.entries import JournalReader
from shared.ids import trade_id, trade_number_of_order
from shared.messages.rfq import BlockTrade
from shared.messages.steps import Entry
from shared.messages.venue import VenueFill, VenueOrder
from shared.service.journals import binding_of, journal_path


def journal_of(settings: DeskConfig) -> tuple[list[Entry], Book]:
    """Every row that execution has written, and the book that they make."""
    book = Book.empty(settings.section("execution", ExecutionConfig))
    reader = JournalReader(journal_path(settings, "execution"), binding_of(settings), Row)
    try:
        entries = [entry for _, entry in reader.entries()]
    finally:
        reader.close()
    for entry in entries:
        book.apply(entry)
    return entries, book


def wrongly_booked(
    book: Book, fills: Iterable[VenueFill], orders: Iterable[VenueOrder], blocks: Iterable[BlockTrade]
) -> list[str]:
    """What the venue filled and the journal has on another order, trade or leg, in another quantity, at another price
    or not at all; and what the journal has and the venue did not fill. Of a desk at rest that forgot nothing yet."""
    names = {order.venue_order_id: order.client_order_id for order in orders}
    quotes = {fill.venue_trade_id: block.quote_id for block in blocks for fill in block.legs}
    theirs: dict[int, list[VenueFill]] = defaultdict(list)
    told: list[str] = []
    for fill in fills:
        booked = book.fills.get(fill.venue_trade_id)
        order = None if booked is None else book.orders.get(booked.client_order_id)
        if order is None:
            told.append(f"{fill.symbol}: the journal lacks the venue's trade {fill.venue_trade_id}")
            continue
        theirs[order.client_order_id].append(fill)
        told += _misplaced(fill, order, names.get(fill.venue_order_id), quotes.get(fill.venue_trade_id))
    for order in book.orders.values():
        told += _unequal(order, theirs[order.client_order_id])
    return told + list(_legs(book, theirs))


def _misplaced(fill: VenueFill, order: Order, client_order_id: int | None, quote_id: str | None) -> Iterator[str]:
    name = f"the venue's trade {fill.venue_trade_id}"
    if (fill.symbol, fill.side) != (order.symbol, order.side):
        yield f"{name} is {fill.side} {fill.symbol}, booked on {order.side} {order.symbol} of {order.trade_id}"
    if order.quote_id:
        if quote_id != order.quote_id:
            yield f"{name} is of quote {quote_id}, booked on quote {order.quote_id} of {order.trade_id}"
    elif client_order_id != order.client_order_id:
        yield f"{name} is of order {client_order_id}, booked on {order.client_order_id} of {order.trade_id}"
    else:
        number = trade_number_of_order(client_order_id)
        if number is None or trade_id(number) != order.trade_id:
            yield f"{name} is of order {client_order_id}, which names another trade than {order.trade_id}"


def _unequal(order: Order, fills: list[VenueFill]) -> Iterator[str]:
    quantity = sum((fill.quantity for fill in fills), Decimal(0))
    cash = sum((fill.quantity * fill.price for fill in fills), Decimal(0))
    if (order.filled_quantity, order.filled_cash) != (quantity, cash):
        yield (
            f"order {order.client_order_id} of {order.trade_id} filled {order.filled_quantity} for "
            f"{order.filled_cash} USD, at the venue {quantity} for {cash}"
        )


def _legs(book: Book, theirs: dict[int, list[VenueFill]]) -> Iterator[str]:
    """A leg is opened and closed by the fills of its trade's own orders, and by what was done from outside."""
    opened: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    closed: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for number, fills in theirs.items():
        order = book.orders[number]
        side = opened if order.purpose == "open" else closed
        side[order.trade_id, order.leg_index] += sum((fill.quantity for fill in fills), Decimal(0))
    for trade in book.trades.values():
        for index, leg in enumerate(trade.legs):
            own = (opened[trade.trade_id, index], closed[trade.trade_id, index])
            if own != (leg.opened_quantity, leg.closed_quantity - leg.outside_quantity):
                yield (
                    f"{trade.trade_id} leg {index} opened {leg.opened_quantity} and closed {leg.closed_quantity}, "
                    f"{leg.outside_quantity} of it from outside; its orders did {own[0]} and {own[1]} at the venue"
                )
