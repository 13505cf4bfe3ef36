"""The floor of `bench.dashboard`: hears the bus and writes ready bytes to every open socket. Prints its port."""

import asyncio

from shared.bus import Bus
from shared.config import load_config
from shared.messages.control import HaltState
from shared.messages.steps import Inbound, StreamSynced

_FILL = b"data: " + b"x" * 600 + b"\n"


async def main() -> None:
    writers: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await reader.read()
        writers.discard(writer)

    def hear(item: Inbound | StreamSynced) -> None:
        if isinstance(item, Inbound) and isinstance(item.message, HaltState) and item.message.halts:
            for writer in writers:
                writer.write(_FILL + b"epoch %d\n" % item.message.halt_epoch)

    async with Bus("bench-floor", load_config()) as bus:
        bus.subscribe("execution", ["exec."], hear)
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
