"""Market-maker protections: their records, the commands about them, and the fold of their rows."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from services.exchange.model import Rejection
from services.exchange.rows import MmpCounted, MmpFired, MmpReset, MmpSet

NS_PER_MS = 1_000_000
ZERO = Decimal(0)


class SetProtection(msgspec.Struct, frozen=True, kw_only=True):
    """Protect the orders with `mmp` of an index such as BTCUSD, or with an interval of 0 ms no more.

    Within `interval_ms` fills of `quantity_limit` together, or of `delta_limit` net, end them; new ones are refused
    for `frozen_ms`, or with 0 until a reset. A limit of None does not count.
    """

    index: str
    interval_ms: int
    frozen_ms: int
    quantity_limit: Decimal | None
    delta_limit: Decimal | None


class ProtectionChanged(msgspec.Struct, frozen=True):
    """The index whose protection was set, removed or reset."""

    index: str


MmpResult = ProtectionChanged | Rejection


class Counted(NamedTuple):
    """One fill that counts: its amount in the unit of the limit, its signed delta in base coin."""

    at_ns: int
    amount: Decimal
    delta: float


@dataclass(slots=True)
class Protection:
    """The protection of one account and index. `frozen_until_ns` None while frozen: until a reset."""

    protection_id: int
    interval_ms: int
    frozen_ms: int
    quantity_limit: Decimal | None
    delta_limit: Decimal | None
    created_ns: int
    modified_ns: int
    frozen: bool = False
    frozen_until_ns: int | None = None
    counted: deque[Counted] = field(default_factory=deque)

    def is_frozen(self, now_ns: int) -> bool:
        return self.frozen and (self.frozen_until_ns is None or now_ns < self.frozen_until_ns)

    def is_over(self, now_ns: int) -> bool:
        """Whether the interval that began with the oldest fill which counts has ended, or none has begun."""
        return not self.counted or now_ns >= self.counted[0].at_ns + self.interval_ms * NS_PER_MS

    def amount(self) -> Decimal:
        """What was filled within the interval of the newest fill."""
        return sum((each.amount for each in self.counted), ZERO)

    def delta(self) -> float:
        return sum(each.delta for each in self.counted)


class MmpState:
    """All protections by account and index. Two states are equal if all their parts are."""

    def __init__(self) -> None:
        self.protections: dict[tuple[str, str], Protection] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MmpState) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def apply(self, row: MmpSet | MmpCounted | MmpFired | MmpReset) -> None:
        """Fold one row in. Raises KeyError for a row of a protection that is not there."""
        key = (row.account_id, row.index)
        if isinstance(row, MmpSet):
            self._set(key, row)
            return
        protection = self.protections[key]
        match row:
            case MmpCounted():
                if row.anew:
                    protection.counted.clear()
                horizon_ns = row.at_ns - protection.interval_ms * NS_PER_MS
                while protection.counted and protection.counted[0].at_ns <= horizon_ns:
                    protection.counted.popleft()
                protection.counted.append(Counted(row.at_ns, row.amount, row.delta))
            case MmpFired():
                protection.frozen, protection.frozen_until_ns = True, row.until_ns
                protection.counted.clear()
            case MmpReset():
                protection.frozen, protection.frozen_until_ns = False, None
                protection.counted.clear()

    def _set(self, key: tuple[str, str], row: MmpSet) -> None:
        """What is set anew keeps its id and stays frozen if it is; what it has counted begins anew."""
        before = self.protections.pop(key, None)
        if not row.interval_ms:
            return
        self.protections[key] = Protection(
            protection_id=row.protection_id if before is None else before.protection_id,
            interval_ms=row.interval_ms,
            frozen_ms=row.frozen_ms,
            quantity_limit=row.quantity_limit,
            delta_limit=row.delta_limit,
            created_ns=row.at_ns if before is None else before.created_ns,
            modified_ns=row.at_ns,
            frozen=before is not None and before.frozen,
            frozen_until_ns=None if before is None else before.frozen_until_ns,
        )
