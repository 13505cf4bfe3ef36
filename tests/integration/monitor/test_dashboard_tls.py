"""The dashboard over TLS, served by a monitor of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.monitor.web.passwords import hash_password
from services.monitor.web.store import WebStore, store_path
from tests.integration.monitor.dashboard import PASSWORD, log_in
from tests.integration.monitor.test_watching_processes import PATIENCE_S, Desk

pytestmark = pytest.mark.long

FILES = Path(__file__).parent / "tls"
"""A key and a certificate of 127.0.0.1, made for this test and good for nothing else."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    for name in ("key.pem", "certificate.pem"):
        shutil.copy(FILES / name, tmp_path)
    desk = Desk(tmp_path, '[monitor.web]\ntls_certificate = "certificate.pem"\ntls_key = "key.pem"\n')
    yield desk
    desk.stop()


async def test_with_a_certificate_everything_is_tls_and_the_session_is_for_tls_only(desk: Desk) -> None:
    store = WebStore(store_path(desk.config.run_dir))
    store.put_user("anna", "viewer", hash_password(PASSWORD), time.time_ns())
    store.close()
    desk.start("monitor")
    trusted = ssl.create_default_context(cafile=str(FILES / "certificate.pem"))
    url = f"https://127.0.0.1:{desk.ports['web']}"
    async with httpx.AsyncClient(base_url=url, verify=trusted, timeout=60) as http:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    assert (await http.get("/healthz")).status_code in (200, 503)
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        answer = await log_in(http, "anna")
        assert answer.status_code == 303
        line = next(each for each in answer.headers.get_list("set-cookie") if "_session_" in each)
        assert line.startswith("__Host-voldesk_session_")
        assert "Secure" in line
        assert "max-age" in answer.headers["strict-transport-security"]
        assert (await http.get("/api/overview")).status_code == 200
    async with httpx.AsyncClient(base_url=url.replace("https", "http"), timeout=60) as plain:
        with pytest.raises(httpx.TransportError):
            await plain.get("/healthz")


async def test_a_certificate_that_cannot_be_used_leaves_the_monitor_watching_until_it_is_put_right(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "certificate.pem").write_text("-----BEGIN CERTIFICATE-----\nhalf a fi")
    desk.start("monitor")
    alerts = desk.config.run_dir / "alerts.jsonl"
    async with asyncio.timeout(PATIENCE_S):
        while not (alerts.exists() and "dashboard_down" in alerts.read_text()):
            assert desk.processes["monitor"].poll() is None, desk.log("monitor")
            await asyncio.sleep(0.1)
    assert "tls_certificate" in alerts.read_text()
    shutil.copy(FILES / "certificate.pem", tmp_path)
    trusted = ssl.create_default_context(cafile=str(FILES / "certificate.pem"))
    async with httpx.AsyncClient(verify=trusted, timeout=60) as http, asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                await http.get(f"https://127.0.0.1:{desk.ports['web']}/healthz")
                break
            await asyncio.sleep(0.1)
        while '"resolved":true' not in alerts.read_text().rpartition("dashboard_down")[2]:
            assert desk.processes["monitor"].poll() is None, desk.log("monitor")
            await asyncio.sleep(0.1)


async def test_users_whose_file_cannot_be_opened_leave_the_monitor_watching_until_it_can(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    file = store_path(desk.config.run_dir)
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    file.write_bytes(b"no database at all " * 400)
    alerts = desk.config.run_dir / "alerts.jsonl"
    desk.start("monitor")
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (alerts.exists() and "dashboard_down" in alerts.read_text()):
                assert desk.processes["monitor"].poll() is None, desk.log("monitor")
                await asyncio.sleep(0.1)
        assert "web.sqlite3" in alerts.read_text()
        file.unlink()
        async with httpx.AsyncClient(timeout=60) as http, asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await http.get(f"http://127.0.0.1:{desk.ports['web']}/healthz")
                    break
                await asyncio.sleep(0.1)
    finally:
        desk.stop()
