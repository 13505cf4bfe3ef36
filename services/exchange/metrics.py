"""What the simulated exchange counts of its clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.metrics import Metrics

if TYPE_CHECKING:
    from services.exchange.server.app import ExchangeServer


class ExchangeMetrics:
    """Read from the server when it is scraped."""

    def __init__(self, metrics: Metrics, server: ExchangeServer) -> None:
        self._server = server
        read = metrics.read
        read(
            "counter",
            "voldesk_exchange_sockets_total",
            "WebSocket clients: opened, and gone by reason",
            ("event",),
            self._sockets,
        )
        one = metrics.read_one
        one("gauge", "voldesk_exchange_sockets_open", "WebSocket clients now", lambda: len(server.hub.connections))
        one(
            "counter",
            "voldesk_exchange_frames_total",
            "WebSocket frames queued to clients",
            lambda: server.hub.frames_pushed,
        )
        read(
            "counter",
            "voldesk_exchange_failures_total",
            "Errors survived: of the core on a command, of a push",
            ("source",),
            lambda: {"core": server.core_failures, "push": server.hub.failures},
        )
        read(
            "counter",
            "voldesk_exchange_requests_total",
            "REST requests by path of the endpoint table and outcome: ok, refused, failed, fault (answered by a "
            "fault that was set), lost (executed, the connection was cut), cut (by the "
            "client, in the middle of its body)",
            ("path", "outcome"),
            lambda: dict(server.api.answered),
        )
        read(
            "counter",
            "voldesk_exchange_rfqs_total",
            "Requests for quote (asked, filled, cancelled, expired), quotes on them (given, filled, cancelled, "
            "expired) and block trades (traded), since the exchange's first start",
            ("what", "event"),
            lambda: server.venue.core.rfq.counts(),
        )
        read(
            "gauge",
            "voldesk_exchange_rfqs",
            "Requests for quote that are active, and quotes that are open",
            ("what",),
            lambda: server.venue.core.rfq.live(),
        )

    def _sockets(self) -> Mapping[str, float]:
        hub = self._server.hub
        return {"opened": hub.opened, **hub.dropped}

    def words(self) -> dict[str, object]:
        """For the health line."""
        hub = self._server.hub
        return {
            "sockets": len(hub.connections),
            "requests": self._server.api.answered.total(),
            "failures": self._server.core_failures + hub.failures,
        }
