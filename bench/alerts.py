"""From an alert that a service raises to the request that tells a phone of it, beside a bare request.

    python -m bench.alerts [--json] [--quick]

A real monitor process hears a service on the bus, journals what is to be told, and sends it to four Telegram chats
with the real bot library; the Bot API is a small HTTP server in this process. A latency is from the publication of
the alert to the arrival of the request, each chat counted. The floor is the same text sent straight to the same
server by bare httpx, between two alerts: it has no bus, no decision and no commit to a disk.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from aiohttp import web

from bench.harness import Run, bench_main
from bench.rows import Row, at_most, row
from shared.bus import Bus
from shared.config import load_config
from shared.messages.system import Alert, Heartbeat
from shared.secrets import ensure_grant_key, ensure_paper_secrets

CHATS = 4
ALERTS, QUICK_ALERTS = 60, 10
WARM_UP = 3
PAUSE_S = 1.05
"""A chat takes one message a second."""

LIMIT_MS = 1_000
TOKEN = "1:bench"
BARE = "bare httpx, same text"
PATIENCE_S = 60.0


class BotApi:
    """Takes any message, and notes when one with these words arrived."""

    def __init__(self) -> None:
        self.arrived: dict[str, list[int]] = {}
        self.port = 0
        self._changed = asyncio.Event()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/bot{token}/sendMessage", self._taken)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def until(self, subject: str, count: int) -> list[int]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.arrived.get(subject, ())) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.arrived[subject]

    async def _taken(self, request: web.Request) -> web.Response:
        arrived_ns = time.monotonic_ns()
        fields = await request.post()
        subject = str(fields["text"]).partition("bench-")[2].partition(" ")[0]
        self.arrived.setdefault(subject, []).append(arrived_ns)
        self._changed.set()
        chat = {"id": int(str(fields["chat_id"])), "type": "private"}
        return web.json_response({"ok": True, "result": {"message_id": 1, "date": 1, "chat": chat, "text": ""}})


def write_desk(directory: Path, port: int) -> None:
    lines = ['[desk]\nname = "alerts"\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n[monitor]\nservices = []']
    names = [f"chat{number}" for number in range(CHATS)]
    for number, name in enumerate(names):
        lines.append(f'[monitor.channels.{name}]\nvia = "telegram"\nchat_id = {number + 1}')
        lines.append("group_s = 0.0\nper_minute = 60")
    lines.append(f"[monitor.routes.default]\nchannels = {names!r}")
    lines.append(f'[monitor.telegram]\nbase_url = "http://127.0.0.1:{port}/bot"')
    (directory / "voldesk.toml").write_text("\n".join(lines) + "\n")
    secret = directory / ".env"
    secret.write_text(f"VOLDESK_TELEGRAM_TOKEN={TOKEN}\n")
    secret.chmod(0o600)


@contextmanager
def monitor(directory: Path) -> Iterator[None]:
    environment = {**os.environ, "VOLDESK_CONFIG": str(directory / "voldesk.toml")}
    environment.pop("VOLDESK_RUN_DIR", None)
    with (directory / "monitor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.monitor"], env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def alert(subject: str) -> Alert:
    return Alert(
        code="book_frozen",
        severity="warning",
        subject=subject,
        text=f"bench-{subject} the book is read by REST and has changed, while its stream is silent",
        service="risk",
        account_id="main",
        mode="paper",
        raised_ns=time.time_ns(),
    )


def heartbeat(sequences: dict[str, int]) -> Heartbeat:
    now_ns = time.time_ns()
    return Heartbeat(
        service="risk",
        account_id="main",
        mode="paper",
        venue="sim",
        pid=os.getpid(),
        epoch=1,
        started_ns=now_ns,
        beat_ns=now_ns,
        starts=1,
        ready=True,
        detail="",
        event_sequences=sequences,
    )


async def latencies(run: Run, directory: Path) -> tuple[list[float], list[float]]:
    """ms of ours and of bare requests."""
    api = BotApi()
    await api.start()
    write_desk(directory, api.port)
    desk = load_config(directory / "voldesk.toml", {})
    ensure_paper_secrets(desk.run_dir)
    ensure_grant_key(desk.run_dir)
    ours: list[float] = []
    bare: list[float] = []
    bus = Bus("risk", desk)
    bus.open(heartbeat)
    try:
        with monitor(directory):
            async with httpx.AsyncClient() as http:
                count = QUICK_ALERTS if run.quick else ALERTS
                for number in run.track(range(count + WARM_UP), "alerts"):
                    subject = f"s{number}"
                    begun_ns = time.monotonic_ns()
                    bus.publish("sys.risk.alert", alert(subject))
                    arrived = await api.until(subject, CHATS)
                    if number >= WARM_UP:
                        ours += [(at_ns - begun_ns) / 1e6 for at_ns in arrived]
                    await asyncio.sleep(PAUSE_S / 2)
                    begun_ns = time.monotonic_ns()
                    fields = {"chat_id": "1", "text": alert(f"b{number}").text}
                    await http.post(f"http://127.0.0.1:{api.port}/bot{TOKEN}/sendMessage", data=fields)
                    if number >= WARM_UP:
                        bare.append((api.arrived[f"b{number}"][0] - begun_ns) / 1e6)
                    await asyncio.sleep(PAUSE_S / 2)
    finally:
        bus.close()
        await api.stop()
    return ours, bare


def measure(run: Run) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="vd-bench-alerts-") as name:
        directory = Path(name)
        directory.chmod(0o700)
        ours, bare = asyncio.run(latencies(run, directory))
    rows = []
    for percent in (50, 99):
        target = at_most(LIMIT_MS) if percent == 99 else None
        note = f"{len(ours)} requests of {len(ours) // CHATS} alerts to {CHATS} chats" if percent == 50 else ""
        rows.append(
            row(
                f"alert raised → Telegram request p{percent}",
                float(np.percentile(ours, percent)),
                "ms",
                beside=BARE,
                beside_value=float(np.percentile(bare, percent)),
                target=target,
                note=note,
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
