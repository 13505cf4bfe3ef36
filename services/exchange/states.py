"""The states of orders, requests for quote and quotes, and what moves them on. What is not here cannot happen."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from services.exchange.model import OrderState
from services.exchange.rfq_model import QuoteState, RequestState


class OrderChange(Enum):
    AMENDED = "amended"
    PARTLY_FILLED = "partly filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    EXPIRED = "expired"
    TRIGGERED = "triggered"


_NEW, _PARTIAL, _WAITING = OrderState.NEW, OrderState.PARTIALLY_FILLED, OrderState.WAITING

TRANSITIONS: Mapping[tuple[OrderState, OrderChange], OrderState] = MappingProxyType(
    {
        (_WAITING, OrderChange.AMENDED): _WAITING,
        (_WAITING, OrderChange.TRIGGERED): _NEW,
        (_WAITING, OrderChange.CANCELLED): OrderState.CANCELLED,
        (_WAITING, OrderChange.REFUSED): OrderState.INVALID,
        (_WAITING, OrderChange.EXPIRED): OrderState.CANCELLED_BY_EXERCISE,
        (_NEW, OrderChange.AMENDED): _NEW,
        (_NEW, OrderChange.PARTLY_FILLED): _PARTIAL,
        (_NEW, OrderChange.FILLED): OrderState.FILLED,
        (_NEW, OrderChange.CANCELLED): OrderState.CANCELLED,
        (_NEW, OrderChange.REFUSED): OrderState.INVALID,
        (_NEW, OrderChange.EXPIRED): OrderState.CANCELLED_BY_EXERCISE,
        (_PARTIAL, OrderChange.AMENDED): _PARTIAL,
        (_PARTIAL, OrderChange.PARTLY_FILLED): _PARTIAL,
        (_PARTIAL, OrderChange.FILLED): OrderState.FILLED,
        (_PARTIAL, OrderChange.CANCELLED): OrderState.CANCELLED,
        (_PARTIAL, OrderChange.EXPIRED): OrderState.CANCELLED_BY_EXERCISE,
    }
)

# The change that brings an order into a final state without a further fill.
CLOSING_CHANGE: Mapping[OrderState, OrderChange] = MappingProxyType(
    {
        OrderState.FILLED: OrderChange.FILLED,
        OrderState.CANCELLED: OrderChange.CANCELLED,
        OrderState.INVALID: OrderChange.REFUSED,
        OrderState.CANCELLED_BY_EXERCISE: OrderChange.EXPIRED,
    }
)


def next_state(state: OrderState, change: OrderChange) -> OrderState:
    """The state after `change`. A change that the table lacks is our bug, hence an AssertionError."""
    result = TRANSITIONS.get((state, change))
    assert result is not None, f"an order that is {state.name} cannot be {change.value}"
    return result


# Both have one state that is not final: how it may end, and by what.
REQUEST_ENDS: Mapping[RequestState, str] = MappingProxyType(
    {
        RequestState.CANCELLED: "cancelled by its taker",
        RequestState.FILLED: "a quote was accepted",
        RequestState.EXPIRED: "its life is over, or trading in a leg has stopped",
    }
)
QUOTE_ENDS: Mapping[QuoteState, str] = MappingProxyType(
    {
        QuoteState.CANCELLED: "cancelled by its maker, or its request ended",
        QuoteState.FILLED: "accepted",
        QuoteState.EXPIRED: "its life is over",
    }
)


def assert_ends(state: RequestState | QuoteState, end: RequestState | QuoteState) -> None:
    """An ending that the tables lack is our bug, hence an AssertionError."""
    is_open = state in (RequestState.ACTIVE, QuoteState.OPEN)
    assert is_open, f"what is {state.name} cannot become {end.name}"
    assert end in REQUEST_ENDS or end in QUOTE_ENDS, f"nothing ends {end.name}"
