"""The venue's countdown as a dead man's switch: while a strategy quotes, orders end there unless it is renewed.

One per underlying. It is only ever armed anew, never just restarted: that frees one that has fired too, whichever of
the two the venue wants. Once fired it refuses every order, closes included, until it is armed anew.
"""

from __future__ import annotations

import msgspec

from services.execution.effects import SetCountdown
from services.execution.states import OPENING_STATES
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns, earliest
from shared.messages.countdowns import Countdown as ToldCountdown
from shared.messages.countdowns import CountdownList
from shared.messages.venue import CountdownRefused, CountdownSet, CountdownUnknown

COUNTDOWN_FIRED = 10619
"""The venue's code for an order that a fired countdown refuses."""

_RENEWALS = 3
"""So often it is renewed in the time that it counts down: two may be lost."""

_ANSWER_NS = 10 * SECOND
_RETRY_FIRST_MS, _RETRY_MAX_MS = 1_000, 10_000


class _Countdown(msgspec.Struct):
    """One that may be armed at the venue; None: nobody knows. `set_ns`: when it was last armed, by our asking."""

    is_armed: bool | None = None
    set_ns: int = 0
    asked_ns: int | None = None
    failures: int = 0
    next_ns: int = 0


class Countdowns:
    """Arms, renews and disarms. Volatile: after a start or a stall what is armed is not known, and is set anew."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._countdowns: dict[str, _Countdown] = {}
        self._lacks_right = False
        self._released = False

    def begin(self) -> None:
        """What was armed may have fired meanwhile."""
        for underlying in {*self._countdowns, *self._quoted()}:
            if self._work.config.quoting_countdown_s:
                self._countdowns[underlying] = _Countdown()

    def release(self) -> None:
        """Disarm all, although orders rest: they are to stay, and nobody will renew it."""
        self._released = True

    def armed(self) -> list[str]:
        """Underlyings of which one may be armed."""
        return [name for name, each in self._countdowns.items() if each.is_armed is not False]

    def told(self) -> CountdownList:
        """For a person. When one fires is said by our clock, counted from when the last arming was asked for."""
        lasts_ns = self._work.config.quoting_countdown_s * SECOND
        return CountdownList(
            countdown_s=self._work.config.quoting_countdown_s,
            lacks_right=self._lacks_right,
            countdowns=tuple(
                ToldCountdown(
                    underlying=underlying,
                    is_armed=each.is_armed,
                    fires_ns=each.set_ns + lasts_ns if each.is_armed else None,
                )
                for underlying, each in sorted(self._countdowns.items())
                if each.is_armed is not False
            ),
        )

    def fired(self, underlying: str) -> None:
        """An order was refused because of it."""
        self._work.alert(
            "countdown_fired",
            "warning",
            underlying,
            f"{underlying}: the venue's countdown was not renewed in time; the venue has withdrawn every order, and "
            "refuses new ones until it is set anew, which is asked for now",
        )
        known = self._countdowns.get(underlying)
        if known is None or known.asked_ns is None:
            self._countdowns[underlying] = _Countdown()
            self._lacks_right = False

    def look(self) -> int | None:
        """Ask for what is due; returns when to look again."""
        work = self._work
        quoted = self._quoted() if work.config.quoting_countdown_s and not self._lacks_right else set()
        for underlying in quoted - self._countdowns.keys():
            self._countdowns[underlying] = _Countdown()
        wakes = [
            self._look_at(underlying, countdown, wanted=underlying in quoted)
            for underlying, countdown in tuple(self._countdowns.items())
        ]
        return earliest(*wakes)

    def _look_at(self, underlying: str, countdown: _Countdown, *, wanted: bool) -> int | None:
        work = self._work
        if countdown.asked_ns is not None:
            lost_ns = countdown.asked_ns + _ANSWER_NS
            if work.now_ns < lost_ns:
                return lost_ns
            self._failed(countdown)
        if not wanted and countdown.is_armed is False:
            del self._countdowns[underlying]
            return None
        countdown_ms = work.config.quoting_countdown_s * 1_000 if wanted else 0
        due_ns = countdown.next_ns
        if wanted and countdown.is_armed:
            due_ns = max(due_ns, countdown.set_ns + countdown_ms * MS // _RENEWALS)
        if work.now_ns < due_ns:
            return due_ns
        countdown.asked_ns = work.now_ns
        work.send(SetCountdown(underlying, countdown_ms))
        return work.now_ns + _ANSWER_NS

    def take(self, outcome: CountdownSet | CountdownRefused | CountdownUnknown) -> None:
        """What came of it."""
        work, underlying = self._work, outcome.underlying
        countdown = self._countdowns.get(underlying)
        if countdown is None or countdown.asked_ns is None:
            return
        match outcome:
            case CountdownSet(countdown_ms=countdown_ms):
                self._countdowns[underlying] = _Countdown(is_armed=countdown_ms > 0, set_ns=countdown.asked_ns)
                for code in ("countdown_fired", "countdown_not_renewed", "countdown_refused"):
                    work.resolve(code, underlying, f"{underlying}: the venue's countdown is set again")
            case CountdownRefused(lacks_right=True):
                self._lacks_right = True
                del self._countdowns[underlying]
                work.alert(
                    "countdown_refused",
                    "warning",
                    underlying,
                    f"the venue grants this account no countdown ({outcome.text}): nothing withdraws quotes if this "
                    "host dies; ask the venue for the right, or set quoting_countdown_s = 0",
                )
            case CountdownRefused(text=reason) | CountdownUnknown(reason=reason):
                self._failed(countdown)
                if countdown.failures >= _RENEWALS:
                    work.alert(
                        "countdown_not_renewed",
                        "warning",
                        underlying,
                        f"{underlying}: the venue's countdown cannot be set: {reason}; it withdraws every order of "
                        f"the underlying if it was armed and is not renewed",
                    )

    def _failed(self, countdown: _Countdown) -> None:
        countdown.asked_ns = None
        countdown.failures += 1
        pause_ns = backoff_ns(_RETRY_FIRST_MS, _RETRY_MAX_MS, countdown.failures - 1)
        countdown.next_ns = self._work.now_ns + pause_ns

    def _quoted(self) -> set[str]:
        """Underlyings in which a strategy works orders, or may at any moment."""
        work = self._work
        if self._released:
            return set()
        return {
            leg.instrument.underlying
            for trade in work.book.active_trades()
            if trade.by_strategy
            and (trade.live or (trade.state in OPENING_STATES and trade.stop is None and not work.is_winding_down))
            for leg in trade.legs
        }
