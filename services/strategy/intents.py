"""What strategies want: each is asked, and what it says put on its way: openings, closes, reductions, orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from services.strategy.answers import Answer
from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.dry_host import DryHost
from services.strategy.dry_run import is_dry
from services.strategy.exits import ExitDesk
from services.strategy.flight import Flight
from services.strategy.gates import without_reasons
from services.strategy.hedging import HedgeDesk
from services.strategy.host_view import HostView
from services.strategy.quoting import OrderDesk
from services.strategy.recalls import Recalls
from services.strategy.roster import Roster
from services.strategy.slot import Slot
from services.strategy.trades import TradeBook
from services.strategy.workspace import Workspace
from shared.messages.steps import SendRequest
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
from shared.strategy.views import DeskView

_TIMER_GAP_NS = 10_000_000
"""Least time between two timers of one strategy, so that one whose deadline does not move is not called for ever."""


class Intents:
    """Asks strategies, and tells them what became of what they wanted. One that raises is stopped, and no other."""

    def __init__(
        self,
        account_id: str,
        config: StrategyHostConfig,
        work: Workspace,
        board: Board,
        trades: TradeBook,
        roster: Roster,
        recalls: Recalls,
        view: HostView,
        exits: ExitDesk,
        orders: OrderDesk,
        hedges: HedgeDesk,
        dry: DryHost,
    ) -> None:
        self._account_id = account_id
        self._config = config
        self._work = work
        self._board = board
        self._trades = trades
        self._roster = roster
        self._recalls = recalls
        self._view = view
        self._exits = exits
        self._orders = orders
        self._hedges = hedges
        self._dry = dry

    def ask(self, slot: Slot, question: Callable[[Strategy, DeskView], Sequence[Intent]]) -> None:
        """Put a question to a strategy and do what it wants."""
        recall = self._recalls.of(slot.name)
        desk = self._view.desk(slot, recall, self._work.now_ns)
        intents, failure = slot.ask(lambda strategy: question(strategy, desk))
        self._recalls.keep(recall, slot.name)
        self.report_failure(slot, failure)
        self._work.send(*self._hedges.told_of_account(slot.name, slot.alarm))
        for intent in intents:
            if isinstance(intent, CloseStructure):
                self._close(slot, intent)
            elif isinstance(intent, ReduceStructure):
                self._reduce(slot, intent)
            elif isinstance(intent, WorkOrders):
                self._work_orders(slot, intent)
            else:
                self._open(slot, intent)

    def wake(self, slot: Slot) -> None:
        """The time has come at which a strategy wanted to be asked again."""
        now_ns, shown = self._work.now_ns, without_reasons(slot.shown_gates)
        self.ask(slot, lambda strategy, desk: strategy.on_timer(desk, now_ns))
        if without_reasons(slot.shown_gates) != shown:
            self._work.changed.add(slot.name)
        if slot.deadline_ns is not None:
            slot.deadline_ns = max(slot.deadline_ns, now_ns + _TIMER_GAP_NS)

    def call(self, slot: Slot, action: ScheduledAction) -> None:
        """Call a function of a strategy by its schedule."""
        recall, now_ns = self._recalls.of(slot.name), self._work.now_ns
        function, desk = action.function, self._view.desk(slot, recall, now_ns)
        if function is not None:

            def called(_: Strategy) -> Sequence[Intent]:
                function(desk, now_ns)
                return ()

            failure = slot.ask(called)[1]
            self._recalls.keep(recall, slot.name)
            self.report_failure(slot, failure)

    def tell_outcome(self, slot: Slot, outcome: IntentOutcome) -> None:
        """Tell a strategy what became of its last opening."""
        self._work.changed.add(slot.name)
        self.report_failure(slot, slot.tell_outcome(outcome, self._work.now_ns))

    def report_failure(self, slot: Slot, failure: str | None) -> None:
        """Tell a person how a strategy failed; None when it did not."""
        if failure is not None:
            self._work.changed.add(slot.name)
            self._roster.report(slot, failure)

    def on_answer(self, answer: Answer, now_ns: int) -> Sequence[SendRequest] | None:
        """See `Asker`: a quoting strategy is told what was refused of its orders."""
        answered = self._orders.on_answer(answer)
        if answered is None:
            return None
        slot = self._roster.slots.get(answered[0])
        if slot is not None:
            for outcome in answered[1]:
                self._work.changed.add(slot.name)
                self.report_failure(slot, slot.tell_orders(outcome, now_ns))
        return ()

    def _close(self, slot: Slot, intent: CloseStructure) -> None:
        if all(trade.trade_id != intent.trade_id for trade in self._view.open_trades(slot)):
            self._work.ignored["close of a trade that is not this strategy's or not open"] += 1
            return
        self._exits.want_closed(intent.trade_id, intent.reason, self._work.now_ns)

    def _reduce(self, slot: Slot, intent: ReduceStructure) -> None:
        trade = next((each for each in self._view.open_trades(slot) if each.trade_id == intent.trade_id), None)
        if trade is None or is_dry(trade.trade_id) or self._board.synced_epoch is None:
            self._work.ignored["reduction of a trade that is not this strategy's or not open"] += 1
            return
        self._work.send(*self._hedges.take_back(trade, intent.keep, intent.reason, self._work.now_ns))

    def _work_orders(self, slot: Slot, intent: WorkOrders) -> None:
        """Pass orders on; a strategy that does not run places and moves none, and may cancel."""
        trade, now_ns = self._trades.open_trade(intent.trade_id), self._work.now_ns
        if trade is None or trade.strategy != slot.trades_as:
            self._work.ignored["orders of a trade that is not this strategy's or not open"] += 1
            return
        unready = self._board.execution(now_ns)
        if unready is not None:
            # what is replayed may be answered as if it were new
            outcome = IntentOutcome(kind="refused", code="not_ready", reason=unready, trade_id=intent.trade_id)
            self.report_failure(slot, slot.tell_orders(outcome, now_ns))
            return
        if self._view.quoting_state(slot.name) != "running":
            intent = replace(intent, place=(), amend=())
        if intent.place or intent.amend or intent.cancel or intent.cancel_all or intent.cancel_symbols:
            self._work.send(self._orders.send(slot.name, intent, now_ns))

    def _open(self, slot: Slot, intent: OpenStructure) -> None:
        """Put an intent on its way, if nothing stands against it now."""
        now_ns = self._work.now_ns
        slot.signals_generated += 1
        self._work.changed.add(slot.name)
        closed = self._view.entry_closed(slot, now_ns)
        if closed is not None:
            self.tell_outcome(slot, IntentOutcome(kind="refused", code="entry_closed", reason=closed))
            return
        if intent.dry_run:
            self._dry.open(slot, intent, now_ns)
            return
        slot.flight = Flight(
            intent,
            strategy=slot.trades_as,
            ordinal=self._view.history(slot, now_ns).next_ordinal,
            account_id=self._account_id,
            config=self._config,
            now_ns=now_ns,
            decision_prices=tuple(self._board.mid(leg.symbol) for leg in intent.legs),
            entry_reasons=tuple(f"{gate.name}: {gate.reason}" for gate in slot.shown_gates if gate.open),
        )
        self._work.send(slot.flight.start())
