"""How well the account can be read: told once when it cannot, or when this host's clock is off, and once after."""

from __future__ import annotations

from shared.messages.steps import RaiseAlert
from shared.messages.system import Severity

_MS = 1_000_000
_CRITICAL_MS = 60_000
_ACCOUNT = "the account has not been readable"
_CLOCK_OFF_NS = 1_000_000_000
_CLOCK_RIGHT_NS = 500_000_000


class ReadWatch:
    """Volatile: what goes on after a restart is told again."""

    def __init__(self, account_id: str, age_max_ms: int) -> None:
        self._account_id = account_id
        self._age_max_ms = age_max_ms
        self._failing_since_ns: int | None = None
        self._told: Severity | None = None
        self._clock_off_told = False

    def on_read(self, clock_offset_ns: int) -> list[RaiseAlert]:
        """The account was read."""
        self._failing_since_ns = None
        alerts = self._judge_clock(clock_offset_ns)
        if self._told is not None:
            self._told = None
            alerts.append(self._unreachable("the account is read again"))
        return alerts

    def on_failed(self, reason: str, now_ns: int, what: str = _ACCOUNT) -> list[RaiseAlert]:
        """It could not be read, or not all that it takes to judge it: a warning, critical once it lasts a minute."""
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns
        failing_ms = (now_ns - self._failing_since_ns) / _MS
        severity: Severity = "critical" if failing_ms >= max(_CRITICAL_MS, self._age_max_ms) else "warning"
        if self._told in (severity, "critical") or failing_ms < self._age_max_ms:
            return []
        self._told = severity
        return [self._unreachable(f"{what} for {failing_ms / 1e3:.0f} s: {reason}", severity)]

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

    def _unreachable(self, text: str, severity: Severity = "info") -> RaiseAlert:
        return RaiseAlert(
            code="account_unreachable",
            severity=severity,
            subject=self._account_id,
            text=text,
            resolved=severity == "info",
        )
