"""Circuit breakers: what has gone wrong lately stops new trades for a while, and one trade at a time tries again.

They are fed by what happened, not by what was meant: trades that ended, openings with their cost, orders that were
refused, calls that the venue did not answer. Each moves by the table in states.py.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

import msgspec

from services.risk.config import RiskConfig
from services.risk.rows import BreakerMoved, OpeningJudged, Row, TradeJudged
from services.risk.situation import Violation
from services.risk.states import breaker_may_move
from shared.ids import is_hedge_name
from shared.messages.risk import BreakerState, BreakerStatus
from shared.messages.trades import FINAL_ORDER_STATES, OrderUpdate, Refusal, TradeUpdate

LOSSES, SLIPPAGE, REJECTIONS, VENUE = "consecutive_losses", "slippage", "rejection_rate", "venue_errors"
NAMES = (LOSSES, SLIPPAGE, REJECTIONS, VENUE)
MARKS = ("drawdown", "daily_loss")
"""Limits of the account that are reset by measuring from the equity of now."""

JUDGED_ORDER_STATES = FINAL_ORDER_STATES | {"UNKNOWN"}
"""Those in which an order says something about the venue, or about our orders."""

_TRADES_REMEMBERED = 10_000
_MINUTE_NS = 60 * 1_000_000_000
_ORDER_WINDOW_NS = 10 * _MINUTE_NS
_ORDERS_KEPT = 200
_GOOD_READS = 3
"""So many reads of the account in a row end the trial of `venue_errors`."""

Emit = Callable[[Row], None]
RunningSince = Callable[[str, int], int]
"""How many trades and unused grants of a strategy ("" = any) were granted since an instant and are not over."""


class _Breaker(msgspec.Struct, frozen=True, gc=False):
    state: BreakerState = "closed"
    since_ns: int = 0
    reason: str = ""


_NEVER_MOVED = _Breaker()


class Breakers:
    """Durable: the states, the trades already judged, losses in a row and the cost of openings, folded from rows.
    Volatile: orders and calls of the last minutes."""

    def __init__(self, config: RiskConfig) -> None:
        self._config = config
        self._known: dict[tuple[str, str], _Breaker] = {}
        self._losses: dict[str, int] = {}
        """Losses in a row, per strategy and, under "", of all."""

        self._overs: deque[float] = deque(maxlen=config.slippage_openings)
        self._judged: dict[str, None] = {}
        self._costed: dict[str, None] = {}
        self._orders: OrderedDict[int, tuple[int, bool]] = OrderedDict()
        """When each order that ended lately did so, and whether it was refused; `_refused` counts those that were."""

        self._refused = 0

        self._lost: dict[int, tuple[int, int]] = {}
        """Orders whose outcome got lost lately, each with when it was sent and when that was known: the orders of one
        request have both alike."""

        self._errors: deque[int] = deque(maxlen=1_000)
        self._good_reads = 0

    # The fold

    def apply(self, row: BreakerMoved | TradeJudged | OpeningJudged, at_ns: int) -> None:
        match row:
            case TradeJudged(trade_id=trade_id, strategy=strategy, net_pnl_usd=pnl):
                _remember(self._judged, trade_id)
                for subject in ("", strategy):
                    self._losses[subject] = self._losses.get(subject, 0) + 1 if pnl < 0 else 0
            case OpeningJudged(trade_id=trade_id, over_pct=over):
                _remember(self._costed, trade_id)
                self._overs.append(over)
            case BreakerMoved(name=name, subject=subject, state=state, reason=reason):
                breaker = self._breaker(name, subject)
                assert breaker_may_move(breaker.state, state), f"{name} cannot go from {breaker.state} to {state}"
                self._known[name, subject] = _Breaker(state, at_ns, reason)
                if state == "closed":
                    self._begin_anew(name, subject)

    def _begin_anew(self, name: str, subject: str) -> None:
        """What has been paid for does not count again."""
        match name:
            case "consecutive_losses":
                self._losses[subject] = 0
            case "slippage":
                self._overs.clear()
            case "rejection_rate":
                self._orders.clear()
                self._refused = 0
            case _:
                self._errors.clear()

    # What happened

    def on_trade(self, update: TradeUpdate, equity_usd: float | None, emit: Emit) -> None:
        """Judge a trade's end once its result is certain, and its opening once its cost is.

        A hedge is not judged: it is no decision of its own, and one of short gamma loses by construction.
        """
        if is_hedge_name(update.strategy):
            return
        cost = update.opening_cost
        if (
            cost is not None
            and cost.over_usd is not None
            and cost.fees_complete
            and equity_usd is not None
            and equity_usd > 0
            and update.trade_id not in self._costed
        ):
            over_pct = cost.over_usd / equity_usd * 100
            emit(OpeningJudged(trade_id=update.trade_id, over_pct=over_pct))
            share = self._config.max_slippage_pct / self._config.slippage_openings
            self._judge_trial(SLIPPAGE, "", update, emit, went_well=over_pct <= share)
            self._trip(SLIPPAGE, "", emit)
        if not update.is_final or update.trade_id in self._judged:
            return
        pnl = update.net_realized_usd
        traded = any(leg.filled_quantity for leg in update.legs)
        # fees still to come make a loss larger, and a gain uncertain
        if not traded or not (update.fees_complete or update.realized_pnl_usd < 0):
            return
        emit(TradeJudged(trade_id=update.trade_id, strategy=update.strategy, net_pnl_usd=pnl))
        for subject in ("", update.strategy):
            self._judge_trial(LOSSES, subject, update, emit, went_well=pnl >= 0)
            self._trip(LOSSES, subject, emit)

    def on_order(self, update: OrderUpdate, now_ns: int, emit: Emit) -> None:
        """Of an order in one of JUDGED_ORDER_STATES; in any other it changes nothing."""
        if update.state == "UNKNOWN" and update.updated_ns > now_ns - _MINUTE_NS:
            self._on_lost_outcome(update, emit)
        if update.state not in FINAL_ORDER_STATES or update.updated_ns <= now_ns - _ORDER_WINDOW_NS:
            return
        # what ended before the breaker closed has been paid for, also when a restart tells of it again
        if update.client_order_id in self._orders or update.updated_ns <= self._closed_ns(REJECTIONS):
            return
        refused = update.state == "REFUSED"
        self._orders[update.client_order_id] = (update.updated_ns, refused)
        self._refused += refused
        while len(self._orders) > _ORDERS_KEPT:
            self._forget_oldest()
        breaker = self._breaker(REJECTIONS, "")
        if breaker.state == "half_open" and update.created_ns >= breaker.since_ns:
            self._end_trial(REJECTIONS, "", emit, went_well=not refused, what=f"an order {update.state.lower()}")
        self._trip(REJECTIONS, "", emit, now_ns)

    def _closed_ns(self, name: str) -> int:
        """When the account's breaker closed last; 0 while it is not closed, or was never open."""
        breaker = self._breaker(name, "")
        return breaker.since_ns if breaker.state == "closed" else 0

    def on_venue_error(self, now_ns: int, emit: Emit) -> None:
        """A read of the account failed, or an order's outcome is not known."""
        self._errors.append(now_ns)
        self._good_reads = 0
        if self._breaker(VENUE, "").state == "half_open":
            self._end_trial(VENUE, "", emit, went_well=False, what="the venue failed again")
        self._trip(VENUE, "", emit, now_ns)

    def _on_lost_outcome(self, update: OrderUpdate, emit: Emit) -> None:
        """One answer that got lost is one error, however many orders it was for and however often it is told."""
        request = (update.created_ns, update.updated_ns)
        is_counted = update.client_order_id in self._lost or request in self._lost.values()
        self._lost.setdefault(update.client_order_id, request)
        while len(self._lost) > _ORDERS_KEPT:
            del self._lost[next(iter(self._lost))]
        if not is_counted:
            self.on_venue_error(update.updated_ns, emit)

    def on_read(self, emit: Emit) -> None:
        """The account was read."""
        self._good_reads += 1
        if self._breaker(VENUE, "").state == "half_open" and self._good_reads >= _GOOD_READS:
            self._end_trial(VENUE, "", emit, went_well=True, what=f"{_GOOD_READS} reads in a row")

    def on_time(self, now_ns: int, emit: Emit) -> None:
        for name, subject in self._due(now_ns):
            emit(_moved(name, subject, "half_open", "the pause is over: one trade at a time"))
            if name == VENUE:
                self._good_reads = 0

    def reset(self, name: str, subject: str, by: str, emit: Emit) -> None:
        """Close what is not closed of `name`, and of `subject` unless that is "*"."""
        found = [
            key
            for key, breaker in self._known.items()
            if key[0] == name and subject in ("*", key[1]) and breaker.state != "closed"
        ]
        for key in found:
            emit(_moved(*key, "closed", f"reset by {by}"))

    def next_deadline_ns(self) -> int | None:
        if not self._known:
            return None
        ends = [self._half_open_ns(name, breaker) for (name, _), breaker in self._known.items()]
        return min((end for end in ends if end is not None), default=None)

    # What follows from it

    def refusals(self, strategy: str, running_since: RunningSince) -> Iterator[Violation]:
        """Why a strategy ("" = any) is granted nothing now."""
        for (name, subject), breaker in self._known.items():
            if breaker.state == "closed" or subject not in ("", strategy):
                continue
            of = f" of {subject}" if subject else ""
            value, limit, _ = self._measure(name, subject)
            if breaker.state == "open":
                yield Violation(name, f"the breaker{of} is open: {breaker.reason}", value, limit)
            elif is_hedge_name(strategy):
                continue
            elif running_since(subject, breaker.since_ns):
                yield Violation(name, f"the breaker{of} is half open: its one trade is still under way", value, limit)

    def statuses(self) -> tuple[BreakerStatus, ...]:
        """Those of the account, and of strategies that have a limit of their own or are not closed."""
        subjects = [
            name for name, limits in self._config.strategies.items() if limits.max_consecutive_losses is not None
        ]
        keys = dict.fromkeys(
            (*((name, "") for name in NAMES), *((LOSSES, subject) for subject in subjects), *sorted(self._known))
        )
        return tuple(self._status(name, subject) for name, subject in keys)

    def _status(self, name: str, subject: str) -> BreakerStatus:
        breaker = self._breaker(name, subject)
        value, limit, unit = self._measure(name, subject)
        return BreakerStatus(
            name=name,
            subject=subject,
            state=breaker.state,
            since_ns=breaker.since_ns,
            reason=breaker.reason,
            value=value,
            limit=limit,
            unit=unit,
            half_open_ns=self._half_open_ns(name, breaker),
        )

    # Inside

    def _breaker(self, name: str, subject: str) -> _Breaker:
        return self._known.get((name, subject), _NEVER_MOVED)

    def _measure(self, name: str, subject: str) -> tuple[float | None, float, str]:
        """Figure, limit and unit; no figure while too little was seen."""
        config = self._config
        match name:
            case "consecutive_losses":
                return float(self._losses.get(subject, 0)), float(self._loss_limit(subject)), "losses"
            case "slippage":
                return max(sum(self._overs), 0.0), config.max_slippage_pct, "% of equity"
            case "rejection_rate":
                share = None
                if len(self._orders) >= config.rejection_orders_min:
                    share = self._refused / len(self._orders) * 100
                return share, config.max_rejection_pct, "% of orders"
            case _:
                return float(len(self._errors)), float(config.max_venue_errors_per_minute), "errors/min"

    def _loss_limit(self, subject: str) -> int:
        own = self._config.strategies.get(subject)
        if subject and own is not None and own.max_consecutive_losses is not None:
            return own.max_consecutive_losses
        return self._config.max_consecutive_losses

    def _is_watched(self, name: str, subject: str) -> bool:
        """A strategy has a breaker of its own where it has a limit of its own."""
        own = self._config.strategies.get(subject)
        return not subject or name != LOSSES or (own is not None and own.max_consecutive_losses is not None)

    def _trip(self, name: str, subject: str, emit: Emit, now_ns: int | None = None) -> None:
        """Open a closed breaker whose figure has reached its limit."""
        if now_ns is not None:
            self._forget_before(now_ns)
        if self._breaker(name, subject).state != "closed" or not self._is_watched(name, subject):
            return
        value, limit, unit = self._measure(name, subject)
        if value is not None and (value > limit if name in (SLIPPAGE, REJECTIONS) else value >= limit):
            emit(_moved(name, subject, "open", f"{value:g} {unit}, limit {limit:g}"))

    def _judge_trial(self, name: str, subject: str, update: TradeUpdate, emit: Emit, *, went_well: bool) -> None:
        """A trade that was granted while half open ends the trial; one from before says nothing of it."""
        breaker = self._breaker(name, subject)
        if breaker.state == "half_open" and update.grant.issued_ns >= breaker.since_ns:
            self._end_trial(name, subject, emit, went_well=went_well, what=f"trade {update.trade_id}")

    def _end_trial(self, name: str, subject: str, emit: Emit, *, went_well: bool, what: str) -> None:
        outcome = "went well" if went_well else "went badly"
        emit(_moved(name, subject, "closed" if went_well else "open", f"the trial {outcome}: {what}"))

    def _forget_before(self, now_ns: int) -> None:
        while self._errors and self._errors[0] <= now_ns - _MINUTE_NS:
            self._errors.popleft()
        while self._orders and next(iter(self._orders.values()))[0] <= now_ns - _ORDER_WINDOW_NS:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, (_, refused) = self._orders.popitem(last=False)
        self._refused -= refused

    def _half_open_ns(self, name: str, breaker: _Breaker) -> int | None:
        if breaker.state != "open":
            return None
        short = name in (REJECTIONS, VENUE)
        pause_s = self._config.breaker_short_pause_s if short else self._config.breaker_pause_s
        return breaker.since_ns + pause_s * 1_000_000_000

    def _due(self, now_ns: int) -> list[tuple[str, str]]:
        ends = ((key, self._half_open_ns(key[0], breaker)) for key, breaker in self._known.items())
        return [key for key, end in ends if end is not None and end <= now_ns]


def _moved(name: str, subject: str, state: BreakerState, reason: str) -> BreakerMoved:
    return BreakerMoved(name=name, subject=subject, state=state, reason=reason)


def _remember(known: dict[str, None], trade_id: str) -> None:
    known[trade_id] = None
    while len(known) > _TRADES_REMEMBERED:
        del known[next(iter(known))]


def no_such_breaker(name: str) -> Refusal:
    """Of a name that none has."""
    return Refusal(
        code="no_such_breaker",
        detail=f"{name[:64]!r} is no breaker that can be reset",
        remedy=f"use one of: {', '.join((*NAMES, *MARKS))}; a halt is lifted with `voldesk resume`",
    )


def not_read_yet(name: str) -> Refusal:
    return Refusal(
        code="not_read_yet", detail=f"{name} cannot be reset: the account was not read yet", remedy="try again"
    )
