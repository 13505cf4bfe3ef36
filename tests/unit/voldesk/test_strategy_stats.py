"""voldesk strategy stats: the journal's ended trades, as a person and as a program reads them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from tests.unit.voldesk.peers import Ran
from tests.unit.voldesk.test_journal import played, write


def test_a_strategys_trades_are_summed_up_net_of_fees(home: Path) -> None:
    script = played()
    write(script.entries)
    (closed,) = (each for each in json.loads(Ran("ledger", "--json").out) if each["state"] == "CLOSED")
    (told,) = json.loads(Ran("strategy", "stats", "demo", "--json").out)
    assert (told["strategy"], told["mode"], told["trades"]) == ("demo", "paper", 1)
    assert Decimal(told["net_usd"]) == Decimal(closed["net_pnl_usd"])
    assert told["wins"] + told["losses"] == 1
    shown = Ran("strategy", "stats")
    assert shown.code == 0, shown.err
    assert "demo" in shown.out
    assert "drawdown" in shown.out


def test_a_strategy_that_ended_nothing_says_so(home: Path) -> None:
    write(played().entries)
    ran = Ran("strategy", "stats", "another")
    assert ran.code == 0
    assert "no trade of another with a fill ended so far" in ran.out
    (told,) = json.loads(Ran("strategy", "stats", "another", "--json").out)
    assert (told["trades"], told["win_rate_pct"]) == (0, None)
