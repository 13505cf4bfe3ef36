"""Market-maker protection (MMP): when too much of an account's protected orders trades at once, they end.

One per account and index. The venue does not say more than its parameters: what counts, and what ends beside the
orders placed with `mmp`, are switches.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from services.exchange.accounts import ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.mmp_state import MmpResult, Protection, ProtectionChanged, SetProtection
from services.exchange.model import Fill, Order, OrderState, PlaceOrder, Rejection
from services.exchange.rfq import Rfq
from services.exchange.rfq_model import QuoteState
from services.exchange.rows import MmpCounted, MmpFired, MmpReset, MmpSet, OrderFilled, Outcome
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation
from shared.options.instruments import instrument_kind, underlying_of

NS_PER_MS = 1_000_000
NOT_ENABLED = 60008
MS_MIN, MS_MAX = 1_000, 1_000_000_000
LIMIT_MIN = Decimal("0.01")

Begin = Callable[[int, str | None], Transaction]
End = Callable[[Any, Transaction], Outcome[Any]]


class Mmp:
    """The core's part for protections: `ExchangeCore.mmp`. Commands advance the market first, as the core's own."""

    def __init__(
        self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation, rfq: Rfq, begin: Begin, end: End
    ) -> None:
        self._switches = config.switches
        self._indices = tuple(f"{base.base}USD" for base in config.bases)
        self._state = state
        self._valuation = valuation
        self._rfq = rfq
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
        index = underlying_of(command.symbol)
        if self.protection(account_id, index) is None:
            return _not_enabled(index)
        return self._frozen(account_id, index, now_ns)

    def quote_refusal(self, account_id: str, symbols: Iterable[str], now_ns: int) -> Rejection | None:
        """Why an account may not quote these options: a protection that fired ends quotes, as configured."""
        if self._switches.mmp_quotes == "left":
            return None
        refusals = (self._frozen(account_id, index, now_ns) for index in {underlying_of(each) for each in symbols})
        return next(filter(None, refusals), None)

    def _frozen(self, account_id: str, index: str, now_ns: int) -> Rejection | None:
        protection = self.protection(account_id, index)
        if protection is None or not protection.is_frozen(now_ns):
            return None
        until = "it is reset" if protection.frozen_until_ns is None else "its time is over"
        return Rejection(self._switches.mmp_frozen_code, f"the protection of {index} fired: wait until {until}")

    def watch(self, transaction: Transaction) -> None:
        """Count the fills since the last look, and end what is too much."""
        for row in transaction.new_rows():
            if isinstance(row, OrderFilled) and self._counts(row.fill):
                for index in self._in_scope(row.fill.account_id, underlying_of(row.fill.symbol)):
                    self._count(row.fill, index, transaction)

    def _counts(self, fill: Fill) -> bool:
        return fill.mmp or (self._switches.mmp_counts == "all" and instrument_kind(fill.symbol) == "option")

    def _in_scope(self, account_id: str, index: str) -> list[str]:
        """The indices of the account's protections that what happens in one index is about."""
        if self._switches.mmp_scope == "account":
            return [each for each in self._indices if self.protection(account_id, each) is not None]
        return [index] if self.protection(account_id, index) is not None else []

    def _count(self, fill: Fill, index: str, transaction: Transaction) -> None:
        protection = self.protection(fill.account_id, index)
        assert protection is not None, index
        amount = fill.quantity
        if self._switches.mmp_limit_unit == "notional":
            amount *= fill.index_price
        found = self._valuation.option(fill.symbol)
        delta = 0.0 if found is None else found[2].delta * float(fill.quantity) * fill.side.sign
        transaction.commit(
            MmpCounted(
                account_id=fill.account_id,
                index=index,
                amount=amount,
                delta=delta,
                anew=self._switches.mmp_window == "fixed" and protection.is_over(fill.at_ns),
                at_ns=fill.at_ns,
            )
        )
        too_much = protection.quantity_limit is not None and protection.amount() >= protection.quantity_limit
        too_far = protection.delta_limit is not None and abs(protection.delta()) >= float(protection.delta_limit)
        if too_much or too_far:
            for each in self._in_scope(fill.account_id, index):
                self._fire(fill.account_id, each, transaction)

    def _fire(self, account_id: str, index: str, transaction: Transaction) -> None:
        protection = self.protection(account_id, index)
        assert protection is not None, index
        for order in self._state.open_orders(account_id):
            if self._ends(order, index):
                transaction.close(order.order_id, OrderState.CANCELLED)
        if self._switches.mmp_quotes == "cancelled":
            self._end_quotes(account_id, index, transaction)
        now_ns = transaction.now_ns
        until_ns = now_ns + protection.frozen_ms * NS_PER_MS if protection.frozen_ms else None
        transaction.commit(MmpFired(account_id=account_id, index=index, until_ns=until_ns, at_ns=now_ns))

    def _ends(self, order: Order, index: str) -> bool:
        about = instrument_kind(order.symbol) == "option" and underlying_of(order.symbol) == index
        return about and (order.mmp or self._switches.mmp_orders == "all")

    def _end_quotes(self, account_id: str, index: str, transaction: Transaction) -> None:
        rfq = self._state.rfq
        for quote_id in tuple(rfq.open_quotes):
            quote = rfq.quotes[quote_id]
            if quote.account_id == account_id and index in {underlying_of(leg.symbol) for leg in quote.legs}:
                self._rfq.end_quote(quote_id, QuoteState.CANCELLED, transaction)

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
