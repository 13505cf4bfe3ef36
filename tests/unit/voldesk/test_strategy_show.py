"""`voldesk strategy show`: what a strategy would open now, by people and programs, from real publishers and peers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from shared.clock import wall_ns
from shared.messages.base import Message
from shared.messages.control import AccountAnswer
from shared.messages.risk import WhatIf, WhatIfAnswer, WhatIfRefusal
from shared.options.payoff import trading_fee_usd
from tests.unit.perpetuals import chain_with, with_perpetual
from tests.unit.spot_pairs import chain_with_pair, with_pair
from tests.unit.strategy.making import account, instruments, listing, snapshot
from tests.unit.voldesk.conftest import CONFIG
from tests.unit.voldesk.peers import Peers, Ran

CONDOR = """
from shared.strategy import StrategyConfig, iron_condor, max_loss, strangle


def condor() -> StrategyConfig:
    legs = iron_condor({"risk_pct": 5}, {"dte_min": 5, "dte_max": 12}, width=3_000)
    return StrategyConfig(name="condor", legs=legs, exit_conditions=[max_loss(usd=500)])
"""
NAKED = """
from shared.strategy import StrategyConfig, strangle


def naked() -> StrategyConfig:
    legs = strangle("0.1", side="sell", expiry_criteria={"dte_min": 5, "dte_max": 12})
    return StrategyConfig(name="naked", legs=legs)
"""


HEDGED = """
from shared.strategy import LegSpec, StrategyConfig, max_loss


def hedged() -> StrategyConfig:
    put = LegSpec("P", "sell", "0.5", {"type": "delta", "value": 0.3}, {"dte_min": 5, "dte_max": 12})
    legs = [put, LegSpec.perpetual("BTC", "sell", {"to_delta": 0})]
    return StrategyConfig(name="hedged", legs=legs, exit_conditions=[max_loss(usd=500)])
"""

COVERED = """
from shared.strategy import LegSpec, StrategyConfig, max_loss


def covered() -> StrategyConfig:
    call = LegSpec("C", "sell", "0.5", {"type": "delta", "value": 0.3}, {"dte_min": 5, "dte_max": 12})
    legs = [call, LegSpec.spot("BTC", "buy", {"of_leg": 0})]
    return StrategyConfig(name="covered", legs=legs, exit_conditions=[max_loss(usd=500)])
"""


@pytest.fixture
def market(home: Path, peers: Peers) -> Peers:
    (home / "mine").mkdir()
    (home / "mine" / "condor.py").write_text(CONDOR)
    (home / "mine" / "naked.py").write_text(NAKED)
    enabled = '[strategy]\nenabled = ["condor", "naked"]\nfolders = ["mine"]\n'
    (home / "voldesk.toml").write_text(f"{CONFIG}\n{enabled}")
    now_ns = wall_ns()
    listed = instruments(now_ns, days=(1, 2, 8, 22))
    peers.answer("marketdata", lambda _: None)
    peers.publish("marketdata", "md.BTCUSD.instruments", listing(listed))
    peers.publish("marketdata", "md.BTCUSD.chain", snapshot(listed, now_ns), every_s=0.05)
    return peers


def risk(message: Message) -> Message:
    if isinstance(message, WhatIf):
        refused = WhatIfRefusal(code="total_risk", detail="7 % of equity", value=7.0, limit=5.0)
        return WhatIfAnswer(refusals=(refused,), margin_usd=1_234.5, available_margin_usd=8_000.0, max_loss_usd=400.0)
    return AccountAnswer(account=account(wall_ns(), equity="10000"))


def test_a_condor_sized_by_risk_is_told_whole(market: Peers) -> None:
    market.answer("risk", risk)
    told = json.loads(Ran("strategy", "show", "condor", "--json").out)
    assert told["structure"] == "iron condor"
    assert (told["mode"], told["account"], told["strategy"]) == ("paper", "acc1", "condor")
    assert [(leg["side"], leg["symbol"][-1]) for leg in told["legs"]] == [
        ("sell", "C"),
        ("sell", "P"),
        ("buy", "C"),
        ("buy", "P"),
    ]
    assert told["premium_mark_usd"] < 0
    assert told["premium_book_usd"] > told["premium_mark_usd"], "across the books one receives less"
    assert told["max_profit_usd"] == pytest.approx(-told["premium_mark_usd"])
    assert 300 < told["max_loss_usd"] < 500, "5 % of 10,000 USD, fees and the books' other sides included"
    assert told["unbounded"] == []
    low, high = told["breakevens"]
    assert low < told["index_price"] < high
    quantity = float(told["legs"][0]["qty"])
    assert told["fees_usd"] == pytest.approx(
        sum(trading_fee_usd(leg["mark"], 100_000.0, quantity) for leg in told["legs"])
    )
    assert told["greeks"]["theta"] > 0
    assert told["greeks"]["vega"] < 0
    assert min(told["payoff"]["at_expiry"]) == pytest.approx(-told["max_loss_usd"], abs=0.01)
    assert len(told["payoff"]["now"]) == len(told["payoff"]["underlying"])
    assert told["declared_max_loss_usd"] == 500
    assert told["risk"]["refusals"][0]["code"] == "total_risk"


def test_it_is_read_on_a_phone(market: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    market.answer("risk", risk)
    monkeypatch.setenv("COLUMNS", "52")
    ran = Ran("strategy", "show", "condor")
    assert ran.code == 0, ran.err
    for words in (
        "iron condor",
        "credit",
        "max loss",
        "breakeven",
        "margin 1,234.50 USD",
        "7 % of equity",
        "at expiry",
    ):
        assert words in ran.out
    tables = [line for line in ran.out.splitlines() if not line.startswith(("condor:", "margin", "risk would"))]
    assert max(len(line.rstrip()) for line in tables) <= 52


def test_without_risk_the_rest_is_told_and_a_loss_without_bound_is_called_so(market: Peers) -> None:
    ran = Ran("strategy", "show", "naked")
    assert ran.code == 0, ran.err
    assert "margin is not known" in ran.out
    assert any(line.split()[:4] == ["max", "loss", "no", "bound"] for line in ran.out.splitlines())
    told = json.loads(Ran("strategy", "show", "naked", "--json").out)
    assert (told["max_loss_usd"], told["unbounded"]) == (None, ["max_loss_usd"])


def test_without_risk_a_size_by_risk_is_refused_with_the_reason(market: Peers) -> None:
    ran = Ran("strategy", "show", "condor")
    assert ran.code != 0
    assert "the account's equity is not known" in ran.err


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="pictures need the extra with matplotlib")
def test_the_picture_is_written_where_it_was_asked(market: Peers, tmp_path: Path) -> None:
    ran = Ran("strategy", "show", "naked", "--plot", str(tmp_path / "payoff.png"))
    assert ran.code == 0, ran.err
    assert (tmp_path / "payoff.png").read_bytes().startswith(b"\x89PNG")
    missing = Ran("strategy", "show", "naked", "--plot", str(tmp_path / "nowhere" / "payoff.png"))
    assert missing.code != 0
    assert "cannot be written" in missing.err


def test_a_name_that_is_no_strategy_is_one_line_with_those_there_are(market: Peers) -> None:
    ran = Ran("strategy", "show", "nobody")
    assert ran.code != 0
    assert "use one of: condor, naked" in ran.err


def test_a_perpetual_that_is_sized_to_a_delta_is_shown_with_its_quantity_and_the_delta_of_the_whole(
    home: Path, peers: Peers
) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "hedged.py").write_text(HEDGED)
    enabled = '[strategy]\nenabled = ["hedged"]\nfolders = ["mine"]\n'
    (home / "voldesk.toml").write_text(f"{CONFIG}\nfutures = true\n{enabled}")
    now_ns = wall_ns()
    options = instruments(now_ns, days=(1, 2, 8, 22))
    listed = with_perpetual(listing(options))
    peers.answer("marketdata", lambda _: None)
    peers.publish("marketdata", "md.BTCUSD.instruments", listed)
    peers.publish("marketdata", "md.BTCUSD.chain", chain_with(snapshot(options, now_ns), listed), every_s=0.05)
    peers.answer("risk", risk)
    told = json.loads(Ran("strategy", "show", "hedged", "--json").out)
    put, perpetual = told["legs"]
    assert (perpetual["side"], perpetual["symbol"], perpetual["delta"]) == ("sell", "BTCUSD", 1)
    assert float(perpetual["qty"]) == pytest.approx(-0.5 * put["delta"], abs=0.001)
    assert abs(told["greeks"]["delta"]) < 0.001
    assert (told["structure"], told["unbounded"]) == ("short put with short perpetual", ["max_loss_usd"])
    shown = Ran("strategy", "show", "hedged").out
    assert any(line.split()[:3] == ["sell", perpetual["qty"], "perpetual"] for line in shown.splitlines()), shown


def test_a_covered_call_with_coins_is_shown_as_what_it_is(home: Path, peers: Peers) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "covered.py").write_text(COVERED)
    enabled = '[strategy]\nenabled = ["covered"]\nfolders = ["mine"]\n'
    (home / "voldesk.toml").write_text(f"{CONFIG}\nspot = true\n{enabled}")
    now_ns = wall_ns()
    options = instruments(now_ns, days=(1, 2, 8, 22))
    listed = with_pair(listing(options))
    peers.answer("marketdata", lambda _: None)
    peers.publish("marketdata", "md.BTCUSD.instruments", listed)
    peers.publish("marketdata", "md.BTCUSD.chain", chain_with_pair(snapshot(options, now_ns), listed), every_s=0.05)
    peers.answer("risk", risk)
    told = json.loads(Ran("strategy", "show", "covered", "--json").out)
    call, coins = told["legs"]
    assert (coins["side"], coins["qty"], coins["symbol"], coins["mark"]) == ("buy", "0.5", "BTCUSDT", 100_000)
    assert (told["structure"], told["coins_usd"], told["unbounded"]) == ("short call with long spot", 50_005, [])
    assert told["breakevens"] == [pytest.approx(100_000 - call["mark"])]
    shown = Ran("strategy", "show", "covered").out
    assert any(line.split()[:3] == ["buy", "0.5", "spot"] for line in shown.splitlines()), shown
    assert "50,005.00" in shown
