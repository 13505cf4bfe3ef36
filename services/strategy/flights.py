"""The strategies' intents on their way: carried on with until each has its outcome, which its strategy is told."""

from __future__ import annotations

from services.strategy.answers import Answer
from services.strategy.board import Board
from services.strategy.flight import Ended, Flight
from services.strategy.host_view import HostView
from services.strategy.intents import Intents
from services.strategy.rolls import RollDesk
from services.strategy.roster import Roster
from services.strategy.rows import OrdinalLeft, OrdinalUsed
from services.strategy.slot import Slot
from services.strategy.trades import TradeBook
from services.strategy.workspace import Workspace
from shared.messages.control import GrantGiven
from shared.messages.steps import ReplyReceived, SendRequest
from shared.messages.trades import TradeUpdate
from shared.strategy.protocol import IntentOutcome


class Flights:
    """At most one of each strategy, in its slot."""

    def __init__(
        self,
        work: Workspace,
        board: Board,
        trades: TradeBook,
        roster: Roster,
        view: HostView,
        rolls: RollDesk,
        intents: Intents,
    ) -> None:
        self._work = work
        self._board = board
        self._trades = trades
        self._slots = roster.slots
        self._view = view
        self._rolls = rolls
        self._intents = intents

    def on_trade(self, slot: Slot, trade: TradeUpdate) -> list[SendRequest]:
        """An event of a trade of its strategy may be the outcome."""
        return [] if slot.flight is None else self._carry_on(slot, slot.flight.on_trade(trade))

    def on_due(self, slot: Slot, flight: Flight) -> list[SendRequest]:
        """`due_ns` of a flight has come."""
        self._work.changed.add(slot.name)
        return self._carry_on(slot, flight.on_due(self._work.now_ns))

    def on_answer(self, answer: Answer, now_ns: int) -> list[SendRequest] | None:
        """See `Asker`."""
        for slot in self._slots.values():
            if slot.flight is not None and slot.flight.owns(answer.request_id):
                self._work.changed.add(slot.name)
                if isinstance(answer, ReplyReceived):
                    return self._on_reply(slot, slot.flight, answer)
                slot.flight.on_timeout(now_ns)
                return []
        return None

    def _on_reply(self, slot: Slot, flight: Flight, reply: ReplyReceived) -> list[SendRequest]:
        """Before execution was asked, an intent is dropped when the strategy was stopped or the desk was halted."""
        gates = dict(self._view.gates(slot, self._work.now_ns))
        stopped = gates["state"] or gates["halts"]
        if flight.stage == "granting" and stopped is not None:
            slot.flight = None
            if isinstance(reply.message, GrantGiven):
                self._work.record(OrdinalLeft(strategy=slot.name, ordinal=flight.ordinal))
            self._intents.tell_outcome(slot, IntentOutcome(kind="refused", code="entry_closed", reason=stopped))
            return []
        return self._carry_on(slot, flight.on_reply(reply, self._work.now_ns))

    def _carry_on(self, slot: Slot, progress: SendRequest | Ended | None) -> list[SendRequest]:
        if progress is None:
            return []
        if isinstance(progress, SendRequest):
            return [progress]
        flight, slot.flight = slot.flight, None
        if progress.ordinal_used is not None and progress.ordinal_used > slot.memory.ordinal_used:
            row = OrdinalUsed if progress.is_decided else OrdinalLeft
            self._work.record(row(strategy=slot.name, ordinal=progress.ordinal_used))
        if progress.outcome.kind == "opened":
            slot.signals_executed += 1
        if progress.trade is not None and self._board.synced_epoch is not None:
            self._trades.apply(progress.trade, self._board.synced_epoch)
        if flight is not None:
            self._rolls.on_ended(slot, flight, progress, self._work.now_ns)
        self._intents.tell_outcome(slot, progress.outcome)
        return []
