"""Ask a service over the bus, with the errors an operator can act on."""

from __future__ import annotations

import asyncio
import getpass
from typing import TypeVar

from shared.bus import Bus, NoAnswer
from shared.config import DeskConfig
from shared.host_requests import asked_of, together
from shared.messages.alerts import AcknowledgeAlert
from shared.messages.base import Message
from shared.messages.control import LiftHalts, RaiseHalt, StrategyCommand
from shared.messages.inquiries import QuoteStructure
from shared.messages.leverage import ChangeLeverage
from shared.messages.reconciliation import AdoptPosition
from shared.messages.risk import ResetBreaker
from shared.messages.system import GetStatus, Heartbeat
from shared.messages.trades import CancelOrders, CloseTrade, Refusal, TellTrade, TradeStory
from shared.strategy_groups import holding_hosts
from shared.strategy_hosts import DEFAULT_HOST
from voldesk.console import EXIT_UNREACHABLE, Failure, note, progress
from voldesk.identity import check_heartbeat

AnswerT = TypeVar("AnswerT", bound=Message)

DEADLINE_MS = 3_000


def operator() -> str:
    """Who asks: written into journals and alerts."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


async def ask_on(
    bus: Bus, desk: DeskConfig, service: str, message: Message, kind: type[AnswerT], deadline_ms: int = DEADLINE_MS
) -> AnswerT:
    """Ask on an open bus, once the service has said that it is of this desk.

    Raises Failure: a service of another desk (78), no answer (69), a refusal or an answer of another kind (1).
    """
    away = f"see `voldesk status`, then `voldesk up` or `voldesk restart {service}`"
    if await heartbeat(bus, desk, service, deadline_ms) is None:
        raise Failure(bus.key_problem(service) or f"{service} does not answer", away, EXIT_UNREACHABLE)
    try:
        answer = await bus.ask(service, message, deadline_ms=deadline_ms)
    except NoAnswer:
        where = _where_to_check(message)
        if where is None:
            why = bus.key_problem(service) or f"{service} does not answer"
            raise Failure(why, away, EXIT_UNREACHABLE) from None
        raise Failure(
            f"{service} did not answer within {deadline_ms / 1000:g} s; what was asked may still take effect",
            f"check with `{where}` before you repeat it",
            EXIT_UNREACHABLE,
        ) from None
    if isinstance(answer, Refusal):
        raise Failure(f"{service} refused: {answer.detail} ({answer.code})", answer.remedy)
    if not isinstance(answer, kind):
        raise Failure(
            f"{service} answered with {type(answer).__name__} instead of {kind.__name__}",
            "stop and start the desk, so that command line and services are of one version",
        )
    return answer


async def heartbeat(bus: Bus, desk: DeskConfig, service: str, deadline_ms: int) -> Heartbeat | None:
    """What the service says of itself; None without an answer. Raises Failure (78) when it is of another desk."""
    try:
        answer = await bus.ask(service, GetStatus(), deadline_ms=deadline_ms)
    except NoAnswer:
        return None
    if not isinstance(answer, Heartbeat):
        return None
    check_heartbeat(desk, answer)
    return answer


def _where_to_check(message: Message) -> str | None:
    """The command that shows whether a request took effect; None for a question, which changes nothing."""
    match message:
        case RaiseHalt() | LiftHalts():
            return "voldesk status"
        case CloseTrade(trade_id=trade_id):
            return f"voldesk trade {trade_id}"
        case CancelOrders():
            return "voldesk orders"
        case ChangeLeverage(symbol=symbol):
            return f"voldesk leverage {symbol}"
        case AdoptPosition():
            return "voldesk trades --open"
        case QuoteStructure():
            return "voldesk rfq history"
        case StrategyCommand():
            return "voldesk strategies"
        case ResetBreaker():
            return "voldesk risk"
        case AcknowledgeAlert():
            return "voldesk alerts"
        case _:
            return None


def ask_hosts(desk: DeskConfig, message: Message, kind: type[AnswerT]) -> AnswerT:
    """Ask the strategy hosts that the request concerns, and return their answers as one. Of several that are only
    asked for what they run, those that answer count, and a note names the others. Raises Failure as `ask_on`."""
    hosts = asked_of(DEFAULT_HOST, message, desk.strategy_hosts)
    if len(hosts) == len(desk.strategy_hosts.services) and desk.bus.transport == "ipc":
        # what concerns all concerns one too that still runs although it is not to
        hosts = tuple(dict.fromkeys((*hosts, *sorted(holding_hosts(desk.run_dir)))))
    answers: list[AnswerT] = []
    failures: list[Failure] = []
    for host in hosts:
        try:
            answers.append(ask(desk, host, message, kind))
        except Failure as failure:
            failures.append(failure)
    if failures and not answers:
        raise failures[0]
    if failures and _where_to_check(message) is not None:
        raise Failure(f"{failures[0].cause}; the other hosts did it", failures[0].remedy, failures[0].exit_code)
    for silent in failures:
        note(f"{silent.cause}: what it runs is not shown; {silent.remedy}")
    answer = together(answers)
    assert isinstance(answer, kind), "every one of them is"
    return answer


def host_of_trade(desk: DeskConfig, trade_id: str) -> str:
    """The strategy host that has a trade; of several, execution is asked whose it is. Raises Failure as `ask_on`."""
    hosts = desk.strategy_hosts
    if not hosts.groups:
        return DEFAULT_HOST
    return hosts.of(ask(desk, "execution", TellTrade(trade_id=trade_id), TradeStory).trade.strategy)


def ask(
    desk: DeskConfig, service: str, message: Message, kind: type[AnswerT], deadline_ms: int = DEADLINE_MS
) -> AnswerT:
    """Ask one question with a bus of its own. Raises Failure as `ask_on`."""
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)

    async def run() -> AnswerT:
        async with Bus.client(desk) as bus:
            return await ask_on(bus, desk, service, message, kind, deadline_ms)

    with progress(f"waiting for {service}"):
        return asyncio.run(run())
