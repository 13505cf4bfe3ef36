"""Reads on request, through a bounded cache: order books, last trades, k-lines and funding rates."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from services.marketdata.effects import ReadKey, ReadVenue, VenueRead, VenueReadFailed
from shared.messages.base import Message
from shared.messages.contracts import FundingRate
from shared.messages.on_demand import (
    CACHE_AGE_MAX_MS,
    FundingRateAnswer,
    GetFundingRate,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    Klines,
    LastTrades,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.steps import Reply, Step
from shared.messages.trades import Refusal
from shared.options.instruments import future_expiry_ns, instrument_kind, underlying_of
from shared.options.symbols import SymbolError, parse_option_symbol
from shared.venues.ports import BookPush

_MS = 1_000_000
_AGE_MAX_NS = CACHE_AGE_MAX_MS * _MS
_READS_MAX = 16
"""Reads under way at once; more would wait behind the venue's rate limit until nobody wants them, and keep the polls
of silent streams waiting."""

SYMBOL_CHARACTERS_MAX = 64
_PERIODS = range(1, 1_001)
_REFUSALS = {
    "rejected": ("rejected_by_venue", "check the symbol"),
    "throttled": ("busy", "ask again in a few seconds"),
    "auth": ("auth", "check the key of market data"),
    "unknown": ("venue_unreadable", "ask again; see the log of market data"),
    "down": ("venue_away", "ask again when the venue is back"),
}


class _Kept(msgspec.Struct, frozen=True):
    value: object
    received_ns: int


class Reads:
    """Answers from the cache what is young enough for the request, and never older than 30 s; reads the rest.

    Requests for the same thing share one read that is under way: what it brings is younger than any of them. The
    cache holds `entries_max` answers; the least recently used goes first.
    """

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._kept: OrderedDict[ReadKey, _Kept] = OrderedDict()
        self._waiting: dict[ReadKey, list[str]] = {}
        self.hits = 0
        self.misses = 0

    @property
    def entries(self) -> int:
        return len(self._kept)

    def ask(self, step: Step, request_id: str, ask: ReadKey, now_ns: int) -> None:
        refusal = _refusal(ask)
        if refusal is not None:
            step.effects.append(Reply(request_id, refusal))
            return
        key: ReadKey = msgspec.structs.replace(ask, max_age_ms=0)
        kept = self._kept.get(key)
        if (
            kept is not None
            and now_ns - kept.received_ns <= min(ask.max_age_ms * _MS, _AGE_MAX_NS)
            and ask.max_age_ms
        ):
            self._kept.move_to_end(key)
            self.hits += 1
            step.effects.append(Reply(request_id, _answer(key, kept, now_ns)))
            return
        self.misses += 1
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(request_id)
        elif len(self._waiting) >= _READS_MAX:
            detail = f"{_READS_MAX} reads are under way"
            step.effects.append(Reply(request_id, Refusal(code="busy", detail=detail, remedy="ask again later")))
        else:
            self._waiting[key] = [request_id]
            step.effects.append(ReadVenue(key))

    def on_read(self, step: Step, read: VenueRead, now_ns: int) -> None:
        kept = self._kept[read.key] = _Kept(read.value, now_ns)
        self._kept.move_to_end(read.key)
        self._drop(now_ns)
        answer = _answer(read.key, kept, now_ns)
        step.effects += [Reply(request_id, answer) for request_id in self._waiting.pop(read.key, ())]

    def on_read_failed(self, step: Step, failed: VenueReadFailed) -> None:
        code, remedy = _REFUSALS[failed.kind]
        refusal = Refusal(code=code, detail=failed.reason, remedy=remedy)
        step.effects += [Reply(request_id, refusal) for request_id in self._waiting.pop(failed.key, ())]

    def _drop(self, now_ns: int) -> None:
        for key in [key for key, kept in self._kept.items() if now_ns - kept.received_ns > _AGE_MAX_NS]:
            del self._kept[key]
        while len(self._kept) > self._entries_max:
            self._kept.popitem(last=False)


def bad_symbol(text: str) -> str | None:
    """Why a text is no symbol of an option or a spot pair; None when it is one."""
    if len(text) > SYMBOL_CHARACTERS_MAX:
        return f"a symbol has at most {SYMBOL_CHARACTERS_MAX} characters, this one has {len(text)}"
    if instrument_kind(text) == "spot":
        base = text.removesuffix("USDT")
        return None if _is_coin(base) else f"{text!r} is no spot pair such as BTCUSDT"
    try:
        parse_option_symbol(text)
    except SymbolError as error:
        return str(error)
    return None


def bad_contract(text: str) -> str | None:
    """Why a text is no symbol of an option, a perpetual, a dated future or a spot pair; None when it is one."""
    if len(text) > SYMBOL_CHARACTERS_MAX:
        return bad_symbol(text)
    match instrument_kind(text):
        case "perpetual":
            return None if _is_perpetual(text) else f"{text!r} is no perpetual such as BTCUSD"
        case "future":
            try:
                future_expiry_ns(text)
            except ValueError as error:
                return str(error)
            return None
        case _:
            return bad_symbol(text)


def _is_perpetual(text: str) -> bool:
    base = text.removesuffix("USD")
    return base != text and _is_coin(base)


def _is_coin(text: str) -> bool:
    return text.isascii() and text.isalnum() and text.isupper()


def order_book(push: BookPush, received_ns: int) -> OrderBook:
    """A book that was read once."""
    return OrderBook(
        symbol=push.symbol,
        underlying=underlying_of(push.symbol),
        venue_ns=push.venue_ns,
        received_ns=received_ns,
        source="poll",
        missing="",
        bids=push.bids,
        asks=push.asks,
    )


def _answer(key: ReadKey, kept: _Kept, now_ns: int) -> Message:
    age_ms = (now_ns - kept.received_ns) // _MS
    match key, kept.value:
        case GetOrderBook(), BookPush() as push:
            return OrderBookAnswer(age_ms=age_ms, book=order_book(push, kept.received_ns))
        case GetLastTrades(symbol=symbol), tuple() as trades:
            return LastTrades(symbol=symbol, received_ns=kept.received_ns, age_ms=age_ms, trades=trades)
        case GetKlines(symbol=symbol, period=period), tuple() as klines:
            return Klines(symbol=symbol, period=period, received_ns=kept.received_ns, age_ms=age_ms, klines=klines)
        case GetFundingRate(symbol=symbol), FundingRate(rate=rate, next_funding_ns=next_funding_ns):
            return FundingRateAnswer(
                symbol=symbol,
                rate=float(rate),
                next_funding_ns=next_funding_ns,
                received_ns=kept.received_ns,
                age_ms=age_ms,
            )
        case _:
            raise AssertionError(f"{key!r} was answered with {kept.value!r}")


def _refusal(ask: ReadKey) -> Refusal | None:
    match ask:
        case GetFundingRate():
            is_perpetual = len(ask.symbol) <= SYMBOL_CHARACTERS_MAX and _is_perpetual(ask.symbol)
            wrong = None if is_perpetual else "only perpetuals such as BTCUSD have a funding rate"
        case _:
            wrong = bad_contract(ask.symbol)
    if wrong is not None:
        return Refusal(code="bad_symbol", detail=wrong, remedy="use a symbol of the instrument list")
    if ask.max_age_ms < 0:
        return Refusal(
            code="bad_request",
            detail=f"max_age_ms {ask.max_age_ms} must be 0 or more",
            remedy="0 asks the venue anew",
        )
    if isinstance(ask, GetKlines) and ask.periods not in _PERIODS:
        detail = f"periods {ask.periods} must be {_PERIODS.start} to {_PERIODS.stop - 1}"
        return Refusal(code="bad_request", detail=detail, remedy="ask for fewer, or for a longer period")
    return None
