"""How well the account can be read: told once when it cannot, or when this host's clock is off, and once after."""

from __future__ import annotations

from shared.messages.steps import RaiseAlert

_MS = 1_000_000
_CLOCK_OFF_NS = 1_000_000_000
_CLOCK_RIGHT_NS = 500_000_000


class ReadWatch:
    """Volatile: what goes on after a restart is told again."""

    def __init__(self, account_id: str, age_max_ms: int) -> None:
        self._account_id = account_id
        self._age_max_ms = age_max_ms
        self._failing_since_ns: int | None = None
        self._unreachable_told = False
        self._clock_off_told = False

    def on_read(self, clock_offset_ns: int) -> list[RaiseAlert]:
        """The account was read."""
        self._failing_since_ns = None
        alerts = self._judge_clock(clock_offset_ns)
        if self._unreachable_told:
            self._unreachable_told = False
            alerts.append(self._unreachable("the account is read again", resolved=True))
        return alerts

    def on_failed(self, reason: str, now_ns: int) -> list[RaiseAlert]:
        """It could not be read."""
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns
        failing_ms = (now_ns - self._failing_since_ns) / _MS
        if self._unreachable_told or failing_ms < self._age_max_ms:
            return []
        self._unreachable_told = True
        text = f"the account has not been readable for {failing_ms / 1e3:.0f} s: {reason}"
        return [self._unreachable(text, resolved=False)]

    def _judge_clock(self, offset_ns: int) -> list[RaiseAlert]:
        limit_ns = _CLOCK_RIGHT_NS if self._clock_off_told else _CLOCK_OFF_NS
        is_off = abs(offset_ns) > limit_ns
        if is_off == self._clock_off_told:
            return []
        self._clock_off_told = is_off
        text = f"the clock of this host is {-offset_ns / 1e9:+.1f} s off the venue's"
        if is_off:
            text += (
                ": synchronise it (NTP); signatures are corrected, but expiries and deadlines follow the host's clock"
            )
        return [
            RaiseAlert(
                code="clock_off",
                severity="critical" if is_off else "info",
                subject=self._account_id,
                text=text,
                resolved=not is_off,
            )
        ]

    def _unreachable(self, text: str, *, resolved: bool) -> RaiseAlert:
        return RaiseAlert(
            code="account_unreachable",
            severity="info" if resolved else "warning",
            subject=self._account_id,
            text=text,
            resolved=resolved,
        )
