"""Every endpoint that is served: the routing table."""

from __future__ import annotations

from services.exchange.server.api import Endpoint
from services.exchange.server.routes_account import account_endpoints
from services.exchange.server.routes_block_code import block_code_endpoints
from services.exchange.server.routes_countdown import countdown_endpoints
from services.exchange.server.routes_futures import futures_endpoints
from services.exchange.server.routes_market import market_endpoints
from services.exchange.server.routes_mmp import mmp_endpoints
from services.exchange.server.routes_orders import order_endpoints
from services.exchange.server.routes_rfq import rfq_endpoints
from services.exchange.server.routes_spot import spot_endpoints


def all_endpoints() -> list[Endpoint]:
    return [
        *market_endpoints(),
        *futures_endpoints(),
        *spot_endpoints(),
        *order_endpoints(),
        *account_endpoints(),
        *countdown_endpoints(),
        *mmp_endpoints(),
        *rfq_endpoints(),
        *block_code_endpoints(),
    ]
