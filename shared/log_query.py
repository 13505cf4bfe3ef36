"""What of the log is wanted, and whether a line is of it."""

from __future__ import annotations

import re

import msgspec

from shared.ids import trade_id, trade_number_of_order
from shared.log_lines import RANK, LogLine

_WORDS_MAX = 40
_NAMES_MAX = 100_000
_NAME = re.compile(r"[\w-]+")
_INTENT_OF = re.compile(r"(.+)-\d+")


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must hold.

    services: names of logs, never paths. tracks: () for all; lines that have no track are left out where one is
    given. level: the lowest; lines without a level count as high enough. since: ISO-8601 as `at_text` gives it.
    search: words that a line must all hold, in any case of letters, compared as they are and as no pattern. trade:
    the lines that name a trade, one of its orders or its intent. order: our id of it, or the venue's. strategy: its
    lines, and those of its intents.
    """

    services: tuple[str, ...]
    tracks: tuple[str, ...] = ()
    level: str = "debug"
    since: str = ""
    search: str = ""
    trade: str = ""
    order: str = ""
    strategy: str = ""

    @property
    def subject(self) -> str:
        """The trade or the order that is asked for, "" for none."""
        return self.trade or self.order


class Names:
    """The names under which lines speak of a trade or an order: learned from the lines that name it and another.

    A trade's orders, intent and requests for quote are its names too; of an order its id at the venue, not its trade.
    """

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._known = {query.subject}

    def learn(self, line: LogLine) -> None:
        """Take the other names from a line that has one of ours in a field of its own."""
        fields, query = line.fields, self._query
        if query.trade:
            others: tuple[str, ...] = ("intent_id", "client_order_id", "venue_order_id", "rfq_id", "quote_id")
            is_ours = query.trade == (fields.get("trade_id") or _trade_of(fields.get("client_order_id")))
        else:
            others = ("client_order_id", "venue_order_id")
            is_ours = any(str(fields.get(name)) in self._known for name in others)
        if not is_ours:
            return
        for name in others:
            value = fields.get(name)
            if isinstance(value, str | int) and str(value) and len(self._known) < _NAMES_MAX:
                self._known.add(str(value))

    def are_in(self, line: LogLine) -> bool:
        """Whether a line has one of the names, as a whole word."""
        if self._query.trade and self._query.trade == _trade_of(line.fields.get("client_order_id")):
            return True
        return any(word in self._known for word in _NAME.findall(line.raw))


class Matcher:
    """Judges lines by one query. Lines that name what is asked for are to be shown to `learn` first."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._words = query.search.lower().split()[:_WORDS_MAX]
        self._rank = RANK.get(query.level, 0)
        self._names = Names(query) if query.subject else None

    def learn(self, line: LogLine) -> None:
        if self._names is not None:
            self._names.learn(line)

    def takes(self, line: LogLine) -> bool:
        query = self._query
        if RANK.get(line.level, len(RANK)) < self._rank or (query.tracks and line.track not in query.tracks):
            return False
        if query.since and line.at < query.since:
            return False
        if self._words and not all(word in line.raw.lower() for word in self._words):
            return False
        if query.strategy and not _is_of_strategy(line, query.strategy):
            return False
        return self._names is None or self._names.are_in(line)


def _is_of_strategy(line: LogLine, strategy: str) -> bool:
    if line.fields.get("strategy") == strategy:
        return True
    intent = _INTENT_OF.fullmatch(str(line.fields.get("intent_id", "")))
    return intent is not None and intent[1] == strategy


def _trade_of(client_order_id: object) -> str:
    """The trade that an order's id names, "" for an id that is not a desk's."""
    number = trade_number_of_order(client_order_id) if isinstance(client_order_id, int) else None
    return "" if number is None else trade_id(number)
