"""Processes killed and stopped at random while four strategies trade in all modes and the exchange misbehaves.

    make chaos BLOWS=100 MINUTES=10 SEED=1

Only a blow that hits a living process counts. Beside the desk somebody places orders by hand and removes them.
Afterwards nothing is lost or doubled: each trade's fills are the venue's of its own orders, each intent has one
outcome, every trade is whole or flat, no order is open that nobody knows, cash is explained to the last decimal.
`make test-long` runs a short form of it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.messages.venue import NewOrder, OrderAcked, OrderRef
from shared.venues.coincall import CoincallGateway
from shared.venues.ports import VenueError
from soak.own_fills import journal_of, wrongly_booked
from soak.schedule import FAULTS
from soak.strategies import strategy_files
from tests.e2e.conftest import make_desk
from tests.e2e.stack import FINAL, SERVICES, Desk, all_running, until
from world.ledger import outcome_violations

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1_500)]

BLOWS = int(os.environ.get("CHAOS_BLOWS", "12"))
MINUTES = float(os.environ.get("CHAOS_MINUTES", "1.5"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
STOP_MAX_S = 4.0
QUIET_S = 240.0
"""How long the desk may take to put everything in order once it is left alone."""

START_CASH_USD = Decimal(100_000)

QUANTITY, TOO_LOW_USD = Decimal("0.1"), Decimal(10)
"""Of an order by hand, which is not to trade."""

STRATEGIES = strategy_files()


@dataclass(frozen=True, slots=True)
class Blow:
    """A process is killed, or stopped for `stop_s`; a fault of the exchange begins with it, or none."""

    service: str
    stop_s: float
    fault: dict[str, Any] | None


def blows(seed: int, count: int) -> list[Blow]:
    draw = random.Random(seed)
    return [
        Blow(
            draw.choice(SERVICES),
            round(draw.uniform(0.2, STOP_MAX_S), 1) if draw.random() < 0.4 else 0.0,
            draw.choice(FAULTS) if draw.random() < 0.6 else None,
        )
        for _ in range(count)
    ]


def process_state(pid: int) -> str:
    """As the kernel has it: T for a stopped one, Z for a dead one that is not reaped yet; empty without a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]


class Chaos:
    """Deals out blows to one desk. A blow waits for its service to be there."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.dealt: Counter[str] = Counter()

    def deal(self, blow: Blow) -> None:
        if blow.fault is not None:
            self._control("POST", blow.fault)
        until(self._desk, f"a blow hits {blow.service}", lambda: self._hits(blow), 120)

    def _hits(self, blow: Blow) -> bool:
        """Whether a living process was met, and has been killed or stopped."""
        pid = self._desk.services()[blow.service]["pid"]
        if pid is None or process_state(pid) in ("", "Z"):
            return False
        try:
            os.kill(pid, signal.SIGSTOP if blow.stop_s else signal.SIGKILL)
        except ProcessLookupError:
            return False
        wanted = "T" if blow.stop_s else "Z"
        state = until(self._desk, f"{blow.service} is hit", lambda: self._state_after(pid, wanted), 10)
        if blow.stop_s and state == "T":
            time.sleep(blow.stop_s)  # the length of the stop is part of the blow
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        elif blow.stop_s:
            return False  # it died before it was stopped
        self.dealt["stop" if blow.stop_s else "kill"] += 1
        return True

    def _state_after(self, pid: int, wanted: str) -> str:
        """What became of a process that was sent a signal; empty while that has not come yet."""
        state = process_state(pid) or "Z"
        return state if state in (wanted, "Z") else ""

    def clear(self) -> None:
        self._control("DELETE", None)

    def _control(self, method: str, fault: dict[str, Any] | None) -> None:
        port = json.loads((self._desk.run_dir / "ports.json").read_text())["exchange"]
        try:
            answer = httpx.request(
                method, f"http://127.0.0.1:{port}/sim/faults", json=fault, timeout=60, trust_env=False
            )
        except httpx.HTTPError:
            self.dealt["a fault met no exchange"] += 1
            return
        assert answer.status_code == 200, answer.text
        self.dealt["fault"] += 1


class Hands:
    """Somebody on the account, by a connection of his own: an order too low to trade rests until he removes it."""

    def __init__(self, desk: Desk, symbol: str) -> None:
        self._desk, self._symbol = desk, symbol
        self._sent, self._acked, self.rested = 0, set[int](), set[int]()

    def act(self, *, places: bool = True) -> bool:
        """Remove what rests, or else place an order. Whether nothing rested, False while the exchange is silent."""
        try:
            return self._desk.at_venue(lambda gateway: self._act(gateway, places), "execution")
        except VenueError:
            return False

    async def _act(self, gateway: CoincallGateway, places: bool) -> bool:
        orders = [order.client_order_id or 0 for order in await gateway.open_orders()]
        resting = {number for number in orders if 0 < number <= self._sent}
        assert self._acked <= resting, "nobody else removes an order that was placed by hand"
        self._acked.clear()
        self.rested |= resting
        for number in resting:
            await gateway.cancel(OrderRef(client_order_id=number, venue_order_id=None, symbol=self._symbol))
        if places and not resting:
            self._sent += 1
            bid: dict[str, Any] = {"side": "buy", "quantity": QUANTITY, "price": TOO_LOW_USD}
            answer = await gateway.place(NewOrder(client_order_id=self._sent, symbol=self._symbol, **bid))
            self._acked |= {self._sent} if isinstance(answer, OrderAcked) else set()
        return not resting


@pytest.fixture
def traded() -> Iterator[Desk]:
    """A desk of its own with the four strategies."""
    desk = make_desk("chaos", 5, list(STRATEGIES), STRATEGIES)
    started = desk.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + desk.logs()
    try:
        yield desk
    finally:
        desk.voldesk("down")
        shutil.rmtree(desk.home, ignore_errors=True)


def test_whatever_is_killed_stopped_or_lost_every_trade_ends_whole_or_flat_and_the_books_agree(traded: Desk) -> None:
    desk, chaos = traded, Chaos(traded)
    until(desk, "each strategy has opened a trade", lambda: all(desk.trades(name) for name in STRATEGIES), 120)
    hands = Hands(desk, desk.trades()[0]["legs"][0]["symbol"])
    begun, every_s = time.monotonic(), MINUTES * 60 / BLOWS
    drawn = blows(SEED, BLOWS)
    for number, blow in enumerate(drawn):
        time.sleep(max(0.0, begun + number * every_s - time.monotonic()))  # blows are spread over the time
        hands.act()
        chaos.deal(blow)
    stops = sum(blow.stop_s > 0 for blow in drawn)
    assert (chaos.dealt["kill"], chaos.dealt["stop"]) == (len(drawn) - stops, stops)
    assert 0 < stops < len(drawn), "both kinds were dealt out"
    print(f"seed {SEED}: {dict(chaos.dealt)}, {len(hands.rested)} orders by hand")
    until(desk, "every service is running again", lambda: all_running(desk), QUIET_S)
    chaos.clear()
    until(desk, "the orders by hand are removed", lambda: hands.act(places=False))
    assert hands.rested
    for name in STRATEGIES:
        until(desk, f"{name} is paused", lambda name=name: desk.voldesk("strategies", "pause", name).code == 0)
    until(desk, "every trade has ended", lambda: unfinished(desk) == [], QUIET_S)

    trades = desk.look("trades", "--json", "--limit", "5000").json
    assert {row["strategy"] for row in trades if row["opened_at"]} == set(STRATEGIES), "each mode has traded"
    assert [row for row in trades if row["state"] not in FINAL] == []
    assert desk.at_venue(lambda gateway: gateway.open_orders()) == ()
    assert desk.venue_positions() == {}
    entries, book = journal_of(desk.settings)
    fills = desk.at_venue(lambda gateway: gateway.fills(desk.started_ns))
    blocks = desk.at_venue(lambda gateway: gateway.block_trades(desk.started_ns))
    orders = desk.venue_orders()
    print(f"{len(fills)} fills of {len(orders)} orders in {len(book.trades)} trades, {len(blocks)} block trades")
    assert wrongly_booked(book, fills, orders, blocks) == []
    assert [str(violation) for violation in outcome_violations(entries, ())] == [], "an intent has one outcome"
    assert {row["trade_id"] for row in trades} == book.trades.keys()
    if BLOWS >= 50:
        assert blocks, "a quote was taken"
    # The fee of a last fill may be told after the fill that ended its trade.
    until(desk, "the trades explain the cash to the last decimal", lambda: unexplained_usd(desk) == 0, QUIET_S)
    for row in desk.services().values():
        assert row["state"] == "RUNNING", row


def unexplained_usd(desk: Desk) -> Decimal:
    """What the venue's cash has beyond the results and fees of all trades. The available margin is read, since equity
    is the same, told in fewer digits."""
    made_usd = sum(
        (
            Decimal(row["realized_pnl"]) - Decimal(row["fees"])
            for row in desk.look("trades", "--json", "--limit", "5000").json
        ),
        Decimal(0),
    )
    account = desk.at_venue(lambda gateway: gateway.account())
    return account.available_margin_usd - START_CASH_USD - made_usd


def unfinished(desk: Desk) -> list[str] | None:
    """None while execution does not answer."""
    answer = desk.look("trades", "--json", "--limit", "5000")
    if answer.code != 0:
        return None
    return [f"{row['trade_id']} {row['state']} {row['reason']}" for row in answer.json if row["state"] not in FINAL]
