"""Execution's journal as SQL tables: what they hold, and how a row of each is read off the book. No IO."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from services.execution import rows
from services.execution.pnl_changes import PnlChange
from services.execution.records import ZERO, Leg, Order, Trade
from services.execution.rfqs import Rfq
from services.execution.views import exact, plain
from shared.messages.rfq import JudgedQuote
from shared.options.structures import structure_name


class Column(NamedTuple):
    """`kind`: TEXT, INTEGER or REAL, as SQLite knows them. Amounts and prices are TEXT, so that no digit is lost."""

    name: str
    kind: str
    about: str
    read: Callable[[Any], Any]


class Table(NamedTuple):
    """`key`: the columns that name a row. The source is what every column's `read` is given."""

    name: str
    about: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def sql(self) -> str:
        """The statement that creates it."""
        lines = [f"{column.name} {column.kind}" for column in self.columns]
        return f"CREATE TABLE {self.name} ({', '.join(lines)}, PRIMARY KEY ({', '.join(self.key)}))"

    @property
    def upsert(self) -> str:
        """The statement that puts a row in place of the one with its key."""
        return f"INSERT OR REPLACE INTO {self.name} VALUES ({', '.join('?' * len(self.columns))})"

    def row(self, source: Any) -> tuple[Any, ...]:
        """One row, as SQLite takes it."""
        return tuple(_stored(column.read(source)) for column in self.columns)


def _stored(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return int(value) if isinstance(value, bool) else value


class OfQuote(NamedTuple):
    """A quote with its request."""

    rfq: Rfq
    quote: JudgedQuote


class OfLeg(NamedTuple):
    """One leg of a trade."""

    trade: Trade
    leg_index: int
    leg: Leg


class OfFill(NamedTuple):
    """An execution with its order; `sequence` is its row in the journal."""

    row: rows.FillSeen
    order: Order
    sequence: int


class Decision(NamedTuple):
    """What became of an intent, and on what grounds."""

    at_ns: int
    intent_id: str
    strategy: str
    ordinal: int
    decision: str
    trade_id: str | None = None
    code: str | None = None
    detail: str | None = None
    entry_reasons: str = ""
    margin_usd: float | None = None
    max_loss_usd: float | None = None


class StrategyState(NamedTuple):
    """A strategy as both journals know it."""

    strategy: str
    last_order: str
    last_ordinal: int | None
    trades: int
    open_trades: int
    refused: int
    last_opened_ns: int | None
    last_closed_ns: int | None
    realized_pnl_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal


class HaltSpan(NamedTuple):
    """A halt, and its end if it has one."""

    number: int
    level: str
    reason: str
    raised_by: str
    raised_ns: int
    lifted_ns: int | None = None
    lifted_by: str | None = None


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else plain(value)


TRADES = Table(
    "trades",
    "Every trade that was ever opened or adopted.",
    ("trade_id",),
    (
        Column("trade_id", "TEXT", "as `voldesk trades` shows it", lambda trade: trade.trade_id),
        Column("strategy", "TEXT", "whose it is", lambda trade: trade.request.strategy),
        Column("ordinal", "INTEGER", "the strategy's own count", lambda trade: trade.request.ordinal),
        Column("intent_id", "TEXT", "what opened it", lambda trade: trade.request.intent_id),
        Column("state", "TEXT", "see docs/states.md", lambda trade: trade.state),
        Column("reason", "TEXT", "why it is in this state", lambda trade: trade.reason),
        Column(
            "structure",
            "TEXT",
            "what its legs are together, as 'iron condor'",
            lambda trade: structure_name((leg.symbol, leg.sign * leg.quantity) for leg in trade.legs),
        ),
        Column("execution_mode", "TEXT", "by what it was worked first", lambda trade: trade.mode),
        Column("policy", "TEXT", "atomic or best_effort", lambda trade: trade.request.policy),
        Column("created_ns", "INTEGER", "when it was accepted", lambda trade: trade.created_ns),
        Column("opened_ns", "INTEGER", "when it was open; NULL before", lambda trade: trade.opened_ns),
        Column("closed_ns", "INTEGER", "when it had ended; NULL before", lambda trade: trade.closed_ns),
        Column("updated_ns", "INTEGER", "when its last row was written", lambda trade: trade.updated_ns),
        Column("close_reason", "TEXT", "why it was to be closed", lambda trade: trade.close and trade.close.reason),
        Column(
            "close_requested_by",
            "TEXT",
            "who wanted it closed",
            lambda trade: trade.close and trade.close.requested_by,
        ),
        Column(
            "entry_premium_usd",
            "TEXT",
            "what the opening paid for options, received < 0",
            lambda trade: exact(trade.entry_premium_usd),
        ),
        Column(
            "realized_pnl_usd",
            "TEXT",
            "of what is closed, before fees, to a millionth",
            lambda trade: plain(sum((leg.realized_pnl_usd for leg in trade.legs), ZERO)),
        ),
        Column("fees_usd", "TEXT", "all fees, settlement's included", lambda trade: exact(trade.fees_usd)),
        Column("fees_complete", "INTEGER", "0 while a fee is missing", lambda trade: trade.fees_are_complete),
        Column("funding_usd", "TEXT", "of perpetuals, paid > 0", lambda trade: exact(trade.funding_usd)),
    ),
)

LEGS = Table(
    "legs",
    "The legs of every trade, summed from the executions of the trade's own orders.",
    ("trade_id", "leg_index"),
    (
        Column("trade_id", "TEXT", "its trade", lambda of: of.trade.trade_id),
        Column("leg_index", "INTEGER", "from 0", lambda of: of.leg_index),
        Column("symbol", "TEXT", "the instrument", lambda of: of.leg.symbol),
        Column("side", "TEXT", "of the opening: buy or sell", lambda of: of.leg.side),
        Column("quantity", "TEXT", "as wanted", lambda of: of.leg.quantity),
        Column("opened_quantity", "TEXT", "filled by the opening", lambda of: of.leg.opened_quantity),
        Column("open_price", "TEXT", "its average, to a millionth", lambda of: _rounded(of.leg.open_price)),
        Column("closed_quantity", "TEXT", "closed, settled or gone", lambda of: of.leg.closed_quantity),
        Column("close_price", "TEXT", "its average, to a millionth", lambda of: _rounded(of.leg.close_price)),
        Column("settled_quantity", "TEXT", "of it at expiry", lambda of: of.leg.settled_quantity),
        Column(
            "fee_quantity", "TEXT", "coins that the venue kept as its fee, in lots", lambda of: of.leg.fee_quantity
        ),
        Column("left_quantity", "TEXT", "coins that were too few to be sold", lambda of: of.leg.left_quantity),
        Column("realized_pnl_usd", "TEXT", "before fees, to a millionth", lambda of: plain(of.leg.realized_pnl_usd)),
    ),
)

ORDERS = Table(
    "orders",
    "Every order that was sent, or found at the venue and taken over.",
    ("client_order_id",),
    (
        Column("client_order_id", "INTEGER", "63 bits; see shared/ids.py", lambda order: order.client_order_id),
        Column("venue_order_id", "INTEGER", "NULL until the venue told it", lambda order: order.venue_order_id),
        Column("trade_id", "TEXT", "its trade", lambda order: order.trade_id),
        Column("leg_index", "INTEGER", "its leg", lambda order: order.leg_index),
        Column("purpose", "TEXT", "open, close, unwind or flatten", lambda order: order.purpose),
        Column("attempt", "INTEGER", "counts orders of one leg and purpose", lambda order: order.attempt),
        Column("symbol", "TEXT", "the instrument", lambda order: order.symbol),
        Column("side", "TEXT", "buy or sell", lambda order: order.side),
        Column("quantity", "TEXT", "as sent", lambda order: order.quantity),
        Column("price", "TEXT", "its limit, as it is now", lambda order: order.price),
        Column("trigger_price", "TEXT", "of a stop order, else NULL", lambda order: order.trigger_price),
        Column("triggered_ns", "INTEGER", "when a stop order was triggered, 0 before", lambda o: o.triggered_ns),
        Column("filled_quantity", "TEXT", "executed", lambda order: order.filled_quantity),
        Column(
            "average_price",
            "TEXT",
            "of what is executed, to a millionth",
            lambda order: plain(order.filled_cash / order.filled_quantity) if order.filled_quantity else None,
        ),
        Column("state", "TEXT", "see docs/states.md", lambda order: order.state),
        Column("reason", "TEXT", "why it is in this state", lambda order: order.reason),
        Column("refusal_code", "INTEGER", "the venue's, if it refused", lambda order: order.refusal_code),
        Column("reduce_only", "INTEGER", "1 if it could only reduce", lambda order: order.reduce_only),
        Column(
            "quote_id", "TEXT", "the accepted quote that it stands for a leg of, else empty", lambda o: o.quote_id
        ),
        Column("created_ns", "INTEGER", "when it was decided", lambda order: order.created_ns),
        Column("updated_ns", "INTEGER", "when its last row was written", lambda order: order.updated_ns),
    ),
)

FILLS = Table(
    "fills",
    "Every execution of an order of ours, once.",
    ("venue_trade_id",),
    (
        Column("venue_trade_id", "INTEGER", "the venue's", lambda of: of.row.fill.venue_trade_id),
        Column("client_order_id", "INTEGER", "its order", lambda of: of.order.client_order_id),
        Column("trade_id", "TEXT", "its trade", lambda of: of.order.trade_id),
        Column("leg_index", "INTEGER", "its leg", lambda of: of.order.leg_index),
        Column("purpose", "TEXT", "of its order", lambda of: of.order.purpose),
        Column("symbol", "TEXT", "the instrument", lambda of: of.order.symbol),
        Column("side", "TEXT", "buy or sell", lambda of: of.order.side),
        Column("quantity", "TEXT", "executed", lambda of: of.row.fill.quantity),
        Column("price", "TEXT", "USD per unit", lambda of: of.row.fill.price),
        Column("fee_usd", "TEXT", "NULL until the venue told it", lambda of: of.row.fill.fee_usd),
        Column("is_taker", "INTEGER", "0 for maker", lambda of: of.row.fill.is_taker),
        Column("venue_ns", "INTEGER", "when, by the venue's clock", lambda of: of.row.fill.venue_ns),
        Column("sequence", "INTEGER", "its row in the journal", lambda of: of.sequence),
    ),
)

POSITIONS = Table(
    "positions",
    "What each open trade holds now, by its own fills. Foreign positions are not in the journal.",
    ("trade_id", "leg_index"),
    (
        Column("trade_id", "TEXT", "its trade", lambda of: of.trade.trade_id),
        Column("leg_index", "INTEGER", "its leg", lambda of: of.leg_index),
        Column("strategy", "TEXT", "whose it is", lambda of: of.trade.request.strategy),
        Column("symbol", "TEXT", "the instrument", lambda of: of.leg.symbol),
        Column("quantity", "TEXT", "held, short < 0", lambda of: of.leg.sign * of.leg.held_quantity),
        Column("open_price", "TEXT", "its average, to a millionth", lambda of: _rounded(of.leg.open_price)),
    ),
)


def _fields(kind: Any, kinds: dict[str, tuple[str, str]]) -> tuple[Column, ...]:
    """Columns that are the fields of a named tuple, in its order."""

    def column(name: str) -> Column:
        sql_kind, about = kinds[name]
        return Column(name, sql_kind, about, lambda of: getattr(of, name))

    return tuple(column(name) for name in kind._fields)


ENTRY_DECISIONS = Table(
    "entry_decisions",
    "Every intent that had an outcome for good. Refusals that pass by themselves (`disk_full`) are not journalled.",
    ("intent_id",),
    _fields(
        Decision,
        {
            "at_ns": ("INTEGER", "when it was decided"),
            "intent_id": ("TEXT", "strategy and ordinal"),
            "strategy": ("TEXT", "who wanted it"),
            "ordinal": ("INTEGER", "its count"),
            "decision": ("TEXT", "opened, adopted or refused"),
            "trade_id": ("TEXT", "the trade, if there is one"),
            "code": ("TEXT", "why it was refused"),
            "detail": ("TEXT", "the same in words"),
            "entry_reasons": ("TEXT", "what the strategy's gates said, one per line"),
            "margin_usd": ("REAL", "what risk granted"),
            "max_loss_usd": ("REAL", "what risk took for the largest loss; NULL without a bound"),
        },
    ),
)

STRATEGY_STATE = Table(
    "strategy_state",
    "Each strategy that ever asked for a trade or was told something. Its settings are in its file.",
    ("strategy",),
    _fields(
        StrategyState,
        {
            "strategy": ("TEXT", "its name"),
            "last_order": ("TEXT", "pause, resume or stop, as last told; empty for never"),
            "last_ordinal": ("INTEGER", "the highest that was used"),
            "trades": ("INTEGER", "opened so far"),
            "open_trades": ("INTEGER", "of them not ended"),
            "refused": ("INTEGER", "intents refused for good"),
            "last_opened_ns": ("INTEGER", "when its newest trade was accepted"),
            "last_closed_ns": ("INTEGER", "when the last one ended"),
            "realized_pnl_usd": ("TEXT", "over all its trades, before fees"),
            "fees_usd": ("TEXT", "over all its trades"),
            "funding_usd": ("TEXT", "over all its trades, paid > 0"),
        },
    ),
)

RFQS = Table(
    "rfqs",
    "Every request for quote of a trade.",
    ("rfq_id",),
    (
        Column("rfq_id", "TEXT", "ours", lambda rfq: rfq.rfq_id),
        Column("request_id", "TEXT", "the venue's, empty until it told it", lambda rfq: rfq.request_id),
        Column("trade_id", "TEXT", "its trade", lambda rfq: rfq.trade_id),
        Column("purpose", "TEXT", "open or close", lambda rfq: rfq.purpose),
        Column("state", "TEXT", "see docs/states.md", lambda rfq: rfq.state),
        Column("reason", "TEXT", "why it is in this state", lambda rfq: rfq.reason),
        Column("notional_usd", "REAL", "strike x quantity, summed", lambda rfq: rfq.notional_usd),
        Column("quote_id", "TEXT", "the quote that was accepted, empty for none", lambda rfq: rfq.quote_id),
        Column("book_cost_usd", "REAL", "without a quote, paid > 0; NULL: no size", lambda rfq: rfq.book_cost_usd),
        Column("mark_cost_usd", "REAL", "at mark, paid > 0", lambda rfq: rfq.mark_cost_usd),
        Column("created_ns", "INTEGER", "when it was decided", lambda rfq: rfq.created_ns),
        Column("state_ns", "INTEGER", "since when it is in this state", lambda rfq: rfq.state_ns),
    ),
)

QUOTES = Table(
    "quotes",
    "The quotes on them, as they were judged when it was decided; the cheapest few.",
    ("rfq_id", "quote_id"),
    (
        Column("rfq_id", "TEXT", "its request", lambda of: of.rfq.rfq_id),
        Column("quote_id", "TEXT", "the venue's", lambda of: of.quote.quote_id),
        Column("verdict", "TEXT", "good, or why not", lambda of: of.quote.verdict),
        Column("cost_usd", "REAL", "of the structure, paid > 0", lambda of: of.quote.cost_usd),
        Column("improvement_usd", "REAL", "on the book, better > 0", lambda of: of.quote.improvement_usd),
        Column("improvement_pct", "REAL", "the same, see docs/rfq.md", lambda of: of.quote.improvement_pct),
        Column("over_mark_pct", "REAL", "worse than mark > 0", lambda of: of.quote.over_mark_pct),
    ),
)

EXECUTION_QUALITY = Table(
    "execution_quality",
    "How well each opening and each close was executed; docs/execution-quality.md defines the figures.",
    ("trade_id", "phase"),
    (
        Column("trade_id", "TEXT", "its trade", lambda each: each.trade_id),
        Column("phase", "TEXT", "open, or close: all that reduced it", lambda each: each.phase),
        Column("strategy", "TEXT", "whose", lambda each: each.strategy),
        Column("execution_mode", "TEXT", "the mode that had it at last", lambda each: each.mode),
        Column("began_ns", "INTEGER", "arrival", lambda each: each.began_ns),
        Column("filled_usd", "TEXT", "Σ price × quantity of its executions", lambda each: each.filled_usd),
        Column("premium_usd", "TEXT", "the same at the arrival mids", lambda each: each.premium_usd),
        Column("slippage_usd", "TEXT", "against the arrival mids, cost > 0", lambda each: each.slippage_usd),
        Column("slippage_bp", "REAL", "of premium", lambda each: each.slippage_bp),
        Column("improvement_usd", "TEXT", "on crossing the book at arrival", lambda each: each.improvement_usd),
        Column("orders", "INTEGER", "rounds", lambda each: each.orders),
        Column("chunks", "INTEGER", "of a smart plan", lambda each: each.chunks),
        Column("time_to_fill_s", "REAL", "from arrival to the last execution", lambda each: each.time_to_fill_s),
        Column("maker_share", "REAL", "0 to 1, by premium", lambda each: each.maker_share),
        Column("fees_usd", "TEXT", "of its executions", lambda each: each.fees_usd),
        Column("naked_s", "REAL", "with legs out of proportion", lambda each: each.naked_s),
        Column("naked_delta_s", "REAL", "integral of |delta| over these", lambda each: each.naked_delta_s),
    ),
)

PNL_CHANGES = Table(
    "pnl_changes",
    "Every row of the journal that changed P&L, fees or funding of a trade: their sums are those of `trades`.",
    ("sequence",),
    _fields(
        PnlChange,
        {
            "sequence": ("INTEGER", "its row in the journal"),
            "at_ns": ("INTEGER", "when it happened, by the venue's clock where that told"),
            "trade_id": ("TEXT", "its trade"),
            "strategy": ("TEXT", "whose"),
            "kind": ("TEXT", "fill, fee, settlement, outside or funding"),
            "realized_pnl_usd": ("TEXT", "before fees"),
            "fees_usd": ("TEXT", "paid > 0"),
            "funding_usd": ("TEXT", "of perpetuals, paid > 0"),
        },
    ),
)

HALTS = Table(
    "halts",
    "Every halt, and how it ended.",
    ("number",),
    _fields(
        HaltSpan,
        {
            "number": ("INTEGER", "its row in the journal"),
            "level": ("TEXT", "no_new_trades, cancel_all or flatten"),
            "reason": ("TEXT", "why"),
            "raised_by": ("TEXT", "by whom"),
            "raised_ns": ("INTEGER", "when"),
            "lifted_ns": ("INTEGER", "when; NULL while it is in force"),
            "lifted_by": ("TEXT", "by whom"),
        },
    ),
)

TABLES = (
    TRADES,
    LEGS,
    ORDERS,
    FILLS,
    RFQS,
    QUOTES,
    EXECUTION_QUALITY,
    PNL_CHANGES,
    POSITIONS,
    ENTRY_DECISIONS,
    STRATEGY_STATE,
    HALTS,
)
INDEXES = (
    "CREATE INDEX orders_of_trade ON orders (trade_id)",
    "CREATE INDEX fills_of_trade ON fills (trade_id)",
    "CREATE INDEX rfqs_of_trade ON rfqs (trade_id)",
    "CREATE INDEX pnl_changes_by_time ON pnl_changes (at_ns)",
    "CREATE INDEX trades_by_strategy ON trades (strategy, created_ns)",
)


def decision_of(at_ns: int, row: rows.Row) -> Decision | None:
    """The outcome that the row gives an intent; None for any other row."""
    match row:
        case rows.IntentRefused():
            refusal = row.refusal
            return Decision(
                at_ns, row.intent_id, row.strategy, row.ordinal, "refused", code=refusal.code, detail=refusal.detail
            )
        case rows.TradeAdopted():
            request = row.request
            return Decision(at_ns, request.intent_id, request.strategy, request.ordinal, "adopted", row.trade_id)
        case rows.TradeRequested():
            request, grant = row.request, row.request.grant
            return Decision(
                at_ns,
                request.intent_id,
                request.strategy,
                request.ordinal,
                "opened",
                row.trade_id,
                entry_reasons="\n".join(request.entry_reasons),
                margin_usd=grant.margin_usd,
                max_loss_usd=grant.max_loss_usd,
            )
        case _:
            return None
