"""Hedges the delta of open trades with the perpetual, as trades of their own that are linked to what they hedge.

A hedge of a trade of strategy S is asked for as "S.hedge", with ordinals of execution's count, and names the trade
that it hedges. So a host that starts anew finds its hedges among execution's trades; and execution closes them when
that trade has ended, whether a host lives or not.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from decimal import Decimal

from services.strategy.answers import Answer
from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.dry_hedges import DryHedges, held_delta
from services.strategy.dry_run import DryDesk, is_dry
from services.strategy.exits import ExitDesk, is_held
from services.strategy.flight import Ended, Flight
from services.strategy.hedge_pauses import HedgePauses
from services.strategy.reductions import Reductions
from services.strategy.roster import Roster
from services.strategy.rows import OrdinalUsed, Row
from services.strategy.slot import Slot
from services.strategy.trades import TradeBook
from shared.ids import hedge_name, hedged_name
from shared.messages.base import Side
from shared.messages.control import HedgeSteered, SteerHedge
from shared.messages.steps import RaiseAlert, ReplyReceived, SendRequest
from shared.messages.trades import LegOrder, Refusal, TradeUpdate
from shared.options.chain import ChainView, snap_quantity
from shared.options.instruments import underlying_of
from shared.strategy.hedge import (
    HEDGE_PARAMS,
    DeltaHedge,
    HeldHedge,
    NoHedge,
    OpenHedge,
    ReduceHedges,
    adjustment,
    least_change,
)
from shared.strategy.pnl import is_counted
from shared.strategy.protocol import OpenStructure
from shared.strategy.selection import SelectionFailed, perpetual_of
from shared.strategy.views import age_text

Effect = SendRequest | RaiseAlert
SECOND_NS = 1_000_000_000
_LOOK_NS = SECOND_NS
_REFUSAL_PAUSE_S = 5.0
_OFF_ALERT_NS = 60 * SECOND_NS
_NAME_MAX = 100
_HELD_STATES = frozenset({"OPEN", "PARTIALLY_OPEN"})
_HEDGED_STATES = frozenset({*_HELD_STATES, "PENDING_CLOSE", "CLOSING", "BROKEN"})
"""While it is being closed a hedge is only taken back, with what it hedges."""


class _Watch:
    """One trade that is hedged. off_ns: since when its delta has been beyond the band. adjusted_ns: when its hedge
    was adjusted last.

    most: risk refused more than this at a time; the rest is asked for after it, without waiting. asked: what was
    asked for last, in lots of `lot_size`; `least` is not traded any more.
    """

    def __init__(self) -> None:
        self.looked_ns = 0
        self.wait_until_ns = 0
        self.refusals = 0
        self.refused = ""
        self.adjusted_ns = 0
        self.most: Decimal | None = None
        self.asked = self.least = self.lot_size = Decimal(0)
        self.off_ns: int | None = None
        self.alarmed = False
        self.text = ""


class HedgeDesk:
    """Volatile but for its pauses: after a restart execution's trades say what hedges what. `exits` has closed what
    is not needed at all."""

    def __init__(
        self,
        account_id: str,
        config: StrategyHostConfig,
        board: Board,
        trades: TradeBook,
        roster: Roster,
        record: Callable[[Row], None],
        exits: ExitDesk,
        dry: DryDesk,
    ) -> None:
        self._account_id = account_id
        self._config = config
        self._board = board
        self._trades = trades
        self._ordinal_used = roster.ordinal_used
        self._slots = roster.slots
        self._record = record
        self._exits = exits
        self._hedges: dict[str, dict[str, TradeUpdate]] = {}
        self._watches: dict[str, _Watch] = {}
        self._flights: dict[str, tuple[str, Flight]] = {}
        self._reductions = Reductions(config)
        self._pauses = HedgePauses(record)
        self._dry = DryHedges(config, board, dry)
        self._account_alarms: set[str] = set()

    def apply(self, row: Row) -> bool:
        """Fold a row; False if it is none of ours."""
        return self._pauses.apply(row)

    def forget(self, strategy: str) -> None:
        """Drop what was folded of a strategy."""
        self._pauses.forget(strategy)

    def hedges_of(self, trade_id: str) -> tuple[TradeUpdate, ...]:
        """All that hedged a trade so far, ended ones too."""
        if is_dry(trade_id):
            return self._dry.hedges_of(trade_id)
        return tuple(self._hedges.get(trade_id, {}).values())

    def text_of(self, trade_id: str) -> str:
        """What was last found of a trade's hedge, "" for one that is not hedged."""
        watch = self._watches.get(trade_id)
        return self._dry.text_of(trade_id) if watch is None else watch.text

    def on_trade(self, trade: TradeUpdate, now_ns: int) -> list[Effect]:
        """Keep what hedges what; an event may be the outcome of an intent in flight."""
        self._reductions.on_trade(trade)
        if not trade.hedge_of:
            self._drop_counted(trade)
            return []
        self._hedges.setdefault(trade.hedge_of, {})[trade.trade_id] = trade
        strategy = hedged_name(trade.strategy)
        if strategy in self._slots:
            self._pauses.on_hedge(trade, strategy)
        return [
            effect
            for strategy, (_, flight) in tuple(self._flights.items())
            for effect in self._carry_on(strategy, flight.on_trade(trade), now_ns)
        ]

    def advance(self, slots: Iterable[Slot], closed: Callable[[int], str | None], now_ns: int) -> list[Effect]:
        """Look at what is hedged, and ask again for what was not answered. `closed`: why nothing may be opened."""
        effects: list[Effect] = [*self._reductions.due(now_ns)]
        for strategy, (_, flight) in tuple(self._flights.items()):
            if flight.due_ns is not None and now_ns >= flight.due_ns:
                effects += self._carry_on(strategy, flight.on_due(now_ns), now_ns)
        hedging = {slot.name: slot for slot in slots}
        for slot in hedging.values():
            effects += self._look(slot, closed(now_ns), now_ns)
        self._dry.advance(hedging.values(), closed(now_ns), now_ns)
        effects += self._left_alone(hedging, now_ns)
        if self._watches or self._hedges or self._pauses:
            effects += self._forget_ended(now_ns)
        return effects

    def _look(self, slot: Slot, blocked: str | None, now_ns: int) -> list[Effect]:
        """Look at every open trade of a strategy."""
        hedge = slot.loaded.delta_hedge
        effects: list[Effect] = []
        for trade in self._trades.open_trades(slot.name):
            if hedge is None or trade.state not in _HEDGED_STATES:
                continue
            watch = self._watches.setdefault(trade.trade_id, _Watch())
            if now_ns < watch.looked_ns + _LOOK_NS:
                continue
            watch.looked_ns = now_ns
            self._pauses.follow(trade)
            try:
                effects += self._look_at(slot.name, trade, hedge, watch, blocked, now_ns)
            except Exception as error:  # figures of one strategy must not stop the others
                watch.text = f"hedge fails: {type(error).__name__}: {error}"
                watch.off_ns = 0
                effects += self._judged(trade, watch, None, now_ns)
        return effects

    def _left_alone(self, hedging: Container[str], now_ns: int) -> list[Effect]:
        """Tell a person of what is held and hedged, by a strategy that is not loaded or hedges no more."""
        effects: list[Effect] = []
        for trade_id, hedges in self._hedges.items():
            trade = self._trades.open_trade(trade_id)
            if trade is None or trade.strategy in hedging or not is_held(trade):
                continue
            live = sorted(each.trade_id for each in hedges.values() if not each.is_final)
            if live:
                watch = self._watches.setdefault(trade_id, _Watch())
                watch.text = (
                    f"nobody hedges it: {trade.strategy} is not loaded, or has no delta_hedge any more; "
                    f"{', '.join(live)} stays as it is until the trade ends"
                )
                watch.off_ns = 0
                effects += self._judged(trade, watch, None, now_ns)
        return effects

    def steer(self, order: SteerHedge) -> HedgeSteered | Refusal:
        """Somebody has the hedge of a trade left alone, or adjusted again."""
        trade = self._trades.open_trade(order.trade_id)
        slot = None if trade is None else self._slots.get(trade.strategy)
        if trade is None:
            return Refusal(
                code="no_such_trade",
                detail=f"trade {order.trade_id[:_NAME_MAX]} is not open",
                remedy="see them: voldesk trades",
            )
        if slot is None or slot.loaded.delta_hedge is None:
            problem = "is not running here" if slot is None else "has no delta_hedge"
            return Refusal(
                code="not_hedged",
                detail=f"trade {trade.trade_id} is of {trade.strategy}, which {problem}",
                remedy="name the trade that is hedged, not its hedge",
            )
        if order.action not in ("pause", "resume"):
            detail = f"action {order.action[:_NAME_MAX]!r} is unknown"
            return Refusal(code="unknown_action", detail=detail, remedy="use pause or resume")
        if order.action == "pause":
            self._pauses.pause(trade, order.requested_by[:_NAME_MAX])
        else:
            self._pauses.resume(trade.trade_id, order.requested_by[:_NAME_MAX])
        is_paused = self._pauses.why(trade.trade_id) is not None
        return HedgeSteered(trade_id=trade.trade_id, strategy=trade.strategy, is_paused=is_paused)

    def on_answer(self, answer: Answer, now_ns: int) -> list[Effect] | None:
        """See `Asker`."""
        if self._reductions.on_answer(answer, now_ns):
            return []
        for strategy, (_, flight) in self._flights.items():
            if not flight.owns(answer.request_id):
                continue
            if isinstance(answer, ReplyReceived):
                return self._carry_on(strategy, flight.on_reply(answer, now_ns), now_ns)
            flight.on_timeout(now_ns)
            return []
        return None

    def next_deadline_ns(self) -> int | None:
        due = [flight.due_ns for _, flight in self._flights.values()]
        due.append(self._reductions.next_deadline_ns())
        return min((at for at in due if at is not None), default=None)

    def _look_at(
        self, strategy: str, trade: TradeUpdate, hedge: DeltaHedge, watch: _Watch, blocked: str | None, now_ns: int
    ) -> list[Effect]:
        chain = self._chain(trade, now_ns)
        if isinstance(chain, str):
            watch.text = f"hedge waits: {chain}"
            return self._judged(trade, watch, None, now_ns)
        found, delta = perpetual_of(chain), held_delta(trade, chain)
        if isinstance(found, SelectionFailed) or isinstance(delta, str):
            watch.text = f"hedge waits: {found.reason if isinstance(found, SelectionFailed) else delta}"
            return self._judged(trade, watch, None, now_ns)
        perpetual = found.option
        hedges = self.hedges_of(trade.trade_id)
        held = [
            HeldHedge(each.trade_id, leg.held_quantity if leg.side == "buy" else -leg.held_quantity)
            for each in hedges
            for leg in each.legs
            if leg.held_quantity
        ]
        off = delta + float(sum(each.quantity for each in held)) - hedge.target
        watch.text = f"delta with hedge {off + hedge.target:+.4f}, band {hedge.target:g} ± {hedge.band:g}"
        watch.adjusted_ns = max(watch.adjusted_ns, *(max(each.created_ns, each.closed_ns or 0) for each in hedges), 0)
        wanted = adjustment(delta, held, hedge, perpetual)
        busy = self._busy(strategy, trade)
        if isinstance(wanted, NoHedge):
            watch.text += "; the rest is too small to trade" if wanted.is_off else ""
            watch.text += f"; {paused}" if (paused := self._pauses.why(trade.trade_id)) else ""
            watch.most = watch.most if busy else None
            return self._judged(trade, watch, False, now_ns)
        not_added = blocked if is_held(trade) else f"{trade.trade_id} is {trade.state}"
        waits = self._pauses.why(trade.trade_id) or busy or self._waits(wanted, hedge, watch, not_added, now_ns)
        sent: list[Effect] = []
        if waits is not None:
            watch.text += f"; {waits}"
        elif isinstance(wanted, ReduceHedges):
            watch.adjusted_ns = now_ns
            sent += self._reduce(trade, wanted, now_ns)
        elif strategy not in self._flights:
            watch.lot_size, watch.least = perpetual.lot_size, least_change(hedge, perpetual)
            watch.asked = wanted.quantity
            if watch.most is not None and watch.most < wanted.quantity:
                watch.asked = watch.most
                watch.text += f"; risk grants it in parts of {watch.most} at most: {watch.refused}"
            sent.append(self._open(strategy, trade, wanted.side, watch.asked, perpetual.symbol, now_ns))
        return [*sent, *self._judged(trade, watch, abs(off) > hedge.band, now_ns)]

    def _waits(
        self, wanted: OpenHedge | ReduceHedges, hedge: DeltaHedge, watch: _Watch, not_added: str | None, now_ns: int
    ) -> str | None:
        """Why an adjustment is not made now, None when it is. The rest of one that comes in parts follows at once."""
        next_ns = watch.wait_until_ns
        if watch.most is None or isinstance(wanted, ReduceHedges):
            next_ns = max(next_ns, watch.adjusted_ns + round(hedge.interval_seconds * SECOND_NS))
        if now_ns < next_ns:
            why = f", refused: {watch.refused}" if watch.refused else ""
            return f"adjusted again in {(next_ns - now_ns) / SECOND_NS:.0f} s{why}"
        if isinstance(wanted, ReduceHedges):
            unready = self._board.execution(now_ns)
            return None if unready is None else f"not taken back: {unready}"
        return None if not_added is None else f"not added to: {not_added}"

    def _reduce(self, trade: TradeUpdate, wanted: ReduceHedges, now_ns: int) -> list[Effect]:
        """Take back what is too much: a part of a hedge, or all of it."""
        sent: list[Effect] = []
        reason = f"hedge of {trade.trade_id}: {self.text_of(trade.trade_id)}"
        for trade_id, keep in wanted.keep.items():
            if keep:
                sent.append(self._reductions.ask(self._hedges[trade.trade_id][trade_id], keep, reason, now_ns))
            else:
                self._exits.want_closed(trade_id, reason, now_ns)
        return sent

    def told_of_account(self, strategy: str, alarm: str) -> list[Effect]:
        """Tell a person once of what a strategy that hedges the account cannot do, and when it is over."""
        if bool(alarm) == (strategy in self._account_alarms):
            return []
        if alarm:
            self._account_alarms.add(strategy)
            return [_alert(strategy, f"{strategy}: {alarm}")]
        self._account_alarms.discard(strategy)
        return [_alert(strategy, f"{strategy}: the account's delta is within its band again", resolved=True)]

    def take_back(self, trade: TradeUpdate, keep: Decimal, reason: str, now_ns: int) -> list[Effect]:
        """Have a trade of a strategy hold no more than `keep`, unless that is on its way."""
        return [] if self._reductions.shown(trade) else [self._reductions.ask(trade, keep, reason, now_ns)]

    def _busy(self, strategy: str, trade: TradeUpdate) -> str | None:
        """What of a trade's hedges is on its way: until it is known how that ends nothing more is decided. Of a trade
        that took the place of another one these are also the hedges of that one, which execution closes."""
        if strategy in self._flights and self._flights[strategy][0] == trade.trade_id:
            return "one is asked for"
        before = () if trade.roll is None else self.hedges_of(trade.roll.rolled_from)
        for each in before:
            if not each.is_final:
                return f"{each.trade_id}, which hedged {each.hedge_of} before it was rolled, is still {each.state}"
        for each in self.hedges_of(trade.trade_id):
            if each.is_final:
                continue
            if each.state not in _HELD_STATES:
                return f"{each.trade_id} is {each.state}"
            if self._exits.is_closing(each.trade_id):
                return f"{each.trade_id} is to be closed"
            if (reduced := self._reductions.shown(each)) is not None:
                return reduced
        return None

    def _judged(self, trade: TradeUpdate, watch: _Watch, is_off: bool | None, now_ns: int) -> list[Effect]:
        """Tell a person of a delta that has been beyond its band, or not known, for a minute; and when it is back."""
        if is_off is False:
            watch.off_ns = None
            if watch.alarmed:
                watch.alarmed = False
                return [_alert(trade.trade_id, watch.text, resolved=True)]
            return []
        watch.off_ns = now_ns if watch.off_ns is None else watch.off_ns
        if watch.alarmed or now_ns - watch.off_ns < _OFF_ALERT_NS:
            return []
        watch.alarmed = True
        return [_alert(trade.trade_id, f"trade {trade.trade_id} of {trade.strategy}: {watch.text}")]

    def _chain(self, trade: TradeUpdate, now_ns: int) -> ChainView | str:
        underlying = underlying_of(trade.legs[0].symbol)
        chain = self._board.chains.get(underlying)
        if chain is None:
            return f"no option chain of {underlying} yet"
        age_ns = now_ns - chain.snapshot.received_ns
        if abs(age_ns) > self._config.market_tolerance_ms * 1_000_000:
            return f"the option chain of {underlying} is {age_text(age_ns)}"
        return chain

    def _open(
        self, strategy: str, trade: TradeUpdate, side: Side, quantity: Decimal, symbol: str, now_ns: int
    ) -> SendRequest:
        name = hedge_name(strategy)
        intent = OpenStructure(
            legs=(LegOrder(symbol=symbol, side=side, quantity=quantity),),
            execution_mode="limit",
            execution_params=HEDGE_PARAMS,
            policy="best_effort",
            if_broken="close",
            hedge_of=trade.trade_id,
        )
        flight = Flight(
            intent,
            strategy=name,
            ordinal=self._trades.history(name, self._ordinal_used(name), now_ns).next_ordinal,
            account_id=self._account_id,
            config=self._config,
            now_ns=now_ns,
            decision_prices=(self._board.mid(symbol),),
            entry_reasons=(f"hedge of {trade.trade_id}: {self.text_of(trade.trade_id)}",),
        )
        self._flights[strategy] = trade.trade_id, flight
        return flight.start()

    def _drop_counted(self, trade: TradeUpdate) -> None:
        """What a trade tells itself of hedges that have ended is not kept beside it."""
        hedges = self._hedges.get(trade.trade_id)
        if hedges and trade.ended_hedges_ns and (watch := self._watches.get(trade.trade_id)) is not None:
            ended = [each for each in hedges.values() if is_counted(each, trade)]
            watch.adjusted_ns = max(watch.adjusted_ns, *(each.closed_ns or 0 for each in ended), 0)
            for each in ended:
                del hedges[each.trade_id]

    def _forget_ended(self, now_ns: int) -> list[Effect]:
        """Nobody watches the delta of a trade that has ended."""
        known = {trade.trade_id for trade in self._trades.open_trades()}
        self._pauses.forget_ended(known, now_ns)
        gone = {trade_id: watch for trade_id, watch in self._watches.items() if trade_id not in known}
        for trade_id in gone:
            del self._watches[trade_id]
        over = [
            trade_id
            for trade_id, hedges in self._hedges.items()
            if trade_id not in known and all(each.is_final for each in hedges.values())
        ]
        for trade_id in over:
            del self._hedges[trade_id]
        return [_alert(trade_id, "it has ended", resolved=True) for trade_id, watch in gone.items() if watch.alarmed]

    def _carry_on(self, strategy: str, progress: SendRequest | Ended | None, now_ns: int) -> list[Effect]:
        if isinstance(progress, SendRequest):
            return [progress]
        if progress is None:
            return []
        trade_id, _ = self._flights.pop(strategy)
        name, used = hedge_name(strategy), progress.ordinal_used
        if used is not None and used > self._ordinal_used(name):
            self._record(OrdinalUsed(strategy=name, ordinal=used))
        if progress.trade is not None and progress.trade.hedge_of:
            self._hedges.setdefault(progress.trade.hedge_of, {}).setdefault(progress.trade.trade_id, progress.trade)
        watch = self._watches.get(trade_id)
        if watch is not None:
            if progress.outcome.kind == "opened":
                watch.refusals = 0
                watch.refused = watch.refused if watch.most is not None else ""
            elif (part := _part(watch, progress)) is not None:
                watch.most, watch.refused = part, progress.outcome.reason
            else:
                watch.most = None
                least_s = max(_REFUSAL_PAUSE_S, self._config.refusal_pause_min_s)
                pause_s = min(max(self._config.refusal_pause_max_s, least_s), least_s * 2 ** min(watch.refusals, 16))
                watch.refusals += 1
                watch.refused = progress.outcome.reason
                watch.wait_until_ns = now_ns + round(pause_s * SECOND_NS)
        return []


def _part(watch: _Watch, refused: Ended) -> Decimal | None:
    """How much less to ask for next, after risk named a limit that this may keep: the share that fits, at most half,
    as what is held already may be in the figure too. None where no part is worth it."""
    if refused.room is None:
        return None
    part = snap_quantity(float(watch.asked) * min(refused.room, 0.5), watch.lot_size)
    return part if part >= watch.least else None


def _alert(trade_id: str, text: str, *, resolved: bool = False) -> RaiseAlert:
    severity = "info" if resolved else "warning"
    return RaiseAlert(code="hedge_off", severity=severity, subject=trade_id, text=text, resolved=resolved)
