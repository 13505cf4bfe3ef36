"""What a host sees: for its strategies, for its own decisions, and for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from services.strategy.board import Board
from services.strategy.dry_funding import DryFunding
from services.strategy.dry_run import DryDesk
from services.strategy.exits import ExitDesk
from services.strategy.hedging import HedgeDesk
from services.strategy.market_desk import MarketDesk
from services.strategy.roster import Roster
from services.strategy.slot import Slot
from services.strategy.statuses import status_of, status_of_failure
from services.strategy.trades import TradeBook
from shared.messages.control import StrategyStatus
from shared.messages.space import ON_DISK, JournalSpace
from shared.messages.trades import TradeUpdate
from shared.strategy.market_reads import Needs, joined, needs_of
from shared.strategy.recall import Recall
from shared.strategy.views import DeskView, ExitView, Tolerances, TradeHistory


class HostView:
    """Reads the parts of the core. `space`: where its journal's rows go now."""

    def __init__(
        self,
        board: Board,
        trades: TradeBook,
        dry: DryDesk,
        exits: ExitDesk,
        roster: Roster,
        tolerances: Tolerances,
        market: MarketDesk,
        hedges: HedgeDesk,
        dry_funding: DryFunding,
    ) -> None:
        self._board = board
        self._trades = trades
        self._dry = dry
        self._exits = exits
        self._roster = roster
        self.tolerances = tolerances
        self._market = market
        self._hedges = hedges
        self._dry_funding = dry_funding
        self.space: JournalSpace = ON_DISK

    def open_trades(self, slot: Slot) -> tuple[TradeUpdate, ...]:
        """Those of a strategy that are not final, and those that it would have open in a dry run."""
        return (*self._trades.open_trades(slot.trades_as), *self._dry.open_trades(slot.name))

    def history(self, slot: Slot, now_ns: int) -> TradeHistory:
        """The counts of a strategy's trades, dry ones with them."""
        history = self._trades.history(slot.trades_as, slot.memory.ordinal_used, now_ns)
        return self._dry.with_history(history, slot.name, now_ns)

    def desk(self, slot: Slot, recall: Recall, now_ns: int) -> DeskView:
        """What a strategy is shown."""
        return DeskView(
            account=self._board.account,
            chains=self._board.chains,
            index_prices=self._board.index_prices,
            tolerances=self.tolerances,
            history=self.history(slot, now_ns),
            trades=self.open_trades(slot),
            entry_closed=self.entry_closed(slot, now_ns),
            recall=recall,
            market=self._market.reads,
            foreign=self._board.foreign,
            stood_against=self._board.stood_against,
        )

    def exit(self, trade: TradeUpdate, recall: Recall) -> ExitView:
        """What the exits of a trade are shown."""
        return ExitView(
            trade=trade,
            account=self._board.account,
            chains=self._board.chains,
            tolerances=self.tolerances,
            recall=recall,
            market=self._market.reads,
            hedges=self._hedges.hedges_of(trade.trade_id),
        )

    def needs(self) -> Needs:
        """What must be read of the market for all strategies and open trades: a trade keeps its exits when its file
        is changed or gone."""
        trades = (*self._trades.open_trades(), *self._dry.open_trades())
        exits = needs_of(condition for trade in trades for condition in trade.exit_conditions)
        return joined((*(slot.loaded.needs for slot in self._roster.slots.values()), exits))

    def gates(self, slot: Slot, now_ns: int) -> Iterator[tuple[str, str | None]]:
        """What the host itself requires before anything is opened: name, and why it is closed (None: open)."""
        state = slot.state(self._trades.open_count(slot.trades_as))
        yield "state", None if state == "running" else slot.failure or f"{state} by {slot.memory.told_by}"
        yield "execution", self._board.execution(now_ns)
        yield "risk", self._board.service("risk", now_ns)
        yield "halts", self._board.halted()
        yield "disk", None if self.space.level == "disk" else f"the disk is full: {self.space.reason}"
        in_flight = None if slot.flight is None else slot.flight.reason
        if in_flight is None and now_ns < slot.refused_until_ns and slot.last_outcome is not None:
            in_flight = f"pause after a refusal: {slot.last_outcome.reason}"
        yield "intent", in_flight

    def hedge_closed(self, now_ns: int) -> str | None:
        """Why no hedge may be opened now, whatever its strategy was told: it belongs to a trade that is open."""
        closed = [self._board.execution(now_ns), self._board.service("risk", now_ns), self._board.halted()]
        if self.space.level != "disk":
            closed.append(f"the disk is full: {self.space.reason}")
        return next((reason for reason in closed if reason is not None), None)

    def entry_closed(self, slot: Slot, now_ns: int) -> str | None:
        """Why a strategy may open nothing now; None when it may."""
        return next((reason for _, reason in self.gates(slot, now_ns) if reason is not None), None)

    def quoting_state(self, strategy: str) -> str:
        """Whether a strategy moves the orders that it quotes, "running", or why not."""
        slot = self._roster.slots.get(strategy)
        state = "not loaded" if slot is None else slot.state(self._trades.open_count(strategy))
        return "running" if state == "paused" and slot is not None and slot.memory.has_run_once else state

    def statuses(self, now_ns: int) -> list[StrategyStatus]:
        """Of every strategy, and of the files that gave none."""
        statuses = self.statuses_of(self._roster.slots, now_ns)
        failures = [failure for failure in self._roster.failures if failure.name not in self._roster.slots]
        return statuses + [status_of_failure(failure, now_ns) for failure in failures]

    def statuses_of(self, names: Collection[str], now_ns: int) -> list[StrategyStatus]:
        return [self._status(slot, now_ns) for slot in self._roster.slots.values() if slot.name in names]

    def _status(self, slot: Slot, now_ns: int) -> StrategyStatus:
        return status_of(
            slot,
            self.gates(slot, now_ns),
            self.history(slot, now_ns),
            self.open_trades(slot),
            self._exits,
            self._hedges,
            self._dry.result(slot.name),
            self._dry_funding.waits.get(slot.name, ""),
            now_ns,
        )
