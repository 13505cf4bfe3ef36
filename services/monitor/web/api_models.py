"""The shapes of the JSON API, for its OpenAPI document: decimals as text, times in ISO-8601 UTC, None = not known."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class ServiceShape(_Shape):
    name: str
    state: Literal["ready", "not ready", "down", "unheard"]
    detail: str
    pid: int | None
    starts: int | None
    started_at: str | None
    heard_at: str | None


class HaltShape(_Shape):
    level: str
    reason: str
    raised_by: str
    raised_at: str


class HaltsShape(_Shape):
    account: str
    halt_epoch: int
    halts: list[HaltShape]


class GreeksShape(_Shape):
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


class AccountShape(_Shape):
    account_id: str
    received_at: str
    equity_usd: str
    peak_equity_usd: str
    available_margin_usd: str
    initial_margin_usd: str
    maintenance_margin_usd: str
    unrealized_pnl_usd: str
    outstanding_grants: int
    outstanding_margin_usd: float
    greeks: dict[str, GreeksShape]
    greeks_complete: bool
    positions: int


class OverviewShape(_Shape):
    """equity_change_usd: since 00:00 UTC without deposits and withdrawals; closed_today_usd: after fees."""

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


class LegShape(_Shape):
    symbol: str
    side: Literal["buy", "sell"]
    qty: str
    filled_qty: str
    open_price: str | None
    close_price: str | None


class TradeShape(_Shape):
    """pnl_usd: live, on mark, before fees; net_pnl_usd: after the fees so far."""

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
    execution_mode: str
    mode_choice: dict[str, Any] | None
    opening_chunks: dict[str, int] | None
    closing_chunks: dict[str, int] | None
    if_broken: str | None
    pnl_usd: float | None
    net_pnl_usd: float | None
    greeks: GreeksShape | None


class OrderShape(_Shape):
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
    amend_price: str | None
    amends: int
    filled_qty: str
    average_price: str | None
    state: str
    reason: str
    reduce_only: bool
    created_at: str
    updated_at: str


class StoryLineShape(_Shape):
    at: str
    kind: str
    text: str
    cause_id: str


class QualityShape(_Shape):
    phase: Literal["open", "close"]
    mode: str
    began_at: str
    filled_usd: str
    premium_usd: str | None
    slippage_usd: str | None
    slippage_bp: float | None
    improvement_usd: str | None
    orders: int
    chunks: int
    time_to_fill_s: float | None
    maker_share: float | None
    fees_usd: str
    naked_s: float
    naked_delta_s: float | None
    legs: list[dict[str, Any]]


class ExecutionShape(QualityShape):
    """What the opening or the close of a trade cost."""

    trade_id: str


class PayoffShape(_Shape):
    """Columns of one length; P&L before fees in USD. `now` is null where a mark is missing; `forward` of today."""

    underlying: list[float]
    at_expiry: list[float | None]
    now: list[float | None]
    forward: float


class DifferenceShape(_Shape):
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


class DifferencesShape(_Shape):
    compared_at: str | None
    unconfirmed: list[str]
    differences: list[DifferenceShape]


class ChannelShape(_Shape):
    name: str
    via: str
    failing_since: str | None
    reason: str | None
    waiting: int
    delivered: int


class StoryShape(_Shape):
    trade: TradeShape
    orders: list[OrderShape]
    story: list[StoryLineShape]
    quality: list[QualityShape]


class PositionShape(_Shape):
    symbol: str
    underlying: str
    qty: str
    average_price: str
    mark: float | None
    unrealized_pnl_usd: float | None
    greeks: GreeksShape | None
    venue_delta: float | None


class GateShape(_Shape):
    name: str
    open: bool
    reason: str
    since: str


class ExitsShape(_Shape):
    trade_id: str
    state: str
    closing: str | None
    conditions: list[GateShape]
    hard_deadline: str | None


class DryRunShape(_Shape):
    open: int
    closed: int
    net_usd: str
    open_pnl_usd: float | None


class StrategyShape(_Shape):
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


class AlertShape(_Shape):
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


class LimitShape(_Shape):
    """use_pct: None where only a request has a value, and for anything above a limit of 0."""

    name: str
    scope: str
    subject: str
    value: float | None
    limit: float | None
    unit: str
    use_pct: float | None


class LimitsShape(_Shape):
    account_id: str
    received_at: str
    grants_refused: str
    closest: LimitShape | None
    limits: list[LimitShape]
    breakers: list[dict[str, Any]]
    margin_guard: dict[str, Any] | None
    margin_models: list[dict[str, Any]]


class StressShape(_Shape):
    """`pnl_usd` has a row per volatility move and a column per spot move, loss < 0."""

    account_id: str
    received_at: str
    days: float
    spot_pct: list[float]
    vol_pct: list[float]
    pnl_usd: list[list[float]]


class RefusalShape(_Shape):
    at: str
    intent_id: str
    strategy: str
    code: str
    detail: str
    value: float | None
    limit: float | None


class OptionShape(_Shape):
    symbol: str
    type: Literal["C", "P"]
    strike: str
    bid: float | None
    ask: float | None
    mark: float | None
    iv: float | None
    delta: float | None


class ExpiryShape(_Shape):
    expiry: str
    expires_at: str
    forward: float | None
    options: list[OptionShape]


class ChainShape(_Shape):
    underlying: str
    index_price: float | None
    received_at: str
    expiries: list[ExpiryShape]


class CostShape(_Shape):
    group: str
    phase: Literal["open", "close"]
    trades: int
    measured: int
    slippage_usd: str | None
    slippage_bp: float | None
    improvement_usd: str | None
    fees_usd: str


class InquiryShape(_Shape):
    inquiry_id: str
    account_id: str
    requested_by: str
    asked_at: str
    answered_at: str
    reason: str
    legs: list[dict[str, Any]]
    sides: list[dict[str, Any]]
    unusable_quotes: int


class DirectionCostShape(_Shape):
    """What the structure costs without a quote, USD, paid > 0; `shallow` symbols lack the size on the book."""

    direction: Literal["as_given", "opposite"]
    book_cost_usd: float | None
    mark_cost_usd: float | None
    shallow: list[str]


class RequestQuoteShape(_Shape):
    """improvement: against the book, better > 0. verdict: whether the trade may take it, or why not."""

    quote_id: str
    direction: Literal["as_given", "opposite"] | None
    cost_usd: float | None
    improvement_usd: float | None
    improvement_pct: float | None
    over_mark_pct: float | None
    verdict: str | None
    prices: list[str]
    expires_at: str | None


class QuoteRequestShape(_Shape):
    """One request for quote of a trade or of a person; while `collecting` its figures are of this moment."""

    rfq_id: str
    request_id: str | None
    trade_id: str | None
    asked_by: str
    purpose: Literal["open", "close", "inquiry"]
    state: str
    reason: str
    legs: list[dict[str, Any]]
    wanted: Literal["as_given", "opposite"] | None
    asked_at: str
    judged_at: str | None
    ends_at: str | None
    collecting: bool
    chosen: str | None
    costs: list[DirectionCostShape]
    quotes: list[RequestQuoteShape]


class LogShape(_Shape):
    service: str
    at: str
    track: str
    level: str
    event: str
    trade_id: str
    text: str


class AuditShape(_Shape):
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


class OutcomeShape(_Shape):
    """done False: refused, or not known; `text` says which."""

    done: bool
    text: str
