"""The dashboard with 20 viewers: what the monitor's CPU costs, and how soon a halt is on every open page.

    python -m bench.dashboard [--json] [--quick]

A desk as `voldesk up` starts it, trading. The delay begins when execution publishes the halt, by its own clock, and
ends when a viewer has the event that shows it; beside it the floor: a process that hears the same bus and writes
ready bytes to 20 bare sockets at once, with nothing to draw, to compare or to wait for. CPU is of one
core, with viewers beside without.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil

from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.rows import Row, at_most, row
from services.monitor.web.store import WebStore, store_path
from shared.bus import Bus
from shared.clock import wall_ns
from shared.messages.base import Message
from shared.messages.control import HaltState, LiftHalts, RaiseHalt
from shared.messages.steps import Inbound, StreamSynced
from shared.tasks import spawn

VIEWERS = 20
_PAGES = ("overview", "trades", "positions", "strategies", "risk")
_CONFIG = """
[desk]
name = "viewed"
number = 8
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]
[strategy]
enabled = ["demo_strangle"]
folders = ["{strategies}"]
"""
_STRATEGIES = Path(__file__).resolve().parents[1] / "strategies"
_PATIENCE_S = 60.0


class Heard:
    """When each halt was published, and when each viewer was shown it: UTC nanoseconds."""

    def __init__(self) -> None:
        self.epoch = 0
        self.at: dict[int, int] = {}
        self.shown: dict[int, list[int]] = {}
        self.bare: dict[int, list[int]] = {}
        self.news = asyncio.Event()

    def hear(self, item: Inbound | StreamSynced) -> None:
        if isinstance(item, Inbound) and isinstance(item.message, HaltState) and item.message.halts:
            self.epoch = item.message.halt_epoch
            self.at.setdefault(self.epoch, item.published_ns)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not condition():
                self.news.clear()
                await self.news.wait()


async def _look(http: httpx.AsyncClient, page: str, heard: Heard, reason: list[str]) -> None:
    """One viewer: note when the reason of the halt of this round is on the page, the first time."""
    seen = ""
    async with http.stream("GET", f"/events/{page}") as answer:
        async for line in answer.aiter_lines():
            if reason[0] and reason[0] != seen and reason[0] in line:
                seen = reason[0]
                heard.shown.setdefault(int(reason[0].split("-")[1]), []).append(wall_ns())
                heard.news.set()


async def _look_bare(port: int, heard: Heard) -> None:
    reader, _ = await asyncio.open_connection("127.0.0.1", port)
    while line := await reader.readline():
        if line.startswith(b"epoch "):
            heard.bare.setdefault(int(line[6:]), []).append(wall_ns())
            heard.news.set()


async def _cpu_pct(process: psutil.Process, seconds: float) -> float:
    before, began = process.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return used / (time.perf_counter() - began) * 100


async def _end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def _ask(bus: Bus, message: Message) -> None:
    await bus.ask("execution", message, 20_000)


async def _measure(desk: BenchDesk, rounds: list[int], seconds: float) -> tuple[Heard, float, float]:
    store = WebStore(store_path(desk.run_dir))
    token = store.new_token("bench", ("read",), wall_ns())
    store.close()
    url = desk.answer("web")["url"]
    process = psutil.Process(desk.pids()["monitor"])
    heard, reason = Heard(), [""]
    idle = await _cpu_pct(process, seconds)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.client(desk.settings))
        bus.subscribe("execution", ["exec."], heard.hear)
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {token}"}
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, headers=headers, timeout=None, limits=limits)
        )
        floor = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.dashboard_floor", env=desk.environment, stdout=asyncio.subprocess.PIPE
        )
        stack.push_async_callback(_end, floor)
        assert floor.stdout is not None
        port = int(await floor.stdout.readline())
        pages = [_PAGES[number % len(_PAGES)] for number in range(VIEWERS)]
        tasks = [spawn(_look(http, page, heard, reason), name="viewer") for page in pages]
        tasks += [spawn(_look_bare(port, heard), name="bare viewer") for _ in range(VIEWERS)]
        await asyncio.sleep(3)
        busy = await _cpu_pct(process, seconds)
        for number in rounds:
            reason[0] = f"round-{number}-of"
            await _ask(bus, RaiseHalt(level="no_new_trades", reason=reason[0], requested_by="bench"))
            await heard.until(lambda number=number: len(heard.shown.get(number, ())) == VIEWERS)  # type: ignore[misc]
            await heard.until(lambda: len(heard.bare.get(heard.epoch, ())) == VIEWERS)
            heard.shown[heard.epoch] = heard.shown.pop(number)
            await _ask(bus, LiftHalts(requested_by="bench"))
            await asyncio.sleep(0.7)
        for task in tasks:
            task.cancel()
    return heard, idle, busy


def _delays_ms(heard: Heard, shown: dict[int, list[int]]) -> list[float]:
    return [(at - heard.at[epoch]) / 1e6 for epoch, ats in shown.items() for at in ats if epoch in heard.at]


def measure(run: Run) -> list[Row]:
    rounds = list(run.rounds(30, "halting and lifting", quick=4))
    with tempfile.TemporaryDirectory(prefix="vd-bench-") as home:
        desk = BenchDesk(Path(home), _CONFIG.format(strategies=_STRATEGIES), {})
        with desk.up():
            heard, idle, busy = asyncio.run(
                _measure(desk, [10_000 + each for each in rounds], 5 if run.quick else 30)
            )
    ours, bare = sorted(_delays_ms(heard, heard.shown)), sorted(_delays_ms(heard, heard.bare))
    beside = "ready bytes, bare sockets"
    return [
        row(
            "monitor with 20 viewers, CPU",
            busy,
            "% of one core",
            beside="no viewer",
            beside_value=idle,
            target=at_most(15),
        ),
        row(
            "halt to the page of 20 viewers, p50",
            statistics.median(ours),
            "ms",
            beside=beside,
            beside_value=statistics.median(bare),
        ),
        row(
            "halt to the page of 20 viewers, p99",
            ours[int(len(ours) * 0.99)],
            "ms",
            beside=beside,
            beside_value=bare[int(len(bare) * 0.99)],
            target=at_most(1_000),
            note="drawn once for each kind of page, at most every 50 ms; 20 viewers of five kinds",
        ),
    ]


def main() -> int:
    return bench_main(__doc__, measure)


if __name__ == "__main__":
    sys.exit(main())
