"""A strategy host's decisions: when to ask for a grant, to open and to close."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from services.strategy.agenda import Agenda
from services.strategy.asking import Asking
from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.control import command, heed_close
from services.strategy.dry_funding import DryFunding
from services.strategy.dry_host import DryHost
from services.strategy.dry_run import DryDesk, is_dry
from services.strategy.exits import ExitDesk, is_held
from services.strategy.flight import Ended, Flight
from services.strategy.gates import without_reasons
from services.strategy.hedging import HedgeDesk
from services.strategy.host_view import HostView
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.market_desk import MarketDesk
from services.strategy.quoting import OrderDesk, is_quoting
from services.strategy.recalls import Recalls
from services.strategy.reloads import ReloadRefused, StrategyReloaded
from services.strategy.rolls import RollDesk
from services.strategy.roster import Roster
from services.strategy.rows import RUNS, DryTradeMoved, OrdinalUsed, Row, StrategyTaken, StrategyTold
from services.strategy.slot import Slot
from services.strategy.status_news import StatusNews
from services.strategy.trades import TradeBook
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
    RaiseAlert,
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
from shared.strategy.actions import ScheduledAction
from shared.strategy.protocol import (
    CloseStructure,
    Intent,
    IntentOutcome,
    OpenStructure,
    ReduceStructure,
    Strategy,
    WorkOrders,
)
from shared.strategy.views import DeskView, Tolerances
from shared.strategy_hosts import DEFAULT_HOST, StrategyHosts
from shared.weakly import weakly

MS = 1_000_000
_TIMER_GAP_NS = 10 * MS
"""Least time between two timers of one strategy, so that one whose deadline does not move is not called for ever."""


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
        self._config = config
        self._account_id = account_id
        self._service = service
        self._hosts = hosts
        self._elsewhere = frozenset(elsewhere)
        record, alert = weakly(self._record), weakly(self._alert)
        self._roster = Roster(config, strategies, failures, record, alert)
        self._slots = self._roster.slots
        self._board = Board(account_id, config.service_silence_max_ms * MS)
        self._trades = TradeBook(account_id, config.day_boundary_minute)
        self._exits = ExitDesk(config)
        self._orders = OrderDesk(config)
        tolerances = Tolerances(
            market_ns=config.market_tolerance_ms * MS, account_ns=config.account_tolerance_ms * MS
        )
        self._recalls = Recalls(record)
        self._agenda = Agenda(record, alert, weakly(self._call))
        self._dry = DryDesk(account_id, config, self._board, record)
        self._dry_funding = DryFunding(config, self._board, self._dry)
        self._market = MarketDesk(config, tolerances, record)
        self._hedges = HedgeDesk(
            account_id, config, self._board, self._trades, self._roster, record, self._exits, self._dry
        )
        self._view = HostView(
            self._board,
            self._trades,
            self._dry,
            self._exits,
            self._roster,
            tolerances,
            self._market,
            self._hedges,
            self._dry_funding,
        )
        self._dry_host = DryHost(self._dry, alert, weakly(self._tell_outcome), weakly(self._tell_of_dry))
        self._rolls = RollDesk(
            account_id,
            config,
            self._board,
            self._trades,
            self._exits,
            self._view,
            self._dry_host,
            record,
            alert,
        )
        self._step = Step()
        self._now_ns = 0
        self._cause_id = ""
        self._news = StatusNews(config.status_interval_ms * MS)
        self._changed = self._news.changed
        self.ignored: Counter[str] = Counter()

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
        self._begin(now_ns, "")
        self._roster.start()
        self._publish_statuses()
        return self._step

    def handle(self, item: Any, now_ns: int) -> Step:
        cause_id = item.message_id if isinstance(item, Inbound | ReplyReceived) else ""
        self._begin(now_ns, item.request_id if isinstance(item, Request) else cause_id)
        match item:
            case Inbound():
                self._on_inbound(item)
            case StreamSynced(publisher="execution", epoch=epoch):
                self._on_synced(epoch)
            case Request():
                self._on_request(item)
            case ReplyReceived():
                self._on_reply(item)
            case RequestTimedOut(request_id=request_id):
                self._on_timeout(request_id)
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
        return self._step

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

    def _begin(self, now_ns: int, cause_id: str) -> None:
        self._now_ns = max(now_ns, self._now_ns)
        self._cause_id = cause_id
        self._step = Step()

    def _record(self, row: Row) -> None:
        entry = Entry(self._now_ns, self._cause_id, row)
        self.apply(entry)
        self._step.rows.append(entry)

    def _alert(self, code: str, severity: str, subject: str, text: str, *, resolved: bool = False) -> None:
        self._step.effects.append(
            RaiseAlert(code=code, severity=severity, subject=subject, text=text, resolved=resolved)
        )

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
                self._board.on_heartbeat(beat, self._now_ns)
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
            self._alert("trade_vanished", "critical", trade.trade_id, text)

    def _on_trade(self, trade: TradeUpdate, epoch: int) -> None:
        if not self._is_ours(trade.strategy):
            return
        if not self._trades.apply(trade, epoch):
            self.ignored["TradeUpdate of another account or out of date"] += 1
            return
        self._changed.add(trade.strategy)
        self._recalls.on_trade(trade)
        self._rolls.on_trade(trade)
        self._step.effects += self._hedges.on_trade(trade, self._now_ns)
        slot = self._roster.trading_as(trade.strategy)
        if slot is None:
            return
        self._changed.add(slot.name)
        if trade.ordinal > slot.memory.ordinal_used:
            self._record(OrdinalUsed(strategy=slot.name, ordinal=trade.ordinal))
        heed_close(slot, trade, self._record)
        if slot.flight is not None:
            self._fly(slot, slot.flight.on_trade(trade))
        self._ask(slot, lambda strategy, desk: strategy.on_trade(trade, desk, self._now_ns))
        self._roster.closings.on_trade(slot, trade)

    def _on_order(self, order: OrderUpdate) -> None:
        trade = self._trades.open_trade(order.trade_id)
        slot = None if trade is None else self._roster.trading_as(trade.strategy)
        if slot is not None and not slot.looks_by_timer_alone:
            self._ask(slot, lambda strategy, desk: strategy.on_order(order, desk, self._now_ns))

    def _on_space(self, space: JournalSpace) -> None:
        """Nothing is opened on a full disk. Where rows are missing a pause may be among them: all are paused."""
        self._step.effects += space_alerts(self._view.space, space, self._service)
        self._view.space = space
        self._changed.update(self._slots)
        if space.unwritten:
            for slot in self._slots.values():
                if slot.memory.told in RUNS or slot.memory.has_run_once:
                    self._record(StrategyTold(strategy=slot.name, action="pause", requested_by="journal"))

    def _on_request(self, request: Request) -> None:
        match request.message:
            case ListStrategies():
                answer: Message = StrategyList(strategies=tuple(self._view.statuses(self._now_ns)))
            case ListDryTrades(strategy=strategy):
                answer = DryTradeList(trades=self._dry.trades(strategy))
            case StrategyCommand() as order:
                answer = command(order, self._slots, self._record, self._roster.revive)
                self._changed.update(answer.strategies if isinstance(answer, StrategyCommandDone) else ())
            case SteerHedge():
                answer = self._hedges.steer(request.message)
            case RollTrade():
                answer = self._rolls.want(request.message, self._slots, self._now_ns)
            case other:
                answer = unknown_request(self._service, other)
        self._step.effects.append(Reply(request.request_id, answer))

    def _on_reply(self, reply: ReplyReceived) -> None:
        for slot in self._slots.values():
            if slot.flight is not None and slot.flight.owns(reply.request_id):
                self._changed.add(slot.name)
                self._on_flight_reply(slot, slot.flight, reply)
                return
        taken = self._market.on_reply(reply) or self._exits.on_reply(reply, self._now_ns)
        if self._hedges.owns(reply.request_id):
            self._step.effects += self._hedges.on_answer(reply, self._now_ns)
        elif not taken and not self._on_orders_answered(reply):
            self.ignored["answer to a question that is settled"] += 1

    def _on_flight_reply(self, slot: Slot, flight: Flight, reply: ReplyReceived) -> None:
        """Before execution was asked, an intent is dropped when the strategy was stopped or the desk was halted."""
        gates = dict(self._view.gates(slot, self._now_ns))
        stopped = gates["state"] or gates["halts"]
        if flight.stage == "granting" and stopped is not None:
            slot.flight = None
            self._tell_outcome(slot, IntentOutcome(kind="refused", code="entry_closed", reason=stopped))
            return
        self._fly(slot, flight.on_reply(reply, self._now_ns))

    def _on_timeout(self, request_id: str) -> None:
        for slot in self._slots.values():
            if slot.flight is not None and slot.flight.owns(request_id):
                self._changed.add(slot.name)
                slot.flight.on_timeout(self._now_ns)
                return
        timed_out = RequestTimedOut(request_id)
        taken = self._market.on_timeout(timed_out) or self._exits.on_timeout(request_id, self._now_ns)
        if self._hedges.owns(request_id):
            self._step.effects += self._hedges.on_answer(timed_out, self._now_ns)
        elif not taken and not self._on_orders_answered(timed_out):
            self.ignored["time-out of a question that is settled"] += 1

    def _on_orders_answered(self, answer: ReplyReceived | RequestTimedOut) -> bool:
        """Tell a quoting strategy what was refused of its orders. False if this is no answer to one."""
        answered = self._orders.on_answer(answer)
        if answered is None:
            return False
        slot = self._slots.get(answered[0])
        if slot is not None:
            for outcome in answered[1]:
                self._changed.add(slot.name)
                self._report_failure(slot, slot.tell_orders(outcome, self._now_ns))
        return True

    def _advance(self) -> None:
        """Everything that time alone may bring about. Cheap when nothing is due."""
        now_ns = self._now_ns
        self._changed.update(hedged_name(trade.strategy) for trade in self._dry_funding.charge(now_ns))
        self._rolls.end_unloaded(self._slots)
        for slot in self._slots.values():
            # first: a roll that was begun before a restart comes before any other intent
            self._step.effects += self._rolls.advance(slot, now_ns)
            if slot.loaded.actions and self._agenda.look(slot, now_ns):
                self._changed.add(slot.name)
            if slot.flight is not None and slot.flight.due_ns is not None and now_ns >= slot.flight.due_ns:
                self._changed.add(slot.name)
                self._fly(slot, slot.flight.on_due(now_ns))
            if slot.deadline_ns is not None and now_ns >= slot.deadline_ns:
                shown = without_reasons(slot.shown_gates)
                self._ask(slot, lambda strategy, desk: strategy.on_timer(desk, now_ns))
                if without_reasons(slot.shown_gates) != shown:
                    self._changed.add(slot.name)
                if slot.deadline_ns is not None:
                    slot.deadline_ns = max(slot.deadline_ns, now_ns + _TIMER_GAP_NS)
        if self._board.synced_epoch is not None:
            hedged = [slot for slot in self._slots.values() if slot.loaded.delta_hedge is not None]
            self._step.effects += self._hedges.advance(hedged, self._view.hedge_closed, now_ns)
        self._look_at_exits()
        if self._board.synced_epoch is not None:
            self._step.effects += self._orders.stops_due(self._trades.open_trades(), self._state_of, now_ns)
        if any(isinstance(effect, SendRequest) for effect in self._step.effects):
            # what was asked for leaves first: to judge and show every gate takes longer than to decide
            self._news.put_off(now_ns)
        elif self._news.is_due(now_ns):
            self._publish_statuses()
        self._step.effects += self._market.look(self._view.needs, self._board.chains, now_ns)

    def _look_at_exits(self) -> None:
        closable = {
            trade.trade_id: trade for trade in self._trades.open_trades() if is_held(trade) or is_quoting(trade)
        }
        for trade in self._dry.open_trades():
            closable[trade.trade_id] = trade
            if ends := self._dry.must_end(trade, self._now_ns):
                self._exits.want_closed(trade.trade_id, ends, self._now_ns)
        self._step.effects += self._exits.keep_only(set(closable))
        for trade in closable.values():
            slot = self._slots.get(trade.strategy)
            if slot is not None and trade.created_ns <= slot.memory.close_made_before_ns:
                self._exits.want_closed(trade.trade_id, slot.memory.close_reason, self._now_ns)
            elif slot is not None and (wait := slot.exits_wait(self._now_ns)) is not None:
                self._exits.put_off(trade, wait, self._now_ns)
                continue
            if not self._exits.is_due(trade.trade_id, self._now_ns) and (slot is None or slot.loaded.roll is None):
                continue
            healthy = slot is not None and slot.failure is None
            recall = self._recalls.of(trade.strategy, trade.trade_id)
            view = self._view.exit(trade, recall)
            functions = slot.exit_functions(trade.trade_id) if slot is not None and healthy else {}
            asks = functions or (slot is not None and healthy and slot.loaded.roll_functions)
            with self.asking.of(trade.strategy if asks else ""):
                self._step.effects += self._exits.look(view, functions, self._now_ns, self._failing(slot))
                if slot is not None and healthy:
                    self._step.effects += self._rolls.look(slot, view, self._now_ns, self._failing(slot))
            self._recalls.keep(recall, trade.strategy, trade.trade_id)
        if self._board.synced_epoch is not None:
            for request, close in self._exits.closes_due(closable, self._now_ns):
                if not is_dry(close.trade_id):
                    self._step.effects.append(request)
                    continue
                trade = closable[close.trade_id]
                slot = self._slots.get(trade.strategy)
                if self._dry_host.close(slot, trade, close.reason, self._now_ns) is None:
                    self._exits.on_timeout(request.request_id, self._now_ns)

    def _tell_of_dry(self, slot: Slot, trade: TradeUpdate) -> None:
        self._changed.add(slot.name)
        self._recalls.on_trade(trade)
        self._rolls.on_trade(trade)
        self._ask(slot, lambda strategy, desk: strategy.on_trade(trade, desk, self._now_ns))
        if trade.is_final:
            self._report_failure(slot, slot.tell_closed(trade))

    def _failing(self, slot: Slot | None) -> Callable[[Exception], None]:
        def failed(error: Exception) -> None:
            assert slot is not None, "only a loaded strategy has functions that can fail"
            self._report_failure(slot, slot.fail(error))

        return failed

    def _on_market(self, underlying: str) -> None:
        for slot in self._slots.values():
            if not slot.looks_by_timer_alone:
                self._ask(slot, lambda strategy, desk: strategy.on_market(underlying, desk, self._now_ns))

    def _ask(self, slot: Slot, question: Callable[[Strategy, DeskView], Sequence[Intent]]) -> None:
        recall = self._recalls.of(slot.name)
        desk = self._view.desk(slot, recall, self._now_ns)
        intents, failure = slot.ask(lambda strategy: question(strategy, desk))
        self._recalls.keep(recall, slot.name)
        self._report_failure(slot, failure)
        self._step.effects += self._hedges.told_of_account(slot.name, slot.alarm)
        for intent in intents:
            if isinstance(intent, CloseStructure):
                self._close(slot, intent)
            elif isinstance(intent, ReduceStructure):
                self._reduce(slot, intent)
            elif isinstance(intent, WorkOrders):
                self._work_orders(slot, intent)
            else:
                self._open(slot, intent)

    def _call(self, slot: Slot, action: ScheduledAction) -> None:
        """Call a function of a strategy by its schedule."""
        recall = self._recalls.of(slot.name)
        function, desk = action.function, self._view.desk(slot, recall, self._now_ns)
        if function is not None:
            failure = slot.ask(lambda _: function(desk, self._now_ns) or ())[1]
            self._recalls.keep(recall, slot.name)
            self._report_failure(slot, failure)

    def _report_failure(self, slot: Slot, failure: str | None) -> None:
        if failure is not None:
            self._changed.add(slot.name)
            self._roster.report(slot, failure)

    def _close(self, slot: Slot, intent: CloseStructure) -> None:
        if all(trade.trade_id != intent.trade_id for trade in self._view.open_trades(slot)):
            self.ignored["close of a trade that is not this strategy's or not open"] += 1
            return
        self._exits.want_closed(intent.trade_id, intent.reason, self._now_ns)

    def _reduce(self, slot: Slot, intent: ReduceStructure) -> None:
        trade = next((each for each in self._view.open_trades(slot) if each.trade_id == intent.trade_id), None)
        if trade is None or is_dry(trade.trade_id) or self._board.synced_epoch is None:
            self.ignored["reduction of a trade that is not this strategy's or not open"] += 1
            return
        self._step.effects += self._hedges.take_back(trade, intent.keep, intent.reason, self._now_ns)

    def _work_orders(self, slot: Slot, intent: WorkOrders) -> None:
        """Pass orders on; a strategy that does not run places and moves none, and may cancel."""
        trade = self._trades.open_trade(intent.trade_id)
        if trade is None or trade.strategy != slot.trades_as:
            self.ignored["orders of a trade that is not this strategy's or not open"] += 1
            return
        unready = self._board.execution(self._now_ns)
        if unready is not None:
            # what is replayed may be answered as if it were new
            outcome = IntentOutcome(kind="refused", code="not_ready", reason=unready, trade_id=intent.trade_id)
            self._report_failure(slot, slot.tell_orders(outcome, self._now_ns))
            return
        if self._state_of(slot.name) != "running":
            intent = WorkOrders(trade_id=intent.trade_id, cancel=intent.cancel)
        if intent.place or intent.amend or intent.cancel:
            self._step.effects.append(self._orders.send(slot.name, intent, self._now_ns))

    def _state_of(self, strategy: str) -> str:
        """Whether a strategy moves the orders that it quotes, and why not."""
        slot = self._slots.get(strategy)
        state = "not loaded" if slot is None else slot.state(self._trades.open_count(strategy))
        return "running" if state == "paused" and slot is not None and slot.memory.has_run_once else state

    def _open(self, slot: Slot, intent: OpenStructure) -> None:
        """Put an intent on its way, if nothing stands against it now."""
        slot.signals_generated += 1
        self._changed.add(slot.name)
        closed = self._view.entry_closed(slot, self._now_ns)
        if closed is not None:
            self._tell_outcome(slot, IntentOutcome(kind="refused", code="entry_closed", reason=closed))
            return
        if intent.dry_run:
            self._dry_host.open(slot, intent, self._now_ns)
            return
        slot.flight = Flight(
            intent,
            strategy=slot.trades_as,
            ordinal=self._view.history(slot, self._now_ns).next_ordinal,
            account_id=self._account_id,
            config=self._config,
            now_ns=self._now_ns,
            decision_prices=tuple(self._board.mid(leg.symbol) for leg in intent.legs),
            entry_reasons=tuple(f"{gate.name}: {gate.reason}" for gate in slot.shown_gates if gate.open),
        )
        self._step.effects.append(slot.flight.start())

    def _fly(self, slot: Slot, progress: SendRequest | Ended | None) -> None:
        """Carry on with an intent in flight."""
        if progress is None:
            return
        if isinstance(progress, SendRequest):
            self._step.effects.append(progress)
            return
        flight, slot.flight = slot.flight, None
        if progress.ordinal_used is not None and progress.ordinal_used > slot.memory.ordinal_used:
            self._record(OrdinalUsed(strategy=slot.name, ordinal=progress.ordinal_used))
        if progress.outcome.kind == "opened":
            slot.signals_executed += 1
        if progress.trade is not None and self._board.synced_epoch is not None:
            self._trades.apply(progress.trade, self._board.synced_epoch)
        if flight is not None:
            self._rolls.on_ended(slot, flight, progress, self._now_ns)
        self._tell_outcome(slot, progress.outcome)

    def _tell_outcome(self, slot: Slot, outcome: IntentOutcome) -> None:
        self._changed.add(slot.name)
        self._report_failure(slot, slot.tell_outcome(outcome, self._now_ns))

    def _publish_statuses(self) -> None:
        self._step.effects += self._news.publish(
            lambda: self._view.statuses(self._now_ns),
            lambda names: self._view.statuses_of(names, self._now_ns),
            self._now_ns,
            self._cause_id,
        )
