"""The contract: every topic, who publishes it, what it carries, and how long silence is normal."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from shared.messages.account import AccountSnapshot
from shared.messages.base import Message
from shared.messages.control import GrantRefused, HaltState, StrategyStatus
from shared.messages.market import ChainComparison, ChainSnapshot, IndexPrice, InstrumentList
from shared.messages.on_demand import LastTrades, OrderBook
from shared.messages.quote_requests import QuoteBoard
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.risk import RiskLimits, StressGrid
from shared.messages.system import Alert, Heartbeat
from shared.messages.trades import IntentRefused, OrderFilled, OrderUpdate, TradeUpdate


class Topic(msgspec.Struct, frozen=True):
    """One row of the table. `pattern` has its variable parts in braces.

    kind "state": only the newest counts, conflated. kind "event": every one counts, replayed on a gap.
    silence_max_ms: the longest normal silence, None where silence is normal.
    on_demand: published only while somebody asks for it, and of no interest to who did not.
    """

    pattern: str
    message: type[Message]
    publisher: str
    kind: Literal["state", "event"]
    silence_max_ms: int | None
    on_demand: bool = False


TOPICS: tuple[Topic, ...] = (
    Topic("md.{underlying}.instruments", InstrumentList, "marketdata", "event", None),
    Topic("md.{underlying}.chain", ChainSnapshot, "marketdata", "state", 5_000),
    Topic("md.{underlying}.comparison", ChainComparison, "marketdata", "state", None),
    Topic("md.{underlying}.index", IndexPrice, "marketdata", "state", 5_000),
    Topic("book.{underlying}.{symbol}", OrderBook, "marketdata", "state", None, on_demand=True),
    Topic("last_trades.{underlying}.{symbol}", LastTrades, "marketdata", "state", None, on_demand=True),
    Topic("risk.{account}.account", AccountSnapshot, "risk", "state", 15_000),
    Topic("risk.{account}.limits", RiskLimits, "risk", "state", 15_000),
    Topic("risk.{account}.stress", StressGrid, "risk", "state", 30_000),
    Topic("risk.{account}.refusal", GrantRefused, "risk", "event", None),
    Topic("exec.{account}.trade", TradeUpdate, "execution", "event", None),
    Topic("exec.{account}.order", OrderUpdate, "execution", "event", None),
    Topic("exec.{account}.fill", OrderFilled, "execution", "event", None),
    Topic("exec.{account}.intent", IntentRefused, "execution", "event", None),
    Topic("exec.{account}.halt", HaltState, "execution", "event", None),
    Topic("exec.{account}.reconciliation", ReconciliationReport, "execution", "event", None),
    Topic("rfq.{account}.quotes", QuoteBoard, "execution", "state", None),
    Topic("strat.{strategy}.status", StrategyStatus, "strategy", "state", 15_000),
    Topic("sys.{service}.heartbeat", Heartbeat, "*", "state", 3_000),
    Topic("sys.{service}.alert", Alert, "*", "event", None),
)

BUS_SERVICES: tuple[str, ...] = ("marketdata", "risk", "execution", "strategy", "monitor")
"""The services that talk over the bus, in the order in which `up` starts them."""


def topic_of(pattern: str, **parts: str) -> str:
    """Fill in a pattern of the table: ``topic_of("md.{underlying}.chain", underlying="BTCUSD")``.

    Raises KeyError when a part is missing, ValueError when a part could not be told from a separator.
    """
    for name, value in parts.items():
        if not value or "." in value or "\0" in value:
            raise ValueError(f"{name} {value!r} cannot be part of a topic: it is empty or contains '.'")
    return pattern.format(**parts)


def book_topic(underlying: str, symbol: str) -> str:
    """The topic of an option's order book. A strike with a decimal point is written with "_": "." separates."""
    return topic_of("book.{underlying}.{symbol}", underlying=underlying, symbol=symbol.replace(".", "_"))


def last_trades_topic(underlying: str, symbol: str) -> str:
    """The topic of an option's last trades; the strike as in `book_topic`."""
    return topic_of("last_trades.{underlying}.{symbol}", underlying=underlying, symbol=symbol.replace(".", "_"))


@lru_cache(maxsize=4_096)
def topic_row(topic: str) -> Topic | None:
    """The row of the table that a concrete topic belongs to; None for a topic that nobody declared."""
    parts = topic.split(".")
    for row in TOPICS:
        pattern = row.pattern.split(".")
        if len(pattern) == len(parts) and all(
            want.startswith("{") or want == have for want, have in zip(pattern, parts, strict=True)
        ):
            return row
    return None
