"""Debian's Prometheus and Alertmanager beside a desk, with the files of deploy/, other paths, ports and token."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from shared.ports import port_is_free
from tests.telegram_api import TOKEN
from tests.unit.deploy.tools import DEPLOY, RULES, program

T = TypeVar("T")


class Prometheus:
    """One that runs; its answers by its HTTP API."""

    def __init__(self, port: int, log: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"
        self._log = log

    def ask(self, path: str, **arguments: str) -> Any:
        """Its data. Raises AssertionError with its words where it refuses."""
        query = urllib.parse.urlencode({name.rstrip("_"): value for name, value in arguments.items()})
        try:
            with urllib.request.urlopen(f"{self._url}{path}?{query}", timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from None

    def values(self, query: str) -> list[float]:
        """The newest values of all series of a query that are numbers."""
        found = self.ask("query", query=query)
        rows = [found["result"]] if found["resultType"] == "scalar" else [row["value"] for row in found["result"]]
        return [float(value) for _, value in rows if value != "NaN"]

    def until(self, what: str, condition: Callable[[], T | None], timeout_s: float = 240) -> T:
        """The first true value of `condition`; fails with the end of its log when there is none in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                value, missed = condition(), ""
            except (OSError, AssertionError) as error:
                value, missed = None, str(error)
            if value:
                return value
            if time.monotonic() > deadline:
                end = "\n".join(self._log.read_text().splitlines()[-20:])
                raise AssertionError(f"not within {timeout_s:.0f} s: {what} {missed}\n{end}")
            time.sleep(1)


def free_port() -> int:
    """Below those that Linux takes for outgoing connections, which could take it before its server has started."""
    return next(port for port in random.sample(range(10_000, 20_000), 10_000) if port_is_free(port))


@contextmanager
def running(targets: Path, telegram_url: str, chat_id: int) -> Iterator[Prometheus]:
    """A Prometheus that reads the targets of a desk and tells an Alertmanager, which tells a chat."""
    home = Path(tempfile.mkdtemp(prefix="vd-prometheus-"))
    ports = {"prometheus": free_port(), "alertmanager": free_port()}
    (home / "alertmanager.yml").write_text(_alertmanager(telegram_url, chat_id))
    for path in (*RULES.glob("*.yml"), DEPLOY / "alertmanager" / "telegram.tmpl"):
        shutil.copy(path, home)
    scrape = (home / "prometheus.yml").read_text()
    for old, new in (("../../run/main/prometheus/targets.json", str(targets)), ("9093", str(ports["alertmanager"]))):
        assert scrape.count(old) == 1
        scrape = scrape.replace(old, new)
    (home / "prometheus.yml").write_text(scrape)
    commands = {
        "alertmanager": (
            program("prometheus-alertmanager"),
            f"--config.file={home / 'alertmanager.yml'}",
            f"--storage.path={home / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
            "--cluster.listen-address=",
        ),
        "prometheus": (
            program("prometheus"),
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
        ),
    }
    started = []
    try:
        for name, command in commands.items():
            with (home / f"{name}.log").open("wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
        yield Prometheus(ports["prometheus"], home / "prometheus.log")
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)
        shutil.rmtree(home)


def _alertmanager(telegram_url: str, chat_id: int) -> str:
    """The configuration of deploy/, told where Telegram is, and the token itself: 0.25 reads it from no file."""
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    token = f'bot_token: "{TOKEN}"\n        api_url: {telegram_url}'
    text, tokens = re.subn(r"bot_token_file: .*", token, text)
    text, chats = re.subn(r"chat_id: .*", f"chat_id: {chat_id}", text)
    assert (tokens, chats) == (1, 1)
    return text
