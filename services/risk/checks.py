"""The pre-trade checks, in the order in which they are asked; the first that fails is the answer.

A check may rely on those before it having passed. Each has one stable reason code of its own, with the figure that
broke it and the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import msgspec
import numpy as np

from services.risk.breaches import daily_loss_pct, drawdown_pct
from services.risk.config import RiskConfig
from services.risk.margin import F8, structure_margin, trading_fee, venue_price_band, worst_loss
from services.risk.market import GREEKS, MarketView, OptionFacts
from shared.messages.account import AccountSnapshot
from shared.messages.base import Side
from shared.messages.control import Halt, RequestGrant
from shared.messages.space import ON_DISK, JournalSpace
from shared.messages.trades import Grant, LegOrder
from shared.options.chain import snap_price

_MS = 1_000_000


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


def _account_mismatch(s: Situation) -> Violation | None:
    if s.ask.account_id == s.account_id:
        return None
    return Violation(
        "account_mismatch", f"asked for account {s.ask.account_id[:64]}, this risk guards {s.account_id}"
    )


def _halted(s: Situation) -> Violation | None:
    if not s.halts:
        return None
    reasons = "; ".join(f"{halt.level} by {halt.raised_by}: {halt.reason}" for halt in s.halts)
    return Violation("halted", f"halts are in force ({reasons}); lift them with `voldesk resume`")


def _intent_expired(s: Situation) -> Violation | None:
    late_ns = s.now_ns - s.ask.valid_until_ns
    return None if late_ns < 0 else Violation("intent_expired", f"valid until {late_ns / 1e9:.3f} s ago")


def _disk_full(s: Situation) -> Violation | None:
    if s.space.level == "disk":
        return None
    return Violation("disk_full", f"nothing is granted on a full disk: {s.space.reason}")


def _not_ready(s: Situation) -> Violation | None:
    if not s.execution_synced:
        return Violation("not_ready", "execution has not replayed its trades yet")
    if s.account is None:
        return Violation("not_ready", "the account has not been read yet")
    return None


def _stale_account(s: Situation) -> Violation | None:
    age_ms, limit = (s.now_ns - s.known_account.received_ns) / _MS, s.config.account_age_max_ms
    if age_ms <= limit:
        return None
    return Violation("stale_account", f"the account is {age_ms / 1e3:.1f} s old", age_ms, limit)


def _duplicate_intent(s: Situation) -> Violation | None:
    if s.has_trade:
        return Violation("duplicate_intent", f"{s.ask.intent_id} has opened a trade already")
    if s.earlier_grant_differs:
        return Violation("duplicate_intent", f"{s.ask.intent_id} holds a grant for other legs")
    return None


def _grant_rate(s: Situation) -> Violation | None:
    limit = s.config.max_grants_per_minute
    if s.grants_last_minute < limit:
        return None
    return Violation("grant_rate", "too many grants in the last 60 s", s.grants_last_minute, limit)


def _bad_structure(s: Situation) -> Violation | None:
    count, limit = len(s.ask.legs), s.config.max_legs
    if not 1 <= count <= limit:
        return Violation("bad_structure", f"{count} legs, allowed are 1 to {limit}", count, limit)
    if len({leg.symbol for leg in s.ask.legs}) < count:
        return Violation("bad_structure", "one symbol in two legs: sum them into one")
    for leg in s.ask.legs:
        if not (leg.quantity.is_finite() and leg.quantity > 0):
            return Violation("bad_structure", f"quantity {leg.quantity} of {leg.symbol} is not above 0")
    declared = s.ask.max_loss_usd
    if declared is not None and not 0 <= declared < math.inf:
        return Violation("bad_structure", f"max_loss_usd {declared:g} must be 0 or more", declared)
    return None


def _unknown_instrument(s: Situation) -> Violation | None:
    listed = {leg.order.symbol for leg in s.legs}
    missing = [leg.symbol for leg in s.ask.legs if leg.symbol not in listed]
    return Violation("unknown_instrument", f"not in the chain: {', '.join(missing)}") if missing else None


def _stale_market(s: Situation) -> Violation | None:
    for underlying in s.underlyings:
        if not s.market.is_fresh(underlying, s.now_ns):
            age_ns = s.market.age_ns(underlying, s.now_ns)
            age_ms = None if age_ns is None else age_ns / _MS
            detail = f"{underlying} has no index" if age_ms is None else f"{underlying} is {age_ms / 1e3:.1f} s old"
            return Violation("stale_market", detail, age_ms, s.config.market_age_max_ms)
    return None


def _last_trade(s: Situation) -> Violation | None:
    for leg in s.legs:
        left_ms = (leg.option.instrument.last_trade_ns - s.now_ns) / _MS
        if left_ms < s.config.min_time_to_last_trade_ms:
            detail = f"{leg.order.symbol} stops trading in {left_ms / 1e3:.0f} s"
            return Violation("last_trade", detail, left_ms, s.config.min_time_to_last_trade_ms)
    return None


def _no_mark(s: Situation) -> Violation | None:
    for leg in s.legs:
        if not (leg.option.mark > 0 and np.isfinite(leg.option.greeks).all()):
            return Violation("no_mark", f"{leg.order.symbol} has no mark or no Greeks now")
    return None


def _order_quantity(s: Situation) -> Violation | None:
    for leg in s.legs:
        option, quantity = leg.option.instrument, leg.order.quantity
        limit = s.config.max_order_quantity
        if quantity < option.min_quantity or quantity % option.lot_size:
            detail = f"{quantity} of {option.symbol}: at least {option.min_quantity}, in lots of {option.lot_size}"
            return Violation("order_quantity", detail, float(quantity), float(option.min_quantity))
        if quantity > limit:
            return Violation("order_quantity", f"{quantity} of {option.symbol}", float(quantity), float(limit))
    return None


def _order_notional(s: Situation) -> Violation | None:
    notional = float(sum(leg.option.instrument.strike * leg.order.quantity for leg in s.legs))
    limit = s.config.max_order_notional_usd
    if notional <= limit:
        return None
    return Violation("order_notional", f"strike × quantity is {notional:,.0f} USD", notional, limit)


def _price_collar(s: Situation) -> Violation | None:
    for leg in s.legs:
        if leg.worst_price is None:
            return Violation("price_collar", f"no price is possible for {leg.order.symbol}", leg.option.mark)
        bound = float(leg.worst_price)
        if leg.order.side == "buy":
            nearest = _middle_or(leg.option.bid, leg.option)
            beyond = nearest > bound
        else:
            nearest = _middle_or(leg.option.ask, leg.option)
            beyond = nearest < bound
        if beyond:
            detail = f"the book of {leg.order.symbol} is at {nearest:g}, its mark at {leg.option.mark:g}"
            return Violation("price_collar", detail, nearest, bound)
    return None


def _middle_or(one_side: float, option: OptionFacts) -> float:
    middle = (option.bid + option.ask) / 2
    return one_side if math.isnan(middle) else middle


def _position_limit(s: Situation) -> Violation | None:
    for leg in s.ask.legs:
        after, limit = s.position_after(leg), s.config.max_position_quantity
        if after > limit:
            return Violation("position_limit", f"{leg.symbol} would be {after}", float(after), float(limit))
    return None


def _greeks_unknown(s: Situation) -> Violation | None:
    if not s.known_account.greeks_complete:
        return Violation("greeks_unknown", "a position has no Greeks now: the portfolio limits cannot be judged")
    if not np.isfinite(s.greeks_before_and_after).all():
        return Violation("greeks_unknown", "an outstanding grant has no Greeks now")
    return None


def _greek_limit(position: int, name: str) -> Callable[[Situation], Violation | None]:
    code, field = f"{name}_limit", f"max_{name}_usd"

    def check(s: Situation) -> Violation | None:
        before, after = (float(values[position]) for values in s.greeks_before_and_after)
        limit: float = getattr(s.config, field)
        if after <= limit or after < before:
            return None
        return Violation(code, f"portfolio {name} would be {after:,.0f} USD", after, limit)

    return check


def _no_equity(s: Situation) -> Violation | None:
    return None if s.equity_usd > 0 else Violation("no_equity", "equity is not above 0", s.equity_usd, 0.0)


def _margin(s: Situation) -> Violation | None:
    needed = s.margin_usd + s.outstanding_margin_usd
    available = float(s.known_account.available_margin_usd)
    if needed <= available:
        return None
    return Violation("margin", f"needs {needed:,.0f} USD with outstanding grants", needed, available)


def _margin_utilisation(s: Situation) -> Violation | None:
    used = float(s.known_account.initial_margin_usd) + s.margin_usd + s.outstanding_margin_usd
    after, limit = used / s.equity_usd * 100, s.config.max_margin_utilisation_pct
    if after <= limit:
        return None
    return Violation("margin_utilisation", f"would be {after:.1f} % of equity", after, limit)


def _trade_risk(s: Situation) -> Violation | None:
    loss = s.max_loss_usd
    if loss is None:
        if s.config.allow_unbounded_loss:
            return None
        return Violation("unbounded_loss", "nothing bounds the loss: declare max_loss_usd or add protective legs")
    share, limit = loss / s.equity_usd * 100, s.config.max_trade_risk_pct
    if share <= limit:
        return None
    return Violation("trade_risk", f"may lose {loss:,.0f} USD, {share:.1f} % of equity", share, limit)


def _open_trades(s: Situation) -> Violation | None:
    limit = s.config.max_open_trades
    if s.open_trades < limit:
        return None
    return Violation("open_trades", f"{s.open_trades} trades are open or granted", s.open_trades, limit)


def _drawdown(s: Situation) -> Violation | None:
    fall, limit = drawdown_pct(s.known_account.equity_usd, s.peak_equity_usd), s.config.max_drawdown_pct
    if fall < limit:
        return None
    return Violation("drawdown", f"equity is {fall:.1f} % below its peak", fall, limit)


def _daily_loss(s: Situation) -> Violation | None:
    loss, limit = daily_loss_pct(s.known_account.equity_usd, s.day_start_equity_usd), s.config.max_daily_loss_pct
    if loss < limit:
        return None
    return Violation("daily_loss", f"equity has lost {loss:.1f} % since 00:00 UTC", loss, limit)


Check = Callable[[Situation], Violation | None]
GATES: tuple[Check, ...] = (
    _account_mismatch,
    _halted,
    _disk_full,
    _intent_expired,
    _not_ready,
    _stale_account,
)
"""Asked even before an earlier grant of the same intent is given again."""
CHECKS: tuple[Check, ...] = (
    _duplicate_intent,
    _no_equity,
    _drawdown,
    _daily_loss,
    _grant_rate,
    _open_trades,
    _bad_structure,
    _unknown_instrument,
    _stale_market,
    _last_trade,
    _no_mark,
    _order_quantity,
    _order_notional,
    _price_collar,
    _position_limit,
    _greeks_unknown,
    *(_greek_limit(position, name) for position, name in enumerate(GREEKS[:4])),
    _margin,
    _margin_utilisation,
    _trade_risk,
)


def first_violation(situation: Situation, checks: tuple[Check, ...]) -> Violation | None:
    """The first check that says no."""
    for check in checks:
        if violation := check(situation):
            return violation
    return None
