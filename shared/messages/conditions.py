"""Entry and exit conditions as data, so that they can travel with a trade; `shared.strategy` evaluates them."""

from __future__ import annotations

from typing import Literal

import msgspec

Greek = Literal["delta", "gamma", "vega", "theta", "rho"]
Comparison = Literal[">", ">=", "<", "<=", "abs>", "abs>="]


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
    """Mark-based P&L of the trade is at least `pct` of the absolute entry premium, or `usd`: one of them is set."""

    pct: float | None = None
    usd: float | None = None


class MaxLoss(Condition, frozen=True, kw_only=True, tag="max_loss"):
    """Mark-based loss of the trade is at least `pct` of the absolute entry premium, or `usd`: one of them is set."""

    pct: float | None = None
    usd: float | None = None


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

    `leg_index` None means any leg.
    """

    greek: Greek
    limit: float
    comparison: Comparison = "abs>"
    leg_index: int | None = None


class HostFunction(Condition, frozen=True, kw_only=True, tag="host_function"):
    """A plain function in the strategy file: only the host that loaded it can answer."""

    name: str


EntryCondition = (
    TimeWindow
    | WeekdayFilter
    | MinAvailableMargin
    | MinEquity
    | MaxAccountDelta
    | MaxMarginUtilisation
    | NoExistingPosition
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
    | HostFunction
)
