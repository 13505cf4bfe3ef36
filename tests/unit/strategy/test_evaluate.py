"""Conditions: yes, no, or wait, each with its reason. Stale and missing data always wait."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.messages.account import AccountSnapshot
from shared.messages.conditions import EntryCondition, ExitCondition, HostFunction, ProfitTarget
from shared.messages.trades import LegOrder, TradeUpdate
from shared.options.chain import ChainView
from shared.strategy import (
    EntryView,
    ExitView,
    Verdict,
    account_delta_limit,
    leg_greek_limit,
    max_account_delta,
    max_hold_hours,
    max_loss,
    max_margin_utilization,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    structure_delta_limit,
    time_exit,
    time_window,
    trade_pnl,
    utc_datetime_exit,
    utc_time_window,
    weekday_filter,
)
from shared.strategy.evaluate import evaluate_entry, evaluate_exit, time_exit_ns
from shared.strategy.pnl import TradePnl, premium_at_mark
from tests.unit.strategy.making import DAY, HOUR, NOON, SECOND, account, at, chain, leg, trade

CALL = "BTCUSD-12MAR26-105000-C"
PUT = "BTCUSD-12MAR26-95000-P"
CHAIN = chain()


def entry(condition: EntryCondition, now_ns: int = NOON, of: AccountSnapshot | None = None) -> Verdict:
    return evaluate_entry(condition, EntryView(account=of or account(now_ns), chains={}), now_ns)


def exit_(
    condition: ExitCondition,
    of: TradeUpdate,
    now_ns: int = NOON,
    view: ChainView | None = CHAIN,
    held_account: AccountSnapshot | None = None,
) -> Verdict:
    shown = ExitView(
        trade=of, account=held_account or account(now_ns), chains={} if view is None else {"BTCUSD": view}
    )
    return evaluate_exit(condition, shown, now_ns)


def mark(symbol: str, column: str = "mark") -> float:
    value = CHAIN.value(symbol, column)
    assert value is not None
    return value


def long_call(paid: float, quantity: str = "0.1", **more: str) -> TradeUpdate:
    """A trade that bought a call at `paid`."""
    premium = Decimal(str(paid)) * Decimal(quantity)
    return trade(legs=[leg(CALL, "buy", quantity, str(paid))], premium=str(premium), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "when", "is_open"),
    [
        (time_window(8, 20), "2026-03-04T08:00", True),
        (time_window(8, 20), "2026-03-04T07:59", False),
        (time_window(8, 20), "2026-03-04T19:59", True),
        (time_window(8, 20), "2026-03-04T20:00", False),
        (time_window(22, 2), "2026-03-04T22:00", True),
        (time_window(22, 2), "2026-03-05T01:59", True),
        (time_window(22, 2), "2026-03-05T02:00", False),
        (time_window(22, 2), "2026-03-04T21:59", False),
        (time_window(22, 0), "2026-03-04T23:59", True),
        (time_window(22, 0), "2026-03-05T00:00", False),
        (time_window(0, 24), "2026-03-05T00:00", True),
        (utc_time_window(dt.time(12, 1), dt.time(12, 0)), "2026-03-04T12:00", False),
        (utc_time_window(dt.time(12, 1), dt.time(12, 0)), "2026-03-04T12:01", True),
        (weekday_filter(["wed"]), "2026-03-04T00:00", True),
        (weekday_filter(["wed"]), "2026-03-03T23:59", False),
        (weekday_filter(["wed"]), "2026-03-05T00:00", False),
        (weekday_filter(["thu"]), "1970-01-01T00:00", True),
        (weekday_filter(["sun"]), "2026-03-08T12:00", True),
    ],
)
def test_the_clock_opens_from_start_to_before_end_in_utc(condition: EntryCondition, when: str, is_open: bool) -> None:
    verdict = entry(condition, at(when))
    assert verdict.open is is_open
    assert not verdict.waiting


@given(st.integers(0, 23), st.integers(0, 24), st.integers(0, 1_439))
def test_a_window_and_its_complement_share_out_the_day(start: int, end: int, minute: int) -> None:
    assume(start != end and not {start, end} <= {0, 24})
    now_ns = NOON // DAY * DAY + minute * 60 * SECOND
    one = entry(time_window(start, end), now_ns).open
    other = entry(time_window(end % 24, start or 24), now_ns).open
    assert one is not other


@pytest.mark.parametrize(
    ("condition", "of", "is_open"),
    [
        (min_available_margin_pct(80), account(available="8000"), True),
        (min_available_margin_pct(80), account(available="7999"), False),
        (min_available_margin_pct(0), account(equity="0"), False),
        (min_available_margin_pct(0), account(equity="-5"), False),
        (max_margin_utilization(20), account(initial_margin="2000"), True),
        (max_margin_utilization(20), account(initial_margin="2001"), False),
        (min_equity(10_000), account(equity="10000"), True),
        (min_equity(10_000), account(equity="9999.99"), False),
        (max_account_delta(0.5), account(delta={"BTCUSD": -0.3, "ETHUSD": -0.2}), True),
        (max_account_delta(0.5), account(delta={"BTCUSD": -0.3, "ETHUSD": -0.3}), False),
        (max_account_delta(0.5, "BTC"), account(delta={"BTCUSD": -0.3, "ETHUSD": 9.0}), True),
        (max_account_delta(0.5, "SOL"), account(delta={"BTCUSD": 9.0}), True),
        (no_existing_position_in(["BTC"]), account(holding={"ETHUSD-5MAR26-3000-C": "1"}), True),
        (no_existing_position_in(["BTC"]), account(holding={CALL: "-0.1"}), False),
        (no_existing_position_in(["BTC"]), account(holding={CALL: "0"}), True),
        (no_existing_position_in([PUT]), account(holding={CALL: "1"}), True),
    ],
)
def test_the_account_opens_up_to_and_including_the_limit(
    condition: EntryCondition, of: AccountSnapshot, is_open: bool
) -> None:
    verdict = entry(condition, of=of)
    assert verdict.open is is_open
    assert not verdict.waiting
    assert verdict.reason


ACCOUNT_CONDITIONS: Sequence[EntryCondition] = (
    min_available_margin_pct(0),
    max_margin_utilization(100),
    min_equity(0),
    max_account_delta(10),
    no_existing_position_in(["X"]),
)


@pytest.mark.parametrize("condition", ACCOUNT_CONDITIONS)
def test_a_stale_or_missing_account_waits_and_says_so(condition: EntryCondition) -> None:
    stale = entry(condition, NOON + 31 * SECOND, account(NOON))
    assert (stale.open, stale.waiting) == (False, True)
    assert "31.0 s old" in stale.reason
    missing = evaluate_entry(condition, EntryView(account=None, chains={}), NOON)
    assert (missing.open, missing.waiting) == (False, True)
    assert entry(condition, NOON + 30 * SECOND, account(NOON)).open


@pytest.mark.parametrize(
    ("condition", "of"),
    [
        (min_available_margin_pct(0), account(available="NaN")),
        (max_margin_utilization(100), account(equity="NaN")),
        (min_equity(0), account(equity="NaN")),
        (max_account_delta(10), account(delta={"BTCUSD": float("nan")})),
        (max_account_delta(10), account(complete=False)),
    ],
)
def test_a_figure_that_is_not_a_number_waits(condition: EntryCondition, of: AccountSnapshot) -> None:
    verdict = entry(condition, of=of)
    assert (verdict.open, verdict.waiting) == (False, True)


def test_profit_and_loss_in_usd_count_fees_and_what_is_realized() -> None:
    paid = mark(CALL) - 500.0
    bought = long_call(paid, realized="20", fees="5")
    assert exit_(profit_target(usd=64.9), bought).open
    assert not exit_(profit_target(usd=65.1), bought).open
    lost = long_call(mark(CALL) + 500.0, realized="20", fees="5")
    assert exit_(max_loss(usd=34.9), lost).open
    assert not exit_(max_loss(usd=35.1), lost).open


def test_pct_is_of_the_absolute_premium_also_when_it_was_received() -> None:
    received = mark(CALL) * 2
    sold = trade(legs=[leg(CALL, "sell", "1", str(received))], premium=str(-Decimal(str(received))))
    assert exit_(profit_target(pct=49.9), sold).open
    assert not exit_(profit_target(pct=50.1), sold).open
    lost = trade(legs=[leg(CALL, "sell", "1", str(mark(CALL) / 2))], premium=str(-Decimal(str(mark(CALL) / 2))))
    assert exit_(max_loss(pct=99.9), lost).open
    assert not exit_(max_loss(pct=100.1), lost).open


def test_without_premium_a_percentage_waits_and_an_amount_decides() -> None:
    bought = long_call(mark(CALL) - 500.0)
    free = trade(legs=bought.legs, premium="0")
    assert exit_(profit_target(pct=1), free).waiting
    assert exit_(profit_target(usd=1), free).open
    assert exit_(ProfitTarget(), free).waiting


PRICED: Sequence[ExitCondition] = (
    profit_target(usd=1),
    max_loss(pct=1),
    structure_delta_limit(0),
    leg_greek_limit("delta", 0),
    leg_greek_limit(0, "vega", ">", 0),
)


@pytest.mark.parametrize("condition", PRICED)
@pytest.mark.parametrize(
    "view",
    [
        None,
        chain(missing={"mark": [CALL], "delta": [CALL], "vega": [CALL]}),
        chain(received_ns=NOON - 11 * SECOND),
        chain(received_ns=NOON + HOUR),
        chain(days=(1,)),
    ],
    ids=["no chain", "missing values", "stale chain", "chain of a clock set back since", "symbol not listed"],
)
def test_no_exit_is_decided_on_missing_or_stale_market_data(condition: ExitCondition, view: ChainView | None) -> None:
    verdict = exit_(condition, long_call(1.0), view=view)
    assert (verdict.open, verdict.waiting) == (False, True)
    assert verdict.reason.startswith("waiting: ")


def test_what_was_stamped_before_the_clock_was_set_back_is_not_fresh_for_as_long() -> None:
    """A service that was not restarted since goes on ahead of the clock: its newest word may be an hour old."""
    ahead = exit_(profit_target(usd=1), long_call(1.0), view=chain(received_ns=NOON + HOUR))
    assert "from a clock 3600.0 s ahead" in ahead.reason
    held = exit_(account_delta_limit(0), long_call(1.0), held_account=account(NOON + HOUR, delta={"BTCUSD": 1.0}))
    assert (held.open, held.waiting) == (False, True)
    assert entry(min_available_margin_pct(0), of=account(NOON + HOUR)).waiting
    view = EntryView(account=account(NOON + SECOND), chains={"BTCUSD": chain(received_ns=NOON + HOUR)})
    assert isinstance(view.fresh_chain("BTCUSD", NOON), str)
    assert not isinstance(view.fresh_chain("BTCUSD", NOON + HOUR), str)
    assert not isinstance(view.fresh_account(NOON), str), "clocks of two machines differ a little"


def test_one_missing_mark_of_two_waits_and_never_counts_as_zero() -> None:
    short = trade(legs=[leg(CALL, "sell", "1", "1"), leg(PUT, "sell", "1", "100000")], premium="-100001")
    assert exit_(profit_target(usd=1), short).open
    assert exit_(profit_target(usd=1), short, view=chain(missing={"mark": [PUT]})).waiting


def test_a_closed_leg_needs_no_mark() -> None:
    half = trade(legs=[leg(CALL, "buy", "1", "1"), leg(PUT, "buy", "1", "1", closed="1")], realized="3")
    view = chain(missing={"mark": [PUT], "delta": [PUT]})
    assert exit_(profit_target(usd=1), half, view=view).open
    assert exit_(structure_delta_limit(0.1), half, view=view).open


def test_a_leg_without_entry_price_has_no_pnl() -> None:
    unknown = trade(legs=[leg(CALL, open_price=None)])
    assert exit_(profit_target(usd=1), unknown).reason == f"waiting: no entry price of {CALL}"


def test_holding_time_counts_from_the_opening() -> None:
    opened = trade(created_ns=NOON - HOUR, opened_ns=NOON)
    assert not exit_(max_hold_hours(1), opened, NOON + HOUR - 1).open
    assert exit_(max_hold_hours(1), opened, NOON + HOUR).open
    assert exit_(max_hold_hours(1), trade(created_ns=NOON - HOUR, opened_ns=None), NOON).open


@pytest.mark.parametrize(
    ("opened", "due"),
    [
        ("2026-03-04T12:00", "2026-03-04T15:30"),
        ("2026-03-04T15:29", "2026-03-04T15:30"),
        ("2026-03-04T15:30", "2026-03-05T15:30"),
        ("2026-03-04T23:59", "2026-03-05T15:30"),
    ],
)
def test_time_exit_is_the_first_such_time_after_opening(opened: str, due: str) -> None:
    condition = time_exit(15, 30)
    assert time_exit_ns(condition, at(opened)) == at(due)
    held = trade(opened_ns=at(opened))
    assert not exit_(condition, held, at(due) - 1).open
    assert exit_(condition, held, at(due)).open
    assert exit_(condition, held, at(due) + 3 * DAY).open


def test_a_fixed_time_closes_from_that_instant_on() -> None:
    condition = utc_datetime_exit(dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC))
    assert not exit_(condition, trade(), NOON - 1).open
    assert exit_(condition, trade(), NOON).open


def test_account_delta_closes_only_beyond_the_limit() -> None:
    held = account(delta={"BTCUSD": -0.5, "ETHUSD": 0.1})
    assert not exit_(account_delta_limit(0.5, "BTC"), trade(), held_account=held).open
    assert exit_(account_delta_limit(0.49, "BTC"), trade(), held_account=held).open
    assert not exit_(account_delta_limit(0.4), trade(), held_account=held).open
    assert exit_(account_delta_limit(1), trade(), held_account=account(complete=False)).waiting
    assert exit_(account_delta_limit(1), trade(), held_account=account(NOON - HOUR)).waiting


def test_structure_delta_is_signed_quantity_times_delta() -> None:
    net = 0.5 * mark(CALL, "delta") - 0.2 * mark(PUT, "delta")
    both = trade(legs=[leg(CALL, "buy", "0.5"), leg(PUT, "sell", "0.2")])
    assert exit_(structure_delta_limit(net - 0.001), both).open
    assert not exit_(structure_delta_limit(net + 0.001), both).open


def test_a_legs_greek_is_per_unit_and_signed_by_its_side() -> None:
    of_put = -mark(PUT, "delta")
    both = trade(legs=[leg(CALL, "buy", "5"), leg(PUT, "sell", "5")])
    assert exit_(leg_greek_limit(1, "delta", ">=", of_put), both).open
    assert not exit_(leg_greek_limit(1, "delta", "<", 0), both).open
    assert exit_(leg_greek_limit("delta", max(of_put, mark(CALL, "delta")) - 0.001), both).open
    assert not exit_(leg_greek_limit("delta", max(of_put, mark(CALL, "delta")) + 0.001), both).open
    assert exit_(leg_greek_limit(0, "theta", "abs>=", abs(mark(CALL, "theta"))), both).open
    assert exit_(leg_greek_limit(0, "theta", "<=", 0), both).open
    assert exit_(leg_greek_limit(0, "gamma", ">", 0), both).open
    assert exit_(leg_greek_limit(2, "delta", ">", 0), both).waiting


def test_any_leg_beyond_the_limit_closes_though_another_has_no_greek() -> None:
    both = trade(legs=[leg(PUT, "buy", "1"), leg(CALL, "buy", "1")])
    view = chain(missing={"delta": [PUT]})
    assert exit_(leg_greek_limit("delta", 0.01), both, view=view).open
    assert exit_(leg_greek_limit("delta", 0.99), both, view=view).waiting


def test_a_closed_leg_has_no_greek_to_exceed() -> None:
    closed = trade(legs=[leg(CALL, "buy", "1", closed="1")])
    assert exit_(leg_greek_limit("delta", 0), closed).reason == "the leg is closed"


def test_a_host_function_answers_with_true_false_or_its_own_verdict() -> None:
    view = EntryView(account=None, chains={})
    answers: dict[str, Callable[[EntryView, int], bool | Verdict]] = {
        "yes": lambda _view, _now_ns: True,
        "calm": lambda _view, now_ns: Verdict(now_ns == NOON, "calm"),
    }
    assert evaluate_entry(HostFunction(name="yes"), view, NOON, answers) == Verdict(True, "yes() says True")
    assert evaluate_entry(HostFunction(name="calm"), view, NOON, answers) == Verdict(True, "calm")
    assert evaluate_entry(HostFunction(name="gone"), view, NOON, answers).waiting
    assert evaluate_exit(HostFunction(name="gone"), ExitView(trade=trade(), account=None, chains={}), NOON).waiting


@pytest.mark.parametrize("answer", ["it is too early", None, 0, 1.5, (True,), (None, "why"), [], Decimal(1)])
def test_what_is_no_answer_is_neither_yes_nor_no(answer: Any) -> None:
    view = EntryView(account=None, chains={})
    with pytest.raises(
        TypeError, match=r"odd\(\) returned .*: it must return True or False, \(bool, reason\) or a Verd"
    ):
        evaluate_entry(HostFunction(name="odd"), view, NOON, {"odd": lambda _view, _now_ns: answer})


def test_the_truth_of_an_array_is_an_answer() -> None:
    functions: dict[str, Any] = {"some": lambda _view, _now_ns: (np.arange(3) > 1).any()}
    verdict = evaluate_entry(HostFunction(name="some"), EntryView(account=None, chains={}), NOON, functions)
    assert verdict == Verdict(True, "some() says True")


def test_pnl_of_a_trade_is_the_sum_of_its_legs() -> None:
    both = trade(legs=[leg(CALL, "buy", "2", "100"), leg(PUT, "sell", "3", "100")], realized="7", fees="2")
    marks: dict[int, float | str] = {0: 110.0, 1: 90.0}
    assert trade_pnl(both, marks.__getitem__) == TradePnl(2 * 10.0 + 3 * 10.0, 7.0, 2.0)
    paid = trade_pnl(msgspec.structs.replace(both, funding_usd=Decimal(4)), marks.__getitem__)
    assert isinstance(paid, TradePnl)
    assert paid.net_usd == 50.0 + 7.0 - 2.0 - 4.0
    marks[1] = float("nan")
    assert trade_pnl(both, marks.__getitem__) == f"no mark of {PUT}"


def test_premium_at_mark_is_paid_above_zero_and_unknown_without_a_mark() -> None:
    legs = (
        LegOrder(symbol=CALL, side="buy", quantity=Decimal(2)),
        LegOrder(symbol=PUT, side="sell", quantity=Decimal(1)),
    )
    assert premium_at_mark(legs, lambda _underlying: CHAIN) == pytest.approx(2 * mark(CALL) - mark(PUT))
    assert premium_at_mark(legs, lambda _underlying: None) is None
