"""Whether anything may be granted now. Asked even before an earlier grant of the same intent is given again."""

from __future__ import annotations

from services.risk.breakers import LOSSES, SLIPPAGE
from services.risk.situation import Situation, Violation

_MS = 1_000_000


def account_mismatch(s: Situation) -> Violation | None:
    if s.ask.account_id == s.account_id:
        return None
    return Violation(
        "account_mismatch", f"asked for account {s.ask.account_id[:64]}, this risk guards {s.account_id}"
    )


def halted(s: Situation) -> Violation | None:
    if not s.halts:
        return None
    reasons = "; ".join(f"{halt.level} by {halt.raised_by}: {halt.reason}" for halt in s.halts)
    return Violation("halted", f"halts are in force ({reasons}); lift them with `voldesk resume`")


def intent_expired(s: Situation) -> Violation | None:
    late_ns = s.now_ns - s.ask.valid_until_ns
    return None if late_ns < 0 else Violation("intent_expired", f"valid until {late_ns / 1e9:.3f} s ago")


def disk_full(s: Situation) -> Violation | None:
    if s.space.level == "disk":
        return None
    return Violation("disk_full", f"nothing is granted on a full disk: {s.space.reason}")


def not_ready(s: Situation) -> Violation | None:
    if not s.execution_synced:
        return Violation("not_ready", "execution has not replayed its trades yet")
    if s.account is None:
        return Violation("not_ready", "the account has not been read yet")
    return None


def stale_account(s: Situation) -> Violation | None:
    age_ms, limit = (s.now_ns - s.known_account.received_ns) / _MS, s.config.account_age_max_ms
    if age_ms <= limit:
        return None
    return Violation("stale_account", f"the account is {age_ms / 1e3:.1f} s old", age_ms, limit)


def guarded(s: Situation) -> Violation | None:
    """The margin guard and circuit breakers; not in the way of a grant that was given already. A hedge that takes
    away delta is let through by those breakers that speak of results: without it more may be lost."""
    guards = s.guards
    if guards and s.is_reducing_hedge:
        guards = tuple(guard for guard in guards if guard.code not in (LOSSES, SLIPPAGE))
    return guards[0] if guards else None
