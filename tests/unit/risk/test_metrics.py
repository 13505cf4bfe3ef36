"""The account's gauges, by the effects and rows of a real core."""

from __future__ import annotations

import pytest

from services.risk.config import RiskConfig
from services.risk.metrics import RiskMetrics
from services.risk.states import MARGIN_LEVELS
from shared.messages.account import AccountSnapshot
from shared.messages.risk import RiskLimits
from shared.messages.steps import Publish, Step, Tick
from shared.metrics import Metrics
from tests.unit.risk import test_breakers, test_margin_guard
from tests.unit.risk.desk import LONG_CALL, Script, account, ask, position
from tests.unit.shared.test_metrics import scraped


class Watched:
    def __init__(self, config: RiskConfig | None = None) -> None:
        self.script = Script(config)
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


def test_gamma_and_theta_are_those_of_the_account() -> None:
    desk = Watched()
    desk.script.ready()
    step = desk.script.poll(1, positions=(position(LONG_CALL[0].symbol, "2"),))
    desk.take(step)
    (told,) = [e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, AccountSnapshot)]
    sums = told.greeks["BTCUSD"]
    assert sums.gamma > 0 > sums.theta
    assert desk.shown("voldesk_gamma_coins_per_usd") == {("own", "BTCUSD"): pytest.approx(sums.gamma)}
    assert desk.shown("voldesk_theta_usd_per_day") == {("own", "BTCUSD"): pytest.approx(sums.theta)}


def test_grants_that_reserve_room_are_shown_with_their_margin_until_they_lapse() -> None:
    desk = Watched()
    desk.script.ready()
    grant = desk.script.granted(ask(), 1)
    desk.take(desk.script.market(2).poll(2))
    assert desk.shown("voldesk_grants_outstanding") == {(): 1}
    assert desk.shown("voldesk_grants_outstanding_margin_usd") == {(): pytest.approx(grant.margin_usd)}
    desk.take(desk.script.market(200).poll(200))
    assert desk.shown("voldesk_grants_outstanding") == {(): 0}
    assert desk.shown("voldesk_grants_outstanding_margin_usd") == {(): 0}


def test_the_use_of_each_limit_is_shown_as_the_command_shows_it() -> None:
    desk = Watched()
    desk.script.ready()
    step = desk.script.poll(1, account("90000"), positions=(position(LONG_CALL[0].symbol, "2"),))
    desk.take(step)
    (told,) = [e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, RiskLimits)]
    uses = {limit.name: limit.use_pct / 100 for limit in told.limits if limit.use_pct is not None}
    shown = {key[0]: use for key, use in desk.shown("voldesk_limit_use_ratio").items()}
    assert max(uses.values()) > 0
    assert shown == {name: pytest.approx(use) for name, use in uses.items()}


def test_the_error_of_each_margin_model_is_shown_as_a_ratio_and_left_out_where_the_venue_shows_no_margin() -> None:
    desk = Watched()
    desk.script.ready()
    short = (position(LONG_CALL[0].symbol, "-1"),)
    step = desk.script.market(1).poll(1, account("100000", "90000", "10000"), short)
    desk.take(step)
    (told,) = [e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, RiskLimits)]
    errors = {(each.figure, each.model): each.error_pct for each in told.margin_models if each.error_pct is not None}
    assert ("initial", "standard") in errors
    assert ("maintenance", "standard") not in errors
    assert desk.shown("voldesk_margin_model_error_ratio") == {
        key: pytest.approx(error / 100) for key, error in errors.items()
    }


def test_a_breaker_is_shown_closed_open_and_half_open() -> None:
    desk = Watched(test_breakers.config())
    desk.script.ready()
    key = ("consecutive_losses", "")

    def state(at_s: float) -> float:
        desk.take(desk.script.market(at_s).poll(at_s))
        return desk.shown("voldesk_breaker_state")[key]

    assert state(0.5) == 0
    test_breakers.lose(desk.script, 1, 1)
    test_breakers.lose(desk.script, 2, 2)
    assert state(3) == 2
    desk.script.on(Tick(), 2 + test_breakers.PAUSE_S)
    assert state(3 + test_breakers.PAUSE_S) == 1


def test_the_level_of_the_margin_guard_is_shown_by_its_number() -> None:
    desk = Watched(test_margin_guard.config())
    desk.script.ready()
    levels = []
    for at_s, used_pct in ((1, 10.0), (10, 75.0), (20, 99.0)):
        for number in range(2):
            desk.take(test_margin_guard.read(desk.script, at_s + number, used_pct))
        (level,) = desk.shown("voldesk_margin_guard_level").values()
        levels.append(level)
    assert levels == [0, MARGIN_LEVELS.index(test_margin_guard.reads(desk.script, 30, 75.0).level), 4]
