"""Clock, tasks, endpoints, ports, locks, starts, logs, error policy: the small parts under every service."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared import clock
from shared.bus.endpoints import SOCKET_PATH_MAX_BYTES, Endpoints, socket_path
from shared.clock import Clock
from shared.config import PORT_NAMES, BusSection, ConfigError
from shared.errors import StartRefused
from shared.logging import Redactor, redactor, setup_logging
from shared.metrics import Metrics
from shared.ports import port_is_free, resolve_ports
from shared.service.lock import ServiceLock, record_start
from shared.service.watch import FAILURES_MAX, Failures, StallWatch
from shared.tasks import spawn
from tests.unit.shared.full_disk import fill, small_disk


def test_the_other_clocks_go_forward() -> None:
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert clock.boottime_ns() <= clock.boottime_ns()
    assert clock.wall_ns() > 1_700_000_000_000_000_000


async def test_a_failed_task_is_handed_to_its_owner_and_else_to_the_loop() -> None:
    async def fail() -> None:
        raise ValueError("lost?")

    owned: list[BaseException] = []
    unowned: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, details: unowned.append(details))
    await asyncio.wait({spawn(fail(), name="a", on_error=owned.append), spawn(fail(), name="b")})
    await asyncio.sleep(0)
    assert [str(error) for error in owned] == ["lost?"]
    assert [details["message"] for details in unowned] == ["task b failed"]


async def test_a_task_that_is_cancelled_or_succeeds_reports_nothing() -> None:
    errors: list[BaseException] = []
    endless = spawn(asyncio.sleep(1_000), name="endless", on_error=errors.append)
    done = spawn(asyncio.sleep(0), name="done", on_error=errors.append)
    await done
    endless.cancel()
    await asyncio.wait({endless})
    assert errors == []


def test_a_socket_lies_in_the_run_directory_which_only_we_can_enter(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "risk.events")
    assert path == tmp_path / "sockets" / "risk.events"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_falls_back_to_a_short_directory_of_its_own(tmp_path: Path) -> None:
    one, other = (tmp_path / ("d" * 120) / name for name in ("one", "other"))
    path = socket_path(one, "risk.events")
    try:
        assert len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.parent != socket_path(other, "risk.events").parent
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
            path.unlink()
    finally:
        path.parent.rmdir()
        socket_path(other, "risk.events").parent.rmdir()


def test_a_socket_directory_that_others_could_enter_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir(mode=0o777)
    (tmp_path / "sockets").chmod(0o777)
    assert stat.S_IMODE(socket_path(tmp_path, "x").parent.stat().st_mode) == 0o700


def test_every_service_has_two_addresses_of_its_own(tmp_path: Path) -> None:
    for settings in (BusSection(), BusSection(transport="tcp"), BusSection(transport="tcp", host="::1")):
        endpoints = Endpoints(tmp_path, settings)
        addresses = [
            address for name in ("risk", "monitor") for address in (endpoints.events(name), endpoints.requests(name))
        ]
        assert len(set(addresses)) == 4


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "desk.example.com", "*"])
def test_tcp_is_refused_where_others_could_reach_it(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="CURVE"):
        Endpoints(tmp_path, BusSection(transport="tcp", host=host))
    with pytest.raises(ConfigError, match="CURVE"):
        Endpoints(tmp_path, BusSection(transport="tcp", peer_host=host))
    assert Endpoints(tmp_path, BusSection(transport="tcp", host=host, curve=True)).needs_keys


def test_a_service_is_found_under_its_own_name_and_binds_where_it_is_told(tmp_path: Path) -> None:
    endpoints = Endpoints(
        tmp_path, BusSection(transport="tcp", host="0.0.0.0", peer_host="{service}.desk", curve=True)
    )
    assert endpoints.requests("risk") == "tcp://risk.desk:15553"
    assert endpoints.bound_requests("risk") == "tcp://0.0.0.0:15553"


def test_ports_are_drawn_once_are_all_different_and_stay(tmp_path: Path) -> None:
    configured = dict.fromkeys(PORT_NAMES, 0)
    first = resolve_ports(tmp_path, configured)
    assert resolve_ports(tmp_path, configured) == first
    assert len(set(first.values())) == len(PORT_NAMES)
    assert json.loads((tmp_path / "ports.json").read_text()) == first


def test_a_configured_port_is_taken_as_it_is_and_takes_it_from_another(tmp_path: Path) -> None:
    drawn = resolve_ports(tmp_path, {"web": 0, "exchange": 0})
    moved = resolve_ports(tmp_path, {"web": drawn["exchange"], "exchange": 0})
    assert moved["web"] == drawn["exchange"]
    assert moved["exchange"] != moved["web"]
    with pytest.raises(StartRefused, match="one port to two names"):
        resolve_ports(tmp_path, {"web": 8_000, "exchange": 8_000})


def test_a_port_in_use_is_not_drawn(tmp_path: Path) -> None:
    port = resolve_ports(tmp_path, {"web": 0})["web"]
    (tmp_path / "ports.json").write_text("damaged")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free(port)
        assert resolve_ports(tmp_path, {"web": 0})["web"] != port


def test_a_second_holder_of_a_lock_is_told_who_holds_it(tmp_path: Path) -> None:
    lock = ServiceLock(tmp_path, "risk")
    with pytest.raises(StartRefused, match=f"risk already runs in .* \\(process {os.getpid()}\\)"):
        ServiceLock(tmp_path, "risk")
    ServiceLock(tmp_path, "execution").release()
    lock.release()
    ServiceLock(tmp_path, "risk").release()


def test_a_lock_file_that_a_dead_process_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from shared.service.lock import ServiceLock\n"
    code += "lock = ServiceLock(Path(sys.argv[1]), 'risk'); os.kill(os.getpid(), 9)"
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert died.returncode == -9
    assert '"pid"' in (tmp_path / "locks" / "risk.lock").read_text()
    ServiceLock(tmp_path, "risk").release()


def test_on_a_full_disk_a_service_still_starts_waits_a_second_and_keeps_its_lock(tmp_path: Path) -> None:
    with small_disk(tmp_path / "run", 1) as run_dir:
        ServiceLock(run_dir, "execution").release()
        record_start(run_dir, "risk", 100)
        fill(run_dir)
        lock = ServiceLock(run_dir, "risk")
        with pytest.raises(StartRefused, match="already runs"):
            ServiceLock(run_dir, "risk")
        start = record_start(run_dir, "risk", 10**12)
        assert (start.epoch, start.pause_s) == (10**12, 1.0)
        lock.release()


def test_starts_are_counted_and_the_epoch_rises_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    starts = [record_start(tmp_path, "risk", now_ns) for now_ns in (100, 50, 200)]
    assert [(start.count, start.epoch) for start in starts] == [(1, 100), (2, 101), (3, 200)]


def test_a_service_that_keeps_dying_at_its_start_waits_longer_each_time_and_a_long_life_ends_that(
    tmp_path: Path,
) -> None:
    second, now_ns, pauses = 1_000_000_000, 100, []
    for _ in range(9):
        start = record_start(tmp_path, "risk", now_ns)
        pauses.append(start.pause_s)
        now_ns += int(start.pause_s * second) + second
    assert pauses == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert record_start(tmp_path, "risk", now_ns + 60 * second).pause_s == 0


def test_a_damaged_starts_file_starts_a_new_count(tmp_path: Path) -> None:
    record_start(tmp_path, "risk", 100)
    (tmp_path / "starts" / "risk.json").write_text("{")
    assert record_start(tmp_path, "risk", 200).count == 1


@given(st.text(min_size=6, max_size=40))
def test_a_registered_secret_is_in_no_line_in_whatever_form(secret: str) -> None:
    lines = Redactor()
    lines.add(secret)
    line = json.dumps({"text": f"a{secret}b", "nested": [secret]})
    if secret not in json.dumps({"text": "ab", "nested": []}) + "***":
        assert json.dumps(secret)[1:-1] not in lines.clean(line)
    assert secret not in lines.clean(f"key {secret}") or secret in "key ***"


def test_log_lines_are_json_with_the_services_fields_and_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    redactor.add("topsecretvalue")
    try:
        log = setup_logging("info", "json", service="risk", mode="paper", account="main")
        log.debug("not shown")
        log.info("signed", api_secret="whatever", url="https://x/?k=topsecretvalue", number=3)
        try:
            raise ValueError("topsecretvalue in an error")
        except ValueError as error:
            log.error("failed", exc_info=error)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finally:
        structlog.reset_defaults()
    assert [line["event"] for line in lines] == ["signed", "failed"]
    assert {(line["service"], line["mode"], line["account"]) for line in lines} == {("risk", "paper", "main")}
    assert lines[0]["api_secret"] == "***"
    assert "Traceback" in lines[1]["exception"]
    assert "topsecretvalue" not in json.dumps(lines)


def test_a_secret_that_nobody_registered_is_hidden_where_its_name_says_what_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "5ecret"
    url = f"wss://ws.example/options?code=10&uuid=key&apiKey={secret}a&ts=17&sign={secret}B&action=subscribe"
    try:
        log = setup_logging("info", "json", service="risk")
        log.warning("not connected", reason=f"GET {url} failed", tried=[{"headers": {"Authorization": secret}}])
        log.warning("refused", answer={"nested": ({"Token": secret}, {"symbol": "BTCUSD"})})
        text = capsys.readouterr().out
    finally:
        structlog.reset_defaults()
    assert secret not in text
    assert "ts=17" in text
    assert "action=subscribe" in text
    assert "BTCUSD" in text


def test_a_registered_secret_is_hidden_in_an_address_too_in_which_it_is_escaped() -> None:
    lines = Redactor()
    lines.add("a/b+c d=e")
    for written in ("a%2Fb%2Bc%20d%3De", "a%2Fb%2Bc+d%3De"):
        assert lines.clean(f"GET https://x/{written}/y") == "GET https://x/***/y"


def test_text_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        setup_logging("warning", "text", service="risk").warning("low on margin", account="main")
        text = capsys.readouterr().out
    finally:
        structlog.reset_defaults()
    assert "low on margin" in text
    assert "risk" in text


class Ended(BaseException):
    def __init__(self, code: int) -> None:
        self.code = code


def end(code: int) -> NoReturn:
    raise Ended(code)


class Silent:
    def error(self, *_: Any, **__: Any) -> None: ...

    def critical(self, *_: Any, **__: Any) -> None: ...


def policy() -> tuple[Failures, Metrics]:
    metrics = Metrics("risk", "paper", "main")
    return Failures(Silent(), metrics, end), metrics


def test_ten_errors_in_a_row_end_the_process_with_70() -> None:
    failures, metrics = policy()
    for _ in range(FAILURES_MAX - 1):
        failures.failed("core", ValueError())
    with pytest.raises(Ended) as ended:
        failures.failed("core", ValueError())
    assert ended.value.code == 70
    labels = {"service": "risk", "mode": "paper", "account": "main", "source": "core"}
    assert metrics.registry.get_sample_value("voldesk_handler_errors_total", labels) == FAILURES_MAX


def test_a_success_in_between_starts_the_count_again_and_sources_count_apart() -> None:
    failures, _ = policy()
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            failures.failed("core", ValueError())
        failures.failed("execution stream", ValueError())
        failures.succeeded("core")


def test_a_failed_assertion_ends_the_process_at_once() -> None:
    failures, _ = policy()
    with pytest.raises(Ended) as ended:
        failures.failed("core", AssertionError())
    assert ended.value.code == 70


def test_errors_that_the_loop_reports_are_forgotten_after_a_quiet_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr("shared.service.watch.boottime_ns", lambda: now_ns)
    failures, _ = policy()
    for _ in range(FAILURES_MAX - 1):
        failures.loop_error(None, "callback failed")
    now_ns += 61_000_000_000
    for _ in range(FAILURES_MAX - 1):
        failures.loop_error(ValueError(), "callback failed")
    with pytest.raises(Ended):
        failures.loop_error(ValueError(), "callback failed")


def test_a_gap_of_more_than_two_seconds_is_told_to_every_listener_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 1_900_000_000, 4_000_000_000, 4_100_000_000])
    monkeypatch.setattr("shared.service.watch.boottime_ns", lambda: next(times))
    watch = StallWatch(Clock(wall=lambda: 1, monotonic=lambda: 1))
    gaps: list[int] = []
    watch.listen(gaps.append)
    for _ in range(3):
        watch.check()
    assert gaps == [2_100_000_000]


def test_a_clock_that_is_set_forward_counts_as_a_gap_and_one_that_is_set_back_does_not() -> None:
    ahead_ns = 0
    watch = StallWatch(Clock(wall=lambda: time.monotonic_ns() + ahead_ns))
    gaps: list[int] = []
    watch.listen(gaps.append)
    ahead_ns = 3_600_000_000_000
    watch.check()
    ahead_ns = 0
    watch.check()
    (gap_ns,) = gaps
    assert gap_ns >= 3_600_000_000_000
