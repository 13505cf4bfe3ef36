"""voldesk healthcheck: one service, for whoever restarts what is not well."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from shared.bus import Bus, NoAnswer
from shared.clock import Clock
from shared.config import SERVICE_NAMES, DeskConfig, load_config
from shared.messages.system import GetStatus, Heartbeat
from shared.strategy_hosts import kind_of
from voldesk.completion import complete_service
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, Json, print_json, say
from voldesk.identity import check_heartbeat


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk healthcheck execution")(healthcheck)


def healthcheck(
    service: Annotated[str, typer.Argument(help="The service's name.", autocompletion=complete_service)],
    as_json: Json = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="Also end with 69 while it lives but cannot work: its venue is away.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds to wait for its answer.")] = 3.0,
) -> None:
    """Ask one service whether it is alive, with its own key; ends with 0 if it is, with 69 if not.

    A service whose venue is away is alive: to restart it would bring nothing. `--ready` tells the two apart.
    """
    desk = load_config()
    known = dict.fromkeys((*SERVICE_NAMES, *desk.strategy_hosts.services))
    if service not in known:
        raise Failure(f"{service!r} is no service", f"use one of: {', '.join(known)}", EXIT_USAGE)
    beat = asyncio.run(_beat(desk, service, round(timeout * 1_000)))
    check_heartbeat(desk, beat)
    if as_json:
        print_json(
            {
                "service": service,
                "alive": True,
                "ready": beat.ready,
                "detail": beat.detail,
                "pid": beat.pid,
                "uptime_s": round((Clock().now_ns() - beat.started_ns) / 1e9, 3),
            }
        )
    else:
        said = f": {beat.detail}" if beat.detail else ""
        say(f"{service} is alive and {'ready' if beat.ready else 'not ready'}{said}")
    if ready and not beat.ready:
        raise Failure(f"{service} is not ready: {beat.detail}", f"see `voldesk logs {service}`", EXIT_UNREACHABLE)


async def _beat(desk: DeskConfig, service: str, deadline_ms: int) -> Heartbeat:
    async with Bus.client(desk, key_name=kind_of(service)) as bus:
        try:
            answer = await bus.ask(service, GetStatus(), deadline_ms=deadline_ms)
        except NoAnswer as error:
            raise Failure(str(error), f"see `voldesk logs {service}`", EXIT_UNREACHABLE) from None
    if not isinstance(answer, Heartbeat):
        raise Failure(f"{service} answered with {type(answer).__name__}", "run one version of voldesk everywhere")
    return answer
