"""What one decision is made of: the request, the account, the market, and what others hold or were granted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import msgspec

from services.risk.changes import Use, worst_growth
from services.risk.config import RiskConfig, StrategyLimits
from services.risk.margin import StructureLeg, structure_margin, trading_fee, venue_price_band, worst_loss
from services.risk.market import GREEKS, MarketView, OptionFacts
from services.risk.positions import Holdings, expiry_of
from services.risk.reservations import AtRisk
from services.risk.stress import Stress, stressed_use
from services.risk.unit_grids import UnitGrids
from shared.ids import is_hedge_name
from shared.messages.account import AccountSnapshot
from shared.messages.base import Side
from shared.messages.control import Halt, RequestGrant
from shared.messages.space import ON_DISK, JournalSpace
from shared.messages.trades import Grant, LegOrder
from shared.options.chain import snap_price
from shared.options.instruments import instrument_kind, underlying_of

LIMITED_GREEKS = GREEKS[:4]
"""Those that have a limit."""

_NOTHING = (0.0,) * len(GREEKS)
_ZERO = Decimal(0)
NOTHING_HELD = Holdings()


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

    @property
    def in_structure(self) -> StructureLeg:
        """The leg as margin and loss see it."""
        option = self.option
        return StructureLeg(
            quantity=self.quantity,
            worst_price=math.nan if self.worst_price is None else float(self.worst_price),
            index=option.index,
            strike=float(option.instrument.strike),
            mark=option.mark,
            is_call=option.instrument.option_type == "C",
            expiry_ns=option.instrument.expiry_ns,
            kind=instrument_kind(self.order.symbol),
        )


@dataclass(frozen=True)
class Situation:
    """Everything that one decision is made of. Derived figures are computed when a check first asks for them.

    `outstanding` are the grants of other intents that count, `at_risk` their trades and those grants that may become
    one; `granted_lately` has how many each strategy was given in the last minute; `holdings` are the positions,
    `stress` is their stress, `unit_grids` has it of whatever is asked for; `guards` is what breakers and the margin
    guard say. A request without legs shows how things are.
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
    unit_grids: UnitGrids
    outstanding: tuple[Grant, ...]
    at_risk: tuple[AtRisk, ...]
    has_trade: bool
    was_refused: bool
    earlier_grant_differs: bool
    granted_lately: Mapping[str, int]
    open_orders: int = 0
    orders_last_minute: int = 0
    stress: Stress | None = None
    holdings: Holdings = NOTHING_HELD
    guards: tuple[Violation, ...] = ()
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
    def structure(self) -> dict[str, list[StructureLeg]]:
        """What margin and loss are computed of, by underlying."""
        found: dict[str, list[StructureLeg]] = {}
        for leg in self.legs:
            found.setdefault(leg.option.instrument.underlying, []).append(leg.in_structure)
        return found

    @cached_property
    def margin_usd(self) -> float:
        """Margin that the structure uses at worst."""
        return structure_margin(self.config, [leg for legs in self.structure.values() for leg in legs])

    @cached_property
    def structural_loss_usd(self) -> float:
        """Largest loss at expiry with fees; inf where nothing bounds it."""
        total = 0.0
        for legs in self.structure.values():
            fees = (trading_fee(self.config, leg.quantity, leg.worst_price, leg.index, leg.kind) for leg in legs)
            total += sum(fees) + worst_loss(legs)
        return total

    @property
    def max_loss_usd(self) -> float | None:
        """What the trade can lose: by its structure, else as its intent declares; None where neither bounds it."""
        return self.structural_loss_usd if math.isfinite(self.structural_loss_usd) else self.ask.max_loss_usd

    @cached_property
    def risk_usd(self) -> float:
        """What the trade puts at risk: the largest loss, else the margin that it ties up."""
        return self.margin_usd if self.max_loss_usd is None else self.max_loss_usd

    @cached_property
    def is_reducing_hedge(self) -> bool:
        """Whether a hedge is asked for that surely brings the delta of its underlying nearer to 0, whatever part of
        the outstanding grants is filled: of it less is at risk than without it."""
        if not is_hedge_name(self.ask.strategy) or not all(leg.option.instrument.is_perpetual for leg in self.legs):
            return False
        growth = [self.greeks_by_underlying[underlying][2][0] for underlying in self.underlyings]
        return bool(growth) and all(each < 0 for each in growth)

    @property
    def strategies(self) -> Iterable[tuple[str, StrategyLimits]]:
        """The strategies whose own limits are looked at: that which asks, all where nobody does."""
        own = self.config.strategies
        if not self.ask.legs:
            return own.items()
        limits = own.get(self.ask.strategy)
        return () if limits is None else ((self.ask.strategy, limits),)

    @cached_property
    def purchases_usd(self) -> tuple[float, float]:
        """What coins of spot and options would cost at worst that outstanding grants may still buy, and with those
        asked for, in USDT. What of a grant is bought already counts twice until the account shows it."""
        granted = sum(
            float(leg.max_quantity) * float(leg.worst_price)
            for grant in self.outstanding
            for leg in grant.legs
            if _is_paid_at_once(leg.symbol, leg.side)
        )
        asked = sum(
            leg.quantity * math.nan if leg.worst_price is None else leg.quantity * float(leg.worst_price)
            for leg in self.legs
            if _is_paid_at_once(leg.order.symbol, leg.order.side)
        )
        return granted, granted + asked

    @property
    def outstanding_margin_usd(self) -> float:
        return sum(grant.margin_usd for grant in self.outstanding)

    @cached_property
    def greeks_by_underlying(self) -> dict[str, tuple[list[float], list[float], list[float]]]:
        """Delta, gamma, vega, theta in the units of the limits, per underlying: the largest absolute value, whatever
        part of the outstanding grants is filled, before and after, and by how much the request lets it grow at most.
        NaN where a Greek is unknown.

        An outstanding grant never makes room in the other direction before it is filled, and counts in full while
        it is half filled, when the account shows a part of it too.
        """
        own: dict[str, list[float]] = {}
        for leg in self.legs:
            _add(own.setdefault(leg.option.instrument.underlying, list(_NOTHING)), leg.option.greeks, leg.quantity)
        exposure = {
            underlying: [getattr(sums, name) for name in GREEKS]
            for underlying, sums in self.known_account.greeks.items()
        }
        low, high, lowest, highest = self._outstanding_greeks
        found: dict[str, tuple[list[float], list[float], list[float]]] = {}
        for underlying in dict.fromkeys((*exposure, *low, *own)):
            base, added = exposure.get(underlying, _NOTHING), own.get(underlying, _NOTHING)
            down, up = low.get(underlying, _NOTHING), high.get(underlying, _NOTHING)
            bottom, top = lowest.get(underlying, _NOTHING), highest.get(underlying, _NOTHING)
            index = self.market.index(underlying) if any(base) or underlying in low or underlying in own else 0.0
            scales = (index, index * index / 100.0, 1.0, 1.0)
            before, after, growth = [], [], []
            for number, scale in enumerate(scales):
                held, then = base[number], base[number] + added[number]
                before.append(_farthest(held + down[number], held + up[number]) * scale)
                after.append(_farthest(then + down[number], then + up[number]) * scale)
                growth.append(worst_growth(held + bottom[number], held + top[number], added[number]) * scale)
            found[underlying] = (before, after, growth)
        return found

    @cached_property
    def greeks_before_and_after(self) -> tuple[list[float], list[float], list[float]]:
        """Of the portfolio: the sums over underlyings."""
        sums = tuple([0.0] * len(LIMITED_GREEKS) for _ in range(3))
        for of_one in self.greeks_by_underlying.values():
            for total, values in zip(sums, of_one, strict=True):
                _add(total, values, 1.0)
        before, after, growth = sums
        return before, after, growth

    @cached_property
    def asked_or_largest(self) -> tuple[str, ...]:
        """The symbols of the request; without one, that of the largest position."""
        if self.ask.legs:
            return tuple(leg.symbol for leg in self.ask.legs)
        held = self.holdings.quantities
        largest = max(held, key=lambda symbol: abs(held[symbol]), default=None)
        return () if largest is None else (largest,)

    def position_before_and_after(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Largest |net quantity| of an option, whatever part of the outstanding grants is filled."""
        (low_before, low_after), (high_before, high_after) = self._position_sides(symbol)
        return max(low_before, high_before), max(low_after, high_after)

    def position_against(self, symbol: str, limit: Decimal) -> tuple[Decimal, Decimal]:
        """|net quantity| of an option before and after the request, with those outstanding grants filled that make it
        break the limit, if any do: what brings one side back towards the limit may go past it on the other."""
        sides = self._position_sides(symbol)
        return max(sides, key=lambda side: (side[1] > limit and side[1] >= side[0], side[1]))

    def _position_sides(self, symbol: str) -> tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]:
        """|net quantity| before and after: with all that outstanding grants can sell, and with all they can buy.

        What is held on the other side makes no room: it may be closed before the request is filled, or be closed
        already and still stand in the account that was read last.
        """
        held, asked = self.holdings.quantities.get(symbol, _ZERO), self._asked.get(symbol, _ZERO)
        low, high = self._outstanding_quantities.get(symbol, (_ZERO, _ZERO))
        short, long = min(held, _ZERO) + low, max(held, _ZERO) + high
        return (-short, -short - min(asked, _ZERO)), (long, long + max(asked, _ZERO))

    @cached_property
    def notional_by_expiry(self) -> dict[str, Use]:
        """Σ |net quantity| × index, USD, per expiry, as "BTCUSD-27MAR26"; NaN without an index."""
        sums = {expiry: [total, total] for expiry, total in self.holdings.absolute_by_expiry.items()}
        growth: dict[str, Decimal] = {}
        for symbol in dict.fromkeys((*self._outstanding_quantities, *self._asked)):
            expiry, held = expiry_of(symbol), self.holdings.quantities.get(symbol, _ZERO)
            before, after = self.position_before_and_after(symbol)
            coins = sums.setdefault(expiry, [0.0, 0.0])
            coins[0] += float(before) - abs(float(held))
            coins[1] += float(after) - abs(float(held))
            if symbol in self._asked:
                low, high = self._outstanding_quantities.get(symbol, (_ZERO, _ZERO))
                grown = worst_growth(held + low, held + high, self._asked[symbol])
                growth[expiry] = growth.get(expiry, _ZERO) + grown
        found: dict[str, Use] = {}
        for expiry, (before_coins, after_coins) in sums.items():
            index = self.market.index(underlying_of(expiry))
            grown_usd = float(growth.get(expiry, _ZERO)) * index
            found[expiry] = Use(before_coins * index, after_coins * index, grown_usd, touched=expiry in growth)
        return found

    @cached_property
    def notional_by_underlying(self) -> dict[str, Use]:
        """The same, per underlying."""
        found: dict[str, Use] = {}
        for expiry, use in self.notional_by_expiry.items():
            underlying = underlying_of(expiry)
            found[underlying] = found[underlying].plus(use) if underlying in found else use
        return found

    @cached_property
    def stressed_loss(self) -> Use:
        """USD ≥ 0, outstanding grants included; NaN where an option has no volatility now."""
        asked = {symbol: float(quantity) for symbol, quantity in self._asked.items()}
        if self.stress is None:
            return Use(math.nan, math.nan, math.nan, touched=bool(asked))
        symbols = dict.fromkeys((*(leg.symbol for grant in self.outstanding for leg in grant.legs), *asked))
        return stressed_use(self.stress, self.outstanding, asked, self.unit_grids.of(symbols, self.now_ns))

    @cached_property
    def _asked(self) -> dict[str, Decimal]:
        return {leg.symbol: _signed(leg.side, leg.quantity) for leg in self.ask.legs}

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
    def _outstanding_greeks(self) -> tuple[dict[str, list[float]], ...]:
        """Per underlying the sums, those of GREEKS each, of what single outstanding grants take away and add, and of
        what single legs of them do: the least and the most that any part of them can come to."""
        low: dict[str, list[float]] = {}
        high: dict[str, list[float]] = {}
        lowest: dict[str, list[float]] = {}
        highest: dict[str, list[float]] = {}
        for grant in self.outstanding:
            sums: dict[str, list[float]] = {}
            for leg in grant.legs:
                underlying = self.market.underlying_or_prefix(leg.symbol)
                greeks = self.market.option_greeks(leg.symbol, self.now_ns)
                quantity = float(_signed(leg.side, leg.max_quantity))
                _add(sums.setdefault(underlying, list(_NOTHING)), greeks, quantity)
                _spread(lowest, highest, underlying, [greek * quantity for greek in greeks])
            for underlying, changes in sums.items():
                _spread(low, high, underlying, changes)
        return low, high, lowest, highest


def _is_paid_at_once(symbol: str, side: Side) -> bool:
    return side == "buy" and instrument_kind(symbol) in ("option", "spot")


def _spread(
    low: dict[str, list[float]], high: dict[str, list[float]], underlying: str, changes: Sequence[float]
) -> None:
    """What takes away goes to `low`, what adds to `high`."""
    down = low.setdefault(underlying, list(_NOTHING))
    up = high.setdefault(underlying, list(_NOTHING))
    for number, change in enumerate(changes):
        # what is unknown (NaN) is neither above nor below 0, and makes both unknown
        if not change > 0.0:
            down[number] += change
        if not change < 0.0:
            up[number] += change


def _add(sums: list[float], values: Sequence[float], times: float) -> None:
    for number, value in enumerate(values):
        sums[number] += value * times


def _farthest(low: float, high: float) -> float:
    """The larger absolute value; NaN if one is, where `max` would take the other."""
    return math.nan if math.isnan(low + high) else max(abs(low), abs(high))


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
    if not option.instrument.is_option:
        collar = max(config.futures_collar_pct / 100 * mark, config.collar_ticks * float(tick))
        lowest, highest = float(tick), math.inf
        if option.instrument.is_spot:
            # its mark is the middle of its own book, which may be thin: the index holds it
            highest = index * (1.0 + 2.0 * config.futures_collar_pct / 100)
    else:
        collar = max(
            config.collar_pct / 100 * mark, config.collar_index_pct / 100 * index, config.collar_ticks * float(tick)
        )
        lowest, highest = venue_price_band(config, mark, index, option.delta, float(tick))
    if side == "sell":
        return snap_price(max(mark - collar, lowest), tick, up=True)
    price = snap_price(min(mark + collar, highest), tick, up=False)
    return price if price > 0 else None
