"""What must hold before an intent becomes a trade: small functions, each with its own code and remedy.

Codes of `shared.messages.trades.RETRYABLE_REFUSALS` are about this moment and not about the intent: they are not
its outcome, and the same intent may be sent again until `valid_until_ns`. Every other code is final for the intent:
the next attempt needs the next ordinal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

import msgspec

from services.execution.comparisons import ComparisonSchedule
from services.execution.halted import halt_text
from services.execution.halts import RISK_UNHEARD, Guards
from services.execution.modes import OPENING_PLANS
from services.execution.positions import PositionWitness
from services.execution.records import Trade
from services.execution.rfq import notional_usd
from services.execution.rolling import roll_refusal
from services.execution.spot_checks import spot_refusal
from services.execution.states import HOLDING_STATES, OPENING_STATES
from services.execution.workspace import SECOND, Workspace
from shared.ids import MAX_LEGS, intent_id
from shared.messages.base import Side, opposite
from shared.messages.grants import signature_holds
from shared.messages.smart import SmartParams
from shared.messages.trades import RETRYABLE_REFUSALS, OpenTrade, Refusal
from shared.options.chain import snap_quantity
from shared.options.instruments import instrument_kind, underlying_of
from shared.strategy.profiles import params_problem


class CheckView(msgspec.Struct, frozen=True):
    """What the checks look at."""

    work: Workspace
    guards: Guards
    schedule: ComparisonSchedule
    positions: PositionWitness
    grant_key: bytes


UNRECORDED_REFUSALS: frozenset[str] = RETRYABLE_REFUSALS | {"wrong_account", "bad_intent_id", "grant_forged"}
"""Not journalled as an outcome: of the moment, or from a sender whose ordinals must not count."""

SLICES_MAX = 100
"""A leg above the venue's largest order is split into at most so many."""

_FIGURE_MAX = 1e9
_TIME_MAX_NS = (1 << 63) - 1
_EXIT_BOUNDS: dict[tuple[object, str], float] = {
    ("max_hold", "hours"): 1e6,
    ("time_exit", "hour"): 23,
    ("time_exit", "minute"): 59,
    ("utc_datetime_exit", "at_ns"): float(_TIME_MAX_NS),
}

Check = Callable[[OpenTrade, CheckView], Refusal | None]


def first_refusal(intent: OpenTrade, view: CheckView) -> Refusal | None:
    """The first check that says no, or None."""
    return next((refusal for check in CHECKS if (refusal := check(intent, view)) is not None), None)


def _identity(intent: OpenTrade, view: CheckView) -> Refusal | None:
    if intent.account_id != view.work.account_id:
        return Refusal(
            code="wrong_account",
            detail=f"account_id {intent.account_id} is not the account of this execution ({view.work.account_id})",
            remedy="send it to the execution service of that account",
        )
    if intent.intent_id != intent_id(intent.strategy, intent.ordinal):
        return Refusal(
            code="bad_intent_id",
            detail=f"intent_id {intent.intent_id} is not <strategy>-<ordinal> of {intent.strategy}, {intent.ordinal}",
            remedy="build it with shared.ids.intent_id",
        )
    return None


def _signature(intent: OpenTrade, view: CheckView) -> Refusal | None:
    if signature_holds(intent.grant, view.grant_key):
        return None
    return Refusal(
        code="grant_forged",
        detail="the grant's signature does not hold",
        remedy="ask risk for a grant, and let risk and execution share one run directory",
    )


def _space(intent: OpenTrade, view: CheckView) -> Refusal | None:
    space = view.work.space
    if space.level == "disk":
        return None
    return Refusal(
        code="disk_full",
        detail=f"nothing is opened on a full disk: {space.reason}",
        remedy="free space; opening is allowed again by itself",
    )


def _valid(intent: OpenTrade, view: CheckView) -> Refusal | None:
    if view.work.now_ns >= intent.valid_until_ns:
        return Refusal(code="intent_expired", detail="valid_until_ns has passed", remedy="decide anew")
    return None


def _legs(intent: OpenTrade, view: CheckView) -> Refusal | None:
    if not 1 <= len(intent.legs) <= MAX_LEGS:
        return Refusal(code="bad_legs", detail=f"{len(intent.legs)} legs; a trade has 1 to {MAX_LEGS}")
    symbols = [leg.symbol for leg in intent.legs]
    if len(set(symbols)) != len(symbols):
        return Refusal(
            code="bad_legs",
            detail="two legs name the same symbol",
            remedy="join them into one leg of their net quantity",
        )
    return None


def _policy(intent: OpenTrade, view: CheckView) -> Refusal | None:
    """A plan that undoes nothing keeps what it got: there is no structure to be whole."""
    plan = OPENING_PLANS.get(intent.execution_mode)
    if plan is None or plan.manner.unwinds or intent.policy == "best_effort":
        return None
    return Refusal(
        code="bad_params",
        detail=f'policy {intent.policy} means nothing with execution_mode "{intent.execution_mode}"',
        remedy='use policy "best_effort"',
    )


def _rfq(intent: OpenTrade, view: CheckView) -> Refusal | None:
    """For "rfq", which "auto" may choose: figures that mean something, and enough notional where there is no
    fallback."""
    if intent.execution_mode not in ("rfq", "auto"):
        return None
    params = intent.rfq
    problem = params.problem()
    if problem:
        return Refusal(code="bad_params", detail=f"rfq.{problem}", remedy="correct it")
    listed = {leg.symbol: view.work.market.instrument(leg.symbol) for leg in intent.legs}
    future = next((leg.symbol for leg in intent.legs if instrument_kind(leg.symbol) != "option"), None)
    if future is not None and intent.execution_mode == "rfq":
        return Refusal(
            code="bad_params",
            detail=f"makers are not asked for {future}, which is no option",
            remedy='use execution_mode "limit" or "smart"',
        )
    known = {symbol: instrument.strike for symbol, instrument in listed.items() if instrument is not None}
    if intent.execution_mode == "rfq" and params.fallback is None and len(known) == len(intent.legs):
        notional = notional_usd(intent.legs, known)
        if notional < params.min_notional_usd:
            return Refusal(
                code="below_min_notional",
                detail=f"notional {notional:.0f} USD (strike x quantity) is below rfq.min_notional_usd "
                f"{params.min_notional_usd:.0f}, and there is no fallback",
                remedy='trade more, or give the rfq a fallback ("limit")',
            )
    return None


def _hedge(intent: OpenTrade, view: CheckView) -> Refusal | None:
    """What is hedged is held."""
    if not intent.hedge_of:
        return None
    hedged = view.work.book.trades.get(intent.hedge_of)
    if hedged is not None and (hedged.state in HOLDING_STATES or hedged.state == "BROKEN") and hedged.close is None:
        return None
    state = "not known" if hedged is None else hedged.state if hedged.close is None else "being closed"
    return Refusal(
        code="hedge_ended",
        detail=f"trade {intent.hedge_of}, which it would hedge, is {state}",
        remedy="hedge what is held",
    )


# a strategy asks with the same parameters each time
_params_problem = lru_cache(maxsize=256)(params_problem)
_smart_problem = lru_cache(maxsize=256)(SmartParams.problem)


def _params(intent: OpenTrade, view: CheckView) -> Refusal | None:
    problem = _params_problem(intent.execution_params)
    if problem:
        return Refusal(code="bad_params", detail=f"execution_params.{problem}", remedy="correct it")
    figures = {
        "host_silent_after_s": intent.host_silent_after_s,
        "deadline_grace_s": intent.deadline_grace_s,
        "max_loss_usd": 0.0 if intent.max_loss_usd is None else intent.max_loss_usd,
    }
    for name, figure in figures.items():
        if not 0 <= figure <= _FIGURE_MAX:
            return Refusal(
                code="bad_params", detail=f"{name} {figure:g} must be 0 to {_FIGURE_MAX:g}", remedy="correct it"
            )
    problem = _smart_problem(intent.smart)
    if problem:
        return Refusal(code="bad_params", detail=f"smart.{problem}", remedy="correct it")
    return _exits(intent)


def _exits(intent: OpenTrade) -> Refusal | None:
    """Conditions of exit whose figures mean something: one of NaN would never close the trade, one of a million years
    has no time that could be written down."""
    for condition in intent.exit_conditions:
        kind = condition.__struct_config__.tag
        for name in condition.__struct_fields__:
            value = getattr(condition, name)
            if not isinstance(value, int | float):
                continue
            highest = _EXIT_BOUNDS.get((kind, name))
            if not math.isfinite(value) or (highest is not None and not 0 <= value <= highest):
                allowed = "a finite number" if highest is None else f"0 to {highest:g}"
                return Refusal(
                    code="bad_params", detail=f"{name} {value:g} of {kind} must be {allowed}", remedy="correct it"
                )
    if intent.hard_deadline_ns is not None and not 0 <= intent.hard_deadline_ns <= _TIME_MAX_NS:
        return Refusal(code="bad_params", detail="hard_deadline_ns is no time", remedy="correct it")
    return None


def _roll(intent: OpenTrade, view: CheckView) -> Refusal | None:
    return roll_refusal(intent, view.work.book)


def _grant(intent: OpenTrade, view: CheckView) -> Refusal | None:
    grant = intent.grant
    remedy = "ask risk for a grant of this intent"
    if grant.intent_id != intent.intent_id or grant.account_id != intent.account_id:
        return Refusal(
            code="grant_of_other", detail=f"the grant is for {grant.intent_id} on {grant.account_id}", remedy=remedy
        )
    if view.work.now_ns >= grant.deadline_ns:
        return Refusal(code="grant_expired", detail="the grant's deadline has passed", remedy=remedy)
    if {(leg.symbol, leg.side) for leg in intent.legs} != {(part.symbol, part.side) for part in grant.legs}:
        return Refusal(code="outside_grant", detail="the legs are not those that were granted", remedy=remedy)
    shares: set[Decimal] = set()
    for leg in intent.legs:
        allowed = [part for part in grant.legs if part.symbol == leg.symbol and part.side == leg.side]
        if len(allowed) != 1 or leg.quantity > allowed[0].max_quantity:
            return Refusal(
                code="outside_grant", detail=f"{leg.side} {leg.quantity} {leg.symbol} is not granted", remedy=remedy
            )
        shares.add(leg.quantity / allowed[0].max_quantity)
    if len(shares) > 1:
        return Refusal(
            code="outside_grant", detail="the legs are not in the proportion that was granted", remedy=remedy
        )
    return None


def _halts(intent: OpenTrade, view: CheckView) -> Refusal | None:
    book = view.work.book
    if book.halts:
        halt = book.halts[-1]
        return Refusal(
            code="halted",
            detail=halt_text(halt),
            remedy="the operator lifts it: voldesk resume",
        )
    if intent.grant.halt_epoch != book.halt_epoch:
        return Refusal(
            code="grant_void",
            detail=f"the grant is of halt epoch {intent.grant.halt_epoch}, now is {book.halt_epoch}",
            remedy="ask risk for a new grant",
        )
    return None


def _risk_alive(intent: OpenTrade, view: CheckView) -> Refusal | None:
    if view.guards.risk_is_silent or intent.grant.issued_ns < view.guards.risk_back_ns:
        return Refusal(
            code="risk_silent",
            detail="the risk service is or was silent since it gave the grant, which is void",
            remedy="ask for a new grant when risk is up: voldesk status",
        )
    if not view.guards.risk_was_heard:
        return Refusal(code="not_ready", detail=RISK_UNHEARD, remedy="try again")
    return None


def _ready(intent: OpenTrade, view: CheckView) -> Refusal | None:
    if view.work.is_winding_down:
        return Refusal(code="not_ready", detail="execution is about to stop", remedy="try again when it is back")
    if not view.schedule.synced:
        return Refusal(
            code="not_ready", detail="orders and positions are not compared with the venue yet", remedy="try again"
        )
    if view.schedule.stream_up is False:
        return Refusal(code="not_ready", detail="the private stream of the venue is down", remedy="try again")
    return None


def _instruments(intent: OpenTrade, view: CheckView) -> Refusal | None:
    for leg in intent.legs:
        instrument = view.work.market.instrument(leg.symbol)
        if instrument is None:
            return Refusal(
                code="market_stale", detail=f"{leg.symbol} is in no instrument list received", remedy="try again"
            )
        if snap_quantity(leg.quantity, instrument.lot_size) != leg.quantity or leg.quantity <= 0:
            return Refusal(
                code="bad_quantity",
                detail=f"quantity {leg.quantity} of {leg.symbol} is not a multiple of the lot {instrument.lot_size}",
                remedy="round it to the lot",
            )
        if leg.quantity < instrument.min_quantity:
            return Refusal(
                code="below_minimum",
                detail=f"quantity {leg.quantity} of {leg.symbol} is below the minimum {instrument.min_quantity}",
                remedy=f"trade at least {instrument.min_quantity}",
            )
        if leg.quantity > instrument.max_quantity * SLICES_MAX:
            return Refusal(
                code="above_maximum",
                detail=f"quantity {leg.quantity} of {leg.symbol} is more than {SLICES_MAX} orders of "
                f"{instrument.max_quantity}, the largest that the venue takes",
                remedy=f"trade at most {instrument.max_quantity * SLICES_MAX}, or split it into several trades",
            )
        if instrument.last_trade_ns - view.work.now_ns < view.work.config.tradable_margin_s * SECOND:
            return Refusal(
                code="expiring",
                detail=f"{leg.symbol} trades for less than {view.work.config.tradable_margin_s} s",
                remedy="choose a later expiry",
            )
    return None


def _spot(intent: OpenTrade, view: CheckView) -> Refusal | None:
    return spot_refusal(intent, view.work)


def _would_net(intent: OpenTrade, view: CheckView) -> Refusal | None:
    """The venue nets positions: a leg against another trade's would close that one."""
    book = view.work.book
    for leg in intent.legs:
        if view.positions.is_suspect(leg.symbol):
            return Refusal(
                code="not_ready",
                detail=f"the venue's position in {leg.symbol} is looked at again",
                remedy="try again",
            )
        sign = 1 if leg.side == "buy" else -1
        for trade in book.active_trades():
            for index, other in enumerate(trade.legs):
                if other.symbol == leg.symbol and other.side != leg.side and _claims(trade, index, view.work):
                    return Refusal(
                        code="would_net",
                        detail=f"{leg.side} {leg.symbol} would net against {trade.trade_id}",
                        remedy="close that trade first, or choose another strike or expiry",
                        against=trade.trade_id,
                    )
        if view.positions.foreign.get(leg.symbol, Decimal(0)) * sign < 0:
            return Refusal(
                code="would_net",
                detail=f"{leg.side} {leg.symbol} would net against a position that is not the desk's",
                remedy="close that position at the venue, or choose another strike or expiry",
            )
    return None


def _hedge_would_net(intent: OpenTrade, view: CheckView) -> Refusal | None:
    """The hedge of a trade could be traded neither way that it may need: nothing of the perpetual is held against it.

    Hedges of single trades are left out: they turn and end with what they hedge, and a roll opens beside them.
    """
    least, most = intent.hedge_least_coins, intent.hedge_most_coins
    if least >= 0 >= most:
        return None
    perpetual = underlying_of(intent.legs[0].symbol)
    needed = {"sell": least < 0, "buy": most > 0}
    held: list[tuple[str, Side, str, str]] = [
        (trade.trade_id, leg.side, "close that trade first, or open it without a delta hedge", trade.trade_id)
        for trade in view.work.book.active_trades()
        if not trade.request.hedge_of
        for index, leg in enumerate(trade.legs)
        if leg.symbol == perpetual and _claims(trade, index, view.work)
    ]
    foreign = view.positions.foreign.get(perpetual, Decimal(0))
    if foreign:
        what = "a position that is not the desk's"
        side_held: Side = "buy" if foreign > 0 else "sell"
        held.append((what, side_held, "close that position at the venue, or open it unhedged", ""))
    own = "its own leg"
    held += [(own, leg.side, "leave out that leg", "") for leg in intent.legs if leg.symbol == perpetual]
    for whose, side, remedy, against in held:
        if needed[opposite(side)]:
            return Refusal(
                code="would_net",
                detail=f"its delta hedge may have to {opposite(side)} {perpetual}, which would net against {whose}",
                remedy=remedy,
                against=against,
            )
    return None


def _claims(trade: Trade, index: int, work: Workspace) -> bool:
    """True when the leg holds, or may still hold, a position."""
    return (
        trade.legs[index].held_quantity > 0
        or trade.state in OPENING_STATES
        or bool(work.book.unsettled_of(trade, index))
    )


def _market(intent: OpenTrade, view: CheckView) -> Refusal | None:
    for leg in intent.legs:
        instrument = view.work.market.instrument(leg.symbol)
        quote = None if instrument is None else view.work.market.quote(instrument, view.work.now_ns)
        if quote is None or quote.mark is None:
            return Refusal(code="market_stale", detail=f"no fresh mark for {leg.symbol}", remedy="try again")
    return None


CHECKS: tuple[Check, ...] = (
    _identity,
    _signature,
    _space,
    _valid,
    _legs,
    _policy,
    _hedge,
    _rfq,
    _params,
    _roll,
    _grant,
    _halts,
    _risk_alive,
    _ready,
    _instruments,
    _spot,
    _would_net,
    _hedge_would_net,
    _market,
)
"""In this order; the first refusal is the answer."""
