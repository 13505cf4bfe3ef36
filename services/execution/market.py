"""The market as execution sees it: the newest chain per underlying. Volatile, never journalled."""

from __future__ import annotations

from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.options.chain import ChainView, OptionList, Quote

_LISTS_KEPT = 3


class MarketView:
    """Quotes that are younger than the tolerance, and the instruments that are listed."""

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._lists: dict[str, dict[str, OptionList]] = {}
        self._instruments: dict[str, Instrument] = {}
        self._chains: dict[str, ChainView] = {}

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
