"""`voldesk risk`: limits, halts, the stress grid and what-if, asked of real peers."""

from __future__ import annotations

import json

import pytest

from shared.messages.base import Message
from shared.messages.control import Halt
from shared.messages.risk import (
    BreakersReset,
    BreakerStatus,
    GetRisk,
    LimitUse,
    MarginEffect,
    MarginGuard,
    MarginModel,
    PositionStress,
    ResetBreaker,
    RiskAnswer,
    RiskLimits,
    StressGrid,
    UnderlyingStress,
    WhatIf,
    WhatIfAnswer,
    WhatIfRefusal,
)
from shared.messages.system import Replay, ReplayAnswer
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.risk_tables import show_limits

AT_NS = 1_796_371_200_000_000_000
LIMITS = RiskLimits(
    account_id="acc1",
    received_ns=AT_NS,
    limits=(
        LimitUse(name="total_risk", scope="account", subject="", value=17.0, limit=20.0, unit="%"),
        LimitUse(name="strategy_open_trades", scope="strategy", subject="condor", value=1, limit=2, unit="trades"),
        LimitUse(name="order_notional", scope="order", subject="", value=None, limit=2_000_000.0, unit="USD"),
    ),
    breakers=(
        BreakerStatus(
            name="consecutive_losses",
            subject="condor",
            state="open",
            since_ns=AT_NS,
            reason="4 losses in a row",
            value=4.0,
            limit=4.0,
            unit="losses",
            half_open_ns=AT_NS + 3_600_000_000_000,
        ),
    ),
    margin_guard=MarginGuard(
        utilisation_pct=63.0,
        level="no_new_trades",
        since_ns=AT_NS,
        thresholds_pct={"warn": 50.0, "no_new_trades": 60.0, "reduce": 75.0, "flatten": 90.0},
        acts_up_to="flatten",
        next_step="from 75 % on: close t1 of condor, which frees about 1,200 USD",
    ),
    margin_models=(
        MarginModel(model="standard", figure="initial", model_usd=110.0, venue_usd=100.0, error_pct=10.0),
    ),
)
GRID = StressGrid(
    account_id="acc1",
    received_ns=AT_NS,
    days=1.0,
    spot_pct=(-10.0, 0.0, 10.0),
    vol_pct=(0.0, 50.0),
    pnl_usd=((-900.0, 10.0, -400.0), (-1500.0, -200.0, -700.0)),
    underlyings=(
        UnderlyingStress(
            underlying="BTCUSD",
            pnl_usd=((-900.0, 10.0, -400.0), (-1500.0, -200.0, -700.0)),
            worst_usd=-1500.0,
            worst_spot_pct=-10.0,
            worst_vol_pct=50.0,
        ),
    ),
    positions=(PositionStress(symbol="BTCUSD-27NOV26-96000-P", underlying="BTCUSD", pnl_usd=-1500.0),),
    stressed_loss_usd=1500.0,
    limit_usd=3000.0,
    complete=True,
)


def execution_without_halts(message: Message) -> Message:
    assert isinstance(message, Replay)
    return ReplayAnswer(epoch=1, frames=(), newest={})


def test_limits_come_nearest_first_with_their_use_and_the_closest_named(peers: Peers) -> None:
    peers.answer("risk", lambda _: RiskAnswer(limits=LIMITS, stress=GRID))
    peers.answer("execution", execution_without_halts)
    ran = Ran("risk")
    assert ran.code == 0
    assert "no halt is in force" in ran.out
    assert "closest: total_risk at 85 % of its limit" in ran.out
    line = next(line for line in ran.out.splitlines() if "total_risk" in line)
    assert line.split()[:5] == ["total_risk", "account", "17", "20", "%"]
    assert GetRisk() in peers.asked


def test_breakers_and_the_margin_guard_say_what_comes_next(peers: Peers) -> None:
    peers.answer("risk", lambda _: RiskAnswer(limits=LIMITS, stress=GRID))
    peers.answer("execution", execution_without_halts)
    out = Ran("risk").out
    assert "consecutive_losses" in out
    assert "margin guard: no_new_trades" in out
    assert "next: from 75 % on: close t1 of condor" in out
    assert "+10.0 %" in out


def test_limits_as_json_have_the_fixed_keys(peers: Peers) -> None:
    peers.answer("risk", lambda _: RiskAnswer(limits=LIMITS, stress=GRID))
    peers.answer("execution", execution_without_halts)
    told = json.loads(Ran("risk", "--json").out)
    assert told["closest"] == {
        "name": "total_risk",
        "scope": "account",
        "subject": "",
        "value": 17.0,
        "limit": 20.0,
        "unit": "%",
        "use_pct": 85.0,
    }
    assert [limit["use_pct"] for limit in told["limits"]] == [85.0, 50.0, None]
    assert told["breakers"][0]["state"] == "open"
    assert told["margin_guard"]["level"] == "no_new_trades"
    assert told["margin_models"][0]["error_pct"] == 10.0
    assert told["halts"] == []


def test_with_execution_away_halts_are_unknown_and_the_rest_is_shown(peers: Peers) -> None:
    peers.answer("risk", lambda _: RiskAnswer(limits=LIMITS, stress=GRID))
    ran = Ran("risk", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["halts"] is None
    assert "not known" in Ran("risk").err


def test_the_stress_grid_is_a_table_and_its_json_has_every_cell(peers: Peers) -> None:
    peers.answer("risk", lambda _: RiskAnswer(limits=LIMITS, stress=GRID))
    out = Ran("risk", "--stress").out
    assert "-1,500" in out
    assert "stressed loss 1,500.00 USD, limit 3,000.00 USD, 50 % of it" in out
    told = json.loads(Ran("risk", "--stress", "--json").out)
    assert told["pnl_usd"] == [[-900.0, 10.0, -400.0], [-1500.0, -200.0, -700.0]]
    assert told["underlyings"][0]["worst_vol_pct"] == 50.0


def test_before_the_account_was_read_there_is_nothing_to_show(peers: Peers) -> None:
    peers.answer("risk", lambda _: RiskAnswer(limits=None, stress=None))
    ran = Ran("risk", "--json")
    assert (ran.code, ran.out) == (69, "")
    assert "has not read the account yet" in ran.err


def test_what_if_tells_every_refusal_with_figure_and_limit(peers: Peers) -> None:
    asked: list[Message] = []

    def risk(message: Message) -> Message:
        asked.append(message)
        return WhatIfAnswer(
            refusals=(WhatIfRefusal(code="trade_risk", detail="may lose 5,130 USD", value=5.1, limit=2.0),),
            margin_usd=5_130.0,
            available_margin_usd=99_000.0,
            margins=(MarginEffect(model="standard", before_usd=0.0, after_usd=4_400.0),),
            limits_before=(LIMITS.limits[0],),
            limits_after=(
                LimitUse(name="total_risk", scope="account", subject="", value=22.0, limit=20.0, unit="%"),
            ),
        )

    peers.answer("risk", risk)
    words = ("risk", "check", "sell", "0.5", "BTCUSD-4DEC26-106000-C", "--strategy", "condor", "--max-loss", "7")
    told = json.loads(Ran(*words, "--json").out)
    assert told["granted"] is False
    assert told["refusals"] == [{"code": "trade_risk", "detail": "may lose 5,130 USD", "value": 5.1, "limit": 2.0}]
    (question,) = [message for message in asked if isinstance(message, WhatIf)]
    assert (question.strategy, question.max_loss_usd, len(question.legs)) == ("condor", 7.0, 1)
    out = Ran(*words).out
    assert "would be refused" in out
    assert "+4,400.00" in out
    line = next(line for line in out.splitlines() if line.strip().startswith("total_risk"))
    assert line.split()[2:4] == ["17", "22"]


def test_what_if_needs_a_structure_or_a_strategy_of_the_desk(peers: Peers) -> None:
    assert Ran("risk", "check").code == 2
    ran = Ran("risk", "check", "--strategy", "nobody")
    assert ran.code == 2
    assert "no strategy of this desk" in ran.err
    assert peers.asked == []


def test_a_breaker_is_reset_only_after_a_yes_and_in_the_operators_name(peers: Peers) -> None:
    peers.answer("risk", lambda _: BreakersReset(breakers=LIMITS.breakers))
    words = ("risk", "reset", "consecutive_losses", "--of", "condor")
    assert Ran(*words, answer="n\n").code == 1
    assert peers.asked == []
    assert json.loads(Ran(*words, "--yes", "--json").out)[0]["name"] == "consecutive_losses"
    (asked,) = [message for message in peers.asked if isinstance(message, ResetBreaker)]
    assert (asked.name, asked.subject) == ("consecutive_losses", "condor")
    assert asked.requested_by.startswith("cli")


def test_halts_are_shown_with_level_by_whom_why_and_since_when(
    peers: Peers, capsys: pytest.CaptureFixture[str]
) -> None:
    halt = Halt(level="cancel_all", reason="venue maintenance", raised_by="cli:ann", raised_ns=AT_NS)
    show_limits(peers.desk, LIMITS, (halt,))
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "cancel_all" in line]
    assert "cli:ann" in line
    assert "12-04 08:00:00" in line
    assert "venue maintenance" in line
