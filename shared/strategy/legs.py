"""What to trade: an option as criteria, the perpetual of an underlying, a dated future of it, or its coin of spot."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, cast

import msgspec

from shared.messages.base import Side
from shared.options.symbols import OptionType
from shared.strategy.criteria import (
    ExpiryCriterion,
    Liquidity,
    StrikeCriterion,
    expiry_criterion,
    liquidity_of,
    strike_criterion,
)
from shared.strategy.quantity import ByNotional, OfLeg, Quantity, QuantityForm, ToDelta, quantity_of


class LinearLeg(msgspec.Struct, frozen=True):
    """A leg in futures of an underlying, on a desk with [desk] futures = true.

    side, underlying: as of `LegSpec`. qty: coins above 0, {"notional_usd": ...} (quantity × mark), {"of_leg": ...},
    or {"to_delta": 0}: so much that the structure's delta is that many coins (`ToDelta`). Raises ValueError naming
    the field and what is allowed.
    """

    underlying: str
    side: Side | Literal[1, 2]
    qty: QuantityForm

    def __post_init__(self) -> None:
        quantity = quantity_of(self.qty)
        if not isinstance(quantity, Decimal | ByNotional | OfLeg | ToDelta):
            raise ValueError(
                f"qty {self.qty!r} of a future or of spot must be coins, {{'notional_usd': ...}}, "
                "{'of_leg': ...} or {'to_delta': ...}"
            )
        for field, value in (
            ("underlying", index_name(self.underlying)),
            ("side", side_of(self.side)),
            ("qty", quantity),
        ):
            msgspec.structs.force_setattr(self, field, value)

    @property
    def order_side(self) -> Side:
        return cast(Side, self.side)

    @property
    def quantity(self) -> Quantity:
        """A Decimal in coins, or the rule that gives it."""
        return cast(Quantity, self.qty)


class PerpetualLeg(LinearLeg, frozen=True):
    """A leg that is the perpetual of an underlying; see `LinearLeg`."""


class FutureLeg(LinearLeg, frozen=True):
    """A leg that is a dated future of an underlying; see `LinearLeg`.

    expiry_criteria: as of `LegSpec`, among the futures that are listed.
    """

    expiry_criteria: ExpiryCriterion | Mapping[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "expiry_criteria", expiry_criterion(self.expiry_criteria))

    @property
    def expiry(self) -> ExpiryCriterion:
        return cast(ExpiryCriterion, self.expiry_criteria)


class SpotLeg(LinearLeg, frozen=True):
    """Coins of an underlying bought at its spot pair, on a desk with [desk] spot = true; see `LinearLeg`.

    The venue takes the fee of a purchase from the coins: a little less is held than was bought. Opened in
    execution_mode "limit", "smart" or "auto", and never rolled. Raises ValueError for a sale: it could only be of
    coins that the trade did not buy.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order_side == "sell":
            raise ValueError(
                "side 'sell' of a spot leg: coins that the trade did not buy are not sold; "
                "use LegSpec.perpetual(...) to be short"
            )


class LegSpec(msgspec.Struct, frozen=True):
    """One leg of a structure as criteria.

    side: "buy" or "sell", or the venue's 1 (buy) and 2 (sell). qty: in base coin, above 0, or a rule such as
    {"notional_usd": 50_000}, {"premium_usd": 500} or {"risk_pct": 1} (`shared.strategy.quantity`), rounded down to
    the lot. strike_criteria and expiry_criteria: typed, or short forms as {"type": "delta", "value": 0.25} and
    {"dte": "next"} (`shared.strategy.criteria`). underlying: "BTC" or "BTCUSD". min_otm_pct: how far out of the
    money at least, per cent of the index. liquidity: what the book must offer, as {"max_spread_pct": 5}.
    After construction the fields hold the typed forms. Raises ValueError naming the field and what is allowed.

    >>> leg = LegSpec("P", "sell", {"notional_usd": 10_000}, {"type": "delta", "value": 0.2}, {"weekly": 1})
    >>> leg.strike, leg.expiry
    (ByDelta(value=-0.2, tolerance=0.1), ByCycle(cycle='weekly', number=1))
    """

    option_type: OptionType
    side: Side | Literal[1, 2]
    qty: QuantityForm
    strike_criteria: StrikeCriterion | Mapping[str, Any]
    expiry_criteria: ExpiryCriterion | Mapping[str, Any]
    underlying: str = "BTC"
    min_otm_pct: float | None = None
    liquidity: Liquidity | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.option_type not in ("C", "P"):
            raise ValueError(f"option_type {self.option_type!r} must be 'C' or 'P'")
        if isinstance(quantity_of(self.qty), ToDelta):
            raise ValueError(f"qty {self.qty!r}: only a future or spot is sized to a delta: LegSpec.perpetual(...)")
        otm = self.min_otm_pct
        if otm is not None and (isinstance(otm, bool) or not isinstance(otm, int | float) or not 0 <= otm < 1_000):
            raise ValueError(f"min_otm_pct {otm!r} must be per cent of the index, 0 or more")
        for field, value in (
            ("side", side_of(self.side)),
            ("qty", quantity_of(self.qty)),
            ("strike_criteria", strike_criterion(self.strike_criteria, self.option_type)),
            ("expiry_criteria", expiry_criterion(self.expiry_criteria)),
            ("underlying", index_name(self.underlying)),
            ("liquidity", liquidity_of(self.liquidity)),
        ):
            msgspec.structs.force_setattr(self, field, value)

    @property
    def order_side(self) -> Side:
        return cast(Side, self.side)

    @property
    def quantity(self) -> Quantity:
        """A Decimal in coins, or the rule that gives it."""
        return cast(Quantity, self.qty)

    @staticmethod
    def perpetual(underlying: str, side: Side | Literal[1, 2], qty: QuantityForm) -> PerpetualLeg:
        """The perpetual of an underlying as a leg; see `PerpetualLeg`.

        >>> LegSpec.perpetual("BTC", "sell", 0.5)
        PerpetualLeg(underlying='BTCUSD', side='sell', qty=Decimal('0.5'))
        >>> LegSpec.perpetual("BTC", "sell", {"to_delta": 0}).quantity  # the structure's delta shall be 0 coins
        ToDelta(delta=0)
        """
        return PerpetualLeg(underlying, side, qty)

    @staticmethod
    def future(
        underlying: str,
        side: Side | Literal[1, 2],
        qty: QuantityForm,
        expiry_criteria: ExpiryCriterion | Mapping[str, Any],
    ) -> FutureLeg:
        """A dated future of an underlying as a leg; see `FutureLeg`.

        >>> LegSpec.future("BTC", "sell", 0.5, {"quarterly": 1}).expiry
        ByCycle(cycle='quarterly', number=1)
        """
        return FutureLeg(underlying, side, qty, expiry_criteria)

    @staticmethod
    def spot(underlying: str, side: Side | Literal[1, 2], qty: QuantityForm) -> SpotLeg:
        """Coins of spot as a leg; see `SpotLeg`.

        >>> LegSpec.spot("BTC", "buy", 0.1)
        SpotLeg(underlying='BTCUSD', side='buy', qty=Decimal('0.1'))
        """
        return SpotLeg(underlying, side, qty)

    @property
    def strike(self) -> StrikeCriterion:
        return cast(StrikeCriterion, self.strike_criteria)

    @property
    def expiry(self) -> ExpiryCriterion:
        return cast(ExpiryCriterion, self.expiry_criteria)

    @property
    def book_filters(self) -> Liquidity | None:
        return cast(Liquidity | None, self.liquidity)


AnyLeg = LegSpec | PerpetualLeg | FutureLeg | SpotLeg


def index_name(underlying: str) -> str:
    """The venue's name of an underlying: "BTC" and "BTCUSD" both give "BTCUSD"."""
    name = underlying.upper()
    base = name.removesuffix("USD")
    if not base.isalnum():
        raise ValueError(f"underlying {underlying!r} must be a coin such as 'BTC' or an index such as 'BTCUSD'")
    return f"{base}USD"


def side_of(side: object) -> Side:
    """Our word for "buy", "sell", 1 or 2. Raises ValueError for anything else."""
    if side == "buy" or (side == 1 and not isinstance(side, bool)):
        return "buy"
    if side == "sell" or side == 2:
        return "sell"
    raise ValueError(f"side {side!r} must be 'buy' or 'sell' (or 1 for buy, 2 for sell)")
