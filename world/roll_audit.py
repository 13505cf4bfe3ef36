"""Promises of rolls: one successor, once the trade has ended, within the net limit; no roll is left undecided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from services.execution import rows as execution_rows
from services.execution.book import Book
from services.execution.views import trade_update
from services.strategy import rows as host_rows
from shared.messages.steps import Entry
from shared.messages.trades import FINAL_TRADE_STATES
from world.violations import Violation

ZERO = Decimal(0)
_ROUNDED = Decimal("0.001")
"""Average prices in messages are rounded to a millionth."""


def succession_violations(entries: Iterable[Entry]) -> Iterator[Violation]:
    """Trades with two successors, and successors that were begun while their predecessor was not over.

    entries: of execution's journal.
    """
    states: dict[str, str] = {}
    successors: dict[str, str] = {}
    for entry in entries:
        match entry.row:
            case execution_rows.TradeMoved(trade_id=trade_id, state=state):
                states[trade_id] = state
            case execution_rows.TradeRequested(trade_id=trade_id, request=request) if request.rolled_from:
                earlier = request.rolled_from
                if earlier in successors:
                    text = f"{earlier} was rolled to {successors[earlier]} and to {trade_id}"
                    yield Violation("rolled_once", text)
                if states.get(earlier) not in FINAL_TRADE_STATES:
                    yield Violation("rolled_once", f"{trade_id} was begun while {earlier} was {states.get(earlier)}")
                successors[earlier] = trade_id
            case _:
                pass


def net_limit_violations(book: Book, host_entries: Iterable[Entry]) -> Iterator[Violation]:
    """Rolls whose close and opening cost more together than was allowed. host_entries: of the host's journal."""
    limits: dict[str, Decimal] = {}
    for entry in host_entries:
        match entry.row:
            case host_rows.RollBegun(trade_id=trade_id, net_limit_usd=limit_usd):
                limits[trade_id] = Decimal(str(limit_usd))
            case host_rows.RollOpening(trade_id=trade_id):
                closed = book.trades.get(trade_id)
                successor = None if closed is None else book.trades.get(closed.rolled_to)
                if closed is None or successor is None or successor.opened_ns is None:
                    continue
                opening_usd = sum((leg.sign * leg.opened_cash for leg in successor.legs), ZERO)
                # by the fills of the book, whatever execution and host told one another
                cost_usd = sum((leg.sign * (leg.trimmed_cash - leg.closed_cash) for leg in closed.legs), ZERO)
                if cost_usd + opening_usd > limits[trade_id] + _ROUNDED:
                    text = (
                        f"{trade_id} was closed for {cost_usd} and {successor.trade_id} opened for {opening_usd}, "
                        f"past the net limit of {limits[trade_id]}"
                    )
                    yield Violation("net_limit_kept", text)
            case _:
                pass


def chain_violations(book: Book, account_id: str) -> Iterator[Violation]:
    """Chains whose P&L is not the sum of that of their trades, by their own fills and fees."""
    for trade in book.trades.values():
        total, place, number = ZERO, trade, 0
        while True:
            total += sum((leg.realized_pnl_usd for leg in place.legs), ZERO) - place.fees_usd
            total -= place.funding_usd
            if place.request.rolled_from not in book.trades:
                break
            place, number = book.trades[place.request.rolled_from], number + 1
        told = trade_update(trade, book, account_id)
        if abs(told.chain_pnl_usd - total) > _ROUNDED:
            yield Violation("chain_sums", f"{trade.trade_id} tells of {told.chain_pnl_usd} USD, its chain of {total}")
        place_told = (place.trade_id, 0) if told.roll is None else (told.roll.chain_id, told.roll.number)
        if place_told != (place.trade_id, number):
            yield Violation("chain_sums", f"{trade.trade_id} is at {place_told} of its chain, not {number}")


def undecided_rolls(host_entries: Iterable[Entry]) -> Iterator[Violation]:
    """Rolls that were begun and of which nothing was said any more."""
    begun: dict[str, str] = {}
    for entry in host_entries:
        match entry.row:
            case host_rows.RollBegun(strategy=strategy, trade_id=trade_id):
                if strategy in begun:
                    yield Violation("roll_ends", f"{strategy} rolls {trade_id} before {begun[strategy]} was done")
                begun[strategy] = trade_id
            case host_rows.RollEnded(strategy=strategy):
                begun.pop(strategy, None)
            case _:
                pass
    for strategy, trade_id in begun.items():
        yield Violation("roll_ends", f"{strategy} has closed {trade_id} to roll it, and nothing came of it")
