"""Configuration of the simulated exchange, checked when it is read.

Unknown fields are refused by msgspec; values that contradict each other raise ValueError naming the field.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from services.exchange.switches import Switches

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
PositiveInt = Annotated[int, Meta(ge=1)]
Rights = tuple[Literal["market_maker", "rfq_quotes", "mmp"], ...]


def _refuse_repeats(field: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"{field} must be unique, not {sorted(names)}")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""


class KeyConfig(_Section, frozen=True, kw_only=True):
    """An API key.

    api_key, api_secret: as a client sends and signs with them. read_only: refused for everything that trades.
    """

    api_key: Annotated[str, Meta(min_length=1)]
    api_secret: Annotated[str, Meta(min_length=1)]
    read_only: bool = False

    def __repr__(self) -> str:
        return f"KeyConfig(api_key={self.api_key[:4]}..., read_only={self.read_only})"


class AccountConfig(_Section, frozen=True, kw_only=True):
    """One account with one or more keys; keys of one account share orders, cash and positions.

    account_id: its name here. user_id: its number in the venue's answers. keys: API keys of the account.
    initial_balance_usd: the USDT it owns at its first start. initial_assets: the coins of spot it owns then.
    rights: those that most accounts lack: "market_maker"
    (batch calls, countdown, protection), "rfq_quotes" (the maker's side of requests for quote), "mmp" (protection).
    """

    account_id: Annotated[str, Meta(min_length=1)]
    user_id: PositiveInt = 8_095_151_726
    keys: tuple[KeyConfig, ...] = ()
    initial_balance_usd: Decimal = Decimal(100_000)
    initial_assets: dict[str, Decimal] = {}
    rights: Rights = ()

    def __post_init__(self) -> None:
        if not (self.initial_balance_usd.is_finite() and self.initial_balance_usd >= 0):
            raise ValueError(f"initial_balance_usd {self.initial_balance_usd} must be 0 or more")
        for coin, quantity in self.initial_assets.items():
            if not (quantity.is_finite() and quantity >= 0):
                raise ValueError(f"initial_assets {coin} {quantity} must be 0 or more")


class IndexConfig(_Section, frozen=True, kw_only=True):
    """How one index moves: a geometric Brownian motion with compound-Poisson jumps.

    initial_price: USD at the start. vol: annualised volatility of the diffusion. jumps_per_day: mean number of
    jumps. jump_vol: standard deviation of the log of one jump. drift: annual, of the price's mean.
    price_decimals: decimals of the published index.
    """

    initial_price: Positive
    vol: Annotated[float, Meta(ge=0.0, le=5.0)] = 0.55
    jumps_per_day: Annotated[float, Meta(ge=0.0, le=1_000.0)] = 1.0
    jump_vol: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.008
    drift: Annotated[float, Meta(ge=-5.0, le=5.0)] = 0.0
    price_decimals: Annotated[int, Meta(ge=0, le=8)] = 2


class SurfaceConfig(_Section, frozen=True, kw_only=True):
    """The volatility surface (`surface.py`) and how its level moves.

    short_vol and long_vol: at-the-money volatility of the shortest and the longest expiries. reversion_per_year:
    how fast one turns into the other. skew: correlation of the smile, below 0 lifts puts. smile: curvature; kept
    below 2 / (1 + |skew|), where arbitrage begins. vol_of_vol and level_half_life_hours: the level of the whole
    surface is a mean-reverting log-normal process; spot_correlation: of its shocks with the index.
    basis and basis_years: forward = index * exp(basis * (1 - exp(-years / basis_years))).

    Level of volatility (0.80), wings (1.33 at a log-moneyness of -1.1 and 0.12 years) and the forward curve are
    those of a real venue's ETH chain of 2021-02-11.
    """

    short_vol: Annotated[float, Meta(ge=0.05, le=5.0)] = 0.80
    long_vol: Annotated[float, Meta(ge=0.05, le=5.0)] = 0.80
    reversion_per_year: Annotated[float, Meta(gt=0.0, le=100.0)] = 3.0
    skew: Annotated[float, Meta(gt=-1.0, lt=1.0)] = -0.20
    smile: Annotated[float, Meta(gt=0.0, le=2.0)] = 1.30
    vol_of_vol: Annotated[float, Meta(ge=0.0, le=3.0)] = 0.9
    level_half_life_hours: Annotated[float, Meta(ge=1.0)] = 48.0
    spot_correlation: Annotated[float, Meta(ge=-1.0, le=1.0)] = -0.4
    basis: Annotated[float, Meta(ge=-0.5, le=0.5)] = 0.098
    basis_years: Positive = 0.26

    def __post_init__(self) -> None:
        limit = 2.0 / (1.0 + abs(self.skew))
        if self.smile > limit:
            raise ValueError(f"smile {self.smile} admits arbitrage with skew {self.skew}: it must be <= {limit:.3f}")


class ListingConfig(_Section, frozen=True, kw_only=True):
    """Which options are listed: expiries at 08:00 UTC and the grid of strikes around the index.

    dailies, weeklies, monthlies, quarterlies: how many of each. Days, weeks, months and quarters that fall on one
    date are one expiry. strike_steps: spacing of strikes in USD for expiries within 3 days, 5 weeks, 4 months and
    beyond. strikes_per_side: strikes below and above the one at the money in the same four groups.
    wing_strikes: how many more follow on each side, each 30 % further away than the one before.
    extra_expiry_minutes: lists one more expiry that many minutes after the start; for tests of settlement.
    """

    dailies: Annotated[int, Meta(ge=0, le=7)] = 3
    weeklies: Annotated[int, Meta(ge=0, le=6)] = 3
    monthlies: Annotated[int, Meta(ge=0, le=6)] = 3
    quarterlies: Annotated[int, Meta(ge=0, le=8)] = 4
    strike_steps: tuple[Decimal, Decimal, Decimal, Decimal]
    strikes_per_side: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (11, 13, 15, 15)
    wing_strikes: Annotated[int, Meta(ge=0, le=12)] = 5
    extra_expiry_minutes: PositiveInt | None = None

    def __post_init__(self) -> None:
        if any(not (step.is_finite() and step > 0) for step in self.strike_steps):
            raise ValueError(f"strike_steps {self.strike_steps} must all be above 0")
        if not any((self.dailies, self.weeklies, self.monthlies, self.quarterlies, self.extra_expiry_minutes)):
            raise ValueError("at least one of dailies, weeklies, monthlies, quarterlies must be above 0")


class LadderConfig(_Section, frozen=True, kw_only=True):
    """The market makers' quotes (`ladder.py`).

    half_spread_vol: half the spread at the money in volatility points (0.01 is one point). half_spread_min_pct:
    lower limit as a share of the mark. wing_multiplier: how many times wider at a delta of 0. level_lots: median
    size of one level in lots. levels: price levels per side at the money; half as many in the wings.
    empty_side_probability: chance that a side is not quoted at a |delta| below 0.05.
    requote_steps: sizes and spreads are drawn anew every so many steps. replenish_steps: after that many steps
    consumed liquidity is back in full.

    Sizes (quartiles 1, 2, 5 of a venue's lot) are those of a real venue's ETH chain of 2021-02-11; its spreads
    were one-sided nearly everywhere and give no measure.
    """

    half_spread_vol: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.004
    half_spread_min_pct: Annotated[float, Meta(ge=0.0, le=50.0)] = 0.4
    wing_multiplier: Annotated[float, Meta(ge=1.0, le=50.0)] = 5.0
    level_lots: Annotated[float, Meta(ge=1.0, le=1e6)] = 200.0
    levels: Annotated[int, Meta(ge=1, le=60)] = 14
    empty_side_probability: Fraction = 0.3
    requote_steps: PositiveInt = 20
    replenish_steps: PositiveInt = 40


class TapeConfig(_Section, frozen=True, kw_only=True):
    """The public tape: trades of others (`tape.py`).

    trades_per_hour: how often the shortest option at the money trades; others trade less. 0 turns the tape off.
    trade_lots: median size of a trade in lots.
    """

    trades_per_hour: Annotated[float, Meta(ge=0.0, le=240.0)] = 12.0
    trade_lots: Annotated[float, Meta(ge=1.0, le=1e6)] = 6.0


FLAT_LADDER = LadderConfig(
    half_spread_min_pct=0.004, wing_multiplier=1.0, level_lots=400.0, levels=40, empty_side_probability=0.0
)
"""Quotes of perpetuals, dated futures and spot: about a basis point wide."""
SPOT_LADDER = msgspec.structs.replace(FLAT_LADDER, level_lots=20_000.0)
"""The lots of spot are smaller."""


class _TradedConfig(_Section, frozen=True, kw_only=True):
    """What futures and spot of one base have in common."""

    tick_size: Decimal
    min_quantity: Decimal
    max_order_quantity: Decimal
    max_open_orders: PositiveInt = 200
    ladder: LadderConfig = FLAT_LADDER
    price_band_pct: Annotated[float, Meta(gt=0.0, le=50.0)] = 5.0
    trade_every_s: PositiveInt = 3

    def __post_init__(self) -> None:
        for name in ("tick_size", "min_quantity", "max_order_quantity"):
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise ValueError(f"{name} {value} of futures and spot must be above 0")


class FuturesConfig(_TradedConfig, frozen=True, kw_only=True):
    """The perpetual and the dated futures of one base: linear, in USDT.

    tick_size: of prices, in USD. min_quantity: smallest order and step of quantities, in base coin.
    max_order_quantity, max_position_quantity: largest order, and largest |position| in one contract. max_open_orders,
    max_stop_orders: of one account in one contract. default_leverage, max_leverage: initial margin is
    value / leverage.
    ladder: the makers' quotes. price_band_pct: how far from the mark an order may be priced, and the worst price of a
    market order. trade_every_s: the public tape prints one trade every so many seconds. premium_pct: the perpetual's
    mark stays within so many per cent of the index. funding_bound_pct: limit of a funding rate. months, quarters: how
    many futures of month ends (or weeks: the switch `dated_cycle`) and of quarter ends are listed.
    """

    max_position_quantity: Decimal = Decimal(1_000)
    max_stop_orders: PositiveInt = 20
    default_leverage: Annotated[int, Meta(ge=1, le=125)] = 10
    max_leverage: Annotated[int, Meta(ge=1, le=125)] = 125
    premium_pct: Annotated[float, Meta(ge=0.0, le=5.0)] = 0.05
    funding_bound_pct: Annotated[float, Meta(gt=0.0, le=5.0)] = 0.75
    months: Annotated[int, Meta(ge=0, le=6)] = 1
    quarters: Annotated[int, Meta(ge=0, le=4)] = 2


class SpotConfig(_TradedConfig, frozen=True, kw_only=True):
    """Spot of one base against USDT.

    tick_size: of prices, in USDT. min_quantity: smallest order and step of quantities, in base coin.
    max_order_quantity: largest order. max_open_orders: of one account in the pair. ladder: the makers' quotes.
    price_band_pct: how far from the index an order may be priced, and the worst price of a market order.
    trade_every_s: the public tape prints one trade every so many seconds.
    """

    ladder: LadderConfig = SPOT_LADDER


class BaseConfig(_Section, frozen=True, kw_only=True):
    """One underlying, its options, futures and spot. Contract data are those of the venue's help centre.

    base: the coin. tick_size: of option prices, in USD. min_quantity: smallest order and step of quantities, in base
    coin. max_order_quantity, max_position_quantity: largest order, and largest |position| in one option, in base
    coin. max_open_orders: of one account in the options of this coin. futures, spot: those of this coin.
    """

    base: Annotated[str, Meta(pattern="^[A-Z0-9]{2,10}$")]
    index: IndexConfig
    listing: ListingConfig
    surface: SurfaceConfig = SurfaceConfig()
    ladder: LadderConfig = LadderConfig()
    tape: TapeConfig = TapeConfig()
    tick_size: Decimal
    min_quantity: Decimal
    max_order_quantity: Decimal
    max_position_quantity: Decimal
    max_open_orders: PositiveInt = 200
    futures: FuturesConfig = FuturesConfig(
        tick_size=Decimal("0.1"), min_quantity=Decimal("0.001"), max_order_quantity=Decimal(1_000)
    )
    spot: SpotConfig = SpotConfig(
        tick_size=Decimal("0.01"), min_quantity=Decimal("0.00001"), max_order_quantity=Decimal(1_000)
    )

    def __post_init__(self) -> None:
        for name in ("tick_size", "min_quantity", "max_order_quantity", "max_position_quantity"):
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise ValueError(f"{name} {value} of {self.base} must be above 0")


class FeeConfig(_Section, frozen=True, kw_only=True):
    """What trading and delivery cost.

    maker, taker: rate of a trade as a fraction of the index. block_maker, block_taker: the same for block trades.
    delivery: rate at expiry as a fraction of the settlement price. premium_cap: no fee of an option is above this
    fraction of the premium, or of the pay-off at expiry. futures_maker, futures_taker, spot_maker, spot_taker: rates
    as fractions of price times quantity; a fee of spot is taken from the coin that is received.
    """

    maker: Decimal = Decimal("0.0003")
    taker: Decimal = Decimal("0.0003")
    block_maker: Decimal = Decimal("0.0001")
    block_taker: Decimal = Decimal("0.0003")
    delivery: Decimal = Decimal("0.00015")
    premium_cap: Decimal = Decimal("0.125")
    futures_maker: Decimal = Decimal("0.0002")
    futures_taker: Decimal = Decimal("0.0006")
    spot_maker: Decimal = Decimal("0.001")
    spot_taker: Decimal = Decimal("0.001")

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and 0 <= value < 1):
                raise ValueError(f"fee {name} {value} must be a fraction from 0 to below 1")


class MarginConfig(_Section, frozen=True, kw_only=True):
    """Rates of the standard margin of short options (`margin.py`).

    initial: initial margin at the money as a fraction of the index. initial_floor: its least, far out of the money.
    maintenance: maintenance margin as a fraction of the index.
    """

    initial: Fraction = 0.15
    initial_floor: Fraction = 0.10
    maintenance: Fraction = 0.075


class RateLimitConfig(_Section, frozen=True, kw_only=True):
    """Requests per second of one user, by group.

    orders: placements, amendments and cancels, each counted for itself. queries: open orders, history, fills and
    positions. account: account information. order_book: books. public: public market data, of one address.
    delivery_prices: past settlement prices.
    """

    orders: PositiveInt = 60
    queries: PositiveInt = 5
    account: PositiveInt = 2
    order_book: PositiveInt = 15
    public: PositiveInt = 20
    delivery_prices: PositiveInt = 1


class DealerConfig(_Section, frozen=True, kw_only=True):
    """One simulated dealer who answers requests for quote (`dealers.py`).

    name: tells its random numbers from the others'. better_min_pct and better_max_pct: how much better than the order
    book it quotes a structure, in per cent of what the structure costs there; below 0 is worse. edge_min_pct: what it
    keeps of the distance from mark to book, in per cent, however good it wants to be; below 0 it quotes through the
    mark. answer_min_ms and answer_max_ms: when it answers. no_quote_probability: how often it does not.
    two_way_probability: how often it quotes both sides; otherwise only the one that the request's legs name.
    pull_move_pct: it takes its quotes back, to quote anew, once the index has moved so far since it gave them.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9_-]{1,32}$")]
    better_min_pct: Annotated[float, Meta(ge=-50.0, le=50.0)]
    better_max_pct: Annotated[float, Meta(ge=-50.0, le=50.0)]
    edge_min_pct: Annotated[float, Meta(ge=-10_000.0, le=100.0)] = 10.0
    answer_min_ms: Annotated[int, Meta(ge=1, le=600_000)] = 3_000
    answer_max_ms: Annotated[int, Meta(ge=1, le=600_000)] = 5_000
    no_quote_probability: Fraction = 0.1
    two_way_probability: Fraction = 1.0
    pull_move_pct: Annotated[float, Meta(gt=0.0, le=1_000.0)] = 0.25

    def __post_init__(self) -> None:
        for low, high in (("better_min_pct", "better_max_pct"), ("answer_min_ms", "answer_max_ms")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} of dealer {self.name} must not be above {high}")


DEALERS = (
    DealerConfig(name="eager", better_min_pct=5.0, better_max_pct=15.0, edge_min_pct=5.0, no_quote_probability=0.15),
    DealerConfig(name="keen", better_min_pct=2.0, better_max_pct=10.0, edge_min_pct=20.0),
    DealerConfig(name="steady", better_min_pct=0.0, better_max_pct=5.0, edge_min_pct=40.0, no_quote_probability=0.05),
    DealerConfig(name="wary", better_min_pct=-5.0, better_max_pct=1.0, edge_min_pct=50.0, two_way_probability=0.5),
)


class RfqConfig(_Section, frozen=True, kw_only=True):
    """Requests for quote and the dealers who answer them.

    request_life_ms, quote_life_ms: how long each is open. code_life_ms: how long the code of a block trade between
    two accounts may be used. active_requests_max: of one account. kept_requests: how
    many ended requests with their quotes, and how many block trades, are remembered.
    """

    request_life_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] = 3_600_000
    quote_life_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] = 300_000
    code_life_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] = 300_000
    active_requests_max: PositiveInt = 100
    kept_requests: Annotated[int, Meta(ge=10, le=1_000_000)] = 2_000
    dealers: tuple[DealerConfig, ...] = DEALERS

    def __post_init__(self) -> None:
        _refuse_repeats("dealers name", [dealer.name for dealer in self.dealers])


BTC = BaseConfig(
    base="BTC",
    index=IndexConfig(initial_price=100_000.0),
    listing=ListingConfig(strike_steps=(Decimal(500), Decimal(1_000), Decimal(2_000), Decimal(5_000))),
    surface=SurfaceConfig(short_vol=0.52, long_vol=0.58),
    tick_size=Decimal("0.1"),
    min_quantity=Decimal("0.01"),
    max_order_quantity=Decimal(1_000),
    max_position_quantity=Decimal(1_000),
)
ETH = BaseConfig(
    base="ETH",
    index=IndexConfig(initial_price=3_500.0, vol=0.7),
    listing=ListingConfig(
        strike_steps=(Decimal(25), Decimal(50), Decimal(100), Decimal(200)), strikes_per_side=(8, 9, 11, 12)
    ),
    surface=SurfaceConfig(short_vol=0.72, long_vol=0.76),
    tick_size=Decimal("0.01"),
    min_quantity=Decimal("0.1"),
    max_order_quantity=Decimal(10_000),
    max_position_quantity=Decimal(10_000),
    futures=FuturesConfig(
        tick_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
        max_order_quantity=Decimal(10_000),
        max_position_quantity=Decimal(10_000),
    ),
    spot=SpotConfig(tick_size=Decimal("0.01"), min_quantity=Decimal("0.0001"), max_order_quantity=Decimal(10_000)),
)


class ExchangeConfig(_Section, frozen=True, kw_only=True):
    """The whole simulated exchange.

    seed: with the start time it determines the market to the last tick. step_ms: how often the market moves.
    kept_orders, kept_fills: how many finished orders and fills of each account are remembered.
    """

    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    step_ms: Annotated[int, Meta(ge=10, le=60_000)] = 250
    bases: Annotated[tuple[BaseConfig, ...], Meta(min_length=1)] = (BTC, ETH)
    accounts: tuple[AccountConfig, ...] = ()
    fees: FeeConfig = FeeConfig()
    margin: MarginConfig = MarginConfig()
    rate_limits: RateLimitConfig = RateLimitConfig()
    rfq: RfqConfig = RfqConfig()
    switches: Switches = Switches()
    kept_orders: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 50_000
    kept_fills: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 50_000

    def __post_init__(self) -> None:
        if 60_000 % self.step_ms:
            raise ValueError(f"step_ms {self.step_ms} must divide a minute, so that every expiry falls on a step")
        _refuse_repeats("base", [base.base for base in self.bases])
        _refuse_repeats("account_id", [account.account_id for account in self.accounts])
        keys = [key.api_key for account in self.accounts for key in account.keys]
        if len(set(keys)) != len(keys):
            raise ValueError("api_key must be unique: one key is listed twice")
