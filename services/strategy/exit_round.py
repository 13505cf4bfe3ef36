"""One round over the open trades: each is judged by its exits and its roll, and what is to end is closed."""

from __future__ import annotations

from collections.abc import Callable

from services.strategy.board import Board
from services.strategy.dry_host import DryHost
from services.strategy.dry_run import DryDesk, is_dry
from services.strategy.exits import ExitDesk, is_held
from services.strategy.host_view import HostView
from services.strategy.intents import Intents
from services.strategy.quoting import is_quoting
from services.strategy.recalls import Recalls
from services.strategy.rolls import RollDesk
from services.strategy.roster import Roster
from services.strategy.slot import Slot
from services.strategy.trades import TradeBook
from services.strategy.workspace import Workspace
from shared.messages.steps import RequestTimedOut
from shared.messages.trades import TradeUpdate


class ExitRound:
    """Of all trades whose host this is, those of strategies that are not loaded and of dry runs among them."""

    def __init__(
        self,
        work: Workspace,
        board: Board,
        trades: TradeBook,
        roster: Roster,
        recalls: Recalls,
        view: HostView,
        exits: ExitDesk,
        rolls: RollDesk,
        dry: DryDesk,
        dry_host: DryHost,
        intents: Intents,
    ) -> None:
        self._work = work
        self._board = board
        self._trades = trades
        self._roster = roster
        self._recalls = recalls
        self._view = view
        self._exits = exits
        self._rolls = rolls
        self._dry = dry
        self._dry_host = dry_host
        self._intents = intents

    def look(self) -> None:
        """Judge what is due now, and send the closes that are."""
        now_ns = self._work.now_ns
        closable = {
            trade.trade_id: trade for trade in self._trades.open_trades() if is_held(trade) or is_quoting(trade)
        }
        for trade in self._dry.open_trades():
            closable[trade.trade_id] = trade
            if ends := self._dry.must_end(trade, now_ns):
                self._exits.want_closed(trade.trade_id, ends, now_ns)
        self._work.send(*self._exits.keep_only(set(closable)))
        for trade in closable.values():
            self._judge(trade, now_ns)
        if self._board.synced_epoch is not None:
            self._close(closable, now_ns)

    def _judge(self, trade: TradeUpdate, now_ns: int) -> None:
        slot = self._roster.slots.get(trade.strategy)
        if slot is not None and trade.created_ns <= slot.memory.close_made_before_ns:
            self._exits.want_closed(trade.trade_id, slot.memory.close_reason, now_ns)
        elif slot is not None and (wait := slot.exits_wait(now_ns)) is not None:
            self._exits.put_off(trade, wait, now_ns)
            return
        if not self._exits.is_due(trade.trade_id, now_ns) and (slot is None or slot.loaded.roll is None):
            return
        healthy = slot is not None and slot.failure is None
        recall = self._recalls.of(trade.strategy, trade.trade_id)
        view = self._view.exit(trade, recall)
        functions = slot.exit_functions(trade.trade_id) if slot is not None and healthy else {}
        asks = functions or (slot is not None and healthy and slot.loaded.roll_functions)
        with self._roster.asking.of(trade.strategy if asks else ""):
            self._work.send(*self._exits.look(view, functions, now_ns, self._failing(slot)))
            if slot is not None and healthy:
                self._work.send(*self._rolls.look(slot, view, now_ns, self._failing(slot)))
        self._recalls.keep(recall, trade.strategy, trade.trade_id)

    def _close(self, closable: dict[str, TradeUpdate], now_ns: int) -> None:
        for request, close in self._exits.closes_due(closable, now_ns):
            if not is_dry(close.trade_id):
                self._work.send(request)
                continue
            trade = closable[close.trade_id]
            slot = self._roster.slots.get(trade.strategy)
            if self._dry_host.close(slot, trade, close.reason, now_ns) is None:
                self._exits.on_answer(RequestTimedOut(request.request_id), now_ns)

    def _failing(self, slot: Slot | None) -> Callable[[Exception], None]:
        def failed(error: Exception) -> None:
            assert slot is not None, "only a loaded strategy has functions that can fail"
            self._intents.report_failure(slot, slot.fail(error))

        return failed
