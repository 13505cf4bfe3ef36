"""Instrument lists, option chains as columns, index prices."""

from __future__ import annotations

import math
from typing import Any

from services.marketdata.columns import Columns, is_overtaken, sorted_instruments
from services.marketdata.config import MarketdataConfig
from services.marketdata.effects import InstrumentsLoaded, ReloadInstruments
from shared.messages.market import ChainSnapshot, IndexPrice
from shared.messages.steps import Entry, LoopStalled, Publish, RaiseAlert, Step, Tick
from shared.messages.system import Severity
from shared.messages.topics import topic_of
from shared.messages.venue import StreamDown, StreamUp
from shared.venues.ports import ChainPush, IndexPush

_MS = 1_000_000


class _Underlying:
    def __init__(self, name: str) -> None:
        self.name = name
        self.columns: Columns | None = None
        self.index = math.nan
        self.index_venue_ns = 0
        self.index_received_ns = 0
        self.due_ns: int | None = None
        self.published_ns = 0
        self.published_index = math.nan
        self.reload_after_ns = 0


class MarketdataCore:
    """What the venue quotes, normalised.

    Inputs: InstrumentsLoaded, ChainPush, IndexPush, StreamUp, StreamDown, Tick, LoopStalled. A push counts as
    received when it is handled. Effects: Publish, RaiseAlert and those of effects.py. Journals nothing.
    """

    def __init__(self, config: MarketdataConfig) -> None:
        self._config = config
        self._underlyings: dict[str, _Underlying] = {}
        self._stream_down = False

    def start(self, now_ns: int) -> Step:
        return Step()

    def apply(self, entry: Entry) -> None:
        raise AssertionError(f"market data journals nothing, yet a row was found: {entry.row!r}")

    def next_deadline_ns(self) -> int | None:
        return min((part.due_ns for part in self._underlyings.values() if part.due_ns is not None), default=None)

    def handle(self, item: Any, now_ns: int) -> Step:
        step = Step()
        match item:
            case ChainPush():
                self._on_chain(step, item, now_ns)
            case IndexPush():
                self._on_index(step, item, now_ns)
            case InstrumentsLoaded():
                self._on_instruments(step, item, now_ns)
            case Tick():
                for part in self._underlyings.values():
                    if part.due_ns is not None and part.due_ns <= now_ns:
                        self._publish(step, part, now_ns)
            case StreamUp() | StreamDown():
                self._on_stream(step, item)
            case LoopStalled():
                # What waits in the sockets is as old as the stall and would be stamped as new.
                for part in self._underlyings.values():
                    part.index_received_ns = 0
                    if part.columns is not None:
                        part.columns.forget_times()
            case _:
                pass
        return step

    def silent_expiries(self, underlying: str, now_ns: int, silence_ms: int) -> tuple[int, ...]:
        """Listed expiries, not yet expired, that nothing was received of for so long: what to poll."""
        part = self._underlyings.get(underlying)
        if part is None or part.columns is None:
            return ()
        columns, before_ns = part.columns, now_ns - silence_ms * _MS
        return tuple(e for e in columns.expiries_ns if e > now_ns and columns.received_ns(e) < before_ns)

    def index_is_silent(self, underlying: str, now_ns: int, silence_ms: int) -> bool:
        part = self._underlyings.get(underlying)
        return part is None or part.index_received_ns < now_ns - silence_ms * _MS

    def expiries_ns(self, underlying: str, now_ns: int) -> tuple[int, ...]:
        """Listed expiries that have not passed, nearest first."""
        part = self._underlyings.get(underlying)
        return (
            () if part is None or part.columns is None else tuple(e for e in part.columns.expiries_ns if e > now_ns)
        )

    def listed(self, underlying: str) -> bool:
        """Whether instruments of this underlying were loaded."""
        part = self._underlyings.get(underlying)
        return part is not None and part.columns is not None

    def _part(self, underlying: str) -> _Underlying:
        return self._underlyings.setdefault(underlying, _Underlying(underlying))

    def _on_instruments(self, step: Step, loaded: InstrumentsLoaded, now_ns: int) -> None:
        part = self._part(loaded.underlying)
        columns = Columns(loaded.underlying, sorted_instruments(loaded.instruments, now_ns))
        if part.columns is not None:
            if part.columns.listed.list_id == columns.listed.list_id:
                return
            columns.take_over(part.columns)
        part.columns = columns
        if part.due_ns is None:
            part.due_ns = now_ns
        step.effects.append(
            Publish(topic_of("md.{underlying}.instruments", underlying=loaded.underlying), columns.listed)
        )

    def _on_chain(self, step: Step, push: ChainPush, now_ns: int) -> None:
        part = self._part(push.underlying)
        unlisted = len(push.rows) if part.columns is None else part.columns.take(push, now_ns)
        if unlisted and now_ns >= part.reload_after_ns:
            part.reload_after_ns = now_ns + self._config.reload_min_interval_ms * _MS
            step.effects.append(ReloadInstruments(push.underlying))

    def _on_index(self, step: Step, push: IndexPush, now_ns: int) -> None:
        part = self._part(push.underlying)
        usable = math.isfinite(push.price) and push.price > 0
        if not usable or is_overtaken(push.venue_ns, now_ns, part.index_venue_ns, part.index_received_ns):
            return
        part.index, part.index_venue_ns, part.index_received_ns = push.price, push.venue_ns, now_ns
        index = IndexPrice(underlying=push.underlying, price=push.price, venue_ns=push.venue_ns, received_ns=now_ns)
        step.effects.append(Publish(topic_of("md.{underlying}.index", underlying=push.underlying), index))
        moved_pct = abs(push.price / part.published_index - 1) * 100
        if part.due_ns is not None and moved_pct >= self._config.publish_index_move_pct:
            soonest_ns = part.published_ns + self._config.publish_min_interval_ms * _MS
            part.due_ns = min(part.due_ns, max(soonest_ns, now_ns))
            if part.due_ns <= now_ns:
                self._publish(step, part, now_ns)

    def _publish(self, step: Step, part: _Underlying, now_ns: int) -> None:
        part.due_ns = now_ns + self._config.publish_interval_ms * _MS
        columns = part.columns
        shown = None if columns is None else columns.shown(now_ns, self._config.expiry_age_max_ms * _MS)
        if columns is None or shown is None:
            return
        matrix, received_ns, venue_ns = shown
        if self._config.own_greeks:
            step.effects.append(columns.put_own_greeks(matrix, now_ns))
        index_is_fresh = now_ns - part.index_received_ns <= self._config.index_age_max_ms * _MS
        chain = ChainSnapshot(
            underlying=part.name,
            list_id=columns.listed.list_id,
            venue_ns=venue_ns,
            received_ns=received_ns,
            index_price=part.index if index_is_fresh else math.nan,
            index_received_ns=part.index_received_ns,
            matrix=matrix.tobytes(),
        )
        part.published_ns, part.published_index = now_ns, part.index
        step.effects.append(Publish(topic_of("md.{underlying}.chain", underlying=part.name), chain))

    def _on_stream(self, step: Step, change: StreamUp | StreamDown) -> None:
        is_down = isinstance(change, StreamDown)
        if is_down != self._stream_down:
            self._stream_down = is_down
            text = f"the market stream is down: {change.reason}" if isinstance(change, StreamDown) else "it is back"
            severity: Severity = "warning" if is_down else "info"
            step.effects.append(
                RaiseAlert(
                    code="market_stream_down", severity=severity, subject="market", text=text, resolved=not is_down
                )
            )
