"""The gauges of the simulated exchange, read from a server that has clients."""

from __future__ import annotations

from services.exchange.metrics import ExchangeMetrics
from tests.integration.exchange.harness import RunningExchange, small_config, until
from tests.integration.exchange.test_rfq_calls import CANCEL, ask, quotes
from tests.unit.shared.test_metrics import made, scraped


async def test_requests_for_quote_sockets_and_calls_are_shown_as_they_come_and_go() -> None:
    async with RunningExchange(small_config()) as exchange:
        families = made()
        ExchangeMetrics(families, exchange.server)

        def shown(name: str) -> dict[tuple[str, ...], float]:
            samples = scraped(families, f"voldesk_exchange_{name}")
            return {tuple(value for _, value in labels): count for labels, count in samples.items()}

        client = exchange.client()
        request_id = await ask(client)
        given = await quotes(client, request_id)
        assert shown("rfqs") == {("request",): 1, ("quote",): len(given)}
        await client.post(CANCEL, requestId=request_id)
        assert shown("rfqs") == {("request",): 0, ("quote",): 0}
        counted = shown("rfqs_total")
        assert (counted["asked", "request"], counted["cancelled", "request"]) == (1, 1)
        assert counted["given", "quote"] == len(given)
        assert shown("requests_total")["ok", CANCEL] == 1

        async with exchange.socket():
            assert (shown("sockets_open"), shown("sockets_total")["opened",]) == ({(): 1}, 1)
        await until(lambda: shown("sockets_open") == {(): 0})

        exchange.server.hub.failures = 3
        assert shown("failures_total") == {("core",): 0, ("push",): 3}
