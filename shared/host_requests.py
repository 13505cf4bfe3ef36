"""What is asked of strategy hosts: which of them a request goes to, and their answers as one."""

from __future__ import annotations

from collections.abc import Sequence

from shared.messages.base import Message
from shared.messages.control import ListDryTrades, StrategyCommand, StrategyCommandDone, StrategyList
from shared.strategy_hosts import DEFAULT_HOST, StrategyHosts

EVERY = "*"
"""Stands for all strategies in a `StrategyCommand`."""


def asked_of(service: str, message: Message, hosts: StrategyHosts) -> tuple[str, ...]:
    """The services that a request goes to: of strategy hosts the one that runs the strategy, or all of them where it
    concerns every strategy, or names none."""
    if service != DEFAULT_HOST:
        return (service,)
    if isinstance(message, StrategyCommand | ListDryTrades) and message.strategy != EVERY:
        return (hosts.of(message.strategy),)
    return hosts.services


def together(answers: Sequence[Message]) -> Message:
    """The answers of all that were asked as one: what one of them refused, or answered otherwise, counts for all."""
    lists = [answer for answer in answers if isinstance(answer, StrategyList)]
    if len(lists) == len(answers):
        return StrategyList(strategies=tuple(status for each in lists for status in each.strategies))
    done = [answer for answer in answers if isinstance(answer, StrategyCommandDone)]
    if len(done) == len(answers):
        return StrategyCommandDone(strategies=tuple(name for each in done for name in each.strategies))
    return next(answer for answer in answers if not isinstance(answer, StrategyCommandDone | StrategyList))
