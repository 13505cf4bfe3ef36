"""What the shell offers after Tab: names of the configuration, and of the running desk when it answers at once.

A completion never fails and never prints: without a desk it offers less.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.config import DeskConfig, load_config
from shared.errors import StartRefused
from shared.messages.base import Message
from shared.messages.trades import FINAL_TRADE_STATES, ListTrades, TradeList
from voldesk.asking import AnswerT, ask
from voldesk.console import Failure
from voldesk.health import expected_services
from voldesk.listening import known_topics

_DEADLINE_MS = 500


def complete_underlying(incomplete: str) -> list[str]:
    desk = _desk()
    return [] if desk is None else _beginning(desk.underlyings, incomplete.upper())


def complete_strategy(incomplete: str) -> list[str]:
    """What the configuration enables; the host names a strategy as its file says, which is nearly always the same."""
    desk = _desk()
    if desk is None:
        return []
    enabled = desk.raw.get("strategy", {}).get("enabled", [])
    return _beginning([name for name in enabled if isinstance(name, str)], incomplete)


def complete_service(incomplete: str) -> list[str]:
    desk = _desk()
    return [] if desk is None else _beginning(expected_services(desk), incomplete)


def complete_log(incomplete: str) -> list[str]:
    return _beginning([*complete_service(""), "supervisord"], incomplete)


def complete_trade(incomplete: str) -> list[tuple[str, str]]:
    """Trades by id with strategy and state, the newest first."""
    desk = _desk()
    if desk is None:
        return []
    answer = _asked(desk, ListTrades(limit=50), TradeList)
    if answer is None:
        return []
    return [
        (trade.trade_id, f"{trade.strategy} {trade.state}")
        for trade in answer.trades
        if trade.trade_id.startswith(incomplete)
    ]


def complete_open_trade(incomplete: str) -> list[tuple[str, str]]:
    """As `complete_trade`, only what is not final."""
    return [row for row in complete_trade(incomplete) if row[1].split()[-1] not in FINAL_TRADE_STATES]


def _asked(desk: DeskConfig, message: Message, kind: type[AnswerT]) -> AnswerT | None:
    try:
        return ask(desk, "execution", message, kind, _DEADLINE_MS)
    except (Failure, StartRefused):
        return None


def complete_topic(incomplete: str) -> list[str]:
    """The next part of a topic: "exec." before "exec.main.trade"."""
    desk = _desk()
    if desk is None:
        return []
    topics = _beginning(known_topics(desk), incomplete)
    return list(dict.fromkeys(_to_next_dot(topic, len(incomplete)) for topic in topics))


def _to_next_dot(topic: str, start: int) -> str:
    head, dot, _ = topic[start:].partition(".")
    return topic[:start] + head + dot


def _desk() -> DeskConfig | None:
    try:
        return load_config()
    except StartRefused:
        return None


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
