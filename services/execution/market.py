"""The market as execution sees it: the newest chain per underlying, and whole books of options that were asked for.
Volatile, never journalled."""

from __future__ import annotations

from decimal import Decimal

from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.messages.on_demand import OrderBook
from shared.options.book import unpack_levels
from shared.options.chain import ChainView, OptionList, Quote
from shared.options.comparison import LegMarket, Levels, sweep_price

_LISTS_KEPT = 3
_BOOKS_KEPT = 100


class MarketView:
    """Quotes that are younger than the tolerance, and the instruments that are listed."""

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._lists: dict[str, dict[str, OptionList]] = {}
        self._instruments: dict[str, Instrument] = {}
        self._chains: dict[str, ChainView] = {}
        self._books: dict[str, OrderBook] = {}
        self._asked_ns: dict[str, int] = {}

    def take_list(self, message: InstrumentList) -> None:
        """Keep the list; the newest few per underlying, as a chain may still use the one before."""
        lists = self._lists.setdefault(message.underlying, {})
        lists.pop(message.list_id, None)
        listed = lists[message.list_id] = OptionList(message)
        while len(lists) > _LISTS_KEPT:
            del lists[next(iter(lists))]
        self._instruments = {
            symbol: instrument
            for symbol, instrument in self._instruments.items()
            if instrument.underlying != message.underlying
        }
        self._instruments.update((instrument.symbol, instrument) for instrument in message.instruments)
        self._instruments.update(listed.linear_of)

    def take_chain(self, message: ChainSnapshot) -> None:
        """Keep the chain. One of an unknown list, or one that does not fit its list, is no data."""
        listed = self._lists.get(message.underlying, {}).get(message.list_id)
        if listed is None:
            return
        try:
            self._chains[message.underlying] = ChainView(message, listed)
        except ValueError:
            return

    def take_book(self, book: OrderBook) -> None:
        """Keep a whole order book; the newest of each option, and of few options."""
        self._books.pop(book.symbol, None)
        if not book.missing:
            self._books[book.symbol] = book
        while len(self._books) > _BOOKS_KEPT:
            del self._books[next(iter(self._books))]

    def asks_for_book(self, symbol: str, now_ns: int, pause_ns: int) -> bool:
        """True, and noted, when its book was not asked for since `pause_ns` ago."""
        asked_ns = self._asked_ns.get(symbol)
        if asked_ns is not None and now_ns < asked_ns + pause_ns:
            return False
        self._asked_ns = {name: at_ns for name, at_ns in self._asked_ns.items() if now_ns < at_ns + pause_ns}
        self._asked_ns[symbol] = now_ns
        return True

    def is_shallow(self, instrument: Instrument, quantity: Decimal, now_ns: int) -> bool:
        """Whether a side of the top is there, and lacks the size."""
        quote = self.quote(instrument, now_ns)
        if quote is None:
            return False
        top = LegMarket.of_quote(quote)
        return any(sweep_price(levels, float(quantity)) is None for levels in (top.bids, top.asks))

    def leg_market(self, instrument: Instrument, quantity: Decimal, now_ns: int) -> LegMarket:
        """What so much of a leg can be traded at now: each side as the chain's top has it, and as its whole book has
        it where the top lacks the size and the book is fresh."""
        quote = self.quote(instrument, now_ns)
        if quote is None:
            return LegMarket()
        top = LegMarket.of_quote(quote)
        book = self._books.get(instrument.symbol)
        if book is None or abs(now_ns - book.received_ns) > self._tolerance_ns:
            return top
        return LegMarket(
            bids=_deep_enough(top.bids, book.bids, quantity),
            asks=_deep_enough(top.asks, book.asks, quantity),
            mark=top.mark,
        )

    def instrument(self, symbol: str) -> Instrument | None:
        return self._instruments.get(symbol)

    def index_price(self, underlying: str, now_ns: int) -> float | None:
        """The index in USD, if the chain that carries it is fresh enough to decide on."""
        view = self._chains.get(underlying)
        if view is None or abs(now_ns - view.snapshot.received_ns) > self._tolerance_ns:
            return None
        return view.snapshot.index_price

    def quote(self, instrument: Instrument, now_ns: int) -> Quote | None:
        """The quote, if it is fresh enough to decide on. One received in the future tells nothing of its age."""
        view = self._chains.get(instrument.underlying)
        if view is None or abs(now_ns - view.snapshot.received_ns) > self._tolerance_ns:
            return None
        if abs(now_ns - view.received_ns(instrument.symbol)) > self._tolerance_ns:
            return None
        return view.quote(instrument.symbol)


def _deep_enough(top: Levels, packed: bytes, quantity: Decimal) -> Levels:
    """The top, or the levels of the book where that lacks the size."""
    if sweep_price(top, float(quantity)) is not None:
        return top
    try:
        prices, sizes = unpack_levels(packed)
    except ValueError:
        return top
    return tuple(zip(prices.tolist(), sizes.tolist(), strict=True)) or top
