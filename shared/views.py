"""Messages as JSON with stable keys, and as text for tables. Decimals in plain notation, times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.messages.account import AccountSnapshot, Position, PositionGreeks
from shared.messages.alerts import AlertList, AlertView
from shared.messages.control import Gate, HaltState, StrategyStatus
from shared.messages.quality import LegQuality, PhaseQuality
from shared.messages.reconciliation import DifferenceList, Foreign, ForeignPosition, FoundDifference
from shared.messages.smart import ChunkProgress
from shared.messages.trades import OrderUpdate, TradeStory, TradeUpdate

NS_PER_S = 1_000_000_000


def plain(value: Decimal | None) -> str | None:
    """A decimal without exponent."""
    return None if value is None else format(value, "f")


def iso(ns: int | None) -> str | None:
    """ISO-8601 in UTC with milliseconds and Z."""
    if ns is None:
        return None
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def clock_text(ns: int | None) -> str:
    """Month, day and time of day in UTC, for tables."""
    return "-" if ns is None else f"{datetime.fromtimestamp(ns // NS_PER_S, UTC):%m-%d %H:%M:%S}"


def since_text(seconds: float) -> str:
    """Time since a beginning: milliseconds in the first minute, tenths in the first hour, then two units."""
    if seconds < 59.9995:
        return f"{seconds:.3f}s"
    tenths = round(seconds * 10)
    return f"{tenths // 600}m{tenths % 600 / 10:04.1f}s" if tenths < 36_000 else duration_text(seconds)


def duration_text(seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes}m{int(seconds) % 60:02d}s"
    hours = minutes // 60
    return f"{hours}h{minutes % 60:02d}m" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"


def money_text(value: Decimal | float | None) -> str:
    """USD with two decimals."""
    return "-" if value is None else f"{value:,.2f}"


def price_text(value: Decimal | None) -> str:
    """A price with at most four decimals; averages have more."""
    return "-" if value is None else format(round(value, 4).normalize(), "f")


def order_price_text(order: OrderUpdate) -> str:
    """Its limit; of a stop order its trigger and, after that, its limit or "market"."""
    if order.trigger_price is None:
        return price_text(order.price)
    return f"stop {price_text(order.trigger_price)}, {'market' if order.at_market else price_text(order.price)}"


def order_name(order: OrderUpdate) -> str:
    """The order's short name in its trade, "leg.purpose.attempt": 0.open.1 is the second opening order of leg 0."""
    return f"{order.leg_index}.{order.purpose}.{order.attempt}"


def pnl_before_fees_usd(trade: TradeUpdate, marks: Mapping[str, float]) -> float | None:
    """Realised P&L, and what the trade still holds on mark (USD per unit by symbol); None while a mark is missing."""
    pnl_usd = float(trade.realized_pnl_usd)
    for leg in trade.legs:
        held = float(leg.held_quantity) * (1 if leg.side == "buy" else -1)
        if held:
            mark = marks.get(leg.symbol)
            if mark is None or leg.open_price is None:
                return None
            pnl_usd += held * (mark - float(leg.open_price))
    return pnl_usd


def trade_json(trade: TradeUpdate) -> dict[str, Any]:
    return {
        "trade_id": trade.trade_id,
        "account_id": trade.account_id,
        "strategy": trade.strategy,
        "state": trade.state,
        "reason": trade.reason,
        "legs": [
            {
                "symbol": leg.symbol,
                "side": leg.side,
                "qty": plain(leg.quantity),
                "filled_qty": plain(leg.filled_quantity),
                "held_qty": plain(leg.held_quantity),
                "open_price": plain(leg.open_price),
                "close_price": plain(leg.close_price),
            }
            for leg in trade.legs
        ],
        "opened_at": iso(trade.opened_ns),
        "closed_at": iso(trade.closed_ns),
        "realized_pnl": plain(trade.realized_pnl_usd),
        "fees": plain(trade.fees_usd),
        "funding": plain(trade.funding_usd),
        "execution_mode": trade.execution_mode,
        "mode_choice": _choice_json(trade),
        "opening_chunks": _chunks_json(trade.opening_chunks),
        "closing_chunks": _chunks_json(trade.closing_chunks),
        "if_broken": trade.if_broken,
        "roll": _roll_json(trade),
        "rolled_to": trade.rolled_to or None,
    }


def _roll_json(trade: TradeUpdate) -> dict[str, Any] | None:
    """Its place in a chain of rolls; `chain_pnl`: realised with this trade, after fees and funding."""
    link = trade.roll
    if link is None:
        return None
    return {
        "chain_id": link.chain_id,
        "number": link.number,
        "rolled_from": link.rolled_from,
        "chain_pnl": plain(trade.chain_pnl_usd),
    }


def _chunks_json(progress: ChunkProgress | None) -> dict[str, int] | None:
    if progress is None:
        return None
    return {"planned": progress.planned, "completed": progress.completed, "crossings": progress.crossings}


def _choice_json(trade: TradeUpdate) -> dict[str, Any] | None:
    """Why this mode, what each was expected to cost in all, and what the opening did cost; USD, paid > 0."""
    choice, cost = trade.choice, trade.opening_cost
    if choice is None:
        return None
    return {
        "mode": choice.mode,
        "reason": choice.reason,
        "expected_cost": {each.mode: each.total_usd for each in choice.costs if not each.infeasible},
        "infeasible": {each.mode: each.infeasible for each in choice.costs if each.infeasible},
        "opening_cost": None if cost is None else cost.actual_usd,
        "opening_expected": None if cost is None else cost.expected_usd,
    }


def order_json(order: OrderUpdate) -> dict[str, Any]:
    """Ids are text: they have more digits than a JSON number carries exactly in many languages."""
    return {
        "order_id": str(order.client_order_id),
        "venue_order_id": None if order.venue_order_id is None else str(order.venue_order_id),
        "account_id": order.account_id,
        "trade_id": order.trade_id,
        "leg": order.leg_index,
        "purpose": order.purpose,
        "symbol": order.symbol,
        "side": order.side,
        "qty": plain(order.quantity),
        "price": plain(order.price),
        "trigger_price": plain(order.trigger_price),
        "at_market": order.at_market,
        "waits": order.waits,
        "amend_price": plain(order.amend_price),
        "amends": order.amends,
        "filled_qty": plain(order.filled_quantity),
        "average_price": plain(order.average_price),
        "state": order.state,
        "reason": order.reason,
        "reduce_only": order.reduce_only,
        "created_at": iso(order.created_ns),
        "updated_at": iso(order.updated_ns),
    }


def story_json(story: TradeStory) -> dict[str, Any]:
    return {
        "trade": trade_json(story.trade),
        "orders": [order_json(order) for order in story.orders],
        "story": [
            {"at": iso(line.at_ns), "kind": line.kind, "text": line.text, "cause_id": line.cause_id}
            for line in story.lines
        ],
        "quality": [quality_json(each) for each in story.quality],
    }


def quality_json(each: PhaseQuality) -> dict[str, Any]:
    return {
        "phase": each.phase,
        "mode": each.mode,
        "began_at": iso(each.began_ns),
        "filled_usd": plain(each.filled_usd),
        "premium_usd": plain(each.premium_usd),
        "slippage_usd": plain(each.slippage_usd),
        "slippage_bp": each.slippage_bp,
        "improvement_usd": plain(each.improvement_usd),
        "orders": each.orders,
        "chunks": each.chunks,
        "time_to_fill_s": each.time_to_fill_s,
        "maker_share": each.maker_share,
        "fees_usd": plain(each.fees_usd),
        "naked_s": each.naked_s,
        "naked_delta_s": each.naked_delta_s,
        "legs": [_leg_json(leg) for leg in each.legs],
    }


def _leg_json(leg: LegQuality) -> dict[str, Any]:
    return {
        "symbol": leg.symbol,
        "side": leg.side,
        "qty": plain(leg.quantity),
        "average_price": plain(leg.average_price),
        "arrival_mid": leg.arrival_mid,
        "decision_price": leg.decision_price,
        "slippage_usd": plain(leg.slippage_usd),
        "slippage_bp": leg.slippage_bp,
        "improvement_usd": plain(leg.improvement_usd),
        "orders": leg.orders,
        "time_to_fill_s": leg.time_to_fill_s,
        "maker_share": leg.maker_share,
        "fees_usd": plain(leg.fees_usd),
    }


def differences_json(answer: DifferenceList) -> dict[str, Any]:
    return {
        "compared_at": iso(answer.compared_ns or None),
        "unconfirmed": list(answer.unconfirmed),
        "differences": [_difference_json(found) for found in answer.differences],
    }


def foreign_text(found: Foreign) -> str:
    """A position (short < 0) or an open order that is no trade's, in a few words."""
    if isinstance(found, ForeignPosition):
        return f"{found.quantity:+f} {found.symbol}"
    return f"order {found.venue_order_id} to {found.side} {found.quantity:f} {found.symbol} at {found.price:f}"


def _difference_json(found: FoundDifference) -> dict[str, Any]:
    difference = found.difference
    return {
        "kind": difference.kind,
        "symbol": difference.symbol,
        "trade_id": difference.trade,
        "qty": plain(getattr(difference, "quantity", None)),
        "detail": difference.detail,
        "done": difference.done,
        "trigger": found.trigger,
        "found_at": iso(found.found_ns),
        "stands": found.stands,
        "ended_at": iso(found.ended_ns),
    }


def greeks_json(greeks: PositionGreeks | None) -> dict[str, float] | None:
    if greeks is None:
        return None
    return {
        "delta": greeks.delta,
        "gamma": greeks.gamma,
        "vega": greeks.vega,
        "theta": greeks.theta,
        "rho": greeks.rho,
    }


def position_json(position: Position) -> dict[str, Any]:
    return {
        "symbol": position.symbol,
        "underlying": position.underlying,
        "qty": plain(position.quantity),
        "average_price": plain(position.average_price),
        "mark": position.mark,
        "unrealized_pnl_usd": position.unrealized_pnl_usd,
        "greeks": greeks_json(position.greeks),
        "venue_delta": position.venue_delta,
    }


def account_json(account: AccountSnapshot) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "received_at": iso(account.received_ns),
        "equity_usd": plain(account.equity_usd),
        "peak_equity_usd": plain(account.peak_equity_usd),
        "available_margin_usd": plain(account.available_margin_usd),
        "initial_margin_usd": plain(account.initial_margin_usd),
        "maintenance_margin_usd": plain(account.maintenance_margin_usd),
        "unrealized_pnl_usd": plain(account.unrealized_pnl_usd),
        "holdings": {asset: plain(amount) for asset, amount in sorted(account.balances.items())},
        "outstanding_grants": account.outstanding_grants,
        "outstanding_margin_usd": account.outstanding_margin_usd,
        "greeks": {underlying: greeks_json(greeks) for underlying, greeks in account.greeks.items()},
        "greeks_complete": account.greeks_complete,
        "positions": len(account.positions),
    }


def alert_json(alert: AlertView) -> dict[str, Any]:
    return {
        "id": alert.alert_id,
        "code": alert.code,
        "severity": alert.severity,
        "subject": alert.subject,
        "text": alert.text,
        "service": alert.service,
        "since": iso(alert.first_ns),
        "last_raised_at": iso(alert.last_ns),
        "count": alert.count,
        "open": alert.is_open,
        "notice": alert.is_notice,
        "acknowledged_by": alert.acknowledged_by or None,
    }


def alerts_json(answer: AlertList) -> dict[str, Any]:
    channels = [
        {
            "name": channel.name,
            "via": channel.via,
            "failing_since": iso(channel.failing_since_ns),
            "reason": channel.reason or None,
            "waiting": channel.waiting,
            "delivered": channel.delivered,
        }
        for channel in answer.channels
    ]
    return {"alerts": [alert_json(alert) for alert in answer.alerts], "channels": channels}


def strategy_json(status: StrategyStatus) -> dict[str, Any]:
    return {
        "strategy": status.strategy,
        "state": status.state,
        "reason": status.reason,
        "gates": [gate_json(gate) for gate in status.gates],
        "exits": [
            {
                "trade_id": trade.trade_id,
                "state": trade.state,
                "closing": trade.closing or None,
                "conditions": [gate_json(gate) for gate in trade.conditions],
                "hard_deadline": iso(trade.hard_deadline_ns),
            }
            for trade in status.exits
        ],
        "trades_today": status.trades_today,
        "open_trades": status.open_trades,
        "if_broken": status.if_broken,
        "parameters": status.parameters,
        "dry_run": None
        if status.dry_run is None
        else {
            "open": status.dry_run.open,
            "closed": status.dry_run.closed,
            "net_usd": plain(status.dry_run.net_usd),
            "open_pnl_usd": status.dry_run.open_pnl_usd,
        },
        "last_closed_at": iso(status.last_closed_ns),
        "signals_generated": status.signals_generated,
        "signals_executed": status.signals_executed,
        "updated_at": iso(status.updated_ns),
    }


def gate_json(gate: Gate) -> dict[str, Any]:
    """Of an entry `open` means that it may be entered, of an exit that the trade must be closed."""
    return {"name": gate.name, "open": gate.open, "reason": gate.reason, "since": iso(gate.since_ns)}


def halts_json(state: HaltState) -> dict[str, Any]:
    return {
        "account": state.account_id,
        "halt_epoch": state.halt_epoch,
        "halts": [
            {
                "level": halt.level,
                "reason": halt.reason,
                "raised_by": halt.raised_by,
                "raised_at": iso(halt.raised_ns),
            }
            for halt in state.halts
        ],
    }
