"""A strategy host's decisions: what it hears is taken to the parts that decide, and each of them has its time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from services.strategy.agenda import Agenda
from services.strategy.answers import Answers
from services.strategy.asking import Asking
from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.control import command, heed_close
from services.strategy.dry_funding import DryFunding
from services.strategy.dry_host import DryHost
from services.strategy.dry_run import DryDesk
from services.strategy.exit_round import ExitRound
from services.strategy.exits import ExitDesk
from services.strategy.flights import Flights
from services.strategy.hedging import HedgeDesk
from services.strategy.host_view import HostView
from services.strategy.intents import Intents
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.market_desk import MarketDesk
from services.strategy.quoting import OrderDesk
from services.strategy.recalls import Recalls
from services.strategy.reloads import ReloadRefused, StrategyReloaded
from services.strategy.rolls import RollDesk
from services.strategy.roster import Roster
from services.strategy.rows import RUNS, DryTradeMoved, OrdinalUsed, StrategyTaken, StrategyTold
from services.strategy.slot import Slot
from services.strategy.status_news import StatusNews
from services.strategy.trades import TradeBook
from services.strategy.workspace import Workspace
from shared.ids import hedged_name
from shared.messages.account import AccountSnapshot
from shared.messages.base import Message
from shared.messages.control import (
    DryTradeList,
    HaltState,
    ListDryTrades,
    ListStrategies,
    RollTrade,
    SteerHedge,
    StrategyCommand,
    StrategyCommandDone,
    StrategyList,
)
from shared.messages.market import ChainSnapshot, IndexPrice, InstrumentList
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.space import JournalSpace, space_alerts
from shared.messages.steps import (
    Entry,
    Inbound,
    LoopStalled,
    Reply,
    ReplyReceived,
    Request,
    RequestTimedOut,
    SendRequest,
    Step,
    StreamSynced,
    Tick,
)
from shared.messages.system import Heartbeat
from shared.messages.trades import IntentRefused, OrderUpdate, TradeUpdate, unknown_request
from shared.strategy.protocol import IntentOutcome
from shared.strategy.views import Tolerances
from shared.strategy_hosts import DEFAULT_HOST, StrategyHosts
from shared.weakly import weakly

MS = 1_000_000


class StrategyHostCore:
    """Runs strategies on one account: those that `hosts` gives to `service`, and the trades of those that nobody
    runs where it is the default host; none of what another process still has, `elsewhere`.

    Inputs: Inbound (InstrumentList, ChainSnapshot, IndexPrice, AccountSnapshot, TradeUpdate, OrderUpdate, HaltState,
    Heartbeat of execution and risk), StreamSynced, Request (StrategyCommand, ListStrategies), ReplyReceived,
    RequestTimedOut, Tick, LoopStalled, JournalSpace. Effects: Publish, Reply, SendRequest, RaiseAlert.

    Durable are what strategies were told and which ordinals had their outcome. All else is volatile: trades come from
    execution's replay, and nothing is sent before it. What is ignored is counted in `ignored` by its reason.
    """

    def __init__(
        self,
        config: StrategyHostConfig,
        strategies: Sequence[LoadedStrategy],
        *,
        account_id: str,
        failures: Sequence[LoadFailure] = (),
        service: str = DEFAULT_HOST,
        hosts: StrategyHosts = StrategyHosts(),
        elsewhere: Collection[str] = (),
    ) -> None:
        self._service = service
        self._hosts = hosts
        self._elsewhere = frozenset(elsewhere)
        self._news = StatusNews(config.status_interval_ms * MS)
        self._changed = self._news.changed
        work = self._work = Workspace(weakly(self.apply), self._changed)
        self.ignored = work.ignored
        roster = self._roster = Roster(config, strategies, failures, work.record, work.alert)
        self._slots = roster.slots
        board = self._board = Board(account_id, config.service_silence_max_ms * MS)
        trades = self._trades = TradeBook(account_id, config.day_boundary_minute)
        exits = self._exits = ExitDesk(config)
        orders = self._orders = OrderDesk(config)
        tolerances = Tolerances(
            market_ns=config.market_tolerance_ms * MS, account_ns=config.account_tolerance_ms * MS
        )
        recalls = self._recalls = Recalls(work.record)
        dry = self._dry = DryDesk(account_id, config, board, work.record)
        self._dry_funding = DryFunding(config, board, dry)
        market = self._market = MarketDesk(config, tolerances, work.record)
        hedges = self._hedges = HedgeDesk(account_id, config, board, trades, roster, work.record, exits, dry)
        view = self._view = HostView(board, trades, dry, exits, roster, tolerances, market, hedges, self._dry_funding)
        dry_host = DryHost(dry, work.alert, weakly(self._tell_outcome), weakly(self._tell_of_dry))
        rolls = self._rolls = RollDesk(
            account_id, config, board, trades, exits, view, dry_host, work.record, work.alert
        )
        intents = self._intents = Intents(
            account_id, config, work, board, trades, roster, recalls, view, exits, orders, hedges, dry_host
        )
        self._agenda = Agenda(work.record, work.alert, intents.call)
        flights = self._flights = Flights(work, board, trades, roster, view, rolls, intents)
        self._exit_round = ExitRound(work, board, trades, roster, recalls, view, exits, rolls, dry, dry_host, intents)
        self._answers = Answers(work, flights, market, exits, hedges, intents)

    @property
    def asking(self) -> Asking:
        """Whose code runs now, to be read from outside the loop."""
        return self._roster.asking

    @property
    def slots(self) -> Mapping[str, Slot]:
        """The strategies by name, to be read only."""
        return self._slots

    @property
    def answers_for(self) -> tuple[str, ...]:
        """The strategies that are this host's to decide for: those it runs, those it could not load, and those of
        which it has open trades."""
        names = {*self._slots, *(failure.name for failure in self._roster.failures)}
        names.update(hedged_name(trade.strategy) for trade in self._trades.open_trades())
        return tuple(sorted(name for name in names if self._is_ours(name)))

    @property
    def hedges(self) -> HedgeDesk:
        """What hedges what, to be read only."""
        return self._hedges

    def start(self, now_ns: int) -> Step:
        """Report what could not be loaded, and show every strategy."""
        self._work.begin(now_ns, "")
        self._roster.start()
        self._publish_statuses()
        return self._work.step

    def handle(self, item: Any, now_ns: int) -> Step:
        cause_id = item.message_id if isinstance(item, Inbound | ReplyReceived) else ""
        self._work.begin(now_ns, item.request_id if isinstance(item, Request) else cause_id)
        match item:
            case Inbound():
                self._on_inbound(item)
            case StreamSynced(publisher="execution", epoch=epoch):
                self._on_synced(epoch)
            case Request():
                self._on_request(item)
            case ReplyReceived() | RequestTimedOut():
                self._answers.take(item)
            case JournalSpace():
                self._on_space(item)
            case StrategyReloaded(loaded=loaded):
                self._changed.add(loaded.name)
                open_trades = (*self._trades.open_trades(loaded.name), *self._dry.open_trades(loaded.name))
                self._agenda.forget(loaded.name)
                self._roster.on_reloaded(loaded, [trade.trade_id for trade in open_trades])
            case ReloadRefused(name=name, reason=reason):
                self._changed.add(name)
                self._roster.on_reload_refused(name, reason)
            case Tick() | LoopStalled() | StreamSynced():
                pass
            case _:
                self.ignored[f"unknown input {type(item).__name__}"] += 1
        self._advance()
        return self._work.step

    def apply(self, entry: Entry) -> None:
        if not self._is_ours(getattr(entry.row, "strategy", "")):
            return  # written before another host took the strategy
        if isinstance(entry.row, StrategyTaken):
            for part in (self._roster, self._recalls, self._dry, self._rolls, self._hedges):
                part.forget(entry.row.strategy)
        elif isinstance(entry.row, DryTradeMoved):
            self._dry.apply(entry.row)
        elif not any(part.apply(entry.row) for part in (self._recalls, self._market, self._rolls, self._hedges)):
            self._roster.apply(entry)

    def next_deadline_ns(self) -> int | None:
        exits_ns = self._exits.next_deadline_ns(may_close=self._board.synced_epoch is not None)
        due = [self._news.due_ns, exits_ns, self._orders.next_deadline_ns(), self._agenda.next_deadline_ns()]
        due.append(self._hedges.next_deadline_ns())
        for slot in self._slots.values():
            due.append(slot.deadline_ns)
            if slot.flight is not None:
                due.append(slot.flight.due_ns)
        return min(at for at in due if at is not None)

    def _is_ours(self, strategy: str) -> bool:
        """Whether this host decides for the strategy; "" is none, which concerns every host."""
        if not strategy:
            return True
        return self._hosts.of(strategy) == self._service and hedged_name(strategy) not in self._elsewhere

    def _on_inbound(self, item: Inbound) -> None:
        taken = True
        match item.message:
            case InstrumentList() as listed:
                self._board.on_list(listed)
            case ChainSnapshot() as snapshot:
                taken = self._board.on_chain(snapshot)
                if taken:
                    self._on_market(snapshot.underlying)
            case IndexPrice() as index:
                self._board.index_prices[index.underlying] = index
                self._on_market(index.underlying)
            case AccountSnapshot() as account:
                taken = self._board.on_account(account)
            case TradeUpdate() as trade:
                self._on_trade(trade, item.epoch)
            case OrderUpdate() as order:
                self._on_order(order)
            case ReconciliationReport() as report:
                taken = self._board.on_report(report)
            case IntentRefused() as refused:
                taken = self._board.on_refused(refused)
            case HaltState() as halts:
                taken = self._board.on_halts(halts)
                self._changed.update(self._slots)
            case Heartbeat() as beat:
                self._board.on_heartbeat(beat, self._work.now_ns)
            case other:
                self.ignored[f"{type(other).__name__} is not used"] += 1
        if not taken:
            self.ignored[f"{type(item.message).__name__} of another account or not readable"] += 1

    def _on_synced(self, epoch: int) -> None:
        """Execution has told of all its trades: only now is it known what is open."""
        self._board.synced_epoch = epoch
        self._changed.update(self._slots)
        for trade in self._trades.keep_only(epoch):
            text = f"execution no longer knows trade {trade.trade_id} of {trade.strategy}: it is not counted as open"
            self._work.alert("trade_vanished", "critical", trade.trade_id, text)

    def _on_trade(self, trade: TradeUpdate, epoch: int) -> None:
        if not self._is_ours(trade.strategy):
            return
        if not self._trades.apply(trade, epoch):
            self.ignored["TradeUpdate of another account or out of date"] += 1
            return
        self._changed.add(trade.strategy)
        self._recalls.on_trade(trade)
        self._rolls.on_trade(trade)
        self._work.send(*self._hedges.on_trade(trade, self._work.now_ns))
        slot = self._roster.trading_as(trade.strategy)
        if slot is None:
            return
        self._changed.add(slot.name)
        if trade.ordinal > slot.memory.ordinal_used:
            self._work.record(OrdinalUsed(strategy=slot.name, ordinal=trade.ordinal))
        heed_close(slot, trade, self._work.record)
        self._work.send(*self._flights.on_trade(slot, trade))
        self._intents.ask(slot, lambda strategy, desk: strategy.on_trade(trade, desk, self._work.now_ns))
        self._roster.closings.on_trade(slot, trade)

    def _on_order(self, order: OrderUpdate) -> None:
        trade = self._trades.open_trade(order.trade_id)
        slot = None if trade is None else self._roster.trading_as(trade.strategy)
        if slot is not None and not slot.looks_by_timer_alone:
            self._intents.ask(slot, lambda strategy, desk: strategy.on_order(order, desk, self._work.now_ns))

    def _on_space(self, space: JournalSpace) -> None:
        """Nothing is opened on a full disk. Where rows are missing a pause may be among them: all are paused."""
        self._work.send(*space_alerts(self._view.space, space, self._service))
        self._view.space = space
        self._changed.update(self._slots)
        if space.unwritten:
            for slot in self._slots.values():
                if slot.memory.told in RUNS or slot.memory.has_run_once:
                    self._work.record(StrategyTold(strategy=slot.name, action="pause", requested_by="journal"))

    def _on_request(self, request: Request) -> None:
        match request.message:
            case ListStrategies():
                answer: Message = StrategyList(strategies=tuple(self._view.statuses(self._work.now_ns)))
            case ListDryTrades(strategy=strategy):
                answer = DryTradeList(trades=self._dry.trades(strategy))
            case StrategyCommand() as order:
                answer = command(order, self._slots, self._work.record, self._roster.revive)
                self._changed.update(answer.strategies if isinstance(answer, StrategyCommandDone) else ())
            case SteerHedge():
                answer = self._hedges.steer(request.message)
            case RollTrade():
                answer = self._rolls.want(request.message, self._slots, self._work.now_ns)
            case other:
                answer = unknown_request(self._service, other)
        self._work.send(Reply(request.request_id, answer))

    def _advance(self) -> None:
        """Everything that time alone may bring about. Cheap when nothing is due."""
        now_ns, effects = self._work.now_ns, self._work.step.effects
        self._changed.update(hedged_name(trade.strategy) for trade in self._dry_funding.charge(now_ns))
        self._rolls.end_unloaded(self._slots)
        for slot in self._slots.values():
            # first: a roll that was begun before a restart comes before any other intent
            effects += self._rolls.advance(slot, now_ns)
            if slot.loaded.actions and self._agenda.look(slot, now_ns):
                self._changed.add(slot.name)
            if slot.flight is not None and slot.flight.due_ns is not None and now_ns >= slot.flight.due_ns:
                effects += self._flights.on_due(slot, slot.flight)
            if slot.deadline_ns is not None and now_ns >= slot.deadline_ns:
                self._intents.wake(slot)
        if self._board.synced_epoch is not None:
            hedged = [slot for slot in self._slots.values() if slot.loaded.delta_hedge is not None]
            effects += self._hedges.advance(hedged, self._view.hedge_closed, now_ns)
        self._exit_round.look()
        if self._board.synced_epoch is not None:
            effects += self._orders.stops_due(self._trades.open_trades(), self._view.quoting_state, now_ns)
        if any(isinstance(effect, SendRequest) for effect in effects):
            # what was asked for leaves first: to judge and show every gate takes longer than to decide
            self._news.put_off(now_ns)
        elif self._news.is_due(now_ns):
            self._publish_statuses()
        effects += self._market.look(self._view.needs, self._board.chains, now_ns)

    def _tell_of_dry(self, slot: Slot, trade: TradeUpdate) -> None:
        self._changed.add(slot.name)
        self._recalls.on_trade(trade)
        self._rolls.on_trade(trade)
        self._intents.ask(slot, lambda strategy, desk: strategy.on_trade(trade, desk, self._work.now_ns))
        if trade.is_final:
            self._intents.report_failure(slot, slot.tell_closed(trade))

    def _on_market(self, underlying: str) -> None:
        now_ns = self._work.now_ns
        for slot in self._slots.values():
            if not slot.looks_by_timer_alone:
                self._intents.ask(slot, lambda strategy, desk: strategy.on_market(underlying, desk, now_ns))

    def _tell_outcome(self, slot: Slot, outcome: IntentOutcome) -> None:
        self._intents.tell_outcome(slot, outcome)

    def _publish_statuses(self) -> None:
        now_ns = self._work.now_ns
        self._work.step.effects += self._news.publish(
            lambda: self._view.statuses(now_ns),
            lambda names: self._view.statuses_of(names, now_ns),
            now_ns,
            self._work.cause_id,
        )
