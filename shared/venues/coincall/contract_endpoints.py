"""The REST endpoints of futures and spot; as `endpoints.py` for options."""

from __future__ import annotations

from shared.venues.coincall.endpoints import Endpoint, order_call

_FUTURES, _ORDERS = "/open/futures", "/open/futures/order"


def _public(name: str, path: str) -> Endpoint:
    return Endpoint(name=name, method="GET", path=path, group="market", signed=False, timeout_ms=5_000)


FUTURES_SYMBOLS = _public("futures_symbols", f"{_FUTURES}/market/symbol/v1")
FUNDING_RATES = Endpoint(
    name="funding_rates",
    method="GET",
    path="/open/public/fundingRate/v1",
    group="public",
    signed=False,
    timeout_ms=5_000,
)
FUTURES_BOOK = Endpoint(
    name="futures_book",
    method="GET",
    path=f"{_ORDERS}/orderbook/v1/{{symbol}}",
    group="book",
    signed=False,
    timeout_ms=5_000,
)
FUTURES_LAST_TRADES = _public("futures_last_trades", f"{_FUTURES}/trade/lasttrade/v1/{{symbol}}")
FUTURES_KLINES = _public("futures_klines", f"{_FUTURES}/market/kline/history/v2/{{symbol}}")
FUTURES_POSITIONS = Endpoint(
    name="futures_positions", method="GET", path=f"{_FUTURES}/position/get/v1", group="position"
)
GET_LEVERAGE = Endpoint(name="leverage", method="GET", path=f"{_FUTURES}/leverage/current/v1", group="account")
FUTURES_PENDING = Endpoint(name="futures_open_orders", method="GET", path=f"{_ORDERS}/pending/v1", group="pending")
FUTURES_ORDER = Endpoint(
    name="futures_order", method="GET", path=f"{_ORDERS}/singleQuery/v1", group="pending", timeout_ms=10_000
)
FUTURES_HISTORY = Endpoint(name="futures_order_history", method="GET", path=f"{_ORDERS}/history/v1", group="history")
FUTURES_FILLS = Endpoint(name="futures_fills", method="GET", path=f"{_FUTURES}/trade/history/v1", group="history")
FUNDING_PAYMENTS = Endpoint(name="funding", method="GET", path="/open/settle/future/record/v1", group="history")
FUTURES_DELIVERIES = Endpoint(
    name="futures_deliveries", method="GET", path=f"{_FUTURES}/delivery/settlement/history/v1", group="history"
)

CREATE_FUTURES_ORDER = order_call("futures_place", "POST", f"{_ORDERS}/create/v1", "place")
MODIFY_FUTURES_ORDER = order_call("futures_amend", "POST", f"{_ORDERS}/modify/v1", "place")
CANCEL_FUTURES_ORDER = order_call("futures_cancel", "POST", f"{_ORDERS}/cancel/v1", "cancel")
BATCH_CANCEL_FUTURES = order_call("futures_batch_cancel", "POST", f"{_ORDERS}/batchCancel/v1", "batch_cancel")
CANCEL_FUTURES_SYMBOL = order_call(
    "futures_cancel_symbol", "GET", f"{_ORDERS}/cancelOpenOrders/v1/{{symbol}}", "cancel"
)
SET_LEVERAGE = order_call("set_leverage", "POST", f"{_FUTURES}/leverage/set/v1", "place")

_SPOT_MARKET, _SPOT_TRADE = "/open/spot/market", "/open/spot/trade"

SPOT_INSTRUMENTS = _public("spot_instruments", f"{_SPOT_MARKET}/instruments")
SPOT_OVERVIEW = _public("spot_overview", f"{_SPOT_MARKET}/overviewV2")
SPOT_LAST_TRADES = _public("spot_last_trades", f"{_SPOT_MARKET}/histories")
SPOT_KLINES = _public("spot_klines", f"{_SPOT_MARKET}/klines")
SPOT_BOOK = Endpoint(
    name="spot_book",
    method="GET",
    path=f"{_SPOT_MARKET}/orderbook",
    group="book",
    signed=False,
    timeout_ms=5_000,
)
SPOT_ORDER = Endpoint(
    name="spot_order", method="GET", path=f"{_SPOT_TRADE}/order/v1", group="pending", timeout_ms=10_000
)
SPOT_OPEN_ORDERS = Endpoint(name="spot_open_orders", method="GET", path=f"{_SPOT_TRADE}/orders/v1", group="pending")
SPOT_ALL_ORDERS = Endpoint(
    name="spot_order_history", method="GET", path=f"{_SPOT_TRADE}/allorders/v1", group="history"
)
SPOT_FILLS = Endpoint(name="spot_fills", method="GET", path=f"{_SPOT_TRADE}/fills/v1", group="history")
CREATE_SPOT_ORDER = order_call("spot_place", "POST", f"{_SPOT_TRADE}/order/v1", "place")
CANCEL_SPOT_ORDER = order_call("spot_cancel", "POST", f"{_SPOT_TRADE}/cancel/v1", "cancel")
CANCEL_SPOT_SYMBOL = order_call("spot_cancel_symbol", "POST", f"{_SPOT_TRADE}/cancelAll/v1", "cancel")
