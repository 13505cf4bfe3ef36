"""Where Coincall answers, and what each call is: one row per REST endpoint that the desk uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Method = Literal["GET", "POST"]
Body = Literal["json", "form"]
LimitGroup = Literal[
    "public",
    "position",
    "history",
    "transfers",
    "account",
    "key",
    "market",
    "book",
    "place",
    "cancel",
    "batch_place",
    "batch_amend",
    "batch_cancel",
    "countdown",
    "pending",
    "rfq_create",
    "rfq_cancel",
    "rfq_accept",
    "rfq_quotes",
    "rfq_list",
    "block_trades",
]


class CoincallEndpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Base URLs without a trailing slash. REST paths and the query of the handshake are appended as they are."""

    rest: str
    ws_options: str
    ws_futures: str
    ws_spot: str = ""
    ws_spot_private: str = ""


PRODUCTION = CoincallEndpoints(
    rest="https://api.coincall.com",
    ws_options="wss://ws.coincall.com/options",
    ws_futures="wss://ws.coincall.com/futures",
    ws_spot="wss://ws.coincall.com/spot/ws",
    ws_spot_private="wss://ws.coincall.com/spot/ws/private",
)
BETA = CoincallEndpoints(
    rest="https://betaapi.coincall.com",
    ws_options="wss://betaws.seizeyouralpha.com/options",
    ws_futures="wss://betaws.seizeyouralpha.com/futures",
    ws_spot="wss://betaws.seizeyouralpha.com/spot/ws",
    ws_spot_private="wss://betaws.seizeyouralpha.com/spot/ws/private",
)


def simulated(host: str, port: int) -> CoincallEndpoints:
    """The simulated exchange, which serves REST and all sockets on one port."""
    return CoincallEndpoints(
        rest=f"http://{host}:{port}",
        ws_options=f"ws://{host}:{port}/options",
        ws_futures=f"ws://{host}:{port}/futures",
        ws_spot=f"ws://{host}:{port}/spot/ws",
        ws_spot_private=f"ws://{host}:{port}/spot/ws/private",
    )


def of_venue(
    venue: Literal["sim", "beta", "production"], simulated_port: Callable[[], int], simulated_host: str = "127.0.0.1"
) -> CoincallEndpoints:
    """The endpoints of a configured venue; the port is asked for only where the simulated exchange is meant."""
    match venue:
        case "sim":
            return simulated(simulated_host, simulated_port())
        case "beta":
            return BETA
        case "production":
            return PRODUCTION


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One REST call.

    `repeatable`: sending it again after a failure changes nothing more than sending it once, so that the client may.
    `order`: it changes orders or requests for quote, so that a failure after it left is an unknown outcome.
    `bodies`: the forms of a POST's body, tried in this order while the venue answers that it cannot read them.
    """

    name: str
    method: Method
    path: str
    group: LimitGroup
    signed: bool = True
    order: bool = False
    repeatable: bool = True
    bodies: tuple[Body, ...] = ("json",)
    timeout_ms: int = 30_000


def order_call(
    name: str, method: Method, path: str, group: LimitGroup, bodies: tuple[Body, ...] = ("json",)
) -> Endpoint:
    """A call that changes orders: sent once, its failure after it left is an unknown outcome."""
    return Endpoint(
        name=name,
        method=method,
        path=path,
        group=group,
        order=True,
        repeatable=False,
        bodies=bodies,
        timeout_ms=3_000,
    )


TIME = Endpoint(name="time", method="GET", path="/time", group="market", signed=False, timeout_ms=2_000)
CONFIG = Endpoint(name="config", method="GET", path="/open/public/config/v1", group="public", signed=False)
FUTURES_SYMBOL = Endpoint(
    name="futures_symbol", method="GET", path="/open/futures/market/symbol/v1", group="market", signed=False
)
INSTRUMENTS = Endpoint(
    name="instruments", method="GET", path="/open/option/getInstruments/{base}", group="market", signed=False
)
CHAIN = Endpoint(name="chain", method="GET", path="/open/option/get/v1/{index}", group="market", signed=False)
ORDER_BOOK = Endpoint(
    name="order_book",
    method="GET",
    path="/open/option/order/orderbook/v1/{symbol}",
    group="book",
    signed=False,
    timeout_ms=5_000,
)
LAST_TRADES = Endpoint(
    name="last_trades",
    method="GET",
    path="/open/option/trade/lasttrade/v1/{symbol}",
    group="market",
    signed=False,
    timeout_ms=5_000,
)
KLINES = Endpoint(
    name="klines",
    method="GET",
    path="/open/option/market/kline/history/v1/{symbol}",
    group="market",
    signed=False,
    timeout_ms=5_000,
)
KEY_INFO = Endpoint(name="key_info", method="GET", path="/open/auth/user/query-api", group="key")
ACCOUNT_SUMMARY = Endpoint(name="account", method="GET", path="/open/account/summary/v1", group="account")
POSITIONS = Endpoint(name="positions", method="GET", path="/open/option/position/get/v1", group="position")
PENDING_ORDERS = Endpoint(name="open_orders", method="GET", path="/open/option/order/pending/v1", group="pending")
SINGLE_ORDER = Endpoint(
    name="order", method="GET", path="/open/option/order/singleQuery/v1", group="pending", timeout_ms=10_000
)
ORDER_HISTORY = Endpoint(name="order_history", method="GET", path="/open/option/order/history/v1", group="history")
FILLS = Endpoint(name="fills", method="GET", path="/open/option/trade/history/v1", group="history")
TRANSFERS = Endpoint(name="transfers", method="GET", path="/open/account/historyList/v1", group="transfers")
EXERCISES = Endpoint(name="exercises", method="GET", path="/open/settle/exercise/history/v1", group="history")

CREATE_ORDER = order_call("place", "POST", "/open/option/order/create/v1", "place")
MODIFY_ORDER = order_call("amend", "POST", "/open/option/order/modify/v1", "place")
CANCEL_ORDER = order_call("cancel", "POST", "/open/option/order/cancel/v1", "cancel")
CANCEL_INDEX = order_call("cancel_all", "GET", "/open/option/order/cancelOpenOrders/v1/{index}", "cancel")
BATCH_CREATE = order_call("batch_place", "POST", "/open/option/order/batchCreate/v1", "batch_place")
BATCH_MODIFY = order_call("batch_amend", "POST", "/open/option/order/batchModify/v1", "batch_amend")
BATCH_CANCEL = order_call("batch_cancel", "POST", "/open/option/order/batchCancel/v1", "batch_cancel")
SET_COUNTDOWN = order_call("countdown", "POST", "/open/futures/countdown/cancel/v1", "countdown")
"""Its path says futures; by its parameter it is that of options."""

_BLOCK = "/open/option/blocktrade"
_FORM_FIRST: tuple[Body, ...] = ("form", "json")
"""The venue's pages ask for JSON since July 2026, clients were refused with it days before: the form suits both."""

CREATE_RFQ = order_call("rfq_create", "POST", f"{_BLOCK}/request/create/v1", "rfq_create")
CANCEL_RFQ = order_call("rfq_cancel", "POST", f"{_BLOCK}/request/cancel/v1", "rfq_cancel", _FORM_FIRST)
ACCEPT_QUOTE = order_call("rfq_accept", "POST", f"{_BLOCK}/request/accept/v1", "rfq_accept", _FORM_FIRST)
QUOTES_RECEIVED = Endpoint(
    name="rfq_quotes",
    method="GET",
    path=f"{_BLOCK}/request/getQuotesReceived/v1",
    group="rfq_quotes",
    repeatable=False,
    timeout_ms=3_000,
)
"""Not repeated: quotes live for minutes and are asked for again anyway."""
RFQ_LIST = Endpoint(name="rfq_list", method="GET", path=f"{_BLOCK}/rfqList/v1", group="rfq_list", timeout_ms=10_000)
BLOCK_TRADES = Endpoint(
    name="block_trades",
    method="GET",
    path=f"{_BLOCK}/trade-detail/private/v1",
    group="block_trades",
    timeout_ms=10_000,
)
