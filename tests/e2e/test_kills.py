"""Each service killed with -9 in the middle of a trade: the outcome is the same, and nothing is doubled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.stack import (
    FINAL,
    SERVICES,
    Desk,
    all_running,
    assert_books_balance,
    filled_at_venue,
    newest_in,
    signed_legs,
    until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("victim", "when"),
    [
        ("marketdata", ("OPEN",)),
        ("risk", ("OPEN",)),
        ("execution", ("OPEN",)),
        ("strategy", ("OPEN",)),
        ("monitor", ("OPEN",)),
        ("exchange", ("OPEN",)),
        ("execution", ("PENDING_CLOSE", "CLOSING")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_a_trade_is_completed_once_although_a_service_is_killed_in_its_middle(
    desk: Desk, victim: str, when: tuple[str, ...]
) -> None:
    trade = until(desk, f"a trade {when}", lambda: newest_in(desk, "quick", when))
    before = desk.services()
    desk.kill(victim)

    def completed() -> dict[str, Any] | None:
        row = desk.trade(trade["trade_id"])
        return row if row["state"] in FINAL else None

    done = until(desk, f"trade {trade['trade_id']} completed", completed)
    until(desk, "every service is running again", lambda: all_running(desk))

    assert done["state"] == "CLOSED"
    quantities = signed_legs(trade)
    expected = {(symbol, "open"): quantity for symbol, quantity in quantities.items()}
    expected |= {(symbol, "close"): -quantity for symbol, quantity in quantities.items()}
    assert filled_at_venue(desk, trade["trade_id"]) == expected
    after = desk.services()
    restarts = {name: after[name]["restarts"] - before[name]["restarts"] for name in SERVICES}
    assert restarts == {name: int(name == victim) for name in SERVICES}
    assert all(after[name]["pid"] == before[name]["pid"] for name in SERVICES if name != victim)


def test_after_all_that_what_the_venue_filled_is_what_the_trades_say(desk: Desk) -> None:
    assert_books_balance(desk)
    # a host that is told too early that execution is back would forget its open trades, and a person be woken
    alerts = [json.loads(line) for line in (desk.run_dir / "alerts.jsonl").read_text().splitlines()]
    assert [alert for alert in alerts if alert["code"] in ("trade_vanished", "core_failed", "naked_leg")] == []
    closed = [alert["subject"] for alert in alerts if alert["code"] == "trade_closed"]
    assert len(closed) == len(set(closed)), "each trade is told of once"
