"""Sales of the cash rule as the journal knows them: their records and the fold. It makes no decisions."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.execution.cash_rows import CashRow, CashSaleMoved, CashSaleRequested
from services.execution.records import ZERO
from shared.messages.cash import CashSale, CashSaleState

FINAL_STATES: frozenset[CashSaleState] = frozenset({"FILLED", "CANCELLED", "REFUSED", "NEVER_PLACED"})
DAY_NS = 86_400_000_000_000
_KEPT_NS = 7 * DAY_NS


class Sale(msgspec.Struct, kw_only=True):
    """One sale; see `shared.messages.cash.CashSale`. state_ns: when it entered its state."""

    client_order_id: int
    symbol: str
    quantity: Decimal
    price: Decimal
    reserved_usd: Decimal
    why: str
    requested_ns: int
    state_ns: int
    updated_ns: int
    state: CashSaleState = "SENDING"
    reason: str = ""
    venue_order_id: int | None = None
    filled_quantity: Decimal = ZERO
    average_price: Decimal | None = None
    fee_usd: Decimal | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def used_usd(self) -> Decimal:
        """What it counts against the cap: what it reserved while it may still trade, then what it traded."""
        if not self.is_final:
            return self.reserved_usd
        if self.average_price is None:
            return self.reserved_usd if self.filled_quantity else ZERO
        return self.filled_quantity * self.average_price

    def told(self) -> CashSale:
        return CashSale(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            quantity=self.quantity,
            price=self.price,
            reserved_usd=self.reserved_usd,
            why=self.why,
            state=self.state,
            reason=self.reason,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            fee_usd=self.fee_usd,
            requested_ns=self.requested_ns,
            updated_ns=self.updated_ns,
        )


class CashBook(msgspec.Struct):
    """Sales of the last days, oldest first, and those that may still trade."""

    sales: dict[int, Sale] = msgspec.field(default_factory=dict)
    live: dict[int, None] = msgspec.field(default_factory=dict)

    def used_usd(self, now_ns: int) -> Decimal:
        """What counts against the cap: sales that ended within the last 24 hours, and live ones however old."""
        begin_ns = now_ns - DAY_NS
        counted = (sale for sale in self.sales.values() if sale.updated_ns > begin_ns or not sale.is_final)
        return sum((sale.used_usd for sale in counted), ZERO)

    def apply(self, row: CashRow, at_ns: int) -> None:
        """Fold one row."""
        match row:
            case CashSaleRequested(client_order_id=number):
                self.live[number] = None
                self.sales[number] = Sale(
                    client_order_id=number,
                    symbol=row.symbol,
                    quantity=row.quantity,
                    price=row.price,
                    reserved_usd=row.reserved_usd,
                    why=row.why,
                    requested_ns=at_ns,
                    state_ns=at_ns,
                    updated_ns=at_ns,
                )
                for old in [each for each in self.sales.values() if each.updated_ns < at_ns - _KEPT_NS]:
                    if old.is_final:
                        del self.sales[old.client_order_id]
            case CashSaleMoved(client_order_id=number):
                sale = self.sales.get(number)
                if sale is not None:
                    self._move(sale, row, at_ns)

    def _move(self, sale: Sale, row: CashSaleMoved, at_ns: int) -> None:
        if sale.state != row.state:
            sale.state, sale.state_ns = row.state, at_ns
        sale.reason, sale.updated_ns = row.reason, at_ns
        sale.venue_order_id = row.venue_order_id or sale.venue_order_id
        if row.filled_quantity is not None:
            sale.filled_quantity = row.filled_quantity
        sale.average_price = row.average_price or sale.average_price
        sale.fee_usd = sale.fee_usd if row.fee_usd is None else row.fee_usd
        if sale.is_final:
            self.live.pop(sale.client_order_id, None)
        else:
            # also what was over and appeared at the venue after all
            self.live[sale.client_order_id] = None
