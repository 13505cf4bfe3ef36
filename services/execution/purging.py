"""What the book forgets: trades and intents that ended long ago, and orders without effect.

A row says what is forgotten, so that every fold of the rows forgets the same, whatever is configured when it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.execution import rows
from services.execution.hedges import forget_hedge
from services.execution.quality import MEASURED_MAX, qualities_of

if TYPE_CHECKING:
    from services.execution.book import Book
    from services.execution.records import Order, Trade


def forget_unfilled(book: Book, trade: Trade, before_ns: int, at_ns: int) -> None:
    """Forget orders that a strategy worked and that ended unfilled before `before_ns`; a reader may keep more.

    Nothing depends on one any more. Should the venue show it open or filled after all, it is taken over as an order
    that the journal lacks, and counts for the first time.
    """
    trade.forgot_ns = at_ns
    before_ns = min(before_ns, at_ns - book.unfilled_kept_ns)
    drop_unfilled(book, trade, {number for number in trade.unfilled if book.orders[number].state_ns < before_ns})


def drop_unfilled(book: Book, trade: Trade, gone: set[int]) -> None:
    """Forget these of its orders, each of which is among `trade.unfilled`."""
    if not gone:
        return
    trade.order_ids = [number for number in trade.order_ids if number not in gone]
    for number in gone:
        order = book.orders.pop(number)
        del trade.unfilled[number]
        trade.turned_away.pop(number, None)
        _forget_names(book, order)
        if trade.wishes.get(order.wish_key) == order.wish_ns:
            del trade.wishes[order.wish_key]


def forget_ended(book: Book, row: rows.EndedForgotten, at_ns: int) -> None:
    """Forget trades that ended before the row's horizon, with all that belongs to them, and intents as old. A journal
    without such rows, as it was once written, is remembered whole: nobody knows what its writer had let go of, and
    more of a trade may have been written down as long as it had not."""
    book.forgot_ns = at_ns
    gone = [
        trade
        for trade in book.trades.values()
        if trade.is_final and trade.closed_ns is not None and trade.closed_ns < row.before_ns
    ]
    numbers: set[int] = set()
    book.rfqs.forget(trade.trade_id for trade in gone)
    for trade in gone:
        forget_hedge(trade, book)
        for quality in qualities_of(trade, with_legs=False):
            book.measured[f"{trade.trade_id}/{quality.phase}"] = quality
        numbers.update(trade.order_ids)
        del book.trades[trade.trade_id]
    for number in numbers:
        order = book.orders.pop(number)
        book.unsettled.pop(number, None)
        _forget_names(book, order)
    for key in [key for key, each in book.measured.items() if each.began_ns < row.quality_before_ns]:
        del book.measured[key]
    for key in list(book.measured)[:-MEASURED_MAX]:
        del book.measured[key]
    for venue_trade_id in [key for key, fill in book.fills.items() if fill.client_order_id in numbers]:
        del book.fills[venue_trade_id]
        book.feeless.pop(venue_trade_id, None)
    for venue_trade_id in [key for key, booked in book.direct_fills.items() if booked.at_ns < row.before_ns]:
        del book.direct_fills[venue_trade_id]
    for intent_id in [
        key
        for key, intent in book.intents.items()
        if intent.at_ns < row.before_ns and (intent.trade_id is None or intent.trade_id not in book.trades)
    ]:
        del book.intents[intent_id]


def _forget_names(book: Book, order: Order) -> None:
    for venue_order_id in (order.venue_order_id, *order.earlier_venue_ids):
        if venue_order_id is not None:
            book.order_of_venue_id.pop(venue_order_id, None)
