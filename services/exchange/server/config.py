"""Configuration of the simulated exchange's server: what the core does not need to know."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from services.exchange.config import ExchangeConfig, Rights


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP and WebSocket side.

    control_api: whether /sim (faults, market moves) is served, on loopback and in paper trading only.
    control_beyond_loopback: it is served to other addresses too, in a container on a closed network.
    body_bytes_max: a longer request body is refused. socket_idle_ms: a WebSocket on which nothing came or went for
    so long is dropped. socket_queue_bytes_max: a client that lets more than that wait unread is dropped.
    socket_requests_per_second: frames one client may send. socket_subscriptions_max: symbols one client may follow.
    socket_numbers_as_text: whether bsInfo sends numbers inside strings, as the venue does since 2026.
    """

    control_api: bool = True
    control_beyond_loopback: bool = False
    body_bytes_max: Annotated[int, Meta(ge=1_024, le=16_777_216)] = 262_144
    socket_idle_ms: Annotated[int, Meta(ge=1_000, le=600_000)] = 30_000
    socket_queue_bytes_max: Annotated[int, Meta(ge=65_536, le=268_435_456)] = 4_194_304
    socket_requests_per_second: Annotated[int, Meta(ge=1, le=10_000)] = 100
    socket_subscriptions_max: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    socket_numbers_as_text: bool = True


class ExchangeServiceConfig(ExchangeConfig, frozen=True, kw_only=True):
    """The [exchange] section: the core's configuration, the server's, and the paper account's first balance.

    paper_balance_usd: what the paper account owns at its first start; paper_assets: its coins of spot then.
    paper_rights: what it may do beyond trading: "market_maker" gives batch calls, the countdown and protection, "mmp"
    protection alone, "rfq_quotes" the maker's side of requests for quote.
    """

    server: ServerConfig = ServerConfig()
    paper_balance_usd: Decimal = Decimal(100_000)
    paper_assets: dict[str, Decimal] = msgspec.field(default_factory=dict)
    paper_rights: Rights = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.paper_balance_usd.is_finite() and self.paper_balance_usd > 0):
            raise ValueError(f"paper_balance_usd {self.paper_balance_usd} must be above 0")
