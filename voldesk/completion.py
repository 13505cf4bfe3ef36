"""What the shell offers after Tab: names of the configuration, and of the running desk when it answers at once.

A completion never fails and never prints: without a desk it offers less. The desk has half a second to answer, or
what VOLDESK_COMPLETION_TIMEOUT_MS says, for a desk on a slow or busy machine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from shared.bus import Bus
from shared.config import DeskConfig, load_config
from shared.errors import StartRefused
from shared.messages.base import Message
from shared.messages.reconciliation import DifferenceList, ForeignPosition, ListDifferences
from shared.messages.trades import FINAL_TRADE_STATES, ListOrders, ListTrades, OrderList, TradeList
from shared.views import order_name
from voldesk.asking import AnswerT, ask_on
from voldesk.console import Failure
from voldesk.health import expected_services
from voldesk.listening import known_topics

_DEFAULT_TIMEOUT_MS = 500


def complete_underlying(incomplete: str) -> list[str]:
    desk = _desk()
    return [] if desk is None else _beginning(desk.underlyings, incomplete)


def complete_strategy(incomplete: str) -> list[str]:
    """What the configuration enables; the host names a strategy as its file says, which is nearly always the same."""
    try:
        return _beginning(load_config().enabled_strategies, incomplete)
    except StartRefused:
        return []


def complete_service(incomplete: str) -> list[str]:
    desk = _desk()
    return [] if desk is None else _beginning(expected_services(desk), incomplete)


def complete_log(incomplete: str) -> list[str]:
    return _beginning([*complete_service(""), "supervisord"], incomplete)


def complete_series(incomplete: str) -> list[str]:
    """The series of the history, of the desk and of each underlying."""
    # imported here because the rest of a completion needs none of it
    from services.monitor.history.sampling import LEDGER, SAMPLED

    desk = _desk()
    if desk is None:
        return []
    names: list[str] = []
    for kind in (*SAMPLED, *LEDGER):
        members = desk.underlyings if kind.per == "underlying" else ("USDT",) if kind.per else ()
        names += [f"{kind.name}.{member}" for member in members] if kind.per else [kind.name]
    return _beginning(names, incomplete)


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


def complete_foreign_symbol(incomplete: str) -> list[tuple[str, str]]:
    """Positions at the venue that are not the desk's."""
    desk = _desk()
    answer = None if desk is None else _asked(desk, ListDifferences(), DifferenceList)
    if answer is None:
        return []
    standing = [found.difference for found in answer.differences if found.stands]
    return [
        (each.symbol, f"{each.quantity:f} at {each.average_price:f}")
        for each in standing
        if isinstance(each, ForeignPosition) and each.symbol.startswith(incomplete)
    ]


def complete_order(incomplete: str) -> list[tuple[str, str]]:
    """Working orders by their short names."""
    desk = _desk()
    answer = None if desk is None else _asked(desk, ListOrders(limit=50), OrderList)
    if answer is None:
        return []
    names = [(f"{order.trade_id}.{order_name(order)}", f"{order.side} {order.symbol}") for order in answer.orders]
    return [row for row in names if row[0].startswith(incomplete)]


def _asked(desk: DeskConfig, message: Message, kind: type[AnswerT]) -> AnswerT | None:
    async def run() -> AnswerT:
        async with Bus.client(desk) as bus:
            return await ask_on(bus, desk, "execution", message, kind, _timeout_ms())

    if not desk.run_dir.is_dir():
        return None
    try:
        return asyncio.run(run())
    except (Failure, StartRefused):
        return None


def _timeout_ms() -> int:
    """What the environment says; a completion cannot complain, so what is no number is as if it were not there."""
    text = os.environ.get("VOLDESK_COMPLETION_TIMEOUT_MS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else _DEFAULT_TIMEOUT_MS


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
