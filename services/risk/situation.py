"""What one decision is made of: the request, the account, the market, and what others hold or were granted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import msgspec
import numpy as np

from services.risk.config import RiskConfig
from services.risk.margin import F8, structure_margin, trading_fee, venue_price_band, worst_loss
from services.risk.market import GREEKS, MarketView, OptionFacts
from shared.messages.account import AccountSnapshot
from shared.messages.base import Side
from shared.messages.control import Halt, RequestGrant
from shared.messages.space import ON_DISK, JournalSpace
from shared.messages.trades import Grant, LegOrder
from shared.options.chain import snap_price


class Violation(msgspec.Struct, frozen=True):
    """Why the answer is no."""

    code: str
    detail: str
    value: float | None = None
    limit: float | None = None


class PricedLeg(msgspec.Struct, frozen=True):
    """One leg of the request beside its option; `quantity` is signed, `worst_price` None where none is possible."""

    order: LegOrder
    option: OptionFacts
    quantity: float
    worst_price: Decimal | None


@dataclass(frozen=True)
class Situation:
    """Everything that one decision is made of. Derived figures are computed when a check first asks for them.

    `outstanding` are the grants of other intents that count; `exposure` is the account's, shape (5,) per underlying.
    """

    config: RiskConfig
    now_ns: int
    ask: RequestGrant
    account_id: str
    halts: tuple[Halt, ...]
    execution_synced: bool
    account: AccountSnapshot | None
    peak_equity_usd: Decimal | None
    day_start_equity_usd: Decimal | None
    market: MarketView
    outstanding: tuple[Grant, ...]
    open_trades: int
    has_trade: bool
    earlier_grant_differs: bool
    grants_last_minute: int
    space: JournalSpace = ON_DISK

    @property
    def known_account(self) -> AccountSnapshot:
        assert self.account is not None, "the check `not_ready` comes before every use of the account"
        return self.account

    @property
    def equity_usd(self) -> float:
        return float(self.known_account.equity_usd)

    @cached_property
    def legs(self) -> tuple[PricedLeg, ...]:
        """Legs whose option is listed, in the order asked for."""
        found = ((leg, self.market.option(leg.symbol)) for leg in self.ask.legs)
        return tuple(_priced(self.config, leg, option) for leg, option in found if option is not None)

    @cached_property
    def underlyings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(leg.option.instrument.underlying for leg in self.legs))

    @cached_property
    def margin_usd(self) -> float:
        """Margin that the structure uses at worst."""
        legs = self.legs
        return structure_margin(
            self.config,
            np.array([leg.quantity for leg in legs]),
            self._worst_prices(legs),
            np.array([leg.option.index for leg in legs]),
            np.array([float(leg.option.instrument.strike) for leg in legs]),
            np.array([leg.option.mark for leg in legs]),
            np.array([leg.option.instrument.option_type == "C" for leg in legs]),
        )

    @cached_property
    def structural_loss_usd(self) -> float:
        """Largest loss at expiry with fees; inf where nothing bounds it."""
        total = 0.0
        for underlying in self.underlyings:
            legs = tuple(leg for leg in self.legs if leg.option.instrument.underlying == underlying)
            quantity = np.array([leg.quantity for leg in legs])
            prices = self._worst_prices(legs)
            index = np.array([leg.option.index for leg in legs])
            total += float(trading_fee(self.config, quantity, prices, index).sum()) + worst_loss(
                quantity,
                prices,
                np.array([float(leg.option.instrument.strike) for leg in legs]),
                np.array([leg.option.instrument.option_type == "C" for leg in legs]),
                np.array([leg.option.instrument.expiry_ns for leg in legs], dtype=np.int64),
            )
        return total

    @property
    def max_loss_usd(self) -> float | None:
        """What the trade can lose: by its structure, else as its intent declares; None where neither bounds it."""
        return self.structural_loss_usd if math.isfinite(self.structural_loss_usd) else self.ask.max_loss_usd

    @property
    def outstanding_margin_usd(self) -> float:
        return sum(grant.margin_usd for grant in self.outstanding)

    @cached_property
    def greeks_before_and_after(self) -> tuple[F8, F8]:
        """Portfolio delta, gamma, vega, theta in the units of the limits, shape (4,): Σ over underlyings of the
        largest absolute value, whatever part of the outstanding grants is filled. NaN where a Greek is unknown.

        An outstanding grant never makes room in the other direction before it is filled, and counts in full while
        it is half filled, when the account shows a part of it too.
        """
        own: dict[str, F8] = {}
        for leg in self.legs:
            underlying = leg.option.instrument.underlying
            own[underlying] = own.get(underlying, 0.0) + leg.quantity * leg.option.greeks
        account = self.known_account
        exposure: dict[str, F8] = {
            underlying: np.array([getattr(sums, name) for name in GREEKS])
            for underlying, sums in account.greeks.items()
        }
        low, high = self._outstanding_greeks
        before, after = np.zeros(4), np.zeros(4)
        for underlying in {*own, *exposure, *low}:
            nothing = np.zeros(len(GREEKS))
            base = exposure.get(underlying, nothing)
            lowest, highest = base + low.get(underlying, nothing), base + high.get(underlying, nothing)
            added = own.get(underlying, nothing)
            index = self.market.index(underlying) if np.any(base) or underlying in low or underlying in own else 0.0
            scale = np.array([index, index * index / 100.0, 1.0, 1.0])
            before += np.maximum(np.abs(lowest), np.abs(highest))[:4] * scale
            after += np.maximum(np.abs(lowest + added), np.abs(highest + added))[:4] * scale
        return before, after

    def position_after(self, leg: LegOrder) -> Decimal:
        """Largest |net quantity| of the leg's option, whatever part of the outstanding grants is filled."""
        held = sum((p.quantity for p in self.known_account.positions if p.symbol == leg.symbol), Decimal(0))
        after = held + _signed(leg.side, leg.quantity)
        low, high = self._outstanding_quantities.get(leg.symbol, (Decimal(0), Decimal(0)))
        return max(abs(after + low), abs(after + high))

    @cached_property
    def _outstanding_quantities(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Per option, what the outstanding grants can sell (≤ 0) and buy (≥ 0) at most."""
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for grant in self.outstanding:
            for leg in grant.legs:
                low, high = sums.get(leg.symbol, (Decimal(0), Decimal(0)))
                if leg.side == "buy":
                    sums[leg.symbol] = (low, high + leg.max_quantity)
                else:
                    sums[leg.symbol] = (low - leg.max_quantity, high)
        return sums

    @cached_property
    def _outstanding_greeks(self) -> tuple[dict[str, F8], dict[str, F8]]:
        """Per underlying the sums of what single outstanding grants take away and add, shape (5,) each."""
        legs: dict[str, list[tuple[int, str, float]]] = {}
        for number, grant in enumerate(self.outstanding):
            for leg in grant.legs:
                underlying = self.market.underlying_of(leg.symbol) or leg.symbol.split("-", 1)[0]
                quantity = float(_signed(leg.side, leg.max_quantity))
                legs.setdefault(underlying, []).append((number, leg.symbol, quantity))
        low: dict[str, F8] = {}
        high: dict[str, F8] = {}
        for underlying, part in legs.items():
            numbers, symbols, quantities = zip(*part, strict=True)
            greeks = self.market.greeks(underlying, symbols, self.now_ns) * np.array(quantities)
            per_grant = np.zeros((len(self.outstanding), len(GREEKS)))
            np.add.at(per_grant, np.array(numbers), greeks.T)
            low[underlying] = np.minimum(per_grant, 0.0).sum(axis=0)
            high[underlying] = np.maximum(per_grant, 0.0).sum(axis=0)
        return low, high

    @staticmethod
    def _worst_prices(legs: tuple[PricedLeg, ...]) -> F8:
        return np.array([math.nan if leg.worst_price is None else float(leg.worst_price) for leg in legs])


def _priced(config: RiskConfig, leg: LegOrder, option: OptionFacts) -> PricedLeg:
    return PricedLeg(leg, option, float(_signed(leg.side, leg.quantity)), worst_price(config, leg.side, option))


def _signed(side: Side, quantity: Decimal) -> Decimal:
    return quantity if side == "buy" else -quantity


def worst_price(config: RiskConfig, side: Side, option: OptionFacts) -> Decimal | None:
    """The price that an order of this leg may not pass, on a tick inside collar and venue band; None without a mark
    or where no tick lies between."""
    mark, index = option.mark, option.index
    if not (math.isfinite(mark) and math.isfinite(index) and math.isfinite(option.delta)):
        return None
    tick = option.instrument.tick_size
    collar = max(
        config.collar_pct / 100 * mark, config.collar_index_pct / 100 * index, config.collar_ticks * float(tick)
    )
    lowest, highest = venue_price_band(config, mark, index, option.delta, float(tick))
    if side == "sell":
        return snap_price(max(mark - collar, lowest), tick, up=True)
    price = snap_price(min(mark + collar, highest), tick, up=False)
    return price if price > 0 else None
