"""`voldesk exchange` against an exchange process: what it does to the market outlives the process, faults do not."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.exchange.test_process import ExchangeProcess
from tests.unit.voldesk.peers import Ran


async def started(desk: ExchangeProcess) -> None:
    desk.start()
    client = await desk.client()
    await client.http.aclose()


def told(*arguments: str) -> Any:
    ran = Ran("exchange", *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def list_expiry(*more: str) -> Ran:
    """A new expiry of bitcoin in nineteen minutes; a minute sooner where that is 08:00, when a listed one expires."""
    ran = Ran("exchange", "list-expiry", "BTCUSD", "--in", "19m", *more)
    return Ran("exchange", "list-expiry", "BTCUSD", "--in", "18m", *more) if "listed already" in ran.err else ran


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    exchange = ExchangeProcess(tmp_path)
    monkeypatch.setenv("VOLDESK_CONFIG", str(tmp_path / "voldesk.toml"))
    monkeypatch.setenv("VOLDESK_RUN_DIR", str(exchange.run_dir))
    monkeypatch.delenv("TRADING_ENVIRONMENT", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    yield exchange
    if exchange.process is not None and exchange.process.poll() is None:
        exchange.end(signal.SIGKILL)


def btc(state: Any) -> Any:
    return next(row for row in state["underlyings"] if row["underlying"] == "BTCUSD")


def test_moves_and_listings_survive_a_kill_and_faults_do_not(desk: ExchangeProcess) -> None:
    asyncio.run(started(desk))
    before = btc(told("status"))
    assert told("move", "BTC", "--pct", "-20") == {"underlying": "BTCUSD", "pct": -20.0}
    told("vol", "BTCUSD", "--pct", "50")
    listed = json.loads(list_expiry("--json").out)
    faults = told("fault", "latency", "--ms", "1", "--path", "/open/option/order", "--for", "10m")
    assert [(row["fault"], row["path"], row["hits_left"]) for row in faults] == [
        ("latency 1 ms", "/open/option/order", None)
    ]
    desk.end(signal.SIGKILL)
    asyncio.run(started(desk))
    state = told("status")
    after = btc(state)
    assert float(after["index"]) < 0.9 * float(before["index"])
    assert after["volatility_factor"] == pytest.approx(1.5)
    assert listed["expires_at"] in after["expiries"]
    assert after["options"] > before["options"]
    assert state["faults"] == []


def test_faults_are_listed_and_cleared(desk: ExchangeProcess) -> None:
    asyncio.run(started(desk))
    assert "no fault is in force" in Ran("exchange", "fault", "list").out
    ran = Ran("exchange", "fault", "lost-answers", "--count", "2", "--path", "/open/option/order")
    assert ran.out.splitlines()[-1].split() == ["lost-answers", "/open/option/order…", "0", "2", "-"]
    for kind in ("errors", "http-500", "rate-limit", "silence", "frozen-book", "no-quotes", "late-quotes"):
        assert Ran("exchange", "fault", kind, "--for", "5m", "--path", "/none").code == 0
    assert Ran("exchange", "fault", "disconnect", "--path", "/none").code == 0
    assert len(told("fault", "list")) == 8
    assert told("fault", "clear") == []
    shown = Ran("exchange", "status")
    assert "BTCUSD" in shown.out
    assert "0 requests for quote open, 0 quotes" in shown.out
    assert max(len(line.rstrip()) for line in shown.out.splitlines()) <= 80


def test_a_short_expiry_names_the_settings_that_keep_the_desk_out_of_it(desk: ExchangeProcess) -> None:
    asyncio.run(started(desk))
    ran = list_expiry()
    assert ran.code == 0
    assert "[strategy] no_trade_margin_s keeps it out for the last 1h00m" in ran.err
    assert "[execution] tradable_margin_s" in ran.err
    assert "[risk]" not in ran.err
    # a date takes four: ten within minutes are too many even when midnight or 08:00 is among them
    for minutes in range(1, 11):
        last = Ran("exchange", "list-expiry", "btc", "--in", f"{24 * 5}h{minutes:02d}m")
        if last.code and "listed already" not in last.err:
            break
    assert (last.code, last.out) == (1, "")
    assert "too many expiries of that date are listed; choose another time with --in" in last.err


def test_what_is_wrong_is_one_line_with_its_exit_code(desk: ExchangeProcess) -> None:
    for arguments, code, says in (
        (("status",), 69, "was never started; start it with `voldesk up`"),
        (("list-expiry", "BTC", "--in", "soon"), 2, "write it as 90s, 20m, 1h or 1h30m"),
        (("list-expiry", "BTC", "--in", "30d"), 2, "choose 1m to 7d"),
        (("fault", "silence", "--count", "3"), 2, "not counted in requests"),
        (("fault", "earthquake"), 2, "'kind': 'earthquake' is not one of 'latency'"),
        (("move", "DOGE", "--pct", "1"), 2, "use one of: BTCUSD, ETHUSD"),
        (("move", "BTC", "--pct", "-95"), 2, "--pct"),
    ):
        ran = Ran("exchange", *arguments)
        assert (ran.code, ran.out) == (code, ""), arguments
        assert ran.err.count("\n") == 1
        assert says in ran.err


def test_an_exchange_that_is_gone_cannot_be_reached(desk: ExchangeProcess) -> None:
    asyncio.run(started(desk))
    desk.end(signal.SIGKILL)
    ran = Ran("exchange", "move", "BTC", "--pct", "1")
    assert (ran.code, ran.out) == (69, "")
    assert "cannot be reached" in ran.err


@pytest.mark.parametrize("venue", ["beta", "production"])
def test_a_desk_of_a_real_venue_is_refused(
    desk: ExchangeProcess, monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", venue)
    for arguments in (["status"], ["move", "BTC", "--pct", "1"], ["fault", "clear"], ["list-expiry", "BTC"]):
        ran = Ran("exchange", *arguments)
        assert (ran.code, ran.out) == (78, "")
        assert f"the desk's venue is {venue}" in ran.err
