"""The core on its journal: commits before answers, survives its own errors, ends with a journal that fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import httpx
import pytest

from services.exchange.core import ExchangeCore
from services.exchange.events import ExchangeEvent
from services.exchange.server.errors import ApiError
from services.exchange.server.venue import JournalFailed, MarketStarted, Venue
from shared.messages.steps import Entry
from shared.runner import MemoryJournal
from tests.integration.exchange.harness import (
    RunningExchange,
    StillClock,
    TimeMachine,
    receive_until,
    small_config,
    tradable,
)
from tests.integration.exchange.test_rest import check, rest, types
from tests.integration.exchange.test_socket import data_of, subscribe

START_NS = 1_790_000_000_000_000_000
MINUTE_MS = 60_000


class FullDisk(MemoryJournal):
    """A journal whose disk fills up."""

    full = False

    def append(self, entries: Sequence[Entry]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().append(entries)


def venue_on(journal: MemoryJournal, clock: StillClock, errors: list[Exception] | None = None) -> Venue:
    def deliver(events: Sequence[ExchangeEvent]) -> None:
        assert journal.entries, "events come after the commit"

    return Venue(small_config(), journal, clock.now_ns, deliver, (errors if errors is not None else []).append)


def cash(venue: Venue) -> Decimal:
    return venue.core.account_summary("main").cash


def test_a_journal_begins_with_the_start_of_its_market_which_a_restart_keeps() -> None:
    journal, clock = MemoryJournal(), StillClock(START_NS)
    first = venue_on(journal, clock)
    assert isinstance(journal.entries[0].row, MarketStarted)
    clock.at_ns += 3_600_000_000_000
    first.advance()
    again = venue_on(journal, clock)
    again.advance()
    assert again.core.step == first.core.step
    assert again.core.index_price("BTC") == first.core.index_price("BTC")


def test_a_core_that_raises_half_way_is_folded_anew_and_the_command_leaves_nothing() -> None:
    journal, clock = MemoryJournal(), StillClock(START_NS)
    errors: list[Exception] = []
    venue = venue_on(journal, clock, errors)
    venue.execute(lambda core, now_ns: core.deposit("main", Decimal(5), now_ns))
    before, rows = cash(venue), len(journal.entries)

    with pytest.raises(ApiError) as refused:
        venue.execute(broken)
    assert refused.value.code == 500
    assert isinstance(errors[0], ZeroDivisionError)
    assert (cash(venue), len(journal.entries)) == (before, rows)


def test_after_a_failed_commit_nothing_is_answered_any_more() -> None:
    journal, clock = FullDisk(), StillClock(START_NS)
    venue = venue_on(journal, clock)
    journal.full = True
    with pytest.raises(JournalFailed):
        venue.execute(lambda core, now_ns: core.deposit("main", Decimal(5), now_ns))
    journal.full = False
    with pytest.raises(JournalFailed):
        venue.execute(lambda core, now_ns: core.deposit("main", Decimal(5), now_ns))
    assert cash(venue_on(journal, clock)) == 1_000_000


async def test_a_server_whose_journal_fails_answers_500_and_ends() -> None:
    journal = FullDisk()
    async with RunningExchange(small_config(), journal) as exchange:
        client = exchange.client()
        call = await tradable(client)
        journal.full = True
        fields = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 1, "price": float(call["bid"])}
        response = await client.raw_post("/open/option/order/create/v1", **fields)
        assert (response.status_code, json.loads(response.content)["code"]) == (500, 500)
        assert isinstance(await exchange.ended(), JournalFailed)
        with pytest.raises(httpx.TransportError):
            await exchange.client().get("/time")


async def test_expiry_cancels_orders_with_state_10_and_settles_positions() -> None:
    clock = TimeMachine()
    async with RunningExchange(small_config(), now_ns=clock.now_ns) as exchange:
        client = exchange.client()
        listed = await client.data("/open/option/getInstruments/BTC")
        soon_ms = clock.now_ns() // 1_000_000 + 180 * MINUTE_MS
        end_ms = min(row["expirationTimestamp"] for row in listed if row["expirationTimestamp"] > soon_ms)
        clock.travel_to(end_ms - 120 * MINUTE_MS)
        rows = await client.data("/open/option/get/v1/BTCUSD", endTime=end_ms)
        calls = [row["callOption"] for row in rows]
        call = min(
            (call for call in calls if call["bid"] and call["ask"]),
            key=lambda call: abs(call["delta"] - Decimal("0.7")),
        )
        bought = await client.create(
            symbol=call["symbol"],
            tradeSide=1,
            tradeType=1,
            qty=0.01,
            price=float(round(call["ask"] * Decimal("1.02"), 1)),
            timeInForce="IOC",
        )
        assert bought["code"] == 0, bought
        clock.travel_to(end_ms - 16 * MINUTE_MS)
        path = f"/open/option/detail/v1/{min(calls, key=lambda call: call['strike'])['symbol']}"
        deepest = await client.data(path)
        # a call with a delta near 1 may be bid for at its mark less 4 % of the underlying
        far_below = int(deepest["markPrice"] - deepest["indexPrice"] * 3 / 100)
        resting = await rest(client, call | {"symbol": deepest["symbol"]}, qty=0.01, price=max(far_below, 1))
        assert resting["code"] == 0, resting

        clock.travel_to(end_ms - 10 * MINUTE_MS)
        assert (await rest(client, call, qty=0.01))["code"] == 10620
        async with exchange.socket() as websocket:
            for data_type in ("order", "positionEvent"):
                await subscribe(websocket, data_type)
            clock.travel_to(end_ms + 1_000)
            pushed = (await receive_until(websocket, data_of(11)))["d"]
            assert (pushed["oid"], pushed["os"]) == (resting["data"], 10)
            closed = (await receive_until(websocket, data_of(27)))["d"]
            assert (closed["s"], closed["os"], Decimal(closed["q"])) == (call["symbol"], "5", Decimal(0))

        settled = (await client.data("/open/settle/exercise/history/v1"))["list"][0]
        check(
            settled,
            types(
                "symbol str, time ms, qty num, tradeSide int, strike exercisePrice openCashFlow settlementCashFlow "
                "netCashFlow fees num"
            ),
        )
        assert settled["symbol"] == call["symbol"]
        intrinsic = max(settled["exercisePrice"] - settled["strike"], Decimal(0)) * settled["qty"]
        assert abs(settled["settlementCashFlow"] - intrinsic) < Decimal("0.01")
        delivered = await client.get("/open/option/get-delivery-prices/v1", symbol="BTCUSD")
        assert delivered["data"][0]["delivery_price"] == settled["exercisePrice"]
        assert await client.data("/open/option/position/get/v1") == []
        assert (await client.get(f"/open/option/detail/v1/{call['symbol']}"))["code"] == 10574


def five(core: ExchangeCore, now_ns: int) -> Any:
    return core.deposit("main", Decimal(5), now_ns)


def broken(core: ExchangeCore, now_ns: int) -> Any:
    core.deposit("main", Decimal(7), now_ns)
    raise ZeroDivisionError


class CountedJournal(FullDisk):
    """Counts its commits."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[int] = []

    def append(self, entries: Sequence[Entry]) -> None:
        super().append(entries)
        self.commits.append(len(entries))


def test_commands_of_a_batch_are_one_commit_and_one_that_fails_in_the_core_takes_none_with_it() -> None:
    journal, errors = CountedJournal(), list[Exception]()
    venue = venue_on(journal, StillClock(START_NS), errors)
    journal.commits.clear()
    with venue.together():
        venue.execute(five)
        venue.execute(five)
        assert journal.commits == []
    assert journal.commits == [2]
    with venue.together():
        venue.execute(five)
        with pytest.raises(ApiError):
            venue.execute(broken)
        venue.execute(five)
    assert journal.commits == [2, 1, 1]
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert cash(venue) == cash(venue_on(journal, StillClock(START_NS))) == 1_000_020


def test_a_batch_that_cannot_be_written_is_not_answered() -> None:
    journal = CountedJournal()
    venue = venue_on(journal, StillClock(START_NS))
    journal.full = True
    with pytest.raises(JournalFailed), venue.together():
        venue.execute(five)
    with pytest.raises(JournalFailed):
        venue.execute(five)
