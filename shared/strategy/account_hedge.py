"""Keeping the delta of the whole account in an underlying within a band, by trades of its perpetual. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, get_args

from shared.messages.account import AccountSnapshot
from shared.messages.control import Gate
from shared.messages.market import Instrument
from shared.messages.trades import LegOrder, OrderUpdate, TradeUpdate
from shared.options.chain import snap_quantity
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
from shared.strategy.protocol import CloseStructure, Intent, IntentOutcome, OpenStructure, ReduceStructure
from shared.strategy.selection import SelectionFailed, perpetual_of
from shared.strategy.views import SECOND_NS, DeskView

Counts = Literal["account", "desk"]

_LOOK_NS = SECOND_NS
_REFUSAL_PAUSE_S, _REFUSAL_PAUSE_MAX_S = 5.0, 60.0
_ALARM_NS = 60 * SECOND_NS
_INTERVAL_MIN_S = 5
"""Within less a venue may show a position as it was before the last fill."""

_OPENING_NS = 120 * SECOND_NS
"""So long it is waited for openings, after the patience: one that quotes for hours must not keep delta off."""

_REFUSED_NS = 60 * SECOND_NS
"""So long somebody whose opening was refused is thought to want it still: it is asked for again within less."""

_GIVES_WAY_NS = 600 * SECOND_NS
"""Between two times at least: a delta at the edge of the band must not open and close for each refusal."""

_HELD_STATES = frozenset({"OPEN", "PARTIALLY_OPEN"})


class AccountDeltaHedger:
    """A strategy that trades the perpetual of `underlying` ("BTC" or "BTCUSD") when the delta of the whole account in
    it leaves a band around 0, and back to 0, in lots. Delta is in coins: of options as risk has it, one per coin of
    perpetuals, dated futures and spot that are among the positions.

    band: coins; within ± band nothing is done. interval_seconds: between two adjustments at least, 5 or more.
    minimum_size: coins; less is not traded. maximum_size: coins that its own trades hold at most, bought or sold.
    patience_seconds: so long must delta have been beyond the band; it is waited for what is being opened too, up to
    two minutes longer: the hedge of a single structure, and an opening that is half done, come first.
    It gives way: when an opening was refused as it, or its own hedge, would net against a trade of this strategy, and
    delta is within the band without all of its trades, they are closed, once in ten minutes at most. Else they stay.
    counts: "account", everything that the venue holds; or "desk", without what is no trade's.

    Its trades go by `hedge_name(name)`: what surely brings the account's delta nearer to 0 risk grants although
    nothing bounds its loss.
    Raises ValueError naming the field and what is allowed.

    >>> AccountDeltaHedger("hedger", "BTC", band=0.2, maximum_size=1.0).underlying
    'BTCUSD'
    """

    hedges_account = True

    def __init__(
        self,
        name: str,
        underlying: str,
        *,
        band: float = 0.1,
        interval_seconds: float = 60.0,
        minimum_size: float = 0.01,
        maximum_size: float = 2.0,
        patience_seconds: float = 20.0,
        counts: Counts = "account",
    ) -> None:
        self.name = name
        self.underlying = underlying if underlying.endswith("USD") else f"{underlying}USD"
        _check("interval_seconds", interval_seconds, _INTERVAL_MIN_S)
        self._hedge = DeltaHedge(band=band, interval_seconds=interval_seconds, minimum_size=minimum_size)
        _check("maximum_size", maximum_size, minimum_size)
        _check("patience_seconds", patience_seconds, 0)
        if counts not in get_args(Counts):
            raise ValueError(f"counts {counts!r} must be one of {', '.join(get_args(Counts))}")
        self._maximum = Decimal(repr(float(maximum_size)))
        self._patience_ns = round(patience_seconds * SECOND_NS)
        self._counts = counts
        self._look_ns = 0
        self._beyond_ns: int | None = None
        self._moved_ns = 0
        self._wait_until_ns = 0
        self._refusals = 0
        self._refused = ""
        self._gate: Gate | None = None
        self._gave_way_ns: int | None = None
        self._blind_ns: int | None = None
        self.alarm = ""
        """What a person is told when delta is not known for a minute, or beyond its band and not adjusted."""

    def on_market(self, underlying: str, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return ()

    def on_order(self, order: OrderUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return ()

    def on_trade(self, trade: TradeUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        """Only an account that was read after this shows what it has changed."""
        self._moved_ns = max(self._moved_ns, now_ns)
        return ()

    def on_outcome(self, outcome: IntentOutcome, now_ns: int) -> None:
        if outcome.kind == "opened":
            self._refusals, self._refused = 0, ""
            return
        pause_s = min(_REFUSAL_PAUSE_S * 2 ** min(self._refusals, 8), _REFUSAL_PAUSE_MAX_S)
        self._refusals += 1
        self._refused = outcome.reason
        self._wait_until_ns = now_ns + round(pause_s * SECOND_NS)

    def gates(self) -> Sequence[Gate]:
        return () if self._gate is None else (self._gate,)

    def next_deadline_ns(self) -> int | None:
        return self._look_ns

    def on_timer(self, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        """Once a second: look at the account's delta, and adjust it when it is time."""
        self._look_ns = now_ns + _LOOK_NS
        found = self._look(desk, now_ns)
        reason, intents = (found, ()) if isinstance(found, str) else found
        self._blind_ns = (self._blind_ns or now_ns) if reason.startswith("waiting: ") else None
        off_ns = self._blind_ns or self._beyond_ns
        late = off_ns is not None and now_ns - off_ns >= self._patience_ns + _ALARM_NS
        self.alarm = reason if late else ""
        is_open = bool(intents)
        since_ns = now_ns if self._gate is None or self._gate.open != is_open else self._gate.since_ns
        self._gate = Gate(name="account_delta", open=is_open, reason=reason, since_ns=since_ns)
        return intents

    def _look(self, desk: DeskView, now_ns: int) -> str | tuple[str, tuple[Intent, ...]]:
        """What is to be done and why, or why nothing is."""
        view = desk.entry_view
        account, chain = view.fresh_account(now_ns), view.fresh_chain(self.underlying, now_ns)
        if isinstance(account, str) or isinstance(chain, str):
            return f"waiting: {account if isinstance(account, str) else chain}"
        found = perpetual_of(chain)
        delta = _delta(account, self.underlying, desk.foreign if self._counts == "desk" else {})
        if isinstance(found, SelectionFailed) or isinstance(delta, str):
            return f"waiting: {found.reason if isinstance(found, SelectionFailed) else delta}"
        whose = "the account" if self._counts == "account" else "the desk"
        text = f"delta of {whose} in {self.underlying} {delta:+.4f}, band 0 ± {self._hedge.band:g}"
        # one that was asked for before the last fill may arrive after it
        if account.asked_ns <= self._moved_ns:
            return f"{text}; the account is not read again yet since its last trade"
        own = [
            HeldHedge(trade.trade_id, leg.held_quantity if leg.side == "buy" else -leg.held_quantity)
            for trade in desk.trades
            for leg in trade.legs
            if leg.held_quantity
        ]
        if abs(delta) <= self._hedge.band:
            self._beyond_ns = None
            return self._gives_way(desk, delta, own, text, now_ns)
        self._beyond_ns = now_ns if self._beyond_ns is None else self._beyond_ns
        held = sum((each.quantity for each in own), Decimal(0))
        wanted = adjustment(delta - float(held), own, self._hedge, found.option)
        if isinstance(wanted, OpenHedge):
            wanted = self._within_maximum(wanted, held, found.option)
        waits = self._waits(desk, account, wanted, now_ns)
        if waits is not None:
            return f"{text}; {waits}"
        self._moved_ns = self._wait_until_ns = now_ns
        return text, self._intents(wanted, found.option, text)

    def _gives_way(
        self, desk: DeskView, delta: float, own: Sequence[HeldHedge], text: str, now_ns: int
    ) -> str | tuple[str, tuple[Intent, ...]]:
        """Close what it holds when somebody's opening was refused because of it and the band does not need it. What
        is needed stays: beside a hedge on the other side it could not come back."""
        refused = [desk.stood_against[each.trade_id] for each in own if each.trade_id in desk.stood_against]
        refused = [each for each in refused if now_ns - each.at_ns < _REFUSED_NS]
        if not refused:
            return text
        who = max(refused, key=lambda each: each.at_ns).intent_id
        without = delta - float(sum((each.quantity for each in own), Decimal(0)))
        if abs(without) > self._hedge.band:
            return f"{text}; does not give way to {who}: without its trades delta would be {without:+.4f}"
        if self._gave_way_ns is not None and now_ns - self._gave_way_ns < _GIVES_WAY_NS:
            left_s = (self._gave_way_ns + _GIVES_WAY_NS - now_ns) / SECOND_NS
            return f"{text}; gave way before, gives way to {who} in {left_s:.0f} s"
        busy = self._busy(desk)
        if busy is not None:
            return f"{text}; gives way to {who} later: {busy}"
        self._gave_way_ns = self._moved_ns = self._wait_until_ns = now_ns
        reason = f"gives way to {who}: without its trades delta is {without:+.4f}, within the band"
        return f"{text}; {reason}", tuple(CloseStructure(trade_id=each.trade_id, reason=reason) for each in own)

    def _within_maximum(self, wanted: OpenHedge, held: Decimal, perpetual: Instrument) -> OpenHedge | NoHedge:
        """So much of it as `maximum_size` leaves room for."""
        room = snap_quantity(float(self._maximum - abs(held)), perpetual.lot_size)
        quantity = min(wanted.quantity, room)
        return NoHedge() if quantity < least_change(self._hedge, perpetual) else OpenHedge(wanted.side, quantity)

    def _waits(
        self, desk: DeskView, account: AccountSnapshot, wanted: OpenHedge | ReduceHedges | NoHedge, now_ns: int
    ) -> str | None:
        """Why nothing is done now about a delta beyond the band, None when something is."""
        if isinstance(wanted, NoHedge):
            return "too small to trade" if wanted.is_off else f"its trades hold {self._maximum:f} coins, the most"
        busy = self._busy(desk)
        if busy is not None:
            return busy
        assert self._beyond_ns is not None, "delta is beyond the band"
        history = desk.history
        adjusted_ns = max(history.last_created_ns or 0, history.last_closed_ns or 0, self._moved_ns)
        next_ns = max(
            adjusted_ns + round(self._hedge.interval_seconds * SECOND_NS) if adjusted_ns else 0,
            self._beyond_ns + self._patience_ns,
            self._wait_until_ns,
        )
        if now_ns < next_ns:
            why = f", refused: {self._refused}" if self._refused else ""
            return f"adjusted in {(next_ns - now_ns) / SECOND_NS:.0f} s{why}"
        left_ns = self._beyond_ns + self._patience_ns + _OPENING_NS - now_ns
        if account.outstanding_grants and left_ns > 0:
            openings = f"openings of the account: {account.outstanding_grants} under way or not seen in it yet"
            return f"{openings}, waited for {left_ns / SECOND_NS:.0f} s at most"
        if isinstance(wanted, OpenHedge) and desk.entry_closed is not None:
            return f"not added to: {desk.entry_closed}"
        return None

    def _busy(self, desk: DeskView) -> str | None:
        """What of its trades is on its way."""
        for trade in desk.trades:
            (leg,) = trade.legs
            if trade.state not in _HELD_STATES:
                return f"{trade.trade_id} is {trade.state}"
            if leg.keep_quantity is not None and leg.held_quantity > leg.keep_quantity:
                return f"{trade.trade_id} is being reduced to {leg.keep_quantity:f}"
        return None

    def _intents(
        self, wanted: OpenHedge | ReduceHedges | NoHedge, perpetual: Instrument, text: str
    ) -> tuple[Intent, ...]:
        if isinstance(wanted, ReduceHedges):
            return tuple(
                ReduceStructure(trade_id=trade_id, keep=keep, reason=text)
                if keep
                else CloseStructure(trade_id=trade_id, reason=text)
                for trade_id, keep in wanted.keep.items()
            )
        assert isinstance(wanted, OpenHedge), "nothing else is wanted"
        return (
            OpenStructure(
                legs=(LegOrder(symbol=perpetual.symbol, side=wanted.side, quantity=wanted.quantity),),
                execution_mode="limit",
                execution_params=HEDGE_PARAMS,
                policy="best_effort",
                if_broken="close",
            ),
        )


def _check(field: str, value: object, low: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < math.inf:
        raise ValueError(f"{field} {value!r} must be a number, {low:g} or more")


def _delta(account: AccountSnapshot, underlying: str, foreign: Mapping[str, Decimal] | None) -> float | str:
    """Of the account's positions in an underlying, in coins, without `foreign` (signed, by symbol); or why it is not
    known. None: what is foreign is not known."""
    if foreign is None:
        return "execution has not compared positions with the venue yet"
    total = 0.0
    for position in account.positions:
        if position.underlying != underlying or not position.quantity:
            continue
        if position.greeks is None or not math.isfinite(position.greeks.delta):
            return f"no delta of {position.symbol}"
        part = 1.0 - float(foreign.get(position.symbol, Decimal(0)) / position.quantity)
        total += position.greeks.delta * part
    if not account.greeks_complete and all(each.greeks is not None for each in account.positions if each.quantity):
        return "risk does not know yet which coins of spot trades hold"
    return total
