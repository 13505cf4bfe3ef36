"""All that the core reports to be pushed."""

from services.exchange.model import (
    AccountEvent,
    FuturesPositionEvent,
    InstrumentsEvent,
    MarketTradeEvent,
    OrderEvent,
    PositionEvent,
    TradeEvent,
)
from services.exchange.rfq_model import RfqEvent

ExchangeEvent = (
    OrderEvent
    | TradeEvent
    | MarketTradeEvent
    | PositionEvent
    | FuturesPositionEvent
    | AccountEvent
    | InstrumentsEvent
    | RfqEvent
)
