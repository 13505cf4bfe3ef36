"""What the services of a stack in containers say of themselves; read by bench.stack from the container `control`.

    docker exec -i CONTROL python -u - < bench/stack_watch.py

Each line on standard output is a JSON array: [service, its epoch or 0 while it does not answer, ready].
"""

import asyncio
import json

from shared.bus import Bus, NoAnswer
from shared.config import load_config
from shared.messages.system import GetStatus, Heartbeat

SERVICES = ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
PATIENCE_MS = 200
PAUSE_S = 0.05


async def watch(bus: Bus, service: str) -> None:
    """Ask again and again; print whenever the answer has changed."""
    said: tuple[int, bool] | None = None
    while True:
        try:
            answer = await bus.ask(service, GetStatus(), PATIENCE_MS)
        except NoAnswer:
            answer = None
        state = (answer.epoch, answer.ready) if isinstance(answer, Heartbeat) else (0, False)
        if state != said:
            said = state
            print(json.dumps([service, *state]))
        await asyncio.sleep(PAUSE_S)


async def main() -> None:
    async with Bus.client(load_config()) as bus:
        await asyncio.gather(*(watch(bus, service) for service in SERVICES))


if __name__ == "__main__":
    asyncio.run(main())
