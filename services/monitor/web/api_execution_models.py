"""The shapes of what execution tells by the JSON API: quality, costs, inquiries, requests for quote."""

from __future__ import annotations

from typing import Literal

from services.monitor.web.api_shape import Shape


class LegQualityShape(Shape):
    """slippage: against the mid at arrival, a cost > 0."""

    symbol: str
    side: Literal["buy", "sell"]
    qty: str
    average_price: str | None
    arrival_mid: float | None
    decision_price: float | None
    slippage_usd: str | None
    slippage_bp: float | None
    improvement_usd: str | None
    orders: int
    time_to_fill_s: float | None
    maker_share: float | None
    fees_usd: str


class QualityShape(Shape):
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
    legs: list[LegQualityShape]


class ExecutionShape(QualityShape):
    """What the opening or the close of a trade cost."""

    trade_id: str


class CostShape(Shape):
    group: str
    phase: Literal["open", "close"]
    trades: int
    measured: int
    slippage_usd: str | None
    slippage_bp: float | None
    improvement_usd: str | None
    fill_p50_s: float | None
    fill_p90_s: float | None
    maker_share: float | None
    fees_usd: str
    orders_per_trade: float
    naked_s: float
    naked_delta_s: float


class QuoteLegShape(Shape):
    side: Literal["buy", "sell"]
    qty: str
    symbol: str


class InquiryQuoteShape(Shape):
    """cost: of the whole structure in USD, paid > 0; improvement: better > 0, judged against `basis`."""

    quote_id: str
    cost: float
    improvement: float | None
    improvement_pct: float | None
    basis: Literal["book", "half_spread", "mark"]
    over_mark: float | None
    over_mark_pct: float | None
    prices: list[str]
    expires_at: str | None


class InquirySideShape(Shape):
    """One direction of an inquiry; `shallow` symbols lack the size on the book."""

    direction: Literal["as_given", "opposite"]
    mark_cost: float | None
    book_cost: float | None
    shallow: list[str]
    quotes: list[InquiryQuoteShape]


class InquiryShape(Shape):
    inquiry_id: str
    account_id: str
    request_id: str
    requested_by: str
    asked_at: str
    answered_at: str
    reason: str
    legs: list[QuoteLegShape]
    sides: list[InquirySideShape]
    unusable_quotes: int


class DirectionCostShape(Shape):
    """What the structure costs without a quote, USD, paid > 0; `shallow` symbols lack the size on the book."""

    direction: Literal["as_given", "opposite"]
    book_cost_usd: float | None
    mark_cost_usd: float | None
    shallow: list[str]


class RequestQuoteShape(Shape):
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


class QuoteRequestShape(Shape):
    """One request for quote of a trade or of a person; while `collecting` its figures are of this moment."""

    rfq_id: str
    request_id: str | None
    trade_id: str | None
    asked_by: str
    purpose: Literal["open", "close", "inquiry"]
    state: str
    reason: str
    legs: list[QuoteLegShape]
    wanted: Literal["as_given", "opposite"] | None
    asked_at: str
    judged_at: str | None
    ends_at: str | None
    collecting: bool
    chosen: str | None
    costs: list[DirectionCostShape]
    quotes: list[RequestQuoteShape]
