"""The story of a trade: each row as one line that a trader reads."""

from __future__ import annotations

from services.execution import rows
from shared.messages.steps import Entry
from shared.messages.trades import StoryLine


def line_of(entry: Entry) -> StoryLine:
    """The line of a row that speaks of a trade."""
    return StoryLine(entry.at_ns, type(entry.row).__struct_config__.tag, _text(entry.row), entry.cause_id)


def _text(row: rows.Row) -> str:
    match row:
        case rows.TradeRequested():
            legs = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in row.request.legs)
            return f"intent {row.request.intent_id} accepted: {legs}; {row.execution_mode}, {row.request.policy}"
        case rows.TradeMoved():
            return f"{row.state}: {row.reason}"
        case rows.OpeningStopped():
            return f"no more opening orders: {row.reason}"
        case rows.CloseRequested():
            return f"{row.purpose} asked for by {row.requested_by}: {row.reason}"
        case rows.OrderRequested():
            kind = "reduce-only " if row.reduce_only else ""
            return (
                f"leg {row.leg_index}, {row.purpose} {row.attempt}: {kind}{row.side} {row.quantity} {row.symbol} "
                f"at {row.price} ({row.why}), order {row.client_order_id}"
            )
        case rows.OrderMoved():
            return f"order {row.client_order_id} {row.state}: {row.reason}"
        case rows.OrderSighted():
            return f"order {row.client_order_id} is {row.venue_order_id} at the venue, {row.filled_quantity} filled"
        case rows.FillSeen(fill=fill):
            fee = "fee not known yet" if fill.fee_usd is None else f"fee {fill.fee_usd} USD"
            return (
                f"order {row.client_order_id} traded {fill.quantity} at {fill.price} "
                f"({'taker' if fill.is_taker else 'maker'}, {fee}), trade {fill.venue_trade_id}"
            )
        case rows.FeeLearned():
            return f"fee of trade {row.venue_trade_id}: {row.fee_usd} USD"
        case rows.FillAssumed():
            return (
                f"order {row.client_order_id}: {row.filled_quantity} counted as filled at {row.average_price}, "
                "on the word of the order's state alone"
            )
        case rows.LegClosedOutside(venue_trade_id=int() as number):
            return (
                f"leg {row.leg_index}: {row.quantity} closed by a direct flatten at {row.price}, "
                f"fee {row.fee_usd} USD, trade {number}"
            )
        case rows.LegClosedOutside():
            return f"leg {row.leg_index}: {row.quantity} gone, by no order of ours: {row.reason}"
        case rows.LegSettled():
            return (
                f"leg {row.leg_index}: {row.quantity} settled at {row.settlement_price}, "
                f"cash flow {row.cash_flow_usd} USD, delivery fee {row.fee_usd} USD"
            )
        case _:
            return type(row).__name__
