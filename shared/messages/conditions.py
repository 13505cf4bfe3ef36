"""Entry and exit conditions as data, so that they can travel with a trade; `shared.strategy` evaluates them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from shared.messages.on_demand import KlinePeriod

Greek = Literal["delta", "gamma", "vega", "theta", "rho"]
Comparison = Literal[">", ">=", "<", "<=", "abs>", "abs>="]
DEPTH_MAX = 8
"""How deeply conditions may be made of conditions."""

PriceBasis = Literal["mark", "mid"]
"""What P&L is judged by: marks, or the middle of a book that is narrow enough, else mark."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A question with a yes-or-no answer and a reason."""


class TimeWindow(Condition, frozen=True, kw_only=True, tag="time_window"):
    """Open from `start_minute` to before `end_minute` of the UTC day; crosses midnight when start > end."""

    start_minute: int
    end_minute: int


class WeekdayFilter(Condition, frozen=True, kw_only=True, tag="weekday_filter"):
    """Open on these UTC weekdays, 0 = Monday."""

    weekdays: tuple[int, ...]


class MinAvailableMargin(Condition, frozen=True, kw_only=True, tag="min_available_margin"):
    """Available margin / equity × 100 is at least `pct`."""

    pct: float


class MinEquity(Condition, frozen=True, kw_only=True, tag="min_equity"):
    usd: float


class MaxAccountDelta(Condition, frozen=True, kw_only=True, tag="max_account_delta"):
    """|delta| of the account, in units of the underlying (summed over underlyings when none is named)."""

    limit: float
    underlying: str | None = None


class MaxMarginUtilisation(Condition, frozen=True, kw_only=True, tag="max_margin_utilisation"):
    """Initial margin / equity × 100 is at most `pct`."""

    pct: float


class NoExistingPosition(Condition, frozen=True, kw_only=True, tag="no_existing_position"):
    """No position in a symbol that begins with one of these names ("BTC", "BTCUSD-6JUN25-100000-C")."""

    symbols: tuple[str, ...]


class ProfitTarget(Condition, frozen=True, kw_only=True, tag="profit_target"):
    """P&L of the trade is at least `pct` of the absolute entry premium, or `usd`: one of them is set."""

    pct: float | None = None
    usd: float | None = None
    price: PriceBasis = "mark"


class MaxLoss(Condition, frozen=True, kw_only=True, tag="max_loss"):
    """Loss of the trade is at least `pct` of the absolute entry premium, or `usd`: one of them is set."""

    pct: float | None = None
    usd: float | None = None
    price: PriceBasis = "mark"


class MaxHold(Condition, frozen=True, kw_only=True, tag="max_hold"):
    hours: float


class TimeExit(Condition, frozen=True, kw_only=True, tag="time_exit"):
    """The first time after opening that the UTC clock shows hour:minute."""

    hour: int
    minute: int = 0


class UtcDatetimeExit(Condition, frozen=True, kw_only=True, tag="utc_datetime_exit"):
    at_ns: int


class AccountDeltaLimit(Condition, frozen=True, kw_only=True, tag="account_delta_limit"):
    """|delta| of the account exceeds `limit`, in units of the underlying."""

    limit: float
    underlying: str | None = None


class StructureDeltaLimit(Condition, frozen=True, kw_only=True, tag="structure_delta_limit"):
    """|Σ signed quantity × delta| of the trade's legs exceeds `limit`."""

    limit: float


class LegGreekLimit(Condition, frozen=True, kw_only=True, tag="leg_greek_limit"):
    """A leg's Greek (per unit, signed by the leg's side, not times quantity) compares true with `limit`.

    `leg_index` None means any leg that is an option.
    """

    greek: Greek
    limit: float
    comparison: Comparison = "abs>"
    leg_index: int | None = None


class IvLevel(Condition, frozen=True, kw_only=True, tag="iv_level"):
    """The implied volatility at the money of `underlying`, `days` from now, lies within min_pct to max_pct."""

    days: float
    min_pct: float | None = None
    max_pct: float | None = None
    underlying: str = "BTCUSD"


class AwayFromEvents(Condition, frozen=True, kw_only=True, tag="away_from_events"):
    """Now is not within `before_hours` before to `after_hours` after one of these instants."""

    at_ns: tuple[int, ...]
    before_hours: float
    after_hours: float


class CooldownAfterLoss(Condition, frozen=True, kw_only=True, tag="cooldown_after_loss"):
    """The strategy's last trade that lost money ended at least so long ago."""

    hours: float


class DaysToEvent(Condition, frozen=True, kw_only=True, tag="days_to_event"):
    """The first of these instants that is ahead lies within min_days to max_days from now, days of 24 h."""

    at_ns: tuple[int, ...]
    min_days: float | None = None
    max_days: float | None = None


class SpotMove(Condition, frozen=True, kw_only=True, tag="spot_move"):
    """The perpetual of `underlying` has moved by `pct` or more over the last `minutes`, by closes of its candles."""

    pct: float
    minutes: float
    direction: Literal["up", "down", "either"] = "either"
    underlying: str = "BTCUSD"


class PriceEma(Condition, frozen=True, kw_only=True, tag="price_ema"):
    """The close of the last finished candle of the perpetual is above, or below, the EMA of `bars` closes, by more
    than `buffer_pct` of the EMA."""

    bars: int
    side: Literal["above", "below"] = "above"
    candle: KlinePeriod = "1h"
    buffer_pct: float = 0.0
    underlying: str = "BTCUSD"


class EmaCross(Condition, frozen=True, kw_only=True, tag="ema_cross"):
    """The EMA of `fast_bars` closes is above, or below, that of `slow_bars`, on finished candles of the perpetual.

    within_bars: and was not so many candles before; None: since whenever.
    """

    fast_bars: int
    slow_bars: int
    side: Literal["above", "below"] = "above"
    candle: KlinePeriod = "1h"
    within_bars: int | None = None
    underlying: str = "BTCUSD"


class SuperTrend(Condition, frozen=True, kw_only=True, tag="supertrend"):
    """The SuperTrend of the perpetual's finished candles points up, or down."""

    bars: int = 10
    multiplier: float = 3.0
    side: Literal["up", "down"] = "up"
    candle: KlinePeriod = "1h"
    underlying: str = "BTCUSD"


class RealisedImplied(Condition, frozen=True, kw_only=True, tag="realised_implied_ratio"):
    """The volatility realised by the perpetual over the last `days`, divided by the implied one at the money `days`
    ahead, lies within min_ratio to max_ratio."""

    days: float
    min_ratio: float | None = None
    max_ratio: float | None = None
    underlying: str = "BTCUSD"


class IvRank(Condition, frozen=True, kw_only=True, tag="iv_rank"):
    """Where the implied volatility at the money, `days` ahead, stands among its hourly samples of the last
    `lookback_days`, in per cent, lies within min_pct to max_pct.

    measure "rank": (now - lowest) / (highest - lowest); "percentile": the share of samples below it. Waits until the
    samples reach back `history_min_days`.
    """

    lookback_days: float
    history_min_days: float
    days: float
    min_pct: float | None = None
    max_pct: float | None = None
    measure: Literal["rank", "percentile"] = "rank"
    underlying: str = "BTCUSD"


class FundingLevel(Condition, frozen=True, kw_only=True, tag="funding_rate"):
    """The rate of the perpetual's next funding, in per cent of its value, lies within min_pct to max_pct.

    Positive: longs pay.
    """

    min_pct: float | None = None
    max_pct: float | None = None
    underlying: str = "BTCUSD"


class DteExit(Condition, frozen=True, kw_only=True, tag="dte_exit"):
    """The DTE of the held leg that expires first is at most `days`."""

    days: int


class BeforeExpiry(Condition, frozen=True, kw_only=True, tag="before_expiry"):
    """At most `hours` are left until the held leg that expires first trades no more."""

    hours: float


class TimeElapsed(Condition, frozen=True, kw_only=True, tag="time_elapsed"):
    """At least `pct` of the time from opening to the first expiry has passed."""

    pct: float


class MaxProfitShare(Condition, frozen=True, kw_only=True, tag="max_profit_share"):
    """P&L is at least `pct` of the most that the structure can make at expiry, at its opening prices."""

    pct: float
    price: PriceBasis = "mark"


class CreditMultiple(Condition, frozen=True, kw_only=True, tag="credit_multiple"):
    """The loss is at least `multiple` times the credit that was received."""

    multiple: float
    price: PriceBasis = "mark"


class UnderlyingBeyond(Condition, frozen=True, kw_only=True, tag="underlying_beyond"):
    """The index of the trade's underlying is at or above `above`, or at or below `below`, USD."""

    above: float | None = None
    below: float | None = None


class ShortStrikeTouched(Condition, frozen=True, kw_only=True, tag="short_strike_touched"):
    """The index has come within `buffer_pct` of a held short strike, or is beyond it."""

    buffer_pct: float = 0.0


class ShortLegDelta(Condition, frozen=True, kw_only=True, tag="short_leg_delta"):
    """|delta| of a held short leg is at least `limit`, per unit."""

    limit: float


class BreakevenTouched(Condition, frozen=True, kw_only=True, tag="breakeven_touched"):
    """At expiry the trade would lose if the index, moved by up to `buffer_pct` either way, stayed there."""

    buffer_pct: float = 0.0


class TrailingProfit(Condition, frozen=True, kw_only=True, tag="trailing_profit"):
    """P&L, once it has reached the start, is at most its peak less `giveback_pct` of it."""

    giveback_pct: float
    start_pct: float | None = None
    start_usd: float | None = None
    price: PriceBasis = "mark"


class IvChange(Condition, frozen=True, kw_only=True, tag="iv_change"):
    """The mean mark volatility of the held legs has risen by `up_points`, or fallen by `down_points`."""

    up_points: float | None = None
    down_points: float | None = None


class ForAtLeast(Condition, frozen=True, kw_only=True, tag="for_at_least"):
    """This has said yes at every look for `seconds`."""

    condition: AnyCondition
    seconds: float

    def __post_init__(self) -> None:
        _check_depth((self.condition,))


class AllOf(Condition, frozen=True, kw_only=True, tag="all_of"):
    """Every one of these says yes."""

    conditions: tuple[AnyCondition, ...]

    def __post_init__(self) -> None:
        _check_depth(self.conditions)


class AnyOf(Condition, frozen=True, kw_only=True, tag="any_of"):
    """One of these says yes."""

    conditions: tuple[AnyCondition, ...]

    def __post_init__(self) -> None:
        _check_depth(self.conditions)


class Not(Condition, frozen=True, kw_only=True, tag="not"):
    """This says no; what waits goes on waiting."""

    condition: AnyCondition

    def __post_init__(self) -> None:
        _check_depth((self.condition,))


class HostFunction(Condition, frozen=True, kw_only=True, tag="host_function"):
    """A plain function in the strategy file: only the host that loaded it can answer."""

    name: str


MarketCondition = IvLevel | SpotMove | PriceEma | EmaCross | SuperTrend | RealisedImplied | IvRank | FundingLevel
"""What asks of the market alone, as an entry and as an exit."""

EntryCondition = (
    TimeWindow
    | WeekdayFilter
    | MinAvailableMargin
    | MinEquity
    | MaxAccountDelta
    | MaxMarginUtilisation
    | NoExistingPosition
    | MarketCondition
    | AwayFromEvents
    | DaysToEvent
    | CooldownAfterLoss
    | AllOf
    | AnyOf
    | Not
    | ForAtLeast
    | HostFunction
)
ExitCondition = (
    ProfitTarget
    | MaxLoss
    | MaxHold
    | TimeExit
    | UtcDatetimeExit
    | AccountDeltaLimit
    | StructureDeltaLimit
    | LegGreekLimit
    | DteExit
    | BeforeExpiry
    | TimeElapsed
    | MaxProfitShare
    | CreditMultiple
    | UnderlyingBeyond
    | ShortStrikeTouched
    | ShortLegDelta
    | BreakevenTouched
    | TrailingProfit
    | IvChange
    | MarketCondition
    | AllOf
    | AnyOf
    | Not
    | ForAtLeast
    | HostFunction
)
AnyCondition = EntryCondition | ExitCondition
"""What a combinator holds: those of an entry in an entry, those of an exit in an exit."""


def _check_depth(parts: tuple[AnyCondition, ...], left: int = DEPTH_MAX) -> None:
    """Raises ValueError for parts that are nested too deeply: each level is a call of whoever answers it."""
    if left == 0:
        raise ValueError(f"conditions are nested more than {DEPTH_MAX} deep")
    for part in parts:
        if isinstance(part, AllOf | AnyOf):
            _check_depth(part.conditions, left - 1)
        elif isinstance(part, Not | ForAtLeast):
            _check_depth((part.condition,), left - 1)


def alternatives(conditions: Iterable[AnyCondition]) -> Iterator[AnyCondition]:
    """The conditions of which each alone is enough: these, and in place of every `any_of` its parts."""
    for condition in conditions:
        if isinstance(condition, AnyOf):
            yield from alternatives(condition.conditions)
        else:
            yield condition
