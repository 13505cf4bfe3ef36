"""A dry run: a whole desk that selects a strangle, says what it would open, and sends nothing."""

from __future__ import annotations

from tests.e2e.stack import Desk, until

STRATEGY = """
from shared.strategy import StrategyConfig, strangle


def rehearsal() -> StrategyConfig:
    return StrategyConfig(
        name="rehearsal",
        legs=strangle(
            qty="0.01",
            call_delta=0.2,
            put_delta=-0.2,
            side="buy",
            underlying="BTCUSD",
            expiry_criteria={"dte_min": 1, "dte_max": 30, "target": 7},
        ),
        execution_mode="limit",
        check_interval_seconds=1,
        dry_run=True,
    )
"""


def rehearsal_config(venue: str) -> str:
    return f"""
[desk]
name = "rehearsal"
number = 249
account_id = "rehearsal"
venue = "{venue}"
underlyings = ["BTCUSD"]

[strategy]
enabled = ["rehearsal"]
folders = ["strategies"]
"""


def rehearse(desk: Desk) -> None:
    """Start, wait until the strategy says what it would open, and see that no order was made. Takes the desk down."""
    try:
        started = desk.voldesk("up", "--timeout", "120", "--json", timeout_s=180)
        assert started.code == 0, started.err + desk.logs()
        until(desk, "what would be opened is said", lambda: "dry run: would open" in desk.logs(), 180)
        assert desk.voldesk("trades", "--json").json == []
        assert desk.voldesk("orders", "--all", "--json").json == []
    finally:
        assert desk.voldesk("down").code == 0
