"""Reads the ledger out of the SQL tables that are made from execution's journal; docs/journal.md describes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from shared.ledger.records import LedgerFill, LedgerLeg, LedgerTrade, PnlChange
from shared.messages.base import Side

_TRADES = """
SELECT t.trade_id, t.strategy, t.structure, t.state, t.execution_mode, t.created_ns, t.opened_ns, t.closed_ns,
  t.entry_premium_usd, t.realized_pnl_usd, t.fees_usd, t.fees_complete, t.close_reason, t.close_requested_by
FROM trades AS t WHERE t.closed_ns IS NULL OR t.closed_ns >= ? OR t.updated_ns >= ? ORDER BY t.created_ns, t.trade_id
"""
_LEGS = """
SELECT l.trade_id, l.symbol, l.side, l.quantity, l.opened_quantity, l.open_price, l.closed_quantity, l.close_price
FROM legs AS l ORDER BY l.trade_id, l.leg_index
"""
_QUALITY = "SELECT trade_id, slippage_usd FROM execution_quality"
_CHANGES = """
SELECT at_ns, trade_id, realized_pnl_usd, fees_usd, funding_usd FROM pnl_changes WHERE at_ns >= ? AND at_ns < ?
ORDER BY at_ns, sequence
"""
_FUNDING = "SELECT trade_id, funding_usd FROM pnl_changes"
_FILLS = """
SELECT venue_trade_id, client_order_id, trade_id, leg_index, purpose, symbol, side, quantity, price, fee_usd,
  is_taker, venue_ns FROM fills WHERE venue_ns >= ? ORDER BY venue_ns, sequence
"""
_EVER_NS = 1 << 62


class LedgerTables:
    """The tables' file, opened for each question. Raises sqlite3.Error when it is missing or cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def trades(self, since_ns: int = 0) -> list[LedgerTrade]:
        """Trades that were open at `since_ns` or later, oldest first."""
        with closing(self._open()) as db:
            found = db.execute(_TRADES, (since_ns, since_ns)).fetchall()
            legs = _by_trade((row[0], _leg(row[1:])) for row in db.execute(_LEGS))
            slippage = _by_trade((trade_id, _amount(usd)) for trade_id, usd in db.execute(_QUALITY))
            funding = _by_trade((trade_id, Decimal(usd)) for trade_id, usd in db.execute(_FUNDING))
        return [
            LedgerTrade(
                trade_id=row[0],
                strategy=row[1],
                structure=row[2],
                state=row[3],
                execution_mode=row[4],
                created_ns=row[5],
                opened_ns=row[6],
                closed_ns=row[7],
                legs=tuple(legs.get(row[0], ())),
                entry_premium_usd=Decimal(row[8]),
                realized_pnl_usd=Decimal(row[9]),
                fees_usd=Decimal(row[10]),
                fees_complete=bool(row[11]),
                funding_usd=sum(funding.get(row[0], ()), Decimal(0)),
                slippage_usd=_sum_of_known(slippage.get(row[0], ())),
                close_reason=row[12] or "",
                close_requested_by=row[13] or "",
            )
            for row in found
        ]

    def changes(self, since_ns: int = 0, until_ns: int = _EVER_NS) -> list[PnlChange]:
        """Every change of P&L and fees in [since_ns, until_ns), oldest first."""
        with closing(self._open()) as db:
            return [
                PnlChange(
                    at_ns=at_ns,
                    trade_id=trade_id,
                    realized_pnl_usd=Decimal(realized),
                    fees_usd=Decimal(fees),
                    funding_usd=Decimal(funding),
                )
                for at_ns, trade_id, realized, fees, funding in db.execute(_CHANGES, (since_ns, until_ns))
            ]

    def fills(self, since_ns: int = 0) -> list[LedgerFill]:
        """Every execution since then, oldest first."""
        with closing(self._open()) as db:
            return [
                LedgerFill(
                    venue_trade_id=row[0],
                    client_order_id=row[1],
                    trade_id=row[2],
                    leg_index=row[3],
                    purpose=row[4],
                    symbol=row[5],
                    side=cast(Side, row[6]),
                    quantity=Decimal(row[7]),
                    price=Decimal(row[8]),
                    fee_usd=_amount(row[9]),
                    is_taker=bool(row[10]),
                    venue_ns=row[11],
                )
                for row in db.execute(_FILLS, (since_ns,))
            ]

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5, isolation_level=None)
        db.execute("PRAGMA query_only=ON")
        return db


def _leg(row: tuple[Any, ...]) -> LedgerLeg:
    symbol, side, quantity, opened, open_price, closed, close_price = row
    return LedgerLeg(
        symbol=symbol,
        side=cast(Side, side),
        quantity=Decimal(quantity),
        opened_quantity=Decimal(opened),
        open_price=_amount(open_price),
        closed_quantity=Decimal(closed),
        close_price=_amount(close_price),
    )


def _by_trade(pairs: Iterator[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for trade_id, each in pairs:
        found.setdefault(trade_id, []).append(each)
    return found


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _sum_of_known(amounts: list[Decimal | None] | tuple[()]) -> Decimal | None:
    """None of nothing, and while one of them is not known: a part would look like the whole."""
    if not amounts or any(amount is None for amount in amounts):
        return None
    return sum((amount for amount in amounts if amount is not None), Decimal(0))
