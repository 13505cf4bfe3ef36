"""The guard: the account's snapshot, grants, and halts on broken account limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from services.risk.breaches import measures
from services.risk.breakers import JUDGED_ORDER_STATES, MARKS, NAMES, Breakers, no_such_breaker, not_read_yet
from services.risk.checks import CHECKS, GATES, first_violation
from services.risk.coins import TradedCoins
from services.risk.config import RiskConfig
from services.risk.equity import EquityMarks
from services.risk.granting import granted, refused
from services.risk.halting import Halting
from services.risk.inputs import AccountPolled, AccountPollFailed, TransferSeen
from services.risk.margin_guard import MarginGuardian
from services.risk.market import MarketView
from services.risk.orders import MINUTE_NS, OrderWatch
from services.risk.positions import Holdings, positions_of
from services.risk.reads import ReadWatch
from services.risk.reservations import Reservations, covers
from services.risk.rows import (
    BreachEnded,
    BreachFound,
    BreachHalted,
    BreachLifted,
    BreakerMoved,
    CapitalMoved,
    GrantIssued,
    MarginLevelMoved,
    MarkSetAnew,
    OpeningJudged,
    PeakEquityRaised,
    Row,
    TradeJudged,
    TradingDayStarted,
)
from services.risk.showing import breaker_alert, halting_breakers, limits_of, nothing_asked, stress_of
from services.risk.situation import NOTHING_HELD, Situation, Violation
from services.risk.stress import Scenarios, Stress
from services.risk.unit_grids import UnitGrids
from services.risk.what_if import answer as what_if_answer
from services.risk.what_if import as_request
from shared.messages.account import AccountSnapshot
from shared.messages.control import (
    AccountAnswer,
    GetAccount,
    GrantGiven,
    HaltState,
    RequestGrant,
)
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.messages.risk import BreakersReset, GetRisk, ResetBreaker, RiskAnswer, WhatIf
from shared.messages.space import ON_DISK, JournalSpace, space_alerts
from shared.messages.steps import (
    Entry,
    Inbound,
    Publish,
    Reply,
    ReplyReceived,
    Request,
    RequestTimedOut,
    Step,
    StreamSynced,
    Tick,
)
from shared.messages.topics import topic_of
from shared.messages.trades import Grant, IntentRefused, OrderUpdate, TradeUpdate, unknown_request

_MS = 1_000_000
_NAME_MAX = 200


class RiskCore:
    """Decides who may open what.

    Inputs: Inbound(InstrumentList, ChainSnapshot, TradeUpdate, IntentRefused, OrderUpdate, HaltState), StreamSynced,
    Request(RequestGrant, GetAccount, GetRisk, WhatIf, ResetBreaker), ReplyReceived, RequestTimedOut, Tick,
    JournalSpace and those of inputs.py. Effects: the generic ones. Anything else is ignored.
    """

    def __init__(self, config: RiskConfig, *, account_id: str, grant_key: bytes) -> None:
        self._config = config
        self._account_id = account_id
        self._grant_key = grant_key
        self._equity = EquityMarks(config)
        self._journaled_until_ns: int | None = None
        self._market = MarketView(config.market_age_max_ms * _MS)
        self._halting = Halting(config, account_id)
        self._breakers = Breakers(config)
        self._margin = MarginGuardian(config, account_id, self._market)
        self._reservations = Reservations(
            config.grant_release_delay_ms * _MS, config.account_lag_ms * _MS, config.grant_ttl_ms * _MS
        )
        # Volatile from here on: rebuilt from what the others send.
        self._orders = OrderWatch()
        self._scenarios = Scenarios.of(config)
        self._unit_grids = UnitGrids(self._scenarios, self._market)
        self._stress: Stress | None = None
        self._holdings = NOTHING_HELD
        self._coins = TradedCoins()
        self._shown = RiskAnswer(limits=None, stress=None)
        self._halts = HaltState(account_id=account_id, halt_epoch=0, halts=())
        self._execution_epoch: int | None = None
        self._execution_synced = False
        self._account: AccountSnapshot | None = None
        self._asked_ns = 0
        self._reads = ReadWatch(account_id, config.account_age_max_ms)
        self._space = ON_DISK

    @property
    def account(self) -> AccountSnapshot | None:
        """The newest account, None before the first read."""
        return self._account

    @property
    def broken_limits(self) -> tuple[str, ...]:
        """The account limits that are broken now."""
        return self._halting.broken

    @property
    def day_start_equity_usd(self) -> Decimal | None:
        """The first equity of the UTC day, moved by transfers; None before the first read."""
        return self._equity.day_start_usd

    @property
    def journaled_until_ns(self) -> int | None:
        """When the newest fact was noted, None before the first: transfers up to then are known."""
        return self._journaled_until_ns

    @property
    def noted_transfers(self) -> frozenset[str]:
        """The ids of the newest deposits and withdrawals that were noted."""
        return self._equity.transfers

    @property
    def execution_synced(self) -> bool:
        """Whether execution has told of all its trades."""
        return self._execution_synced

    def start(self, now_ns: int) -> Step:
        """Ask again for halts that nobody is known to have set."""
        return Step(effects=self._halting.start())

    def next_deadline_ns(self) -> int | None:
        wakes = (self._halting.next_deadline_ns(), self._breakers.next_deadline_ns(), self._margin.next_deadline_ns())
        return min([wake for wake in wakes if wake is not None], default=None)

    def handle(self, item: Any, now_ns: int) -> Step:
        match item:
            case Inbound():
                return self._on_message(item, now_ns)
            case Request(message=RequestGrant() as ask):
                return self._on_grant_request(item.request_id, ask, now_ns)
            case Request(message=GetAccount()):
                return Step(effects=[Reply(item.request_id, AccountAnswer(account=self._account))])
            case Request(message=GetRisk()):
                return Step(effects=[Reply(item.request_id, self._shown)])
            case Request(message=WhatIf() as what_if):
                situation = self._situation(as_request(what_if, now_ns), now_ns)
                return Step(effects=[Reply(item.request_id, what_if_answer(situation))])
            case Request(message=ResetBreaker() as reset):
                return self._on_reset(item.request_id, reset, now_ns)
            case Request(message=other):
                return Step(effects=[Reply(item.request_id, unknown_request("risk", other))])
            case AccountPolled():
                return self._on_account(item, now_ns)
            case AccountPollFailed():
                return self._on_poll_failed(item, now_ns)
            case TransferSeen():
                step = Step()
                self._equity.on_transfer(item, self._emitter(step, now_ns))
                return step
            case ReplyReceived() | RequestTimedOut():
                return self._on_reply(item, now_ns)
            case StreamSynced(publisher="execution", epoch=epoch):
                self._meet_execution(epoch)
                self._execution_synced = self._execution_epoch == epoch
                if self._execution_synced:
                    self._coins.on_synced()
            case Tick():
                return self._on_time(now_ns)
            case JournalSpace():
                alerts = space_alerts(self._space, item, "risk")
                self._space = item
                return Step(effects=[*alerts])
            case _:
                pass
        return Step()

    def apply(self, entry: Entry) -> None:
        self._journaled_until_ns = entry.at_ns
        match entry.row:
            case PeakEquityRaised() | TradingDayStarted() | CapitalMoved() | MarkSetAnew() as mark:
                self._equity.apply(mark)
            case GrantIssued(grant=grant):
                self._reservations.issue(grant, entry.at_ns)
            case BreachFound() | BreachHalted() | BreachLifted() | BreachEnded() as breach:
                self._halting.apply(breach, entry.at_ns)
            case TradeJudged() | OpeningJudged() | BreakerMoved() as judged:
                self._breakers.apply(judged, entry.at_ns)
            case MarginLevelMoved() as moved:
                self._margin.apply(moved, entry.at_ns)
            case row:
                raise AssertionError(f"{row!r} is no row of risk")

    def _emit(self, step: Step, row: Row, now_ns: int, cause_id: str = "") -> None:
        entry = Entry(now_ns, cause_id, row)
        self.apply(entry)
        step.rows.append(entry)
        if isinstance(row, BreakerMoved) and (alert := breaker_alert(row, self._account_id)) is not None:
            step.effects.append(alert)

    def _emitter(self, step: Step, now_ns: int) -> Callable[[Row], None]:
        return lambda row: self._emit(step, row, now_ns)

    # Messages of other services

    def _on_message(self, inbound: Inbound, now_ns: int) -> Step:
        step = Step()
        if inbound.publisher == "execution" and not self._meet_execution(inbound.epoch):
            return step
        match inbound.message:
            # first, for a quoting strategy changes its orders far more often than anything else happens
            case OrderUpdate(account_id=self._account_id) as order:
                self._orders.on_order(order, now_ns)
                if order.state in JUDGED_ORDER_STATES:
                    self._breakers.on_order(order, now_ns, self._emitter(step, now_ns))
            case InstrumentList() as listed:
                self._market.on_list(listed)
            case ChainSnapshot() as chain:
                self._market.on_chain(chain)
                self._unit_grids.on_chain(chain.underlying, now_ns)
            case TradeUpdate(account_id=self._account_id) as update:
                self._reservations.on_trade(update)
                self._coins.on_trade(update)
                self._margin.on_trade(update)
                equity = None if self._account is None else float(self._account.equity_usd)
                self._breakers.on_trade(update, equity, self._emitter(step, now_ns))
            case IntentRefused(account_id=self._account_id) as refused_intent:
                self._reservations.on_refused(refused_intent.intent_id)
            case HaltState(account_id=self._account_id) as state:
                self._halts = state
            case _:
                pass
        return step

    def _on_reply(self, reply: ReplyReceived | RequestTimedOut, now_ns: int) -> Step:
        step = Step()
        if not self._margin.on_answer(reply):
            step.effects += self._halting.on_answer(reply, now_ns, self._emitter(step, now_ns))
        return step

    def _on_reset(self, request_id: str, reset: ResetBreaker, now_ns: int) -> Step:
        step = Step()
        by, emit = reset.requested_by[:_NAME_MAX], self._emitter(step, now_ns)
        if reset.name in MARKS:
            if not self._equity.set_anew(reset.name, by, emit):
                return Step(effects=[Reply(request_id, not_read_yet(reset.name))])
        elif reset.name not in NAMES:
            return Step(effects=[Reply(request_id, no_such_breaker(reset.name))])
        self._breakers.reset(reset.name, reset.subject, by, emit)
        step.effects.append(Reply(request_id, BreakersReset(breakers=self._breakers.statuses())))
        return step

    def _on_time(self, now_ns: int) -> Step:
        step = Step()
        emit = self._emitter(step, now_ns)
        step.effects += self._halting.on_time(now_ns)
        self._breakers.on_time(now_ns, emit)
        step.effects += self._margin.on_time(self._halting, now_ns, emit)
        return step

    def _meet_execution(self, epoch: int) -> bool:
        """Note a new start of execution, after which its replay tells everything anew. False for an older epoch."""
        if self._execution_epoch is not None and epoch < self._execution_epoch:
            return False
        if epoch != self._execution_epoch:
            self._execution_epoch = epoch
            self._execution_synced = False
            self._reservations.forget_trades()
            self._coins.forget_trades()
            self._orders.forget()
            self._margin.forget_trades()
        return True

    # Grants

    def _on_grant_request(self, request_id: str, ask: RequestGrant, now_ns: int) -> Step:
        situation = self._situation(ask, now_ns)
        if violation := first_violation(situation, GATES):
            return self._refuse(request_id, ask, violation)
        earlier = self._valid_grant(ask.intent_id, now_ns)
        if earlier is not None and covers(earlier, ask.legs):
            return Step(effects=[Reply(request_id, GrantGiven(grant=earlier))])
        if violation := first_violation(situation, CHECKS):
            return self._refuse(request_id, ask, violation)
        grant = granted(situation, self._halts.halt_epoch, self._grant_key)
        step = Step(effects=[Reply(request_id, GrantGiven(grant=grant))])
        self._emit(step, GrantIssued(grant=grant), now_ns, request_id)
        return step

    def _valid_grant(self, intent_id: str, now_ns: int) -> Grant | None:
        grant = self._reservations.grant_of(intent_id, now_ns)
        if grant is None or grant.halt_epoch != self._halts.halt_epoch or grant.deadline_ns <= now_ns:
            return None
        return grant

    def _situation(self, ask: RequestGrant, now_ns: int) -> Situation:
        reservations = self._reservations
        earlier = self._valid_grant(ask.intent_id, now_ns)
        return Situation(
            config=self._config,
            now_ns=now_ns,
            ask=ask,
            account_id=self._account_id,
            halts=self._halts.halts,
            execution_synced=self._execution_synced,
            account=self._account,
            peak_equity_usd=self._equity.peak_usd,
            day_start_equity_usd=self._equity.day_start_usd,
            market=self._market,
            unit_grids=self._unit_grids,
            outstanding=tuple(reservations.outstanding(now_ns, self._asked_ns, beside=ask.intent_id)),
            at_risk=reservations.at_risk(now_ns, beside=ask.intent_id),
            has_trade=reservations.has_trade(ask.intent_id),
            was_refused=reservations.was_refused(ask.intent_id),
            earlier_grant_differs=earlier is not None and not covers(earlier, ask.legs),
            granted_lately=reservations.granted_lately(now_ns),
            open_orders=self._orders.working,
            orders_last_minute=self._orders.sent_since(now_ns - MINUTE_NS),
            stress=self._stress,
            holdings=self._holdings,
            guards=tuple(self._guards(ask.strategy, now_ns)),
            space=self._space,
        )

    def _guards(self, strategy: str, now_ns: int) -> Iterator[Violation]:
        """Why the margin guard or a breaker lets this strategy ("" = any) have nothing now."""
        if (refusal := self._margin.refusal()) is not None:
            yield refusal
        yield from self._breakers.refusals(
            strategy, lambda subject, since_ns: self._reservations.running_since(since_ns, now_ns, subject)
        )

    def _refuse(self, request_id: str, ask: RequestGrant, violation: Violation) -> Step:
        answer = refused(ask, violation)
        topic = topic_of("risk.{account}.refusal", account=self._account_id)
        return Step(effects=[Reply(request_id, answer), Publish(topic, answer)])

    # The account

    def _on_account(self, polled: AccountPolled, now_ns: int) -> Step:
        step = Step()
        if polled.asked_ns < self._asked_ns:
            return step
        emit = self._emitter(step, now_ns)
        halts = self._halts if self._execution_synced else None
        if polled.transfers_problem:
            # without them equity is not compared with anything, and no grant is given on it; margin is what it is
            if self._equity.peak_usd is None:
                return self._on_poll_failed(AccountPollFailed(polled.transfers_problem), now_ns)
            account = self._snapshot(polled, now_ns)
            self._breakers.on_venue_error(now_ns, emit)
            what = "deposits and withdrawals, without which no loss can be judged, have not been readable"
            step.effects += self._reads.on_failed(polled.transfers_problem, now_ns, what)
        else:
            equity = polled.account.equity_usd
            earlier = None if self._account is None else self._account.equity_usd
            self._asked_ns = polled.asked_ns
            self._reservations.on_account(polled.asked_ns)
            self._equity.on_read(equity, earlier, now_ns, emit)
            account = self._account = self._snapshot(polled, now_ns)
            for measure in measures(self._config, equity, self._equity.peak_usd, self._equity.day_start_usd):
                step.effects += self._halting.judge(measure, now_ns, emit, halts)
            self._breakers.on_read(emit)
            step.effects += self._reads.on_read(polled.clock_offset_ns)
        step.effects += self._margin.on_account(
            account, self._halting, now_ns, emit, trades_known=self._execution_synced, halts=halts
        )
        step.effects.append(Publish(topic_of("risk.{account}.account", account=self._account_id), account))
        self._show(step, account, now_ns)
        return step

    def _show(self, step: Step, account: AccountSnapshot, now_ns: int) -> None:
        self._holdings = Holdings(account.positions)
        held = {position.symbol: float(position.quantity) for position in account.positions}
        self._stress = Stress.of_quantities(self._scenarios, self._market, held, now_ns)
        now = self._situation(nothing_asked(self._account_id, now_ns), now_ns)
        guard = self._margin.status()
        breakers = (*halting_breakers(now, self._halting), *self._breakers.statuses())
        limits = limits_of(now, breakers, guard)
        stress = stress_of(self._config, self._stress, account)
        self._shown = RiskAnswer(limits=limits, stress=stress)
        step.effects.append(Publish(topic_of("risk.{account}.limits", account=self._account_id), limits))
        step.effects.append(Publish(topic_of("risk.{account}.stress", account=self._account_id), stress))

    def _snapshot(self, polled: AccountPolled, now_ns: int) -> AccountSnapshot:
        held = (*polled.positions, *self._coins.positions(self._market))
        positions, sums, complete = positions_of(self._market, held, now_ns)
        if not self._coins.complete and self._market.may_list_spot:
            # the delta of coins that trades hold is not known before execution has told of them
            complete = False
        outstanding = tuple(self._reservations.outstanding(now_ns, polled.asked_ns, beside=""))
        account, peak_usd = polled.account, self._equity.peak_usd
        assert peak_usd is not None, "the first read sets the peak"
        return AccountSnapshot(
            account_id=self._account_id,
            received_ns=polled.received_ns,
            equity_usd=account.equity_usd,
            available_margin_usd=account.available_margin_usd,
            initial_margin_usd=account.initial_margin_usd,
            maintenance_margin_usd=account.maintenance_margin_usd,
            unrealized_pnl_usd=account.unrealized_pnl_usd,
            positions=positions,
            greeks=sums,
            greeks_complete=complete,
            peak_equity_usd=max(peak_usd, account.equity_usd),
            outstanding_grants=len(outstanding),
            outstanding_margin_usd=sum(grant.margin_usd for grant in outstanding),
            balances=account.balances,
            day_start_usd=self._equity.day_start_usd,
            asked_ns=polled.asked_ns,
        )

    def _on_poll_failed(self, failed: AccountPollFailed, now_ns: int) -> Step:
        step = Step()
        self._breakers.on_venue_error(now_ns, self._emitter(step, now_ns))
        step.effects += self._reads.on_failed(failed.reason, now_ns)
        return step
