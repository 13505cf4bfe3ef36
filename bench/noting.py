"""A service as it is, which also notes what a bench must know, line by line, in a file of JSON arrays.

    python -m bench.noting exchange FILE
    python -m bench.noting execution FILE [--unlimited]

The exchange notes each call about orders: ["call", wall ns when its last bytes were read from its connection, path,
the first order id in it], and the first of each path also as it was on the wire: ["request", path, text]. Execution
notes each commit: ["commit", begin wall ns, end wall ns, rows, client order ids of the orders in it, ids of the
requests for quote in it]. --unlimited: its gateway keeps no limit on order calls of its own.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from bench.tick_exchange import Application, ArrivalProtocol, Message, Receive, Send, request_text
from services.exchange.shell import ExchangeShell
from services.execution.config import ExecutionConfig
from services.execution.rfq_rows import RfqRequested
from services.execution.rows import OrderRequested
from services.execution.shell import ExecutionShell
from shared.messages.steps import Entry
from shared.service import ServiceContext, run_service
from shared.store import SqliteJournal
from shared.venues.coincall import CoincallGateway, of_venue
from shared.venues.coincall.endpoints import (
    BATCH_CANCEL,
    BATCH_CREATE,
    BATCH_MODIFY,
    CANCEL_ORDER,
    CREATE_ORDER,
    CREATE_RFQ,
    MODIFY_ORDER,
)

CALLS = frozenset(
    call.path
    for call in (
        CREATE_ORDER,
        MODIFY_ORDER,
        CANCEL_ORDER,
        BATCH_CREATE,
        BATCH_MODIFY,
        BATCH_CANCEL,
        CREATE_RFQ,
    )
)
UNLIMITED_PER_S = 1_000_000
_FIRST_ID = re.compile(rb'(?:rderId":|IdList":\[)"?(\d+)')


def noting(application: Application, file: TextIO) -> Application:
    """The application, with its order calls noted."""
    seen: set[str] = set()

    async def call(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in CALLS:
            await application(scope, receive, send)
            return
        path = scope["path"]

        async def received() -> Message:
            message = await receive()
            body = message.get("body", b"")
            if body:
                arrived_ns = scope["extensions"]["connection"].arrived_ns
                file.write(json.dumps(["call", arrived_ns, path, first_id(body)]) + "\n")
                if path not in seen:
                    seen.add(path)
                    file.write(json.dumps(["request", path, request_text(scope, body)]) + "\n")
            return message

        await application(scope, received, send)

    return call


def first_id(body: bytes) -> int:
    """The first client order id or venue's order id in a body, 0 where there is none."""
    found = _FIRST_ID.search(body)
    return int(found[1]) if found else 0


class NotingExchangeShell(ExchangeShell):
    def __init__(self, context: ServiceContext, file: TextIO) -> None:
        super().__init__(context)
        self._file = file

    async def start(self) -> None:
        await super().start()
        assert self._server is not None, "start makes the server"
        server: Any = self._server
        server.app = noting(server.app, self._file)
        server.http_protocol = ArrivalProtocol


def noting_execution(file: TextIO, unlimited: bool, context: ServiceContext) -> ExecutionShell:
    """Execution whose journal notes its commits."""
    make = context.journal

    def journal(*arguments: Any, **named: Any) -> SqliteJournal:
        made = make(*arguments, **named)
        append = made.append

        def noted(entries: Sequence[Entry]) -> None:
            begin_ns = time.time_ns()
            append(entries)
            end_ns = time.time_ns()
            rows = [entry.row for entry in entries]
            orders = [row.client_order_id for row in rows if isinstance(row, OrderRequested)]
            rfqs = [row.rfq_id for row in rows if isinstance(row, RfqRequested)]
            file.write(json.dumps(["commit", begin_ns, end_ns, len(rows), orders, rfqs]) + "\n")

        made.append = noted  # type: ignore[method-assign]
        return made

    context.journal = journal  # type: ignore[method-assign]
    return ExecutionShell(context, unlimited_gateway(context) if unlimited else None)


def unlimited_gateway(context: ServiceContext) -> CoincallGateway:
    return CoincallGateway(
        of_venue(context.desk.venue, lambda: context.port("exchange")),
        context.api_key(),
        budget_share=context.section(ExecutionConfig).rate_budget_share,
        orders_per_s=UNLIMITED_PER_S,
    )


def notes_in(path: Path) -> list[list[Any]]:
    """The lines of a file that another process may be writing; one that is not whole yet is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.noting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m bench.noting exchange /tmp/notes",
    )
    parser.add_argument("service", choices=("exchange", "execution"))
    parser.add_argument("file", type=Path, help="where the notes go")
    parser.add_argument("--unlimited", action="store_true", help="without the gateway's own limits on order calls")
    arguments = parser.parse_args()
    file = arguments.file.open("w", buffering=1)
    if arguments.service == "exchange":
        run_service("exchange", lambda context: NotingExchangeShell(context, file))
    run_service("execution", partial(noting_execution, file, arguments.unlimited))


if __name__ == "__main__":
    sys.exit(main())
