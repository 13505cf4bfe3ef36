"""Execution quality and what makers quoted, as JSON with stable keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from shared.messages.base import Side
from shared.messages.inquiries import SideQuotes, StructureQuotes
from shared.messages.quote_requests import QuoteRequest
from shared.tca import CostRow
from shared.views import iso, plain

DIRECTIONS: dict[Side, str] = {"buy": "as given", "sell": "opposite"}
"""Words of their own: "buy" would say the wrong thing of a structure that sells."""


def quotes_json(answer: StructureQuotes) -> dict[str, Any]:
    return {
        "inquiry_id": answer.inquiry_id,
        "account_id": answer.account_id,
        "request_id": answer.request_id,
        "requested_by": answer.requested_by,
        "asked_at": iso(answer.asked_ns),
        "answered_at": iso(answer.answered_ns),
        "reason": answer.reason,
        "legs": [{"side": leg.side, "qty": plain(leg.quantity), "symbol": leg.symbol} for leg in answer.legs],
        "sides": [_side_json(side) for side in answer.sides],
        "unusable_quotes": answer.unusable,
    }


def _side_json(side: SideQuotes) -> dict[str, Any]:
    return {
        "direction": _direction(side.action),
        "mark_cost": _round(side.mark_cost_usd),
        "book_cost": _round(side.book_cost_usd),
        "shallow": list(side.shallow),
        "quotes": [
            {
                "quote_id": quote.quote_id,
                "cost": _round(quote.cost_usd),
                "improvement": _round(quote.improvement_usd),
                "improvement_pct": _round(quote.improvement_pct),
                "basis": quote.basis,
                "over_mark": _round(quote.over_mark_usd),
                "over_mark_pct": _round(quote.over_mark_pct),
                "prices": [plain(price) for price in quote.prices],
                "expires_at": iso(quote.expiry_ns),
            }
            for quote in side.quotes
        ],
    }


def quote_request_json(request: QuoteRequest) -> dict[str, Any]:
    return {
        "rfq_id": request.rfq_id,
        "request_id": request.request_id or None,
        "trade_id": request.trade_id or None,
        "asked_by": request.asked_by,
        "purpose": request.purpose,
        "state": request.state,
        "reason": request.reason,
        "legs": [{"side": leg.side, "qty": plain(leg.quantity), "symbol": leg.symbol} for leg in request.legs],
        "wanted": _direction(request.wanted),
        "asked_at": iso(request.asked_ns),
        "judged_at": iso(request.judged_ns),
        "ends_at": iso(request.ends_ns),
        "collecting": request.is_collecting,
        "chosen": request.chosen or None,
        "costs": [
            {
                "direction": _direction(cost.direction),
                "book_cost_usd": _round(cost.book_cost_usd),
                "mark_cost_usd": _round(cost.mark_cost_usd),
                "shallow": list(cost.shallow),
            }
            for cost in request.costs
        ],
        "quotes": [
            {
                "quote_id": quote.quote_id,
                "direction": _direction(quote.direction),
                "cost_usd": _round(quote.cost_usd),
                "improvement_usd": _round(quote.improvement_usd),
                "improvement_pct": _round(quote.improvement_pct),
                "over_mark_pct": _round(quote.over_mark_pct),
                "verdict": quote.verdict,
                "prices": [plain(price) for price in quote.prices],
                "expires_at": iso(quote.expiry_ns),
            }
            for quote in request.quotes
        ],
    }


def _direction(side: Side | None) -> str | None:
    return None if side is None else DIRECTIONS[side].replace(" ", "_")


def _round(value: float | None) -> float | None:
    """Without the noise of binary fractions."""
    return None if value is None else round(value, 6)


def cost_row_json(row: CostRow) -> dict[str, Any]:
    return {
        "group": row.group,
        "phase": row.phase,
        "trades": row.trades,
        "measured": row.measured,
        "slippage_usd": _usd(row.slippage_usd),
        "slippage_bp": row.slippage_bp,
        "improvement_usd": _usd(row.improvement_usd),
        "fill_p50_s": row.fill_p50_s,
        "fill_p90_s": row.fill_p90_s,
        "maker_share": row.maker_share,
        "fees_usd": _usd(row.fees_usd),
        "orders_per_trade": row.orders,
        "naked_s": row.naked_s,
        "naked_delta_s": row.naked_delta_s,
    }


def _usd(value: Decimal | None) -> str | None:
    return None if value is None else plain(round(value, 6).normalize())
