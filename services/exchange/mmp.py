"""Market-maker protection (MMP): when too much of an account's protected orders trades at once, they end.

One per account and index. Only orders placed with `mmp` count and are ended; quotes on requests are not. The venue
does not say more than its parameters; what it leaves open are switches.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from services.exchange.accounts import ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.mmp_state import MmpResult, Protection, ProtectionChanged, SetProtection
from services.exchange.model import Fill, OrderState, PlaceOrder, Rejection
from services.exchange.rows import MmpCounted, MmpFired, MmpReset, MmpSet, OrderFilled, Outcome
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation

NS_PER_MS = 1_000_000
NOT_ENABLED = 60008
MS_MIN, MS_MAX = 1_000, 1_000_000_000
LIMIT_MIN = Decimal("0.01")

Begin = Callable[[int, str | None], Transaction]
End = Callable[[Any, Transaction], Outcome[Any]]


class Mmp:
    """The core's part for protections: `ExchangeCore.mmp`. Commands advance the market first, as the core's own."""

    def __init__(
        self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation, begin: Begin, end: End
    ) -> None:
        self._switches = config.switches
        self._indices = tuple(f"{base.base}USD" for base in config.bases)
        self._state = state
        self._valuation = valuation
        self._begin = begin
        self._end = end

    def set(self, account_id: str, command: SetProtection, now_ns: int) -> Outcome[MmpResult]:
        """Set, change or (interval 0) remove a protection. 10579 unknown index, 10573 a figure out of range."""
        transaction = self._begin(now_ns, account_id)
        rejection = self._refused(command)
        if rejection is not None:
            return self._end(rejection, transaction)
        transaction.commit(
            MmpSet(
                account_id=account_id,
                index=command.index,
                protection_id=transaction.next_id(),
                interval_ms=command.interval_ms,
                frozen_ms=command.frozen_ms,
                quantity_limit=command.quantity_limit,
                delta_limit=command.delta_limit,
                at_ns=transaction.now_ns,
            )
        )
        return self._end(ProtectionChanged(command.index), transaction)

    def reset(self, account_id: str, index: str, now_ns: int) -> Outcome[MmpResult]:
        """Take protected orders again. 60008 without a protection."""
        transaction = self._begin(now_ns, account_id)
        if index not in self._indices:
            return self._end(_unknown(index), transaction)
        if (account_id, index) not in self._state.mmp.protections:
            return self._end(_not_enabled(index), transaction)
        transaction.commit(MmpReset(account_id=account_id, index=index, at_ns=transaction.now_ns))
        return self._end(ProtectionChanged(index), transaction)

    def protection(self, account_id: str, index: str) -> Protection | None:
        return self._state.mmp.protections.get((account_id, index))

    def is_index(self, index: str) -> bool:
        return index in self._indices

    def refusal(self, account_id: str, command: PlaceOrder, now_ns: int) -> Rejection | None:
        """Why an account may not place this order with `mmp`: none is set, or it has fired."""
        if not command.mmp:
            return None
        index = command.symbol.partition("-")[0]
        protection = self.protection(account_id, index)
        if protection is None:
            return _not_enabled(index)
        if protection.is_frozen(now_ns):
            until = "it is reset" if protection.frozen_until_ns is None else "its time is over"
            return Rejection(self._switches.mmp_frozen_code, f"the protection of {index} fired: wait until {until}")
        return None

    def watch(self, transaction: Transaction) -> None:
        """Count the fills of protected orders since the last look, and end what is too much."""
        for row in transaction.new_rows():
            if isinstance(row, OrderFilled) and row.fill.mmp:
                self._count(row.fill, transaction)

    def _count(self, fill: Fill, transaction: Transaction) -> None:
        index = fill.symbol.partition("-")[0]
        protection = self.protection(fill.account_id, index)
        if protection is None:
            return
        amount = fill.quantity
        if self._switches.mmp_limit_unit == "notional":
            amount *= fill.index_price
        found = self._valuation.option(fill.symbol)
        delta = 0.0 if found is None else found[2].delta * float(fill.quantity) * fill.side.sign
        transaction.commit(
            MmpCounted(account_id=fill.account_id, index=index, amount=amount, delta=delta, at_ns=fill.at_ns)
        )
        too_much = protection.quantity_limit is not None and protection.amount() >= protection.quantity_limit
        too_far = protection.delta_limit is not None and abs(protection.delta()) >= float(protection.delta_limit)
        if too_much or too_far:
            self._fire(fill.account_id, index, protection, transaction)

    def _fire(self, account_id: str, index: str, protection: Protection, transaction: Transaction) -> None:
        for order in self._state.open_orders(account_id):
            if order.mmp and order.symbol.startswith(f"{index}-"):
                transaction.close(order.order_id, OrderState.CANCELLED)
        now_ns = transaction.now_ns
        until_ns = now_ns + protection.frozen_ms * NS_PER_MS if protection.frozen_ms else None
        transaction.commit(MmpFired(account_id=account_id, index=index, until_ns=until_ns, at_ns=now_ns))

    def _refused(self, command: SetProtection) -> Rejection | None:
        if command.index not in self._indices:
            return _unknown(command.index)
        for name, figure in (("intervalTime", command.interval_ms), ("frozenTime", command.frozen_ms)):
            if figure and not MS_MIN <= figure <= MS_MAX:
                return Rejection(10573, f"{name} {figure} error: it must be 0, or from {MS_MIN} to {MS_MAX} ms")
        for name, limit in (("qtyLimit", command.quantity_limit), ("deltaLimit", command.delta_limit)):
            if limit is not None and limit < LIMIT_MIN:
                return Rejection(10573, f"{name} {limit} error: it must be at least {LIMIT_MIN}")
        return None


def _unknown(index: str) -> Rejection:
    return Rejection(10579, f"index {index} does not exist")


def _not_enabled(index: str) -> Rejection:
    return Rejection(NOT_ENABLED, f"MMP is not enabled for {index}: set it first")
