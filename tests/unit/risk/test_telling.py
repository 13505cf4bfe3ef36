"""What risk granted and refused, as lines of the log."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

from services.risk import rows
from services.risk.telling import RiskNarrator
from shared.log_lines import IN_EVERY_LINE, Told
from shared.messages.steps import Request, Step
from tests.unit.risk.desk import Script, ask, limits

NOT_TOLD = {rows.PeakEquityRaised, rows.OpeningJudged}


def told(step: Step) -> list[Told]:
    narrator = RiskNarrator()
    effects = [effect for effect in step.effects if type(getattr(effect, "message", effect)) in narrator.hears]
    return [line for what in (*(entry.row for entry in step.rows), *effects) for line in narrator.told(what)]


def test_a_grant_is_told_with_its_intent_strategy_envelope_and_margin() -> None:
    (given,) = told(Script().ready().on(Request("r1", ask(), "strategy")))
    assert (given.event, given.track) == ("grant given", "execution")
    assert (given.fields["intent_id"], given.fields["strategy"]) == ("s-1", "s")
    assert "or better" in str(given.fields["legs"])
    assert given.fields["margin_usd"]


def test_a_refusal_is_told_once_with_its_code_and_the_figure_that_broke_the_limit() -> None:
    script = Script(limits(max_delta_usd=1.0)).ready()
    (refused,) = told(script.on(Request("r1", ask(), "strategy")))
    assert refused.event == "grant refused"
    assert refused.fields["code"]
    assert refused.fields["detail"]
    assert refused.fields["limit"] == 1.0
    assert refused.fields["intent_id"] == "s-1"


def test_each_kind_of_row_is_told_or_known_not_to_be() -> None:
    script = Script().ready()
    script.on(Request("r1", ask(), "strategy"))
    samples: dict[type, Any] = {type(entry.row): entry.row for entry in script.rows}
    samples[rows.BreachFound] = rows.BreachFound(code="c", request_id="r", detail="d")
    samples[rows.BreachHalted] = rows.BreachHalted(code="c")
    samples[rows.BreachLifted] = rows.BreachLifted(code="c", value_pct=26.5)
    samples[rows.MarkSetAnew] = rows.MarkSetAnew(
        name="drawdown", equity_usd=Decimal(75), from_usd=Decimal(100), by="x"
    )
    samples[rows.BreachEnded] = rows.BreachEnded(code="c")
    samples[rows.BreakerMoved] = rows.BreakerMoved(name="n", subject="s", state="open", reason="r")
    samples[rows.MarginLevelMoved] = rows.MarginLevelMoved(level="reduce", utilisation_pct=70.0)
    samples[rows.TradeJudged] = rows.TradeJudged(trade_id="t1", strategy="s", net_pnl_usd=Decimal(-5))
    samples[rows.CapitalMoved] = rows.CapitalMoved(transfer_id="x", amount_usd=Decimal(100))
    for kind in get_args(rows.RiskRow):
        if kind not in NOT_TOLD:
            (line,) = RiskNarrator().told(samples[kind])
            assert not IN_EVERY_LINE & line.fields.keys(), kind
