"""Coincall behind the desk's ports: market data, account and option orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.venues.coincall.endpoints import CoincallEndpoints


class KeyPair(Protocol):
    """An API key and its secret, as text."""

    @property
    def key(self) -> str: ...

    @property
    def secret(self) -> str: ...


class CoincallGateway:
    """MarketGateway, AccountGateway and OrderGateway of one Coincall account.

    `budget_share` is this process's part of the venue's rate limits, which count per user across processes.
    `on_call(endpoint, outcome, seconds)` is told of every REST call.
    """

    def __init__(
        self,
        endpoints: CoincallEndpoints,
        api_key: KeyPair,
        *,
        budget_share: float = 1.0,
        on_call: Callable[[str, str, float], None] | None = None,
        on_skipped_frame: Callable[[str], None] | None = None,
    ) -> None:
        self._endpoints = endpoints
