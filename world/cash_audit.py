"""What must hold of the sales of the cash rule: while they are made, and when all is at rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from services.exchange import model as ex
from services.execution.book import Book
from services.execution.cash_config import CashConfig
from services.execution.cash_rows import CashSaleMoved, CashSaleRequested
from shared.messages.contracts import ContractOrder
from shared.messages.steps import Entry
from world.coins_audit import coins_of_trades
from world.venue import Venue
from world.violations import Violation

ZERO = Decimal(0)
_DAY_NS = 86_400 * 1_000_000_000
_ROUNDED = Decimal("0.000001")
"""The venue tells average prices to so many decimals."""
_MARGIN = Decimal("1.02")
"""A sale that is this much larger than the smallest one is large enough at whatever price is looked at."""


def sending_violations(order: ContractOrder, entries: Iterable[Entry], sent_before: int) -> Iterator[Violation]:
    """A sale on its way out: its row must be written by now, and it must not have been sent before."""
    if sent_before:
        yield Violation("sale_written", f"sale {order.client_order_id} is sent again")
    row = next((each for each in _requested(entries) if each.client_order_id == order.client_order_id), None)
    if row is None:
        yield Violation("sale_written", f"sale {order.client_order_id} is sent and in no row of the journal")
    elif (order.side, order.symbol, order.quantity, order.price) != ("sell", row.symbol, row.quantity, row.price):
        text = f"{order.side} {order.quantity} {order.symbol} at {order.price}"
        text += f", its row says {row.quantity} at {row.price}"
        yield Violation("sale_written", f"sale {order.client_order_id} is {text}")


def sale_violations(
    venue: Venue, entries: Iterable[Entry], config: CashConfig, desk_number: int
) -> Iterator[Violation]:
    """What was sold so far: within the cap, at no worse than was decided, and nothing of what is kept or a trade's.

    A sale counts by the price by which it was decided, or by less if it traded for less.
    """
    if config.mode == "off":
        return
    rows = {row.client_order_id: row for row in _requested(entries)}
    counted: list[tuple[int, Decimal]] = []
    sold = ZERO
    for fill in _own(venue):
        row = rows.get(fill.client_order_id or 0)
        if row is None:
            continue
        sold += fill.quantity
        if fill.price < row.price:
            text = f"sale {row.client_order_id} traded at {fill.price}, below its {row.price}"
            yield Violation("sales_within_bounds", text)
        counted.append((fill.at_ns, fill.quantity * min(fill.price, row.reserved_usd / row.quantity)))
        within = sum((usd for at_ns, usd in counted if at_ns > fill.at_ns - _DAY_NS), ZERO)
        if within > config.cap_usd:
            text = f"{within:.2f} USD were sold within 24 hours, {config.cap_usd} may be"
            yield Violation("sales_within_bounds", text)
    there = venue.config.accounts[0].initial_assets.get(config.asset, ZERO) + _left_by_trades(venue, desk_number)
    if sold > max(ZERO, there - config.keep):
        text = f"{sold} {config.asset} of {there} were sold, {config.keep} are to be kept"
        yield Violation("sales_within_bounds", text)


def unkept_minimum(venue: Venue, config: CashConfig) -> Iterator[Violation]:
    """Too few USDT although cap and coins allow another sale."""
    if config.mode == "off":
        return
    usdt = venue.exchange.account_summary(venue.account_id).cash
    cap_left = config.cap_usd - sum((fill.quantity * fill.price for fill in _own(venue)), ZERO)
    book = venue.exchange.spot.order_book(config.symbol, 1)
    assert book is not None, config.symbol
    claimed = sum((order.remaining for order in venue.exchange.spot.open_orders(venue.account_id)), ZERO)
    free_usd = (venue.cash.coins(config.asset) - claimed - config.keep) * (book.bids[0].price if book.bids else ZERO)
    if usdt < config.minimum_usdt and min(cap_left, free_usd) >= config.min_sale_usd * _MARGIN:
        left = f"{cap_left:.2f} USD of the cap and {free_usd:.2f} of coins left"
        yield Violation("minimum_kept", f"{usdt} USDT of {config.minimum_usdt}, with {left}")


def unknown_sales(venue: Venue, book: Book, config: CashConfig) -> Iterator[Violation]:
    """Sales whose end is not known as it was at the venue."""
    if config.mode == "off":
        return
    by_number: dict[int, list[ex.Fill]] = {}
    for fill in _own(venue):
        by_number.setdefault(fill.client_order_id or 0, []).append(fill)
    for number in by_number.keys() - book.cash.sales.keys():
        yield Violation("sales_known", f"the venue sold by order {number}, which the journal does not know")
    for number, sale in book.cash.sales.items():
        fills = by_number.get(number, [])
        if not sale.is_final:
            yield Violation("sales_known", f"sale {number} is still {sale.state}: {sale.reason}")
            continue
        quantity = sum((fill.quantity for fill in fills), ZERO)
        value = sum((fill.quantity * fill.price for fill in fills), ZERO)
        fee = sum((fill.fee for fill in fills), ZERO)
        told = sale.filled_quantity * (sale.average_price or ZERO)
        if sale.filled_quantity != quantity or abs(told - value) > _ROUNDED * quantity:
            text = f"{sale.filled_quantity} for {told}, the venue {quantity} for {value}"
            yield Violation("sales_known", f"sale {number} sold {text}")
        if fills and sale.fee_usd != fee:
            yield Violation("sales_known", f"sale {number} paid {sale.fee_usd}, the venue took {fee}")


def untrue_sales(entries: Iterable[Entry], venue: Venue) -> Iterator[Violation]:
    """Sales that were given up as refused or never placed, and that the venue had all the same."""
    for entry in entries:
        row = entry.row
        if not isinstance(row, CashSaleMoved) or row.state not in ("REFUSED", "NEVER_PLACED"):
            continue
        if venue.cash.order(row.client_order_id) is not None:
            yield Violation("outcome_true", f"sale {row.client_order_id} counted as {row.state}, the venue had it")


def _requested(entries: Iterable[Entry]) -> Iterator[CashSaleRequested]:
    return (entry.row for entry in entries if isinstance(entry.row, CashSaleRequested))


def _left_by_trades(venue: Venue, desk_number: int) -> Decimal:
    """What trades at most leave the account of coins: less than one lot for each leg."""
    lots = (
        found[1].min_quantity
        for symbol in {fill.symbol for fill in venue.cash.fills_of_trades()}
        if (found := venue.exchange.spot.find(symbol)) is not None
    )
    return max(lots, default=ZERO) * len(coins_of_trades(venue, desk_number))


def _own(venue: Venue) -> list[ex.Fill]:
    return [fill for fill in venue.cash.fills() if fill.order_id not in venue.cash.foreign]
