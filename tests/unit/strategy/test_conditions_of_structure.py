"""Exits by the structure of a trade; entries by volatility, events and losses; combinators and plain functions."""

from __future__ import annotations

import datetime as dt
import doctest
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import shared.strategy.combining
import shared.strategy.exit_factories
import shared.strategy.factories
import shared.strategy.market_factories
from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy
from services.strategy.trades import TradeBook
from shared.messages.conditions import EntryCondition, ExitCondition, HostFunction
from shared.messages.trades import TradeUpdate
from shared.options.chain import ChainView, pack_columns
from shared.strategy import (
    EntryView,
    ExitView,
    StrategyConfig,
    Verdict,
    all_of,
    any_of,
    away_from_events,
    before_expiry,
    breakeven_touched,
    cooldown_after_loss,
    credit_multiple,
    dte_exit,
    iv_level,
    max_hold_hours,
    max_loss,
    max_profit,
    min_equity,
    not_,
    profit_target,
    short_leg_delta,
    short_strike_touched,
    strangle,
    time_elapsed_pct,
    time_window,
    underlying_beyond,
)
from shared.strategy.evaluate import clock_exit_ns, evaluate_entry, evaluate_exit
from shared.strategy.views import TradeHistory
from tests.unit.strategy.making import ACCOUNT_ID, DAY, HOUR, NOON, SECOND, account, at, chain, leg, trade

CALL, PUT = "BTCUSD-12MAR26-105000-C", "BTCUSD-12MAR26-95000-P"
FAR = "BTCUSD-26MAR26-105000-C"
EXPIRY = at("2026-03-12T08:00")
CHAIN = chain()


def strangle_sold(call_price: str = "1000", put_price: str = "1000", **more: Any) -> TradeUpdate:
    premium = -(Decimal(call_price) + Decimal(put_price)) * Decimal("0.1")
    legs = [leg(CALL, "sell", "0.1", call_price), leg(PUT, "sell", "0.1", put_price)]
    return trade(legs=legs, premium=str(premium), **more)


def exit_(
    condition: ExitCondition, of: TradeUpdate, now_ns: int = NOON, view: ChainView | None = None, **more: Any
) -> Verdict:
    shown = chain(now_ns) if view is None else view
    return evaluate_exit(
        condition, ExitView(trade=of, account=account(now_ns), chains={"BTCUSD": shown}), now_ns, **more
    )


def entry(condition: EntryCondition, now_ns: int = NOON, **view: Any) -> Verdict:
    given = {"account": account(now_ns), "chains": {"BTCUSD": chain(now_ns)}} | view
    return evaluate_entry(condition, EntryView(**given), now_ns)


@pytest.mark.parametrize(
    ("condition", "due_ns"),
    [
        (dte_exit(3), EXPIRY - 4 * DAY + 1),
        (dte_exit(0), EXPIRY - DAY + 1),
        (before_expiry(2), at("2026-03-12T05:45")),
        (time_elapsed_pct(50), NOON + (EXPIRY - NOON) // 2),
    ],
)
def test_an_exit_by_expiry_is_due_from_its_instant_on_and_execution_enforces_the_same(
    condition: ExitCondition, due_ns: int
) -> None:
    of = strangle_sold()
    assert not exit_(condition, of, due_ns - 1).open
    verdict = exit_(condition, of, due_ns)
    assert verdict.open
    assert verdict.reason.startswith(("DTE", "closes"))
    assert clock_exit_ns([condition], NOON, [CALL, PUT]) == due_ns
    assert clock_exit_ns([any_of(condition, profit_target(usd=1))], NOON, [CALL, FAR]) == due_ns
    assert clock_exit_ns([all_of(condition, profit_target(usd=1))], NOON, [CALL]) is None
    assert clock_exit_ns([condition], None, [CALL]) is None


def test_the_leg_that_expires_first_and_is_held_counts() -> None:
    near_closed = trade(legs=[leg(CALL, closed="0.1"), leg(FAR)])
    both = trade(legs=[leg(CALL), leg(FAR)])
    now = EXPIRY - DAY
    assert exit_(dte_exit(1), both, now).open
    assert not exit_(dte_exit(1), near_closed, now).open
    assert not exit_(dte_exit(1), trade(legs=[leg(CALL, closed="0.1")]), now).open


def test_a_share_of_the_largest_profit_is_of_the_payoff_at_opening_prices() -> None:
    marks = [CHAIN.value(symbol, "mark") for symbol in (CALL, PUT)]
    assert all(mark is not None for mark in marks)
    worth = sum(0.1 * (mark or 0) for mark in marks)
    share_pct = (400 - worth) / 400 * 100
    of = strangle_sold("2000", "2000")
    assert exit_(max_profit(share_pct - 0.1), of).open
    shown = exit_(max_profit(share_pct + 0.1), of)
    assert not shown.open
    assert "of the most it can make, 400.00 USD" in shown.reason
    bought = trade(legs=[leg(CALL, "buy", "0.1", "1000")], premium="100")
    assert exit_(max_profit(50), bought).waiting


def test_a_multiple_of_the_credit_is_lost_fees_counted_and_a_debit_has_none() -> None:
    worth = sum(0.1 * (CHAIN.value(symbol, "mark") or 0) for symbol in (CALL, PUT))
    credit = worth / 3
    price = str(round(credit / 0.2, 6))
    of = strangle_sold(price, price)
    assert exit_(credit_multiple(1.999), of).open
    assert not exit_(credit_multiple(2.001), of).open
    assert exit_(credit_multiple(2.001), strangle_sold(price, price, fees="1")).open
    assert exit_(credit_multiple(2), trade(legs=[leg(CALL)], premium="100")).waiting


def test_p_and_l_at_mid_uses_the_middle_of_narrow_books_and_the_mark_of_wide_ones_never_a_side() -> None:
    mark = CHAIN.value(CALL, "mark") or 0.0
    of = trade(legs=[leg(CALL, "buy", "1", str(mark))], premium=str(mark))
    by_column = {name: CHAIN.column(name).copy() for name in ("mark", "delta", "mark_iv", "forward")}

    def with_book(bid: float, ask: float) -> ChainView:

        row = CHAIN.listed.row_of[CALL]
        books = {"bid": CHAIN.column("bid").copy(), "ask": CHAIN.column("ask").copy()}
        books["bid"][row], books["ask"][row] = bid, ask
        packed = pack_columns(by_column | books, len(CHAIN.instruments))
        return ChainView(msgspec.structs.replace(CHAIN.snapshot, matrix=packed), CHAIN.listed)

    narrow = with_book(mark + 90, mark + 110)
    assert exit_(profit_target(usd=99, price="mid"), of, view=narrow).open
    assert not exit_(profit_target(usd=1), of, view=narrow).open
    wide = with_book(1.0, mark * 3)
    assert "P&L 0.00 USD" in exit_(max_loss(usd=1, price="mid"), of, view=wide).reason
    empty = with_book(math.nan, mark * 3)
    assert "P&L 0.00 USD" in exit_(max_loss(usd=1, price="mid"), of, view=empty).reason


def test_the_underlying_beyond_a_price_closes_from_that_price_on() -> None:
    assert exit_(underlying_beyond(above=100_000), strangle_sold()).open
    assert exit_(underlying_beyond(below=100_000), strangle_sold()).open
    shown = exit_(underlying_beyond(above=100_001, below=99_999), strangle_sold())
    assert not shown.open
    assert shown.reason == "BTCUSD is at 100,000.00, closes at at least 100,001 or at most 99,999"


def test_a_short_strike_is_touched_within_its_buffer_and_long_ones_are_not_looked_at() -> None:
    of = strangle_sold()
    assert not exit_(short_strike_touched(4.9), of).open
    assert exit_(short_strike_touched(5), of).open
    assert exit_(short_strike_touched(), of, view=chain(index=105_000)).open
    assert exit_(short_strike_touched(), of, view=chain(index=94_000)).open
    assert not exit_(short_strike_touched(), trade(legs=[leg(CALL)]), view=chain(index=110_000)).open


def test_a_short_legs_delta_closes_at_the_limit_and_a_long_legs_never() -> None:
    delta = abs(CHAIN.value(PUT, "delta") or 0)
    of = trade(legs=[leg(CALL, "buy"), leg(PUT, "sell")])
    assert exit_(short_leg_delta(delta), of).open
    assert not exit_(short_leg_delta(delta + 0.001), of).open
    assert exit_(short_leg_delta(delta), of, view=chain(missing={"delta": [PUT]})).waiting


@pytest.mark.parametrize(
    ("index", "buffer", "closes"),
    [(100_000, 0, False), (106_999, 0, False), (107_001, 0, True), (92_900, 0, True), (106_500, 0.5, True)],
)
def test_a_breakeven_is_touched_where_the_trade_would_lose_at_expiry(
    index: float, buffer: float, closes: bool
) -> None:
    verdict = exit_(breakeven_touched(buffer), strangle_sold(), view=chain(index=index))
    assert verdict.open is closes
    assert "breakevens 93,000, 107,000" in verdict.reason


def test_legs_of_several_expiries_have_no_breakeven_to_touch() -> None:
    assert exit_(breakeven_touched(), trade(legs=[leg(CALL, "sell"), leg(FAR)])).waiting


MARKET_EXITS = [
    max_profit(50),
    credit_multiple(2),
    underlying_beyond(above=1),
    short_strike_touched(99),
    short_leg_delta(0.01),
    breakeven_touched(),
]


@pytest.mark.parametrize("condition", MARKET_EXITS, ids=lambda item: type(item).__name__)
def test_no_exit_is_decided_on_a_stale_chain(condition: ExitCondition) -> None:
    verdict = exit_(condition, strangle_sold(), NOON + 60 * SECOND, CHAIN)
    assert (verdict.open, verdict.waiting) == (False, True)


def test_the_volatility_at_the_money_is_held_to_its_bounds() -> None:
    assert entry(iv_level(min_pct=49.9)).open
    assert not entry(iv_level(min_pct=50.1)).open
    assert not entry(iv_level(max_pct=49.9)).open
    assert entry(iv_level(40, 60, days=1)).reason == "iv of BTCUSD in 1 days is 50.0 %, wanted 40 to 60 %"
    assert entry(iv_level(40, 60), chains={}).waiting
    assert entry(iv_level(40), chains={"BTCUSD": chain(missing={"mark_iv": ["*"]})}).waiting


def test_between_two_expiries_total_variance_is_linear_in_time() -> None:
    far = [item.symbol for item in CHAIN.instruments if "26MAR26" in item.symbol]
    assert far
    near_days, far_days = (EXPIRY - NOON) / DAY, (at("2026-03-26T08:00") - NOON) / DAY

    columns = {name: CHAIN.column(name).copy() for name in ("mark", "forward", "mark_iv")}
    for symbol in far:
        columns["mark_iv"][CHAIN.listed.row_of[symbol]] = 0.8
    packed = pack_columns(columns, len(CHAIN.instruments))
    view = ChainView(msgspec.structs.replace(CHAIN.snapshot, matrix=packed), CHAIN.listed)
    middle = (near_days + far_days) / 2
    variance = (0.25 * near_days + 0.64 * far_days) / 2
    assert view.atm_iv(middle, NOON) == pytest.approx(math.sqrt(variance / middle))
    assert view.atm_iv(400, NOON) == pytest.approx(0.8)
    assert view.atm_iv(0.1, NOON) == pytest.approx(0.5)


def test_nothing_is_opened_around_an_event() -> None:
    event = dt.datetime(2026, 3, 4, 18, tzinfo=dt.UTC)
    condition = away_from_events([event], before_hours=6, after_hours=1)
    assert entry(condition, NOON).open
    assert not entry(condition, NOON + 1).open
    assert not entry(condition, NOON + 7 * HOUR - 1).open
    assert entry(condition, NOON + 7 * HOUR).open


def test_after_a_loss_there_is_a_pause_that_a_restart_does_not_end() -> None:
    book = TradeBook(ACCOUNT_ID, 0)
    won = trade("CLOSED", ordinal=1, legs=[leg(CALL)], closed_ns=NOON, realized="5", fees="1")
    lost = trade("CLOSED", ordinal=2, legs=[leg(CALL)], closed_ns=NOON - HOUR, realized="0.5", fees="1")
    for ended in (won, lost):
        book.apply(ended, 1)
    history = book.history("straddler", 0, NOON)
    assert history.last_loss_ns == NOON - HOUR
    assert not entry(cooldown_after_loss(2), history=history).open
    assert entry(cooldown_after_loss(1), history=history).open
    assert entry(cooldown_after_loss(2), history=TradeHistory()).open


YES, NO = time_window(0, 24), time_window(23, 24)
WAITS = min_equity(1)


@pytest.mark.parametrize(
    ("condition", "is_open", "waits"),
    [
        (all_of(YES, YES), True, False),
        (all_of(YES, NO), False, False),
        (all_of(WAITS, NO), False, False),
        (all_of(YES, WAITS), False, True),
        (any_of(NO, YES), True, False),
        (any_of(WAITS, YES), True, False),
        (any_of(WAITS, NO), False, True),
        (any_of(NO, NO), False, False),
        (not_(NO), True, False),
        (not_(YES), False, False),
        (not_(WAITS), False, True),
        (not_(all_of(YES, any_of(NO, WAITS))), False, True),
    ],
)
def test_combinators_decide_by_what_is_certain_and_wait_otherwise(
    condition: EntryCondition, is_open: bool, waits: bool
) -> None:
    verdict = entry(condition, account=None)
    assert (verdict.open, verdict.waiting) == (is_open, waits)
    assert verdict.reason


def test_combined_exits_travel_and_come_back_as_they_were() -> None:
    exits = (any_of(all_of(dte_exit(3), not_(short_leg_delta(0.2))), max_hold_hours(24)), max_loss(usd=5))
    of = strangle_sold(exits=exits)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(of), type=TradeUpdate).exit_conditions == exits


def test_conditions_are_nested_eight_deep_at_most_whoever_sends_them() -> None:
    condition: Any = max_hold_hours(1)
    for _ in range(8):
        condition = not_(condition)
    with pytest.raises(ValueError, match="more than 8 deep"):
        not_(condition)
    told = msgspec.to_builtins(strangle_sold(exits=[condition]))
    told["exit_conditions"] = [{"kind": "not", "condition": told["exit_conditions"][0]}]
    with pytest.raises(msgspec.ValidationError, match="more than 8 deep"):
        msgspec.convert(told, TradeUpdate)


def test_the_bounds_of_loss_within_alternatives_are_declared() -> None:
    exits = [any_of(max_loss(usd=300), max_hold_hours(1)), credit_multiple(1_000)]
    config = StrategyConfig(name="s", legs=strangle("0.1", dte=7, side="sell"), exit_conditions=exits)
    opened: Any = LoadedStrategy.from_config(config).make(StrategyHostConfig())
    assert opened.structure({"BTCUSD": CHAIN}, NOON).max_loss_usd == 300


def rich(account: Any, trade: Any) -> tuple[bool, str]:
    assert trade is None
    return account.equity_usd > 1, f"equity {account.equity_usd}"


def premium_gone(account: Any, trade: Any) -> bool:
    return bool(trade.realized_pnl_usd > 10)


def test_functions_of_account_and_trade_are_conditions_and_stand_within_others() -> None:
    config = StrategyConfig(
        name="s",
        legs=strangle(1),
        entry_conditions=[all_of(rich, YES), lambda account: True],
        exit_conditions=[any_of(premium_gone, max_hold_hours(1))],
    )
    assert config.entries == (all_of(HostFunction(name="rich"), YES), HostFunction(name="<lambda>"))
    view = EntryView(account=account(), chains={})
    answers = [evaluate_entry(each, view, NOON, config.entry_functions) for each in config.entries]
    assert [each.open for each in answers] == [True, True]
    assert "equity 10000 and" in answers[0].reason
    stale = evaluate_entry(config.entries[0], view, NOON + 60 * SECOND, config.entry_functions)
    assert stale.waiting
    (closes,) = config.exits
    for realized, is_open in (("11", True), ("9", False)):
        of = strangle_sold(realized=realized)
        assert exit_(closes, of, functions=config.exit_functions).open is is_open


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StrategyConfig(name="s", legs=strangle(1), entry_conditions=[all_of(dte_exit(1))]), "DteExit"),
        (
            lambda: StrategyConfig(name="s", legs=strangle(1), exit_conditions=[not_(cooldown_after_loss(1))]),
            "CooldownAfterLoss",
        ),
        (all_of, "all_of needs at least one"),
        (lambda: any_of(7), "any_of: 7 must be a condition"),
        (lambda: iv_level(), "needs a lower bound"),
        (lambda: iv_level(60, 40), "from 60 to 40 is empty"),
        (lambda: away_from_events([]), "events must be a list"),
        (lambda: away_from_events([dt.datetime(2026, 3, 4)]), "time zone"),  # noqa: DTZ001
        (lambda: cooldown_after_loss(0), "hours 0 must be above 0"),
        (lambda: dte_exit(-1), "days -1"),
        (lambda: time_elapsed_pct(101), "at most 100"),
        (lambda: underlying_beyond(), "needs above="),
        (lambda: underlying_beyond(above=1, below=2), "below 2 must be less"),
        (lambda: profit_target(pct=5, price="bid"), "price 'bid'"),  # type: ignore[arg-type]
        (lambda: short_leg_delta(40), "at most 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "module",
    [
        shared.strategy.factories,
        shared.strategy.market_factories,
        shared.strategy.exit_factories,
        shared.strategy.combining,
    ],
    ids=lambda module: module.__name__,
)
def test_every_factory_has_an_example_that_runs(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.failed == 0
    public = [
        member
        for name, member in vars(module).items()
        if callable(member) and getattr(member, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    assert [member.__name__ for member in public if ">>>" not in (member.__doc__ or "")] == []
    assert public
