"""The growing bars of the k-line channel: read once when somebody follows, then extended by each trade."""

from __future__ import annotations

from services.exchange.core import ExchangeCore
from services.exchange.klines import bar_start, extended, period_of
from services.exchange.model import KLine, MarketTrade
from services.exchange.server.channels import Topic


class LiveBars:
    """One bar per followed topic."""

    def __init__(self) -> None:
        self._bars: dict[Topic, KLine | None] = {}
        self._told: dict[Topic, KLine | None] = {}

    def follow(self, topic: Topic, core: ExchangeCore) -> None:
        """Begin with what was traded in the present bar until now."""
        period = period_of(topic.period)
        if topic in self._bars or period is None:
            return
        sources = {"options": core.klines, "futures": core.futures.klines, "spot": core.spot.klines}
        klines = sources[topic.channel.socket]
        found = klines(topic.subject, period, bar_start(core.now_ns, period), core.now_ns, 1)
        self._bars[topic] = found[-1] if found else None

    def leave(self, topic: Topic) -> None:
        self._bars.pop(topic, None)
        self._told.pop(topic, None)

    def add(self, trade: MarketTrade) -> None:
        for topic, bar in self._bars.items():
            period = period_of(topic.period)
            if topic.subject == trade.symbol and period is not None:
                self._bars[topic] = extended(bar, trade, period)

    def bar(self, topic: Topic, *, only_changed: bool) -> KLine | None:
        """The present bar; None before the first trade, or when it has not changed since it was last told to all."""
        bar = self._bars.get(topic)
        if only_changed:
            if bar is self._told.get(topic):
                return None
            self._told[topic] = bar
        return bar
