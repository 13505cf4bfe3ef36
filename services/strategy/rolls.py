"""Rolling: a trade is closed and its successor opened as one action, within a net price.

The successor has risk's grant before the close begins. Durable are the close that was begun, the opening that was
asked for, and the end: whoever starts the host anew goes on where it was, with the same intent. Whatever goes wrong
before the close leaves the trade under its exits; whatever goes wrong after it leaves the chain flat, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.dry_host import DryHost
from services.strategy.dry_run import is_dry
from services.strategy.exits import MS, ExitDesk, answer_of
from services.strategy.flight import Ended, Flight
from services.strategy.gates import names_of
from services.strategy.host_view import HostView
from services.strategy.roll_flight import RollFlight
from services.strategy.rows import OrdinalUsed, RollBegun, RollEnded, RollOpening, Row
from services.strategy.runner import StrategyRunner
from services.strategy.slot import Slot
from services.strategy.trades import TradeBook
from shared.messages.control import RollTrade, RollWanted
from shared.messages.steps import SendRequest
from shared.messages.trades import Refusal, TradeUpdate
from shared.options.chain import ChainView
from shared.strategy.condition_functions import ExitFunction, as_data
from shared.strategy.protocol import Intent, OpenStructure, Strategy
from shared.strategy.recall import Recall
from shared.strategy.rolling import Roll, closing_legs, cost_to_trade_usd, price_limits, uneven_futures
from shared.strategy.selection import SelectionFailed
from shared.strategy.views import SECOND_NS, EntryView, ExitView

_OPENING = frozenset({"PENDING_OPEN", "OPENING", "UNWINDING"})
_REASON_MAX = 200


class _Begun:
    """A roll whose close was asked for. `closed` and `successor` are the trades as execution told of them."""

    def __init__(self, row: RollBegun) -> None:
        self.row = row
        self.opening: RollOpening | None = None
        self.closed: TradeUpdate | None = None
        self.successor: TradeUpdate | None = None


class RollDesk:
    """`record` and `alert` are the core's. At most one roll of a strategy is on its way."""

    def __init__(
        self,
        account_id: str,
        config: StrategyHostConfig,
        board: Board,
        trades: TradeBook,
        exits: ExitDesk,
        view: HostView,
        dry: DryHost,
        record: Callable[[Row], None],
        alert: Callable[..., None],
    ) -> None:
        self._account_id = account_id
        self._config = config
        self._board = board
        self._trades = trades
        self._exits = exits
        self._view = view
        self._dry = dry
        self._record = record
        self._alert = alert
        self._begun: dict[str, _Begun] = {}
        self._look_ns: dict[str, int] = {}
        self._refusals: dict[str, int] = {}
        self._wanted: dict[str, tuple[str, int]] = {}
        """Trades that somebody wants rolled: who, and until when."""

    def apply(self, row: Row) -> bool:
        """Fold a row; False if it is none of ours."""
        match row:
            case RollBegun():
                self._begun[row.strategy] = _Begun(row)
            case RollOpening():
                self._begun[row.strategy].opening = row
            case RollEnded():
                self._begun.pop(row.strategy, None)
            case _:
                return False
        return True

    def forget(self, strategy: str) -> None:
        """Drop a roll of a strategy that was begun."""
        self._begun.pop(strategy, None)

    def on_trade(self, trade: TradeUpdate) -> None:
        """Remember what becomes of a trade that is being rolled, and of its successor."""
        begun = self._begun.get(trade.strategy)
        if begun is not None and trade.trade_id == begun.row.trade_id:
            begun.closed = trade if trade.is_final else None
        elif begun is not None and trade.roll is not None and trade.roll.rolled_from == begun.row.trade_id:
            begun.successor = trade
        if trade.is_final:
            for known in (self._look_ns, self._refusals, self._wanted):
                known.pop(trade.trade_id, None)

    def want(self, order: RollTrade, slots: Mapping[str, Slot], now_ns: int) -> RollWanted | Refusal:
        """Somebody asks for the roll of a trade: its conditions need not hold, all else must."""
        trade = self._trades.open_trade(order.trade_id)
        if trade is None:
            return _refusal("no_such_trade", f"trade {order.trade_id[:100]} is not open", "see them: voldesk trades")
        slot = slots.get(trade.strategy)
        if slot is None or slot.loaded.roll is None:
            problem = "is not running here" if slot is None else "has no roll"
            return _refusal("no_roll", f"strategy {trade.strategy} {problem}", "give it one, or close the trade")
        if trade.state != "OPEN":
            return _refusal("not_open", f"trade {trade.trade_id} is {trade.state}", "only a whole trade is rolled")
        roll = slot.loaded.roll
        until_ns = now_ns + int(roll.within_seconds * SECOND_NS)
        self._wanted[trade.trade_id] = (order.requested_by[:100], until_ns)
        self._look_ns.pop(trade.trade_id, None)
        return RollWanted(
            trade_id=trade.trade_id, strategy=slot.name, net_limit_usd=roll.net_limit_usd, until_ns=until_ns
        )

    def look(
        self,
        slot: Slot,
        view: ExitView,
        now_ns: int,
        failed: Callable[[Exception], None],
    ) -> list[SendRequest]:
        """Ask each condition of the roll of an open trade, at a bounded rate; begin with risk's grant when one says
        yes and the net limit holds at the prices of this moment."""
        roll, trade = slot.loaded.roll, view.trade
        trade_id = trade.trade_id
        if roll is None or trade.state != "OPEN" or self._exits.is_closing(trade_id) or slot.flight is not None:
            return []
        if slot.name in self._begun or now_ns < self._look_ns.get(trade_id, 0):
            return []
        self._look_ns[trade_id] = now_ns + self._config.exit_interval_ms * MS
        due = self._due(roll, view, slot.loaded.roll_functions, now_ns, failed)
        if due is None:
            return []
        closed = self._view.entry_closed(slot, now_ns)
        found = closed if closed is not None else self._successor(slot, trade, now_ns)
        if not isinstance(found, OpenStructure):
            self._note(trade_id, f"due ({due}), but {found}", now_ns)
            return []
        problem = self._over_limit(roll, trade, found, now_ns)
        if problem is not None:
            self._note(trade_id, f"due ({due}), but {problem}", now_ns)
            return []
        self._note(trade_id, f"due: {due}", now_ns)
        number = 1 if trade.roll is None else trade.roll.number + 1
        because = f"roll {number} of {trade_id}: {due}"[:_REASON_MAX]
        if is_dry(trade_id):
            self._note(trade_id, self._dry.roll(slot, trade, found, roll.net_limit_usd, because, now_ns), now_ns)
            return []
        flight = slot.flight = RollFlight(
            found,
            strategy=slot.name,
            ordinal=self._view.history(slot, now_ns).next_ordinal,
            account_id=self._account_id,
            config=self._config,
            now_ns=now_ns,
            rolled_from=trade_id,
            because=because,
            within_s=roll.within_seconds,
            decision_prices=tuple(self._board.mid(leg.symbol) for leg in found.legs),
        )
        slot.signals_generated += 1
        return [flight.start()]

    def advance(self, slot: Slot, now_ns: int) -> list[SendRequest]:
        """Go on with the roll of a strategy: what was begun is taken up again after a restart."""
        begun = self._begun.get(slot.name)
        flight = slot.flight
        if begun is None:
            if isinstance(flight, RollFlight) and flight.stage == "closing":
                self._begin(slot, flight, now_ns)
            return []
        if self._board.synced_epoch is None:
            return []
        if begun.successor is not None:
            self._follow(begun, begun.successor)
            return []
        if not isinstance(flight, RollFlight):
            flight = slot.flight = RollFlight.resumed(begun.row, self._account_id, self._config)
            flight.due_ns = now_ns + SECOND_NS
            if begun.opening is not None:
                return [flight.open(begun.opening.price_limits, begun.row.open_by_ns)]
        if begun.opening is not None:
            return []
        trade = self._trades.open_trade(begun.row.trade_id)
        if trade is not None:
            self._await_close(slot, begun, trade, now_ns)
            return []
        return self._open(slot, flight, begun, now_ns)

    def on_ended(self, slot: Slot, flight: Flight, ended: Ended, now_ns: int) -> None:
        """The flight of a successor is over: opened, or refused by risk (nothing was closed yet) or by execution."""
        if not isinstance(flight, RollFlight):
            return
        if ended.trade is not None:
            self.on_trade(ended.trade)
        begun = self._begun.get(slot.name)
        if begun is not None and ended.outcome.kind == "refused":
            self._end(slot, begun, "flat", ended.outcome.reason)
        elif begun is None:
            self._put_off(flight.rolled_from, f"the roll was refused: {ended.outcome.reason}", now_ns)

    def end_unloaded(self, loaded: Mapping[str, Slot]) -> None:
        """A strategy whose roll was begun is not run any more: what is closed by then stays closed."""
        if self._board.synced_epoch is None or self._begun.keys() <= loaded.keys():
            return
        for strategy in self._begun.keys() - loaded.keys():
            begun = self._begun[strategy]
            if begun.successor is not None:
                self._follow(begun, begun.successor)
            elif begun.opening is None:
                held = self._trades.open_trade(begun.row.trade_id)
                kept = held is not None and held.state == "OPEN"
                self._end(None, begun, "kept" if kept else "flat", f"{strategy} is not loaded")

    def _due(
        self,
        roll: Roll,
        view: ExitView,
        functions: Mapping[str, ExitFunction],
        now_ns: int,
        failed: Callable[[Exception], None],
    ) -> str | None:
        """The reason of the first condition that says yes; None while there is none, which is shown."""
        trade = view.trade
        number = 0 if trade.roll is None else trade.roll.number
        if number >= roll.max_rolls:
            self._note(trade.trade_id, f"rolled {number} times, no more than {roll.max_rolls}", now_ns)
            return None
        by, until_ns = self._wanted.get(trade.trade_id, ("", 0))
        if now_ns < until_ns:
            return f"asked for by {by}"
        conditions = tuple(as_data(item) for item in roll.when)
        said = []
        for name, condition in zip(names_of(conditions), conditions, strict=True):
            verdict = answer_of(condition, view, functions, now_ns, failed)
            if verdict.open:
                return verdict.reason
            said.append(f"{name}: {verdict.reason}")
        self._note(trade.trade_id, f"not yet; {'; '.join(said)}", now_ns)
        return None

    def _successor(self, slot: Slot, trade: TradeUpdate, now_ns: int) -> OpenStructure | str:
        """What would take its place, or why there is nothing."""
        found: list[OpenStructure | SelectionFailed] = []
        desk = self._view.desk(slot, Recall(), now_ns)

        def question(strategy: Strategy) -> Sequence[Intent]:
            assert isinstance(strategy, StrategyRunner), "only a StrategyConfig has a roll"
            found.append(strategy.successor(desk.entry_view, now_ns))
            return ()

        failure = slot.ask(question)[1]
        if failure is not None:
            self._alert("strategy_failed", "critical", slot.name, f"{slot.name} is stopped: {failure}")
        if not found:
            return f"{slot.name} has failed"
        (structure,) = found
        if isinstance(structure, SelectionFailed):
            return structure.text
        if structure.dry_run != is_dry(trade.trade_id):
            return f"the strategy makes {'dry' if structure.dry_run else 'real'} trades now"
        if {(leg.symbol, leg.side) for leg in structure.legs} == {(leg.symbol, leg.side) for leg in trade.legs}:
            return "the legs that are selected now are those that it holds"
        return uneven_futures(trade, structure.legs) or structure

    def _over_limit(self, roll: Roll, trade: TradeUpdate, structure: OpenStructure, now_ns: int) -> str | None:
        """Why the net limit cannot be kept at the prices of this moment; None when it can."""
        closing = cost_to_trade_usd(closing_legs(trade), self._chain_of(now_ns))
        opening = cost_to_trade_usd(structure.legs, self._chain_of(now_ns))
        if isinstance(closing, str):
            return f"waiting: {closing}"
        if isinstance(opening, str):
            return f"waiting: {opening}"
        return None if closing + opening <= roll.net_limit_usd else _net_text(closing, opening, roll.net_limit_usd)

    def _begin(self, slot: Slot, flight: RollFlight, now_ns: int) -> None:
        """Risk has given the grant. Unless something has changed meanwhile, the close begins."""
        trade, roll = self._trades.open_trade(flight.rolled_from), slot.loaded.roll
        if trade is None or trade.state != "OPEN" or self._exits.is_closing(flight.rolled_from):
            problem: str | None = "the trade is not simply held any more"
        elif roll is None:
            problem = "the strategy rolls no more"
        else:
            problem = self._over_limit(roll, trade, flight.intent, now_ns)
        if problem is not None:
            # the grant stays reserved for a while: the next intent is another one
            slot.flight = None
            self._record(OrdinalUsed(strategy=slot.name, ordinal=flight.ordinal))
            self._put_off(flight.rolled_from, f"given up once it was granted: {problem}", now_ns)
            return
        assert roll is not None, "a roll without limits was given up"
        self._record(flight.begun(roll.net_limit_usd, roll.within_seconds, now_ns))
        self._exits.want_closed(flight.rolled_from, flight.because, now_ns)

    def _await_close(self, slot: Slot, begun: _Begun, trade: TradeUpdate, now_ns: int) -> None:
        """The trade is not closed yet: ask for it, as long as the roll has time and nobody else closes it."""
        row = begun.row
        late = now_ns >= row.open_by_ns
        if trade.close_reason not in ("", row.reason):
            self._end(slot, begun, "flat", f"something else closes it: {trade.close_reason}")
        elif trade.close_joined:
            self._end(slot, begun, "flat", f"it is to be closed anyway: {trade.close_joined}")
        elif trade.state == "OPEN" and late:
            self._exits.release(row.trade_id)
            self._end(slot, begun, "kept", "execution did not take the close in time")
        elif late:
            self._end(slot, begun, "flat", f"the close took too long, the trade is {trade.state}")
        elif trade.state == "OPEN":
            self._exits.want_closed(row.trade_id, row.reason, now_ns)

    def _open(self, slot: Slot, flight: RollFlight, begun: _Begun, now_ns: int) -> list[SendRequest]:
        """The trade has ended. Open its successor within what is left of the net limit, or say why not."""
        row, closed = begun.row, begun.closed
        ends = self._ends(slot, row, closed, now_ns)
        cost_usd = Decimal(0)
        if ends is None and closed is not None:
            if closed.close_cost_usd is None:
                ends = f"what the close of {row.trade_id} did cost is not known"
            else:
                cost_usd = closed.close_cost_usd
        if ends is not None:
            self._end(slot, begun, "flat", ends)
            return []
        if now_ns >= row.open_by_ns:
            self._end(slot, begun, "flat", flight.waiting or "the time for its successor was over")
            return []
        found = self._limits(slot, row, cost_usd, now_ns)
        if isinstance(found, str):
            flight.waiting = found
            return []
        self._record(
            RollOpening(strategy=slot.name, trade_id=row.trade_id, close_cost_usd=cost_usd, price_limits=found)
        )
        return [flight.open(found, row.open_by_ns)]

    def _ends(self, slot: Slot, row: RollBegun, closed: TradeUpdate | None, now_ns: int) -> str | None:
        """Why nothing is opened, whatever comes; None when it may be."""
        if closed is None:
            return f"execution does not know what became of trade {row.trade_id}"
        if closed.state != "CLOSED":
            return f"trade {row.trade_id} is {closed.state}"
        if closed.close_reason != row.reason:
            return f"something else closed it: {closed.close_reason or closed.reason}"
        if closed.close_joined:
            return f"it was to be closed anyway: {closed.close_joined}"
        if closed.created_ns <= slot.memory.close_made_before_ns:
            return f"something else was to close it: {slot.memory.close_reason}"
        gates = dict(self._view.gates(slot, now_ns))
        return gates["state"] or gates["halts"]

    def _limits(self, slot: Slot, row: RollBegun, cost_usd: Decimal, now_ns: int) -> tuple[Decimal, ...] | str:
        """The worst price of each leg of the successor, or why there is none at this moment."""
        gates = dict(self._view.gates(slot, now_ns))
        closed = gates["execution"] or gates["risk"] or gates["disk"]
        if closed is not None:
            return closed
        prices: list[float] = []
        opening = cost_to_trade_usd(row.structure.legs, self._chain_of(now_ns), prices=prices)
        if isinstance(opening, str):
            return opening
        limits = price_limits(row.structure.legs, prices, Decimal(str(row.net_limit_usd)) - cost_usd)
        return _net_text(float(cost_usd), opening, row.net_limit_usd) if limits is None else limits

    def _follow(self, begun: _Begun, successor: TradeUpdate) -> None:
        """The roll is over once its successor is open, or has failed to be."""
        name, state = successor.trade_id, successor.state
        if state == "FAILED":
            self._end(None, begun, "flat", f"its successor {name} was not filled: {successor.reason}")
        elif successor.opened_ns is not None:
            self._end(None, begun, "rolled", f"trade {name} took its place", name)
        elif state not in _OPENING:
            self._end(None, begun, "broken", f"it was not opened whole and is {state}: {successor.reason}", name)

    def _end(
        self,
        slot: Slot | None,
        begun: _Begun,
        outcome: Literal["rolled", "flat", "kept", "broken"],
        reason: str,
        successor: str = "",
    ) -> None:
        row = begun.row
        if slot is not None:
            slot.flight = None
        self._record(
            RollEnded(
                strategy=row.strategy, trade_id=row.trade_id, outcome=outcome, reason=reason, successor=successor
            )
        )
        if outcome != "rolled":
            # risk has granted this intent: the next one is another, whether or not it was sent to execution
            self._record(OrdinalUsed(strategy=row.strategy, ordinal=row.ordinal))
        if outcome == "flat":
            text = f"{row.strategy}: trade {row.trade_id} was to be rolled, nothing is opened in its place: {reason}"
            self._alert("roll_ended_flat", "warning", row.trade_id, text)
        elif outcome == "broken":
            text = f"{row.strategy}: trade {row.trade_id} was to be rolled to trade {successor}: {reason}"
            self._alert("roll_ended_flat", "warning", row.trade_id, text)
        elif outcome == "kept":
            text = f"{row.strategy}: trade {row.trade_id} is kept and not rolled: {reason}"
            self._alert("roll_given_up", "warning", row.trade_id, text)

    def _put_off(self, trade_id: str, reason: str, now_ns: int) -> None:
        """Look at the roll of a trade again after a pause, which doubles."""
        count = self._refusals.get(trade_id, 0)
        self._refusals[trade_id] = count + 1
        pause_s = min(self._config.refusal_pause_max_s, self._config.refusal_pause_min_s * 2 ** min(count, 16))
        self._look_ns[trade_id] = now_ns + int(pause_s * SECOND_NS)
        self._note(trade_id, f"{reason}; again in {pause_s:g} s", now_ns)

    def _note(self, trade_id: str, reason: str, now_ns: int) -> None:
        self._exits.note(trade_id, "roll", reason, now_ns)

    def _chain_of(self, now_ns: int) -> Callable[[str], ChainView | str]:
        view = EntryView(account=None, chains=self._board.chains, tolerances=self._view.tolerances)
        return lambda symbol: view.fresh_chain_of(symbol, now_ns)


def _refusal(code: str, detail: str, remedy: str) -> Refusal:
    return Refusal(code=code, detail=detail, remedy=remedy)


def _net_text(closing: float, opening: float, limit: float) -> str:
    return (
        f"closing for {closing:,.2f} and opening for {opening:,.2f} is {closing + opening:,.2f} USD net, "
        f"above the limit of {limit:,.2f}"
    )
