"""The settings of the cash rule: [execution.cash] in voldesk.toml."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from shared.messages.cash import CashMode

_ZERO = Decimal(0)


class CashConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keeps a minimum of USDT by selling one coin of spot. It never buys.

    mode: off; dry_run says what it would sell, by an alert and in `voldesk cash`; on sells.
    asset: the coin that is sold against USDT. keep: so many coins are never sold, as those that cover short calls.
    minimum_usdt: with less cash than this a sale begins.
    target_usdt: what a sale is to restore; "0" is a tenth more than the minimum.
    cap_usd: what may be sold within any 24 hours, by the higher of index and book when it is decided.
    min_sale_usd: nothing smaller is sold; a smaller want is raised to it.
    max_slippage_pct: no sale below this far under index and middle of the book, the higher of the two.
    fee_rate: expected fee of a sale, a fraction of its value.
    interval_s: the shortest time between the end of a sale and the next one, above rest_s; it doubles with every
    refusal, up to an hour. check_s: how often the account is read. rest_s: what a sale has not traded by then is
    withdrawn.
    """

    mode: CashMode = "off"
    asset: Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,12}$")] = "BTC"
    keep: Decimal = _ZERO
    minimum_usdt: Decimal = _ZERO
    target_usdt: Decimal = _ZERO
    cap_usd: Decimal = _ZERO
    min_sale_usd: Decimal = Decimal(50)
    max_slippage_pct: Annotated[float, Meta(gt=0, le=20)] = 0.5
    fee_rate: Annotated[float, Meta(ge=0, le=0.05)] = 0.001
    interval_s: Annotated[int, Meta(ge=1, le=86_400)] = 60
    check_s: Annotated[int, Meta(ge=1, le=3_600)] = 15
    rest_s: Annotated[int, Meta(ge=1, le=600)] = 10

    def __post_init__(self) -> None:
        for name in ("keep", "minimum_usdt", "target_usdt", "cap_usd", "min_sale_usd"):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value < 0:
                raise ValueError(f"{name} {value} must be 0 or more")
        if self.asset == "USDT":
            raise ValueError('asset "USDT" is what the rule keeps: name the coin that it may sell')
        if self.target_usdt and self.target_usdt < self.minimum_usdt:
            raise ValueError(f"target_usdt {self.target_usdt} is below minimum_usdt {self.minimum_usdt}")
        if self.interval_s <= self.rest_s:
            raise ValueError(f"interval_s {self.interval_s} must be above rest_s {self.rest_s}")
        if self.mode != "off":
            for name in ("minimum_usdt", "cap_usd", "min_sale_usd"):
                if not getattr(self, name):
                    raise ValueError(f'{name} must be above 0 where mode is "{self.mode}"')
            if self.min_sale_usd > self.cap_usd:
                raise ValueError(f"min_sale_usd {self.min_sale_usd} is above cap_usd {self.cap_usd}: nothing is sold")

    @property
    def symbol(self) -> str:
        """The pair in which it sells."""
        return f"{self.asset}USDT"

    @property
    def target(self) -> Decimal:
        """USDT that a sale is to restore."""
        return self.target_usdt or self.minimum_usdt * Decimal("1.1")
