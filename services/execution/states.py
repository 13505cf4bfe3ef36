"""The life of trades, orders and requests for quote, as data. The docs' diagrams are drawn from these tables."""

from __future__ import annotations

from shared.messages.rfq import FINAL_RFQ_STATES, RfqState
from shared.messages.trades import FINAL_ORDER_STATES, FINAL_TRADE_STATES, OrderState, TradeState

TRADE_TRANSITIONS: dict[TradeState, dict[TradeState, str]] = {
    "PENDING_OPEN": {
        "OPENING": "the first opening order or request for quote is sent",
        "PENDING_CLOSE": "a close is asked for before anything was sent",
        "FAILED": "opening was stopped before anything was sent",
    },
    "OPENING": {
        "OPEN": "all legs are filled",
        "PARTIALLY_OPEN": "best effort: opening ended with some of it filled",
        "UNWINDING": "atomic: opening cannot complete; or a halt or a silent risk service voided the grant",
        "PENDING_CLOSE": "a close is asked for while opening",
        "FAILED": "opening ended with nothing filled",
        "SETTLING": "all that is held has expired",
    },
    "OPEN": {
        "PENDING_CLOSE": "a close is asked for",
        "BROKEN": "a leg was closed, liquidated or expired from outside",
        "SETTLING": "all that is held has expired",
    },
    "PARTIALLY_OPEN": {
        "PENDING_CLOSE": "a close is asked for",
        "BROKEN": "a leg was closed, liquidated or expired from outside",
        "SETTLING": "all that is held has expired",
    },
    "PENDING_CLOSE": {
        "CLOSING": "no opening order is left and the venue is known",
        "CLOSED": "nothing is left to close",
        "FAILED": "nothing was ever filled",
        "BROKEN": "opening orders cannot be resolved, or a leg is gone from outside",
        "SETTLING": "all that is held has expired",
    },
    "CLOSING": {
        "CLOSED": "nothing is held",
        "BROKEN": "the close used up its attempts, or a leg is gone from outside",
        "SETTLING": "all that is held has expired",
    },
    "UNWINDING": {
        "FAILED": "nothing is held",
        "BROKEN": "the unwinding used up its attempts, or a leg is gone from outside",
        "SETTLING": "all that is held has expired",
    },
    "BROKEN": {
        "CLOSED": "what was left is closed",
        "SETTLING": "all that is held has expired",
    },
    "SETTLING": {
        "SETTLED": "the venue settled all that was held",
        "BROKEN": "a leg that has not expired is held after all",
    },
    "SETTLED": {"BROKEN": "a late fill came"},
    "CLOSED": {"BROKEN": "a late fill came"},
    "FAILED": {"BROKEN": "a late fill came"},
}
"""From a state to each state that may follow, and when. A final state is left only because a fill came late."""

ORDER_TRANSITIONS: dict[OrderState, dict[OrderState, str]] = {
    "SENDING": {
        "WORKING": "acknowledged, or seen at the venue",
        "UNKNOWN": "no outcome: time-out, lost connection, restart",
        "REFUSED": "certainly not taken",
        "FILLED": "seen filled",
        "CANCELLED": "seen cancelled",
        "EXPIRED": "seen cancelled by expiry",
    },
    "UNKNOWN": {
        "WORKING": "found open at the venue",
        "REFUSED": "a late refusal: certainly not taken",
        "FILLED": "found filled",
        "CANCELLED": "found cancelled",
        "EXPIRED": "found cancelled by expiry",
        "NEVER_PLACED": "absent from query, open orders and history after the request's validity",
    },
    "WORKING": {
        "CANCELLING": "a cancel is sent",
        "FILLED": "seen filled",
        "CANCELLED": "seen cancelled, or gone from all lists",
        "EXPIRED": "seen cancelled by expiry",
    },
    "CANCELLING": {
        "WORKING": "seen open after the cancel",
        "FILLED": "filled before the cancel",
        "CANCELLED": "seen cancelled, or gone from all lists",
        "EXPIRED": "seen cancelled by expiry",
    },
    "NEVER_PLACED": {
        "WORKING": "seen at the venue after all",
        "FILLED": "seen at the venue after all",
        "CANCELLED": "seen at the venue after all",
        "EXPIRED": "seen at the venue after all",
    },
    "REFUSED": {
        "WORKING": "seen at the venue after all",
        "FILLED": "seen at the venue after all",
        "CANCELLED": "seen at the venue after all",
        "EXPIRED": "seen at the venue after all",
    },
    "FILLED": {},
    "CANCELLED": {},
    "EXPIRED": {},
}
"""UNKNOWN counts as exposure and is never sent again."""

RFQ_TRANSITIONS: dict[RfqState, dict[RfqState, str]] = {
    "REQUESTING": {
        "COLLECTING": "the venue took the request",
        "UNKNOWN": "no outcome: time-out, lost connection, restart",
        "REFUSED": "certainly not taken",
    },
    "UNKNOWN": {
        "CANCELLING": "found at the venue: it was replaced and is withdrawn",
        "CANCELLED": "found cancelled",
        "EXPIRED": "found expired, or past any life it could have",
        "REFUSED": "a late refusal: certainly not taken",
        "ABSENT": "absent from the venue's list after the request's validity",
    },
    "COLLECTING": {
        "ACCEPTING": "a quote is taken",
        "CANCELLING": "no quote is taken, or the trade does not want it any more",
        "CANCELLED": "seen cancelled",
        "EXPIRED": "its time is over",
    },
    "ACCEPTING": {
        "FILLED": "all executions of the quote are known",
        "ACCEPT_UNKNOWN": "no outcome: time-out, lost connection, restart; or executions are missing",
        "CANCELLING": "the accept was certainly refused",
    },
    "ACCEPT_UNKNOWN": {
        "FILLED": "all executions of the quote are known",
        "CANCELLING": "certainly not executed; the request is withdrawn",
        "CANCELLED": "certainly not executed; the request is gone",
    },
    "CANCELLING": {
        "CANCELLED": "the cancel is acknowledged, or the request is gone",
        "EXPIRED": "its time is over",
        "FILLED": "executed after all",
    },
    "REFUSED": {},
    "ABSENT": {"CANCELLING": "seen at the venue after all"},
    "CANCELLED": {"FILLED": "executed after all"},
    "EXPIRED": {"FILLED": "executed after all"},
    "FILLED": {},
}
"""ACCEPT_UNKNOWN counts as exposure: no fallback and no second accept before the venue has given evidence."""

OPENING_STATES: frozenset[str] = frozenset({"PENDING_OPEN", "OPENING"})
HOLDING_STATES: frozenset[str] = frozenset({"OPEN", "PARTIALLY_OPEN"})


def trade_may_move(source: TradeState, target: TradeState) -> bool:
    return target in TRADE_TRANSITIONS[source]


def order_may_move(source: OrderState, target: OrderState) -> bool:
    return target in ORDER_TRANSITIONS[source]


def rfq_may_move(source: RfqState, target: RfqState) -> bool:
    return target in RFQ_TRANSITIONS[source]


Table = (
    dict[TradeState, dict[TradeState, str]]
    | dict[OrderState, dict[OrderState, str]]
    | dict[RfqState, dict[RfqState, str]]
)


def diagram(table: Table) -> str:
    """The table as a Mermaid state diagram."""
    finals = FINAL_TRADE_STATES | FINAL_ORDER_STATES | FINAL_RFQ_STATES
    lines = ["stateDiagram-v2"]
    for source, targets in table.items():
        lines += [f"    {source} --> {target}: {when}" for target, when in targets.items()]
    lines += [f"    {state} --> [*]" for state in table if state in finals]
    return "\n".join(lines)
