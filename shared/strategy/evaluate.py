"""The one place where conditions are answered. Missing or stale input answers "wait", never yes and never zero."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar, assert_never

import numpy as np

from shared.messages.account import AccountSnapshot
from shared.messages.conditions import (
    AccountDeltaLimit,
    AllOf,
    AnyCondition,
    AnyOf,
    AwayFromEvents,
    BeforeExpiry,
    BreakevenTouched,
    Comparison,
    CooldownAfterLoss,
    CreditMultiple,
    DaysToEvent,
    DteExit,
    EmaCross,
    EntryCondition,
    ExitCondition,
    ForAtLeast,
    FundingLevel,
    HostFunction,
    IvChange,
    IvLevel,
    IvRank,
    LegGreekLimit,
    MaxAccountDelta,
    MaxHold,
    MaxLoss,
    MaxMarginUtilisation,
    MaxProfitShare,
    MinAvailableMargin,
    MinEquity,
    NoExistingPosition,
    Not,
    PriceEma,
    ProfitTarget,
    RealisedImplied,
    ShortLegDelta,
    ShortStrikeTouched,
    SpotMove,
    StructureDeltaLimit,
    SuperTrend,
    TimeElapsed,
    TimeExit,
    TimeWindow,
    TrailingProfit,
    UnderlyingBeyond,
    UtcDatetimeExit,
    WeekdayFilter,
    alternatives,
)
from shared.options.instruments import instrument_kind
from shared.strategy.condition_functions import Answer, EntryFunction, ExitFunction
from shared.strategy.evaluate_events import event_entry
from shared.strategy.evaluate_exit_structure import expiry_due_ns, net_pnl, structure_exit
from shared.strategy.evaluate_market import market_condition
from shared.strategy.evaluate_remembering import for_at_least, iv_change, trailing_profit
from shared.strategy.factories import WEEKDAYS
from shared.strategy.pnl import signed
from shared.strategy.views import EntryView, ExitView, Verdict
from shared.strategy.wording import DAY_NS, HOUR_NS, MINUTE_NS, duration_text, left_text

_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday

_COMPARE: Mapping[Comparison, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "abs>": lambda value, limit: abs(value) > limit,
    "abs>=": lambda value, limit: abs(value) >= limit,
}
_NO_FUNCTIONS: Mapping[str, EntryFunction] = {}
_NO_EXIT_FUNCTIONS: Mapping[str, ExitFunction] = {}
ViewT = TypeVar("ViewT", EntryView, ExitView)


def evaluate_entry(
    condition: EntryCondition, view: EntryView, now_ns: int, functions: Mapping[str, EntryFunction] = _NO_FUNCTIONS
) -> Verdict:
    """May a trade be opened as far as this condition goes? `functions` answer the `HostFunction`s.

    Raises what a host function raises, TypeError when it returns what is no answer, and nothing else.
    """
    match condition:
        case TimeWindow():
            return _time_window(condition, now_ns)
        case WeekdayFilter(weekdays=weekdays):
            today = (now_ns // DAY_NS + _EPOCH_WEEKDAY) % 7
            allowed = ", ".join(WEEKDAYS[day] for day in weekdays)
            return Verdict(today in weekdays, f"it is {WEEKDAYS[today]} UTC, allowed: {allowed}")
        case AwayFromEvents() | DaysToEvent() | CooldownAfterLoss():
            return event_entry(condition, view, now_ns)
        case (
            IvLevel()
            | SpotMove()
            | PriceEma()
            | EmaCross()
            | SuperTrend()
            | RealisedImplied()
            | IvRank()
            | FundingLevel()
        ):
            return market_condition(condition, view, now_ns)
        case AllOf() | AnyOf() | Not():
            return combined(condition, lambda part: evaluate_entry(part, view, now_ns, functions))  # type: ignore[arg-type]
        case ForAtLeast():
            return for_at_least(
                condition,
                view.recall,
                lambda part: evaluate_entry(part, view, now_ns, functions),  # type: ignore[arg-type]
                now_ns,
            )
        case HostFunction(name=name):
            return _host_function(name, functions, view, now_ns)
        case MinAvailableMargin() | MinEquity() | MaxAccountDelta() | MaxMarginUtilisation() | NoExistingPosition():
            account = view.fresh_account(now_ns)
            return Verdict.wait(account) if isinstance(account, str) else _account_entry(condition, account)
        case _:
            assert_never(condition)


def evaluate_exit(
    condition: ExitCondition, view: ExitView, now_ns: int, functions: Mapping[str, ExitFunction] = _NO_EXIT_FUNCTIONS
) -> Verdict:
    """Must the trade be closed as far as this condition goes? `open` means yes, close it.

    Raises what a host function raises, TypeError when it returns what is no answer, and nothing else.
    """
    match condition:
        case ProfitTarget() | MaxLoss():
            return _pnl_exit(condition, view, now_ns)
        case MaxHold() | TimeExit() | UtcDatetimeExit():
            return _clock_exit(condition, view.opened_ns, now_ns)
        case AccountDeltaLimit(limit=limit, underlying=underlying):
            account = view.fresh_account(now_ns)
            if isinstance(account, str):
                return Verdict.wait(account)
            delta = _account_delta(account, underlying)
            if isinstance(delta, str):
                return Verdict.wait(delta)
            return Verdict(abs(delta) > limit, f"account delta {delta:.4f}, limit ±{limit:g}")
        case StructureDeltaLimit(limit=limit):
            return _structure_delta(limit, view, now_ns)
        case LegGreekLimit():
            return _leg_greek(condition, view, now_ns)
        case AllOf() | AnyOf() | Not():
            return combined(condition, lambda part: evaluate_exit(part, view, now_ns, functions))  # type: ignore[arg-type]
        case ForAtLeast():
            return for_at_least(
                condition,
                view.recall,
                lambda part: evaluate_exit(part, view, now_ns, functions),  # type: ignore[arg-type]
                now_ns,
            )
        case TrailingProfit():
            return trailing_profit(condition, view, now_ns)
        case IvChange():
            return iv_change(condition, view, now_ns)
        case HostFunction(name=name):
            return _host_function(name, functions, view, now_ns)
        case (
            DteExit()
            | BeforeExpiry()
            | TimeElapsed()
            | MaxProfitShare()
            | CreditMultiple()
            | UnderlyingBeyond()
            | ShortStrikeTouched()
            | ShortLegDelta()
            | BreakevenTouched()
        ):
            return structure_exit(condition, view, now_ns)
        case (
            IvLevel()
            | SpotMove()
            | PriceEma()
            | EmaCross()
            | SuperTrend()
            | RealisedImplied()
            | IvRank()
            | FundingLevel()
        ):
            return market_condition(condition, view, now_ns)
        case _:
            assert_never(condition)


def combined(condition: AllOf | AnyOf | Not, answer: Callable[[AnyCondition], Verdict]) -> Verdict:
    """The answer of a combinator from those of its parts: a certain one wins over what waits; reasons are kept."""
    if isinstance(condition, Not):
        verdict = answer(condition.condition)
        return verdict if verdict.waiting else Verdict(not verdict.open, f"not: {verdict.reason}")
    verdicts = [answer(part) for part in condition.conditions]
    deciding = isinstance(condition, AnyOf)
    for verdict in verdicts:
        if not verdict.waiting and verdict.open == deciding:
            return verdict
    for verdict in verdicts:
        if verdict.waiting:
            return verdict
    word = "; " if deciding else " and "
    return Verdict(not deciding, word.join(verdict.reason for verdict in verdicts))


def clock_exit_ns(
    conditions: Iterable[AnyCondition], opened_ns: int | None, symbols: Sequence[str] = ()
) -> int | None:
    """When the first of the exits by the clock is due, None if there is none; those within `any_of` count.

    `opened_ns` None: the trade is not open yet, so that only fixed times count. symbols: of its legs, of which the
    first to expire says when exits by expiry are due.
    """
    due: list[int] = []
    for condition in alternatives(conditions):
        found: int | None = None
        match condition:
            case UtcDatetimeExit(at_ns=at_ns):
                found = at_ns
            case MaxHold() | TimeExit() if opened_ns is not None:
                found = _due_ns(condition, opened_ns)
            case DteExit() | BeforeExpiry() | TimeElapsed() if opened_ns is not None:
                # one that was due when it was opened would close it at once: that is its host's to judge
                expiry_ns = expiry_due_ns(condition, symbols, opened_ns)
                found = expiry_ns if expiry_ns is not None and expiry_ns > opened_ns else None
            case _:
                pass
        if found is not None:
            due.append(found)
    return min(due, default=None)


def _due_ns(condition: MaxHold | TimeExit | UtcDatetimeExit, opened_ns: int) -> int:
    match condition:
        case MaxHold(hours=hours):
            return opened_ns + round(hours * HOUR_NS)
        case TimeExit():
            return time_exit_ns(condition, opened_ns)
        case UtcDatetimeExit(at_ns=at_ns):
            return at_ns


def time_exit_ns(condition: TimeExit, opened_ns: int) -> int:
    """The first instant after `opened_ns` at which the UTC clock shows the condition's time."""
    due_ns = opened_ns // DAY_NS * DAY_NS + condition.hour * HOUR_NS + condition.minute * MINUTE_NS
    return due_ns if due_ns > opened_ns else due_ns + DAY_NS


def _clock_exit(condition: MaxHold | TimeExit | UtcDatetimeExit, opened_ns: int, now_ns: int) -> Verdict:
    due_ns = _due_ns(condition, opened_ns)
    match condition:
        case MaxHold(hours=hours):
            reason = f"open for {duration_text((now_ns - opened_ns) / HOUR_NS)} of {duration_text(hours)}"
        case TimeExit(hour=hour, minute=minute):
            reason = f"closes at {hour:02d}:{minute:02d} UTC, {left_text(due_ns - now_ns)}"
        case UtcDatetimeExit():
            reason = f"closes at a fixed time, {left_text(due_ns - now_ns)}"
    return Verdict(now_ns >= due_ns, reason)


def _time_window(condition: TimeWindow, now_ns: int) -> Verdict:
    start, end = condition.start_minute, condition.end_minute
    minute = now_ns % DAY_NS // MINUTE_NS
    inside = start <= minute < end if start < end else minute >= start or minute < end
    return Verdict(inside, f"it is {_clock(minute)} UTC, open from {_clock(start)} to before {_clock(end)}")


def _account_entry(
    condition: MinAvailableMargin | MinEquity | MaxAccountDelta | MaxMarginUtilisation | NoExistingPosition,
    account: AccountSnapshot,
) -> Verdict:
    match condition:
        case MinAvailableMargin(pct=pct):
            share = _share_pct(account.available_margin_usd, account)
            if isinstance(share, Verdict):
                return share
            return Verdict(share >= pct, f"available margin is {share:.1f} % of equity, at least {pct:g} % is needed")
        case MinEquity(usd=usd):
            equity = float(account.equity_usd)
            if not math.isfinite(equity):
                return Verdict.wait("the account has no equity figure")
            return Verdict(equity >= usd, f"equity is {equity:.2f} USD, at least {usd:g} is needed")
        case MaxMarginUtilisation(pct=pct):
            share = _share_pct(account.initial_margin_usd, account)
            if isinstance(share, Verdict):
                return share
            return Verdict(share <= pct, f"initial margin is {share:.1f} % of equity, at most {pct:g} % is allowed")
        case MaxAccountDelta(limit=limit, underlying=underlying):
            delta = _account_delta(account, underlying)
            if isinstance(delta, str):
                return Verdict.wait(delta)
            return Verdict(abs(delta) <= limit, f"account delta {delta:.4f}, limit ±{limit:g}")
        case NoExistingPosition(symbols=symbols):
            held = [item.symbol for item in account.positions if item.quantity and item.symbol.startswith(symbols)]
            return Verdict(not held, f"already in {held[0]}" if held else f"no position in {', '.join(symbols)}")
        case _:
            assert_never(condition)


def _share_pct(amount_usd: Decimal, account: AccountSnapshot) -> float | Verdict:
    amount, equity = float(amount_usd), float(account.equity_usd)
    if not (math.isfinite(amount) and math.isfinite(equity)):
        return Verdict.wait("the account has no margin figures")
    if equity <= 0:
        return Verdict(open=False, reason=f"equity is {equity:.2f} USD")
    return amount / equity * 100


def _account_delta(account: AccountSnapshot, underlying: str | None) -> float | str:
    if not account.greeks_complete:
        return "some position has no Greeks"
    names = list(account.greeks) if underlying is None else [underlying]
    delta = sum(account.greeks[name].delta for name in names if name in account.greeks)
    return delta if math.isfinite(delta) else "the account's delta is not a number"


def _pnl_exit(condition: ProfitTarget | MaxLoss, view: ExitView, now_ns: int) -> Verdict:
    pnl = net_pnl(view, condition.price, now_ns)
    if isinstance(pnl, str):
        return Verdict.wait(pnl)
    bound = condition.usd
    if condition.pct is not None:
        premium = abs(float(view.trade.entry_premium_usd))
        if premium == 0:
            return Verdict.wait("the entry premium is 0, so a percentage of it says nothing: use usd=")
        bound = condition.pct / 100 * premium
    if bound is None:
        return Verdict.wait("the condition names neither pct nor usd")
    share = "" if condition.pct is None else f" ({condition.pct:g} % of the entry premium)"
    if isinstance(condition, ProfitTarget):
        return Verdict(pnl >= bound, f"P&L {pnl:.2f} USD, target {bound:.2f} USD{share}")
    return Verdict(pnl <= -bound, f"P&L {pnl:.2f} USD, bound -{bound:.2f} USD{share}")


def _structure_delta(limit: float, view: ExitView, now_ns: int) -> Verdict:
    total = 0.0
    for index, leg in enumerate(view.trade.legs):
        if leg.held_quantity == 0:
            continue
        delta = view.leg_value(index, "delta", now_ns)
        if isinstance(delta, str):
            return Verdict.wait(delta)
        total += signed(leg, leg.held_quantity) * delta
    return Verdict(abs(total) > limit, f"delta of the structure {total:.4f}, limit ±{limit:g}")


def _leg_greek(condition: LegGreekLimit, view: ExitView, now_ns: int) -> Verdict:
    legs = view.trade.legs
    if condition.leg_index is not None and condition.leg_index >= len(legs):
        return Verdict.wait(f"the trade has no leg {condition.leg_index}, only {len(legs)} legs")
    missing = None
    shown = []
    for index, leg in enumerate(legs):
        if leg.held_quantity == 0 or condition.leg_index not in (None, index):
            continue
        if condition.leg_index is None and instrument_kind(leg.symbol) != "option":
            continue  # its delta is always 1
        value = view.leg_value(index, condition.greek, now_ns)
        if isinstance(value, str):
            missing = value
            continue
        of_leg = value if leg.side == "buy" else -value
        reason = f"{condition.greek} of {leg.symbol} is {of_leg:.4f}"
        if _COMPARE[condition.comparison](of_leg, condition.limit):
            return Verdict(True, f"{reason}, {condition.comparison} {condition.limit:g}")
        shown.append(reason)
    if missing is not None:
        return Verdict.wait(missing)
    return Verdict(False, "; ".join(shown) or "the leg is closed")


def _host_function(
    name: str, functions: Mapping[str, Callable[[ViewT, int], Answer]], view: ViewT, now_ns: int
) -> Verdict:
    function = functions.get(name)
    if function is None:
        return Verdict.wait(f"this host has no function {name}: load the strategy file that defines it")
    answer = function(view, now_ns)
    if isinstance(answer, Verdict):
        return answer
    says, reason = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, "")
    if not isinstance(says, bool | np.bool_):
        # a text that says why not would count as yes, and a forgotten return as no for ever
        raise TypeError(
            f"{name}() returned {repr(answer)[:100]}: it must return True or False, (bool, reason) or a Verdict"
        )
    return Verdict(bool(says), str(reason) or f"{name}() says {bool(says)}")


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
