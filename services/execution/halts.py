"""What stops or closes trades by rule: halts, a silent risk service or host, deadlines, losses, expiry."""

from __future__ import annotations

from services.execution import rows
from services.execution.broken import is_held_broken
from services.execution.halted import halt_text
from services.execution.hostless import HostlessTrades
from services.execution.modes import manner_of
from services.execution.records import Trade
from services.execution.rows import ClosePurpose
from services.execution.states import HOLDING_STATES, OPENING_STATES
from services.execution.workspace import MS, SECOND, Workspace, earliest
from shared.ids import next_trade_number
from shared.messages.control import BY_JOURNAL, HaltState
from shared.messages.space import JournalSpace, incomplete_is_over
from shared.messages.system import Heartbeat
from shared.messages.trades import HaltLevel
from shared.strategy_hosts import is_host

RISK_UNHEARD = "the risk service was not heard since execution started or stood still"
_HALTS_MAX = 100
_NUMBERS_SKIPPED = 3_600
_EPOCHS_SKIPPED = 3_600
_UNWRITTEN_MAX = 64
"""More closing orders of one leg and purpose are not sent while no row can be written."""


class Guards:
    """Heartbeats are volatile: after a start or a stall every service gets its full silence again.

    That keeps what rests from being undone for nothing; it does not make risk alive: until that is heard nothing is
    sent on its grants.
    """

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._risk_ns = 0
        self.risk_back_ns = 0
        self.risk_was_heard = False
        """Whether risk is known to live: a heartbeat came since the last start or stall."""

        self._hostless = HostlessTrades(work)

    def begin(self) -> None:
        """Count all silences from now."""
        self._risk_ns = self._work.now_ns
        self.risk_was_heard = False
        self._work.hosts.begin(self._work.now_ns)

    def heard(self, beat: Heartbeat) -> bool:
        """A service is alive; the age of its beat counts from this receipt. True when something may follow from that:
        it had been silent too long, or nothing was sent because risk had not been heard."""
        work = self._work
        heard_ns = work.hosts.heard(beat, work.now_ns) if is_host(beat.service) else 0
        self._hostless.look()
        if beat.service == "risk":
            was_silent = self.risk_is_silent
            if was_silent:
                self.risk_back_ns = work.now_ns
                work.resolve("risk_silent", "risk", "the risk service is heard again")
            self._risk_ns = work.now_ns
            was_heard, self.risk_was_heard = self.risk_was_heard, True
            return was_silent or not was_heard
        return heard_ns > work.config.quoting_host_silence_ms * MS

    @property
    def risk_is_silent(self) -> bool:
        return self._work.now_ns - self._risk_ns > self._work.config.risk_silence_max_ms * MS

    def halt_state(self) -> HaltState:
        book = self._work.book
        return HaltState(account_id=self._work.account_id, halt_epoch=book.halt_epoch, halts=tuple(book.halts))

    def raise_halt(self, level: HaltLevel, reason: str, raised_by: str) -> None:
        """Latch a halt and tell everybody; the same one raised again is one halt, and so is, when very many are in
        force, one more of a level that is among them."""
        halts = self._work.book.halts
        in_force = {(halt.level, halt.reason, halt.raised_by) for halt in halts}
        is_one_of_many = len(halts) >= _HALTS_MAX and any(halt.level == level for halt in halts)
        if (level, reason, raised_by) not in in_force and not is_one_of_many:
            self._work.record(rows.HaltRaised(level=level, reason=reason, raised_by=raised_by))
            self.publish()

    def lift_halts(self, lifted_by: str) -> None:
        """Lift every halt and tell everybody."""
        halts = self._work.book.halts
        if not halts:
            return
        if any(halt.raised_by == BY_JOURNAL for halt in halts):
            self._work.send(incomplete_is_over("execution", lifted_by))
        self._work.record(rows.HaltsLifted(lifted_by=lifted_by))
        self.publish()

    def publish(self) -> None:
        self._work.publish("exec.{account}.halt", self.halt_state())

    def take_space(self, space: JournalSpace) -> None:
        """A journal in which rows are missing halts: only a person can say that the desk knows what it holds."""
        self._work.take_space(space)
        if space.unwritten:
            reason = f"{space.unwritten}; compare positions and orders with the venue, then `voldesk resume`"
            # Halts are rarer than milliseconds: no epoch of the rows that are gone is as high.
            epoch = max(self._work.book.halt_epoch + _EPOCHS_SKIPPED, self._work.now_ns // MS)
            self._work.record(rows.HaltEpochCarried(halt_epoch=epoch, reason=space.unwritten))
            self.raise_halt("no_new_trades", reason, BY_JOURNAL)
            self.publish()
            # Lost trades may have had numbers ahead of the clock, where several were opened in one second.
            last = next_trade_number(self._work.book.last_trade_number, self._work.now_ns) + _NUMBERS_SKIPPED
            self._work.record(rows.TradeNumbersSkipped(last_trade_number=last, reason=space.unwritten))
            # A process that ended on a full disk may have left ids out too, from the same one on, and used the next.
            count = _UNWRITTEN_MAX * max(1, space.lost_processes)
            for trade in self._work.book.active_trades():
                self._work.record(rows.AttemptsSkipped(trade_id=trade.trade_id, count=count, reason=space.unwritten))

    def look(self) -> int | None:
        """Alarm a silent risk service; returns when it would become silent."""
        if not self.risk_is_silent:
            return self._risk_ns + self._work.config.risk_silence_max_ms * MS + MS
        self._work.alert(
            "risk_silent", "critical", "risk", "the risk service is silent: grants are void, nothing is opened"
        )
        return None

    def watch(self, trade: Trade) -> int | None:
        """Stop or close the trade where a rule says so; returns when the next rule is due."""
        if trade.state in OPENING_STATES:
            self._void_grant(trade)
        self._flatten(trade)
        self._unhedge(trade)
        self._loss(trade)
        return earliest(self._deadlines(trade), self._host(trade))

    def _void_grant(self, trade: Trade) -> None:
        if trade.stop is not None and trade.stop.void:
            return
        book = self._work.book
        reason = ""
        if book.halts:
            halt = book.halts[-1]
            reason = halt_text(halt)
        elif trade.request.grant.halt_epoch != book.halt_epoch:
            reason = "a halt voided the grant"
        elif self.risk_is_silent:
            reason = "the risk service is silent: the grant is void"
        elif self._work.space.level != "disk":
            reason = "the journal's disk is full: nothing is opened"
        if reason:
            self._work.record(rows.OpeningStopped(trade_id=trade.trade_id, reason=reason, void=True))

    def _flatten(self, trade: Trade) -> None:
        halt = next((halt for halt in self._work.book.halts if halt.level == "flatten"), None)
        if halt is None or (trade.close is not None and trade.close.purpose == "flatten"):
            return
        if (trade.state not in OPENING_STATES or not manner_of(trade).unwinds) and trade.state != "SETTLING":
            self._close(trade, f"flatten: {halt.reason}", halt.raised_by, "flatten")

    def _unhedge(self, trade: Trade) -> None:
        """A hedge ends with what it hedges, whether a strategy host lives or not."""
        hedged_id = trade.request.hedge_of
        if not hedged_id or trade.close is not None or trade.is_final:
            return
        hedged = self._work.book.trades.get(hedged_id)
        # what has expired has no delta any more, settled or not
        if hedged is None or hedged.is_final or hedged.state == "SETTLING":
            self._close(trade, f"{hedged_id}, which it hedges, has ended or expired", "execution")

    def _close(self, trade: Trade, reason: str, by: str, purpose: ClosePurpose = "close") -> None:
        row: rows.Row
        if is_stretched(trade) and purpose == "close":
            row = rows.CloseHurried(trade_id=trade.trade_id, reason=reason, requested_by=by)
        else:
            row = rows.CloseRequested(trade_id=trade.trade_id, reason=reason, requested_by=by, purpose=purpose)
        self._work.record(row)

    def _deadlines(self, trade: Trade) -> int | None:
        if not _may_be_closed(trade) or trade.state == "SETTLING":
            return None
        wakes: list[int] = []
        deadline_ns = trade.hard_deadline_ns
        if deadline_ns is not None:
            if self._work.now_ns >= deadline_ns:
                self._close(trade, "the trade's hard deadline passed", "execution")
                return None
            wakes.append(deadline_ns)
        if self._work.config.expiry_policy == "close":
            last_ns = min(leg.instrument.last_trade_ns for leg in trade.legs)
            exit_ns = last_ns - self._work.config.expiry_close_margin_s * SECOND
            if exit_ns <= self._work.now_ns < last_ns:
                self._close(trade, "expiry is near", "execution")
                return None
            wakes.append(exit_ns)
        return earliest(*(wake for wake in wakes if wake > self._work.now_ns))

    def _host(self, trade: Trade) -> int | None:
        if trade.request.if_host_silent != "close" or not _may_be_closed(trade) or trade.is_final:
            return None
        held = trade.state in HOLDING_STATES or trade.state in OPENING_STATES or is_stretched(trade)
        if not held and not is_held_broken(trade, self._work.config):
            return None
        silent_ns = self._work.hosts.last_ns(trade.request.strategy) + round(
            trade.request.host_silent_after_s * SECOND
        )
        if self._work.now_ns <= silent_ns:
            return silent_ns + MS
        self._close(trade, f"no strategy host for {trade.request.host_silent_after_s:g} s", "execution")
        return None

    def _loss(self, trade: Trade) -> None:
        limit_usd = trade.request.max_loss_usd
        fees_usd = 0.0
        granted_usd = trade.request.grant.max_loss_usd
        if manner_of(trade).reduces and granted_usd is not None:
            # it may turn over its legs again and again: all of that together loses no more than risk has judged
            limit_usd = granted_usd if limit_usd is None else min(limit_usd, granted_usd)
            fees_usd = float(trade.fees_usd)
        # An opening in chunks may take long: what is filled of it may lose no more than the whole.
        held = trade.state in HOLDING_STATES or (trade.state == "OPENING" and trade.was_filled)
        held = held or is_held_broken(trade, self._work.config) or is_stretched(trade)
        if limit_usd is None or not _may_be_closed(trade) or not held:
            return
        marked_usd = self._with_hedges_usd(trade)
        pnl_usd = None if marked_usd is None else marked_usd - fees_usd
        if pnl_usd is not None and pnl_usd <= -limit_usd:
            self._close(trade, f"loss on mark {-pnl_usd:.2f} USD reached the limit {limit_usd:g} USD", "execution")

    def _with_hedges_usd(self, trade: Trade) -> float | None:
        """The same as `_pnl_on_mark_usd` of the trade and of all that hedges it, or has."""
        trades = self._work.book.trades
        total = float(trade.forgotten_hedges_usd)
        for each in (trade, *(trades[number] for number in trade.hedges)):
            made_usd = self._pnl_on_mark_usd(each)
            if made_usd is None:
                return None
            total += made_usd
        return total

    def _pnl_on_mark_usd(self, trade: Trade) -> float | None:
        """Realised and unrealised P&L and funding, before fees; None while a mark is missing or stale: then nothing
        is decided."""
        total = -trade.funding_usd
        unrealized_usd = 0.0
        for leg in trade.legs:
            total += leg.realized_pnl_usd
            if leg.held_quantity > 0 and leg.open_price is not None:
                quote = self._work.market.quote(leg.instrument, self._work.now_ns)
                if quote is None or quote.mark is None:
                    return None
                unrealized_usd += leg.sign * float(leg.held_quantity) * (quote.mark - float(leg.open_price))
        return float(total) + unrealized_usd


def is_stretched(trade: Trade) -> bool:
    """Whether the trade is being closed in chunks over time, as a strategy or a person asked for."""
    close = trade.close
    if close is None or close.is_urgent or trade.is_final or trade.mode != "smart":
        return False
    return all(fallback.purpose != "close" for fallback in trade.fallbacks)


def _may_be_closed(trade: Trade) -> bool:
    """Whether a rule has something to do: the trade is not being closed, or not at once."""
    return trade.close is None or is_stretched(trade)
