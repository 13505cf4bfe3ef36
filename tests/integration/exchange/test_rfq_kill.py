"""An acceptance is done or it is not, whenever the exchange dies; requests, quotes and block trades outlive it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.exchange.core import ExchangeCore
from services.exchange.model import Side
from services.exchange.rfq_model import CreateRequest, LegWanted, QuoteState, RequestState, RfqQuote
from services.exchange.server.errors import ApiError
from services.exchange.server.venue import JournalFailed, Venue
from shared.messages.steps import Entry
from shared.runner import MemoryJournal
from tests.integration.exchange.harness import RestClient, StillClock, small_config
from tests.integration.exchange.test_process import ExchangeProcess, books
from tests.integration.exchange.test_rfq_calls import ACCEPT, ORDER_LIST, PRIVATE, RECEIVED, ask, quotes, spread

START_NS = 1_790_000_000_000_000_000
PROMPT = """
[[exchange.rfq.dealers]]
name = "prompt"
better_min_pct = 1.0
better_max_pct = 1.0
answer_min_ms = 1
answer_max_ms = 1
no_quote_probability = 0.0
"""


class DyingJournal(MemoryJournal):
    """Dies on an append, before or after it is safe: to who waits for the answer both look the same."""

    dies: str = ""

    def append(self, entries: Sequence[Entry]) -> None:
        if self.dies == "before":
            raise OSError(5, "killed")
        super().append(entries)
        if self.dies == "after":
            raise OSError(5, "killed")


def venue_on(journal: MemoryJournal, clock: StillClock) -> Venue:
    return Venue(small_config(), journal, clock.now_ns, lambda events: None, lambda error: None)


def call_spread(core: ExchangeCore) -> tuple[LegWanted, ...]:
    """Two calls of the last expiry around the index."""
    index = core.index_price("BTC")
    assert index is not None
    listed = core.instruments("BTC")
    calls = [option for option in listed if option.is_call and option.expiry_ns == listed[-1].expiry_ns]
    near = sorted(calls, key=lambda option: abs(option.strike - index))[:2]
    return tuple(
        LegWanted(option.symbol, side, Decimal("0.1"))
        for option, side in zip(near, (Side.BUY, Side.SELL), strict=True)
    )


def accept(venue: Venue, quote: RfqQuote) -> Any:
    return venue.execute(lambda core, now_ns: core.rfq.accept("main", quote.request_id, quote.quote_id, now_ns))


@pytest.mark.parametrize("dies", ["before", "after"])
def test_an_acceptance_that_dies_in_the_journal_is_whole_or_did_not_happen(dies: str) -> None:
    journal, clock = DyingJournal(), StillClock(START_NS)
    venue = venue_on(journal, clock)
    command = CreateRequest(legs=call_spread(venue.core))
    request = venue.execute(lambda core, now_ns: core.rfq.create("main", command, now_ns))
    clock.at_ns += 1_000_000_000
    venue.advance()
    quote = next(each for each in venue.core.rfq.quotes_on(request.request_id) if each.side is Side.SELL)
    cash = venue.core.account_summary("main").cash
    journal.dies = dies
    with pytest.raises(JournalFailed):
        accept(venue, quote)
    journal.dies = ""
    again = venue_on(journal, clock)
    found = again.core.rfq.request(request.request_id)
    (kept,) = [each for each in again.core.rfq.quotes_on(request.request_id) if each.quote_id == quote.quote_id]
    assert found is not None
    if dies == "before":
        assert (found.state, kept.state) == (RequestState.ACTIVE, QuoteState.OPEN)
        assert again.core.account_summary("main").cash == cash
        assert list(again.core.fills("main")) == list(again.core.rfq.blocks("main")) == []
        accept(again, quote)
    else:
        with pytest.raises(ApiError) as refused:
            accept(again, quote)
        assert refused.value.code == 50014
        assert (found.state, kept.state) == (RequestState.FILLED, QuoteState.FILLED)
    (block,) = again.core.rfq.blocks("main")
    fills = again.core.fills("main")
    assert [fill.trade_id for fill in fills] == [leg.trade_id for leg in block.legs]
    spent = sum((leg.side.sign * leg.quantity * leg.price + leg.taker.fee for leg in block.legs), Decimal(0))
    assert again.core.account_summary("main").cash == cash - spent


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[ExchangeProcess]:
    exchange = ExchangeProcess(tmp_path, more=PROMPT)
    yield exchange
    if exchange.process is not None and exchange.process.poll() is None:
        exchange.end(signal.SIGKILL)


async def deals(client: RestClient) -> dict[str, Any]:
    """What must survive: quotes, block trades and what they did to the account."""
    return {
        "received": await client.data(RECEIVED),
        "trades": (await client.data(PRIVATE))["list"],
        "legs": (await client.data(ORDER_LIST))["list"],
        **await books(client),
    }


async def test_requests_quotes_and_block_trades_survive_a_kill(desk: ExchangeProcess) -> None:
    desk.start()
    client = await desk.client()
    legs = await spread(client, "0.1")
    done, still_open = await ask(client, legs), await ask(client, legs)
    chosen = (await quotes(client, done))["SELL"]
    assert (await client.form(ACCEPT, requestId=done, quoteId=chosen["quoteId"]))["code"] == 0
    chosen = (await quotes(client, still_open))["BUY"]
    before = await deals(client)
    desk.end(signal.SIGKILL)
    await client.http.aclose()

    desk.start()
    client = await desk.client()
    assert await deals(client) == before
    # The next acceptance dies in flight: its legs are all there afterwards, or none is.
    sending = asyncio.create_task(client.form(ACCEPT, requestId=still_open, quoteId=chosen["quoteId"]))
    await asyncio.sleep(0)
    desk.end(signal.SIGKILL)
    (outcome,) = await asyncio.gather(sending, return_exceptions=True)
    await client.http.aclose()

    desk.start()
    client = await desk.client()
    after = await deals(client)
    happened = len(after["trades"]) - len(before["trades"])
    assert happened in (0, 1)
    assert len(after["fills"]) - len(before["fills"]) == happened * len(legs)
    assert isinstance(outcome, httpx.HTTPError | json.JSONDecodeError) or happened == 1
    second = (await client.form(ACCEPT, requestId=still_open, quoteId=chosen["quoteId"]))["code"]
    assert second == (50014 if happened else 0)
    assert await client.data("/open/option/position/get/v1") == []
    await client.http.aclose()
