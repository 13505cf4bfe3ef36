"""The account's gauges, by the effects and rows of a real core."""

from __future__ import annotations

import pytest

from services.risk.metrics import RiskMetrics
from shared.messages.steps import Step
from shared.metrics import Metrics
from tests.unit.risk.desk import LONG_CALL, Script, account, position
from tests.unit.shared.test_metrics import scraped


class Watched:
    def __init__(self) -> None:
        self.script = Script()
        self.families = Metrics("risk", "paper", "main")
        self.metrics = RiskMetrics(self.families, ("BTCUSD",), lambda: self.script.core)

    def take(self, step: Step) -> None:
        self.metrics.committed(step.rows)
        for effect in step.effects:
            self.metrics.performed(effect, "")

    def shown(self, name: str) -> dict[tuple[str, ...], float]:
        return {tuple(value for _, value in labels): count for labels, count in scraped(self.families, name).items()}


def test_an_account_is_shown_with_utilisation_drawdown_and_the_loss_of_the_day() -> None:
    desk = Watched()
    desk.script.market()
    assert desk.metrics.words() == {"equity_usd": None}
    desk.take(desk.script.poll(0, account("100000")))
    desk.take(desk.script.poll(1, account("90000", "70000", "18000")))
    for name, value in {
        "voldesk_equity_usd": 90_000,
        "voldesk_available_margin_usd": 70_000,
        "voldesk_initial_margin_usd": 18_000,
        "voldesk_margin_utilisation_ratio": 0.2,
        "voldesk_drawdown_ratio": 0.1,
        "voldesk_daily_loss_ratio": 0.1,
        "voldesk_positions": 0,
        "voldesk_greeks_complete": 1,
    }.items():
        assert desk.shown(name) == {(): pytest.approx(value)}, name
    assert desk.shown("voldesk_delta_coins") == {("own", "BTCUSD"): 0}
    assert desk.metrics.words()["equity_usd"] == "90000"


def test_greeks_are_shown_by_underlying_and_gone_with_the_position() -> None:
    desk = Watched()
    desk.script.ready()
    symbol = LONG_CALL[0].symbol
    desk.take(desk.script.poll(1, positions=(position(symbol, "2"),)))
    assert desk.shown("voldesk_positions") == {(): 1}
    assert desk.shown("voldesk_delta_coins")["own", "BTCUSD"] != 0
    assert desk.shown("voldesk_vega_usd")["own", "BTCUSD"] > 0
    desk.take(desk.script.poll(2))
    assert desk.shown("voldesk_delta_coins") == {("own", "BTCUSD"): 0}


def test_a_broken_limit_is_counted_and_shown_until_it_is_over() -> None:
    desk = Watched()
    desk.script.market()
    desk.take(desk.script.poll(0, account("100000")))
    for at_s in range(1, 1 + desk.script.config.breach_polls):
        desk.take(desk.script.poll(at_s, account("60000")))
    assert desk.shown("voldesk_limit_breaches_total") == {("drawdown",): 1, ("daily_loss",): 1}
    assert desk.shown("voldesk_limit_broken") == {("drawdown",): 1, ("daily_loss",): 1}
    desk.take(desk.script.poll(60, account("100000")))
    assert desk.shown("voldesk_limit_broken") == {}
    assert desk.shown("voldesk_limit_breaches_total") == {("drawdown",): 1, ("daily_loss",): 1}
