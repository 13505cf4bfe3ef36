"""The simulated exchange as a service that also notes when it sends an index tick and when an order arrives.

    python -m bench.tick_exchange STAMPS

Each line of the file STAMPS is a JSON array: ["tick", wall ns, frame] when the WebSocket frame is handed to the
server, or ["order", wall ns, client order id, request] when the last bytes of the request were read from its
connection, as the bare exchange of bench/bare_chain.py notes it.
"""

import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from services.exchange.server.app import HttpProtocol
from services.exchange.shell import ExchangeShell
from shared.service import ServiceContext, run_service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

ORDER_PATH = "/open/option/order/create/v1"
TICK = '"dt":30'
"""The data type of an index price."""

TICKED = '"BTCUSD"'


class ArrivalProtocol(HttpProtocol):
    """Shows the application when the connection of a request was last read from."""

    arrived_ns = 0

    def data_received(self, data: bytes) -> None:
        self.arrived_ns = time.time_ns()
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope["extensions"]["connection"] = self


def stamped(application: Application, path: Path) -> Application:
    """The application with its ticks and orders noted in the file `path`, line by line."""
    file = path.open("w", buffering=1)

    async def call(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await application(scope, receive, ticking(send))
        elif scope["type"] == "http" and scope["path"] == ORDER_PATH:
            await application(scope, ordering(scope, receive), send)
        else:
            await application(scope, receive, send)

    def ticking(send: Send) -> Send:
        async def sent(message: Message) -> None:
            text = message.get("text")
            now_ns = time.time_ns()
            await send(message)
            if text is not None and TICK in text and TICKED in text:
                file.write(json.dumps(["tick", now_ns, text]) + "\n")

        return sent

    def ordering(scope: Message, receive: Receive) -> Receive:
        async def received() -> Message:
            message = await receive()
            body = message.get("body", b"")
            if body:
                arrived_ns = scope["extensions"]["connection"].arrived_ns
                order = json.loads(body)
                file.write(
                    json.dumps(["order", arrived_ns, order["clientOrderId"], request_text(scope, body)]) + "\n"
                )
            return message

        return received

    return call


def request_text(scope: Message, body: bytes) -> str:
    """The request as it was on the wire."""
    head = [f"{scope['method']} {scope['path']} HTTP/1.1"]
    head += [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in scope["headers"]]
    return "\r\n".join(head) + "\r\n\r\n" + body.decode()


class TickExchangeShell(ExchangeShell):
    def __init__(self, context: ServiceContext, path: Path) -> None:
        super().__init__(context)
        self._path = path

    async def start(self) -> None:
        await super().start()
        assert self._server is not None, "start makes the server"
        server: Any = self._server
        server.app = stamped(server.app, self._path)
        server.http_protocol = ArrivalProtocol


if __name__ == "__main__":
    stamps = Path(sys.argv[1])
    run_service("exchange", lambda context: TickExchangeShell(context, stamps))
