from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Desk, desk_pids

STRANGLE = """
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.strategy import StrategyConfig, max_hold_hours, strangle


def {name}() -> StrategyConfig:
    return StrategyConfig(
        name="{name}",
        legs=strangle(
            qty="{quantity}",
            call_delta=0.3,
            put_delta=-0.3,
            side="buy",
            underlying="{underlying}",
            expiry_criteria={{"dte_min": 2, "dte_max": 21, "target": 7}},
        ),
        exit_conditions=[max_hold_hours({hold_s} / 3600)],
        execution_mode="limit",
        execution_params=ExecutionParams(
            phases=(
                LimitPhase(pricing="passive", duration_s={passive_s}, reprice_interval_s={passive_s}),
                LimitPhase(pricing="aggressive", duration_s=2.0, reprice_interval_s=2.0, buffer_pct=5.0),
            )[{passive_s} == 0 :],
            fill_timeout_s=2.0,
            max_requote_rounds=20,
            requote_by="{requote_by}",
        ),
        max_concurrent_trades=1,
        cooldown_seconds={cooldown_s},
        check_interval_seconds=1,
    )
"""

WINGS = """
from shared.strategy import LegSpec, SmartConfig, StrategyConfig, max_hold_hours

FAR = {"dte_min": 22, "dte_max": 200, "target": "near"}


def wings() -> StrategyConfig:
    return StrategyConfig(
        name="wings",
        legs=[
            LegSpec("C", "buy", "0.2", {"type": "spotdistance", "value": 1}, FAR),
            LegSpec("C", "sell", "0.4", {"type": "spotdistance", "value": 6}, FAR),
            LegSpec("C", "buy", "0.2", {"type": "spotdistance", "value": 11}, FAR),
        ],
        exit_conditions=[max_hold_hours(15 / 3600)],
        execution_mode="smart",
        smart_config=SmartConfig(
            chunk_count=2,
            time_per_chunk=2,
            aggressive_attempts=30,
            aggressive_wait_seconds=2,
            aggressive_retry_pause=0,
        ),
        cooldown_seconds=90,
        check_interval_seconds=1,
    )
"""
"""A butterfly that is opened and closed in two chunks, now and then: its short calls need margin at the venue."""

# strategies that pay the spread with every trade, and faults on purpose: no breaker shall stop what is tested
CONFIG = """
[desk]
name = "{name}"
number = {number}
account_id = "{name}"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]
futures = {futures}
spot = {spot}

[logging]
health_interval_s = 10

[risk]
max_consecutive_losses = 100000
max_slippage_pct = 100
max_rejection_pct = 100
max_venue_errors_per_minute = 1000

[execution]
close_step_ms = 1000
urgent_step_ms = 1000

[strategy]
enabled = [{enabled}]
folders = ["strategies"]
"""


def strangle_file(
    name: str, quantity: str, *, hold_s: int, passive_s: int = 0, cooldown_s: int = 1, requote_by: str = "replace"
) -> str:
    """A strangle in ETHUSD whose orders rest for `passive_s` before they cross."""
    return STRANGLE.format(
        name=name,
        underlying="ETHUSD",
        requote_by=requote_by,
        quantity=quantity,
        hold_s=hold_s,
        passive_s=passive_s,
        cooldown_s=cooldown_s,
    )


def make_desk(
    name: str,
    number: int,
    enabled: list[str],
    strategies: dict[str, str],
    *,
    futures: bool = False,
    spot: bool = False,
    sections: str = "",
) -> Desk:
    """sections: of voldesk.toml, beside those that every desk here has."""
    home = Path(tempfile.mkdtemp(prefix=f"vd-{name}-"))
    names = ", ".join(f'"{strategy}"' for strategy in enabled)
    config = CONFIG.format(
        name=name, number=number, enabled=names, futures=str(futures).lower(), spot=str(spot).lower()
    )
    return Desk(home, config + sections, strategies)


def take_down(desk: Desk) -> None:
    answer = desk.voldesk("down")
    left = desk_pids(desk.run_dir)
    assert answer.code == 0, answer.err
    assert left == []
    shutil.rmtree(desk.home)


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """The desk that most tests share: the demonstration, a strangle that is opened and closed all the time, and a
    butterfly by smart now and then."""
    quick = strangle_file("quick", "1", hold_s=4, passive_s=3, requote_by="amend")
    made = make_desk("alpha", 1, ["demo_strangle", "quick", "wings"], {"quick": quick, "wings": WINGS})
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)


@pytest.fixture(scope="session")
def second_desk(desk: Desk) -> Iterator[Desk]:
    """A desk beside the first one: one strategy that holds for long, one whose file is broken, and one that opens
    slowly and once and is not enabled yet."""
    made = make_desk(
        "beta-two",
        2,
        ["patient", "broken"],
        {
            "patient": strangle_file("patient", "1", hold_s=3_000),
            "resting": strangle_file("resting", "2", hold_s=1, passive_s=25, cooldown_s=3_600),
            "broken": "from shared.strategy import StrategyConfig\n\ndef broken(:\n",
        },
    )
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)
