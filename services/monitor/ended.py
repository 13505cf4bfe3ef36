"""What the figures of a day need of trades that have ended, also of those that are shown no more. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from shared.messages.trades import TradeUpdate

DAY_NS = 86_400_000_000_000
_KEPT_MAX = 20_000


class EndedTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade that has ended. net_usd: after fees and funding so far."""

    strategy: str
    opened_ns: int | None
    ended_ns: int
    net_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What ended trades made together, USD. net_usd: after fees and funding. count: of those that traded at all: an
    opening that was given up unfilled made nothing."""

    count: int
    net_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal


def ended_of(trade: TradeUpdate) -> EndedTrade:
    return EndedTrade(
        strategy=trade.strategy,
        opened_ns=trade.opened_ns,
        ended_ns=trade.closed_ns or trade.updated_ns,
        net_usd=trade.net_realized_usd,
        fees_usd=trade.fees_usd,
        funding_usd=trade.funding_usd,
    )


def made_by(ended: Iterable[EndedTrade]) -> Made:
    found = tuple(ended)
    return Made(
        count=sum(each.opened_ns is not None or bool(each.fees_usd or each.net_usd) for each in found),
        net_usd=sum((each.net_usd for each in found), Decimal(0)),
        fees_usd=sum((each.fees_usd for each in found), Decimal(0)),
        funding_usd=sum((each.funding_usd for each in found), Decimal(0)),
    )


class Forgotten:
    """Trades of the last 24 hours that are remembered no more as a whole: a desk may end more of them in a day than
    are shown, and what it made that day counts all."""

    def __init__(self) -> None:
        self._trades: dict[str, EndedTrade] = {}

    def add(self, trade: TradeUpdate, now_ns: int) -> None:
        """Keep of a trade what the figures need, and drop what is older than a day."""
        ended = ended_of(trade)
        if ended.ended_ns > now_ns - DAY_NS:
            self._trades[trade.trade_id] = ended
        while self._trades:
            oldest = next(iter(self._trades))
            if len(self._trades) <= _KEPT_MAX and self._trades[oldest].ended_ns > now_ns - DAY_NS:
                return
            del self._trades[oldest]

    def discard(self, trade_id: str) -> None:
        """It was heard of again, and is remembered as a whole."""
        self._trades.pop(trade_id, None)

    def trades(self) -> tuple[EndedTrade, ...]:
        return tuple(self._trades.values())
