"""The kill switch of a real desk, while the venue fails: with strategy, risk and monitor dead, then execution too."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from services.execution.rows import OrderMoved, OrderRequested, Row
from shared.entries import JournalReader
from shared.messages.steps import Entry
from shared.service.journals import binding_of, journal_path
from tests.e2e.conftest import make_desk, strangle_file
from tests.e2e.stack import FINAL, FLAT, Desk, desk_pids, newest_in, order_ids, until
from voldesk.processes import is_alive

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

HELD, RESTING = "held", "resting"
PATIENCE_S = 240.0
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "lost_answer", "path_prefix": "/open/option/order/create", "count": 2},
    {"kind": "lost_answer", "path_prefix": "/open/option/order/cancel", "count": 1},
    {"kind": "http_500", "path_prefix": "/open/option/order", "count": 3},
    {"kind": "http_500", "path_prefix": "/open/option/position", "count": 2},
    {"kind": "rate_limit", "path_prefix": "/open/option", "count": 4},
)


@pytest.fixture
def drilled() -> Iterator[Desk]:
    """A desk with a trade that is held and one whose orders rest in the book for as long as the test lasts."""
    strategies = {
        HELD: strangle_file(HELD, "1", hold_s=3_600, cooldown_s=3_600),
        RESTING: strangle_file(RESTING, "2", hold_s=3_600, passive_s=1_000, cooldown_s=3_600),
    }
    made = make_desk("drill", 6, list(strategies), strategies)
    started = made.voldesk("up", "--timeout", "90", "--json")
    assert started.code == 0, started.err + made.logs()
    try:
        yield made
    finally:
        made.voldesk("down")
        for pid in desk_pids(made.run_dir):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(made.home, ignore_errors=True)


def open_and_resting(desk: Desk) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both trades, once one is open and the orders of the other rest at the venue."""
    held = until(desk, "a trade is open", lambda: newest_in(desk, HELD, ("OPEN",)))
    resting = until(desk, "another one opens", lambda: newest_in(desk, RESTING, ("OPENING",)))
    until(desk, "its orders rest", lambda: desk.at_venue(lambda gateway: gateway.open_orders()))
    return held, resting


def misbehave(desk: Desk) -> None:
    port = json.loads((desk.run_dir / "ports.json").read_text())["exchange"]
    for fault in FAULTS:
        answer = httpx.post(f"http://127.0.0.1:{port}/sim/faults", json=fault, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text


def kill_for_good(desk: Desk, *services: str) -> None:
    """With -9, and the supervisor before them: nobody starts them again."""
    pids = {name: desk.pid(name) for name in services}
    os.kill(int((desk.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for name, pid in pids.items():
        until(desk, f"{name} is dead", lambda pid=pid: not is_alive(pid))


def written(desk: Desk) -> list[Entry]:
    """Execution's journal, as any reader may read it while the desk runs."""
    settings = desk.settings
    reader = JournalReader(journal_path(settings, "execution"), binding_of(settings), Row)
    try:
        return [entry for _, entry in reader.entries()]
    finally:
        reader.close()


def fees_booked(desk: Desk) -> Decimal:
    """Of all trades, in USD."""
    return sum((Decimal(row["fees"]) for row in desk.trades()), Decimal(0))


def fees_paid(desk: Desk) -> Decimal:
    """For all fills of the account, in USD, as the venue lists them."""
    return sum((fill.fee_usd or Decimal(0) for fill in desk.venue_fills()), Decimal(0))


def marks_kept(requested: list[OrderRequested]) -> dict[tuple[str, int], list[str]]:
    """The steps of the staircase that each leg of a trade was closed by, in their order."""
    steps: dict[tuple[str, int], list[str]] = {}
    for row in requested:
        steps.setdefault((row.trade_id, row.leg_index), []).append(row.why)
    return steps


def past_mark(line: dict[str, Any]) -> bool:
    """Whether an order of a direct flatten's record would have taken a price past mark."""
    price = float(line["price"])
    return price < line["mark"] if line["side"] == "sell" else price > line["mark"]


def assert_nothing_doubled(desk: Desk) -> None:
    """Each order once at the venue, and bought as much as sold of every option."""
    orders = desk.venue_orders()
    numbers = [order.client_order_id for order in orders if order.state not in ("new", "partial")]
    assert len(numbers) == len(set(numbers)), "no order id was taken twice"
    fills = desk.venue_fills()
    net: Counter[str] = Counter()
    for fill in fills:
        net[fill.symbol] += fill.quantity if fill.side == "buy" else -fill.quantity
    assert not any(net.values()), "bought as much as sold"
    assert desk.venue_positions() == {}
    assert desk.at_venue(lambda gateway: gateway.open_orders()) == ()


def test_flatten_with_everybody_but_execution_dead_and_the_venue_failing_ends_flat(drilled: Desk) -> None:
    held, resting = open_and_resting(drilled)
    misbehave(drilled)
    kill_for_good(drilled, "strategy", "risk", "monitor")
    begun = len(written(drilled))
    done = drilled.voldesk("flatten", "--yes", "--json", "--timeout", str(PATIENCE_S), timeout_s=PATIENCE_S + 60)
    assert done.code == 0, done.err + drilled.logs()
    assert done.json == FLAT

    rows = [entry.row for entry in written(drilled)[begun:]]
    cancels = [n for n, row in enumerate(rows) if isinstance(row, OrderMoved) and row.state == "CANCELLING"]
    closes = [row for row in rows if isinstance(row, OrderRequested)]
    assert closes
    assert {row.purpose for row in closes} <= {"flatten", "unwind"}, "nothing is opened"
    assert all(row.reduce_only for row in closes)
    assert cancels
    assert cancels[0] < rows.index(closes[0]), "what still opened was withdrawn before anything was closed"
    steps = marks_kept([row for row in closes if row.trade_id == held["trade_id"]])
    assert len(steps) == 2
    for why in steps.values():
        assert why == sorted(why, key=("mark", "mid", "cross").index), "at mark first, then nearer, then across"
        assert why[0] == "mark"

    ended = {row["trade_id"]: row["state"] for row in drilled.trades()}
    assert ended == {held["trade_id"]: "CLOSED", resting["trade_id"]: "FAILED"} or (
        set(ended) == {held["trade_id"], resting["trade_id"]} and set(ended.values()) <= set(FINAL)
    )
    assert_nothing_doubled(drilled)
    alive = {name for name, row in drilled.services().items() if row["pid"] is not None and is_alive(row["pid"])}
    assert alive.isdisjoint({"strategy", "risk", "monitor"}), "they stayed dead all the while"


def test_direct_flatten_with_execution_dead_too_is_in_the_record_that_execution_reads_when_it_is_back(
    drilled: Desk,
) -> None:
    held, resting = open_and_resting(drilled)
    known = order_ids(drilled.voldesk("orders", "--all", "--json").json)
    misbehave(drilled)
    kill_for_good(drilled, "strategy", "risk", "monitor", "execution")
    done = drilled.voldesk(
        *("flatten", "--direct", "--yes", "--json", "--reason", "drill", "--timeout", str(PATIENCE_S)),
        timeout_s=PATIENCE_S + 60,
    )
    assert done.code == 0, done.err
    assert done.json["flat"] is True
    assert drilled.venue_positions() == {}
    lines = [json.loads(line) for line in (drilled.run_dir / "flatten-direct.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps[0] == "latched"
    assert steps.index("cancel_all") < steps.index("close") < steps.index("flat"), "cancels first"
    first: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["step"] == "close":
            first.setdefault(line["symbol"], line)
    assert all(line["mark"] is not None and not past_mark(line) for line in first.values()), (
        "the first round is at mark"
    )
    sent = {line["client_order_id"] for line in lines if line["step"] == "close"}
    fills = [fill for fill in drilled.venue_fills() if str(fill.client_order_id) not in known]
    assert {str(fill.client_order_id) for fill in fills} <= sent

    assert drilled.voldesk("up", "--timeout", "120", "--json").code == 0
    until(
        drilled,
        "execution has booked what the flatten did",
        lambda: [row for row in drilled.trades() if row["state"] in FINAL and row["trade_id"] == held["trade_id"]],
        PATIENCE_S,
    )
    until(drilled, "every trade is over", lambda: all(r["state"] in FINAL for r in drilled.trades()), PATIENCE_S)
    booked = drilled.trade(held["trade_id"])
    assert (booked["state"], booked["reason"]) == ("CLOSED", "flatten: drill")
    told = drilled.voldesk("trade", held["trade_id"], "--json").json["story"]
    texts = [line["text"] for line in told]
    assert "flatten --direct asks to flatten it: flatten: drill." in texts
    assert not [line for line in told if line["kind"] == "leg_closed_outside" and "no order of ours" in line["text"]]
    # The venue tells the fee of a fill after the fill: execution may have been killed in between.
    until(
        drilled,
        "the fees of all fills are booked once",
        lambda: fees_booked(drilled) == fees_paid(drilled),
        PATIENCE_S,
    )
    assert drilled.voldesk("trade", resting["trade_id"], "--json").json["trade"]["state"] in FINAL
    until(
        drilled,
        "no difference remains",
        lambda: (
            (found := drilled.voldesk("reconcile", "--now", "--json")).code == 0
            and not [row for row in found.json["differences"] if row["stands"]]
        ),
        PATIENCE_S,
    )
    assert_nothing_doubled(drilled)
    assert "HALTED flatten by flatten --direct" in drilled.voldesk("status").out
