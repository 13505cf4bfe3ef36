"""A strategy's configuration: refused with the field named, and what is derived from it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.conditions import HostFunction
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.trades import ExecutionParams as LimitParams
from shared.messages.trades import LimitPhase
from shared.strategy import (
    EntryView,
    ExecutionParams,
    ExitView,
    RfqConfig,
    SmartConfig,
    StrategyConfig,
    all_of,
    call_on,
    daily_at,
    max_hold_hours,
    min_equity,
    profit_target,
    strangle,
)


def calm(view: EntryView, now_ns: int) -> bool:
    return view.account is not None and now_ns > 0


def viewless() -> bool:
    return True


def eager(view: EntryView, now_ns: int, more: float) -> bool:
    return more > now_ns


def enough(view: ExitView, now_ns: int) -> bool:
    return view.opened_ns < now_ns


async def told_later(trade: object) -> None: ...


async def read_later(desk: object, now_ns: int) -> None: ...


def test_a_function_of_one_argument_is_told_of_closed_trades() -> None:
    seen: list[object] = []
    functions: list[Any] = [print, seen.append, lambda trade: None, lambda trade, more=1: None]
    for told in functions:
        assert make(on_trade_closed=told)().on_trade_closed is told


def test_functions_and_data_stand_side_by_side_and_functions_travel_by_name() -> None:
    config = StrategyConfig(
        name="mixed",
        legs=strangle(1),
        entry_conditions=[min_equity(1), calm],
        exit_conditions=[enough, max_hold_hours(2), max_hold_hours(1)],
    )
    assert config.entries == (min_equity(1), HostFunction(name="calm"))
    assert config.exits == (HostFunction(name="enough"), max_hold_hours(2), max_hold_hours(1))
    assert config.entry_functions == {"calm": calm}
    assert config.exit_functions == {"enough": enough}
    assert config.underlyings == ("BTCUSD",)


def test_the_short_parameters_become_one_aggressive_phase_wherever_they_are_given() -> None:
    short = ExecutionParams(fill_timeout_seconds=12.0, aggressive_buffer_pct=3.0, max_requote_rounds=4)
    phase = LimitPhase(pricing="aggressive", duration_s=12.0, reprice_interval_s=12.0, buffer_pct=3.0)
    in_words_of_the_bus = LimitParams(phases=(phase,), fill_timeout_s=12.0, max_requote_rounds=4)
    for fields in ({"execution_params": short}, {"metadata": {"execution_params": short}}):
        assert make(**fields)().limit_params() == in_words_of_the_bus
    assert make()().limit_params() == LimitParams()
    assert make(execution_params=in_words_of_the_bus)().limit_params() is in_words_of_the_bus


def test_the_smart_parameters_travel_in_the_words_of_the_bus() -> None:
    given = SmartConfig(chunk_count=3, time_per_chunk=15, min_order_qty=0.05, total_duration_seconds=90)
    config = make(rfq=RfqConfig(), smart_config=given, execution_mode="smart")()
    in_words_of_the_bus = SmartParams(
        chunk_count=3, time_per_chunk_s=15, min_order_qty=Decimal("0.05"), total_duration_s=90
    )
    assert config.smart_params == in_words_of_the_bus
    assert make()().smart_params == SmartParams()


def test_the_parameters_of_a_request_for_quote_travel_in_the_words_of_the_bus() -> None:
    given = RfqConfig(min_improvement_pct=1.5, fallback_mode="smart", timeout_seconds=20, closes=False)
    config = make(rfq=given, execution_mode="rfq")()
    expected = RfqParams(min_improvement_pct=1.5, fallback="smart", timeout_s=20, closes=False)
    assert config.rfq_params == expected
    assert make()().rfq_params == RfqConfig().rfq_params() == RfqParams()


def make(**changed: Any) -> Callable[[], StrategyConfig]:
    return lambda: StrategyConfig(**({"name": "s", "legs": strangle(1)} | changed))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (make(name=""), "name ''"),
        (make(name="a.b"), "name 'a.b'"),
        (make(name="a-b"), "name 'a-b'"),
        (make(legs=[]), "at least one leg"),
        (make(legs=["C"]), "legs must be a list of LegSpec"),
        (make(legs=strangle(1)[0]), r"legs LegSpec.* must be a list: put it in \[ \]"),
        (make(on_trade_closed="mail"), "on_trade_closed 'mail' must be a function of the trade"),
        (make(on_trade_closed=enough), "on_trade_closed: enough must take one argument, the trade: missing"),
        (make(on_trade_closed=told_later), "on_trade_closed: told_later is async and would never run"),
        (lambda: call_on(read_later, daily_at("07:30")), "call_on: read_later is async and would never run"),  # type: ignore[arg-type]
        (make(exit_conditions=max_hold_hours(1)), "exit_conditions MaxHold.* must be a list"),
        (make(legs_factory=lambda: strangle(1)), "legs and legs_factory exclude"),
        (make(rfq=RfqParams()), "rfq .* must be a RfqConfig"),
        (lambda: RfqConfig(timeout_seconds=4), "timeout_seconds 4 must be at least window_seconds, 5"),
        (lambda: RfqConfig(window_seconds=0), "window_seconds 0 must lie within 0.5 to 60"),
        (lambda: RfqConfig(max_over_mark_pct=float("nan")), "max_over_mark_pct nan"),
        (lambda: RfqConfig(min_notional_usd="5"), "min_notional_usd '5' must be a number"),  # type: ignore[arg-type]
        (lambda: RfqConfig(fallback_mode="rfq"), "fallback_mode 'rfq' must be one of 'limit'"),  # type: ignore[arg-type]
        (lambda: RfqConfig(request_sides="both"), "request_sides 'both'"),  # type: ignore[arg-type]
        (make(smart_config=SmartParams()), "smart_config .* must be a SmartConfig"),
        (lambda: SmartConfig(chunk_count=0), "chunk_count 0 must lie within 1 to 100"),
        (lambda: SmartConfig(chunk_count=1.5), "chunk_count 1.5 must be a whole number"),  # type: ignore[arg-type]
        (lambda: SmartConfig(reprice_interval=9), "reprice_interval 9 must lie within 10 to 3600"),
        (lambda: SmartConfig(time_per_chunk=float("nan")), "time_per_chunk nan"),
        (lambda: SmartConfig(aggressive_wait_seconds=0), "aggressive_wait_seconds 0"),
        (lambda: SmartConfig(min_order_qty="0.1"), "min_order_qty '0.1' must be a number"),  # type: ignore[arg-type]
        (lambda: SmartConfig(quoting_strategy="best"), "quoting_strategy 'best'"),  # type: ignore[arg-type]
        (
            lambda: SmartConfig(total_duration_seconds=30),
            "total_duration_seconds 30 must be 0, or at least chunk_count",
        ),
        (
            lambda: SmartConfig(time_per_chunk=0, aggressive_attempts=0),
            "time_per_chunk and aggressive_attempts are both 0: no order would be sent",
        ),
        (make(execution_mode="market"), "execution_mode 'market'"),
        (make(execution_profile=7), "execution_profile 7"),
        (make(execution_params=30), "execution_params 30"),
        (make(execution_params=LimitParams(fill_timeout_s=0)), "execution_params: fill_timeout_s 0"),
        (make(execution_params={"pacience": 3}), "execution_params: 'pacience' is no field: use one of"),
        (make(execution_params={"fair_aggression": 2}), "execution_params: .* at `phases.0..fair_aggression`"),
        (make(execution_profile="patient", execution_params=ExecutionParams()), "must be a mapping of the fields"),
        (make(policy="hope"), "policy 'hope'"),
        (make(if_host_silent="panic"), "if_host_silent 'panic'"),
        (make(if_broken="flatten"), "if_broken 'flatten' must be one of hold, close"),
        (make(max_concurrent_trades=0), "max_concurrent_trades 0"),
        (make(max_trades_per_day=-1), "max_trades_per_day -1"),
        (make(cooldown_seconds=float("nan")), "cooldown_seconds nan"),
        (make(check_interval_seconds=0), "check_interval_seconds 0"),
        (make(check_interval_seconds=True), "check_interval_seconds True"),
        (make(host_silent_after_seconds=1), "host_silent_after_seconds 1"),
        (make(entry_conditions=[profit_target(usd=1)]), "entry condition factories"),
        (make(exit_conditions=[min_equity(1)]), "exit condition factories"),
        (make(exit_conditions=[HostFunction(name="x")]), "exit condition factories"),
        (make(entry_conditions=["always"]), "'always'"),
        (
            make(entry_conditions=[all_of(lambda account: True), lambda account: False]),
            "entry_conditions: two functions are named '<lambda>'",
        ),
        (
            make(exit_conditions=[viewless]),
            "viewless at .*test_config.py:.* must take two arguments, the ExitView",
        ),
        (make(entry_conditions=[eager]), "the EntryView and now_ns, or account and trade: missing a required"),
        (lambda: ExecutionParams(fill_timeout_seconds=0), "fill_timeout_seconds"),
        (lambda: ExecutionParams(aggressive_buffer_pct=-1), "aggressive_buffer_pct"),
        (lambda: ExecutionParams(max_requote_rounds=0), "max_requote_rounds"),
    ],
)
def test_a_wrong_field_is_refused_by_name(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_one_function_may_stand_in_several_places() -> None:
    config = make(entry_conditions=[calm, all_of(calm, min_equity(1))])()
    assert config.entry_functions == {"calm": calm}


def test_an_async_condition_is_refused_because_its_coroutine_would_always_be_true() -> None:
    async def later(view: EntryView, now_ns: int) -> bool:
        return False

    with pytest.raises(ValueError, match="later is async"):
        StrategyConfig(name="x", legs=strangle(1), entry_conditions=[later])  # type: ignore[list-item]
