"""The shapes of the JSON API, for its OpenAPI document: decimals as text, times in ISO-8601 UTC, None = not known."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.monitor.web.api_execution_models import QualityShape
from services.monitor.web.api_shape import Shape


class ServiceShape(Shape):
    name: str
    state: Literal["ready", "not ready", "down", "unheard"]
    detail: str
    pid: int | None
    starts: int | None
    started_at: str | None
    heard_at: str | None


class HaltShape(Shape):
    level: str
    reason: str
    raised_by: str
    raised_at: str


class HaltsShape(Shape):
    account: str
    halt_epoch: int
    halts: list[HaltShape]


class GreeksShape(Shape):
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


class AccountShape(Shape):
    """holdings: cash of each asset that there is, in units of it, by its name."""

    account_id: str
    received_at: str
    equity_usd: str
    peak_equity_usd: str
    available_margin_usd: str
    initial_margin_usd: str
    maintenance_margin_usd: str
    unrealized_pnl_usd: str
    holdings: dict[str, str]
    outstanding_grants: int
    outstanding_margin_usd: float
    greeks: dict[str, GreeksShape]
    greeks_complete: bool
    positions: int


class OverviewShape(Shape):
    """equity_change_usd: since 00:00 UTC without deposits and withdrawals; closed_today_usd: after fees and
    funding."""

    desk: str
    mode: Literal["paper", "beta", "LIVE"]
    venue: str
    account_id: str
    at: str
    account: AccountShape | None
    equity_change_usd: float | None
    closed_today_usd: str
    open_trades: int
    open_alerts: int
    services: list[ServiceShape]
    halts: HaltsShape | None
    silent_feeds: list[str]


class LegShape(Shape):
    symbol: str
    side: Literal["buy", "sell"]
    qty: str
    filled_qty: str
    held_qty: str
    open_price: str | None
    close_price: str | None


class ModeChoiceShape(Shape):
    """Why a trade is executed in this mode. Costs in USD, paid > 0; `infeasible` says why a mode was not possible."""

    mode: str
    reason: str
    expected_cost: dict[str, float]
    infeasible: dict[str, str]
    opening_cost: float | None
    opening_expected: float | None


class ChunksShape(Shape):
    planned: int
    completed: int
    crossings: int


class RollShape(Shape):
    """Its place in a chain of rolls. chain_pnl: realised with this trade, after fees and funding."""

    chain_id: str
    number: int
    rolled_from: str
    chain_pnl: str


class TradeShape(Shape):
    """pnl_usd: live, on mark, before fees; net_pnl_usd: after fees and funding so far."""

    trade_id: str
    account_id: str
    strategy: str
    state: str
    reason: str
    legs: list[LegShape]
    opened_at: str | None
    closed_at: str | None
    realized_pnl: str
    fees: str
    funding: str
    execution_mode: str
    mode_choice: ModeChoiceShape | None
    opening_chunks: ChunksShape | None
    closing_chunks: ChunksShape | None
    if_broken: str | None
    roll: RollShape | None
    rolled_to: str | None
    pnl_usd: float | None
    net_pnl_usd: float | None
    greeks: GreeksShape | None


class OrderShape(Shape):
    order_id: str
    venue_order_id: str | None
    account_id: str
    trade_id: str
    leg: int
    purpose: str
    symbol: str
    side: Literal["buy", "sell"]
    qty: str
    price: str
    trigger_price: str | None
    at_market: bool
    waits: bool
    amend_price: str | None
    amends: int
    filled_qty: str
    average_price: str | None
    state: str
    reason: str
    reduce_only: bool
    created_at: str
    updated_at: str


class StoryLineShape(Shape):
    at: str
    kind: str
    text: str
    cause_id: str


class PayoffShape(Shape):
    """Columns of one length; P&L before fees in USD. `now` is null where a mark is missing; `forward` of today."""

    underlying: list[float]
    at_expiry: list[float | None]
    now: list[float | None]
    forward: float


class DifferenceShape(Shape):
    """stands: a foreign order or position that is still there; the others stand for their moment."""

    kind: str
    symbol: str
    trade_id: str | None
    qty: str | None
    detail: str
    done: str
    trigger: str
    found_at: str
    stands: bool
    ended_at: str | None


class DifferencesShape(Shape):
    compared_at: str | None
    unconfirmed: list[str]
    differences: list[DifferenceShape]


class ChannelShape(Shape):
    name: str
    via: str
    failing_since: str | None
    reason: str | None
    waiting: int
    delivered: int


class StoryShape(Shape):
    trade: TradeShape
    orders: list[OrderShape]
    story: list[StoryLineShape]
    quality: list[QualityShape]


class PositionShape(Shape):
    symbol: str
    underlying: str
    qty: str
    average_price: str
    mark: float | None
    unrealized_pnl_usd: float | None
    greeks: GreeksShape | None
    venue_delta: float | None


class GateShape(Shape):
    name: str
    open: bool
    reason: str
    since: str


class ExitsShape(Shape):
    trade_id: str
    state: str
    closing: str | None
    conditions: list[GateShape]
    hard_deadline: str | None


class DryRunShape(Shape):
    open: int
    closed: int
    net_usd: str
    open_pnl_usd: float | None
    funding_usd: str


class StrategyShape(Shape):
    strategy: str
    state: str
    reason: str
    gates: list[GateShape]
    exits: list[ExitsShape]
    trades_today: int
    open_trades: int
    if_broken: str | None
    parameters: str
    dry_run: DryRunShape | None
    last_closed_at: str | None
    signals_generated: int
    signals_executed: int
    updated_at: str


class AlertShape(Shape):
    id: str
    code: str
    severity: Literal["info", "warning", "critical"]
    subject: str
    text: str
    service: str
    since: str
    last_raised_at: str
    count: int
    open: bool
    notice: bool
    acknowledged_by: str | None


class RefusalShape(Shape):
    at: str
    intent_id: str
    strategy: str
    code: str
    detail: str
    value: float | None
    limit: float | None


class OptionShape(Shape):
    """Prices in USD per unit, volatilities as fractions, Greeks per unit held long, interest in coins."""

    symbol: str
    type: Literal["C", "P"]
    strike: str
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    mark: float | None
    iv: float | None
    bid_iv: float | None
    ask_iv: float | None
    delta: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    open_interest: float | None
    volume: float | None


class ExpiryShape(Shape):
    expiry: str
    expires_at: str
    forward: float | None
    options: list[OptionShape]


class SpotShape(Shape):
    """The spot pair, USDT per coin; null where the venue gives nothing."""

    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    received_at: str


class FutureShape(Shape):
    """A perpetual (expires_at null; only it has a funding rate) or a dated future. year_pct: the basis per year, of
    the perpetual what its funding comes to in one."""

    symbol: str
    expires_at: str | None
    bid: float | None
    ask: float | None
    mark: float | None
    basis_pct: float | None
    year_pct: float | None
    funding_rate: float | None
    received_at: str | None


class ChainShape(Shape):
    """spot: null on a desk that does not look at spot, and while nothing fresh is known of it. futures: the perpetual
    and the dated ones, empty on a desk without futures."""

    underlying: str
    index_price: float | None
    received_at: str
    spot: SpotShape | None
    futures: list[FutureShape]
    expiries: list[ExpiryShape]


class LogShape(Shape):
    service: str
    at: str
    track: str
    level: str
    event: str
    trade_id: str
    text: str


class AuditShape(Shape):
    action_id: str
    at: str
    who: str
    address: str
    what: str
    detail: str
    outcome: str
    ended_at: str | None


class ActionRequest(BaseModel):
    """What to do. action_id: made by the caller, 16 to 64 letters, digits, _ and -; the same id acts once.

    fields: what it is about, such as {"trade": "t59876543"} (see docs/dashboard.md); `typed`, the account's name,
    where a person would have to type it.
    """

    model_config = ConfigDict(extra="forbid")
    action_id: str = Field(min_length=16, max_length=64)
    fields: dict[str, str] = Field(default_factory=dict, max_length=10)


class OutcomeShape(Shape):
    """done False: refused, or not known; `text` says which."""

    done: bool
    text: str
