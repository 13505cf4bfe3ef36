"""CURVE over tcp: who has a key on the list is heard; anybody else gets an error, is counted and never harms."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from shared.bus import Bus, NoAnswer
from shared.bus.curve import REFUSALS
from shared.bus.keys import (
    CLIENTS,
    KEY_NAMES,
    OPERATOR,
    BusKeyError,
    ensure_keys,
    keys_dir,
    load_ring,
    read_list,
    revoke_key,
    rotate_key,
)
from shared.config import SERVICE_NAMES, DeskConfig
from shared.messages.control import AccountAnswer, GetAccount, HaltsAnswered
from shared.messages.system import GetStatus, Heartbeat
from tests.integration.bus.harness import (
    HALT_TOPIC,
    ROOT,
    Heard,
    execution_process,
    free_base_port,
    halt_of,
    make_desk,
    open_service,
    raise_halt,
    raw_socket,
    until,
)

DEADLINE_MS = 60_000


def keyed_desk(directory: Path) -> DeskConfig:
    """A desk over tcp with keys, on ports that were free a moment ago."""
    desk = make_desk(directory, f'transport = "tcp"\ncurve = true\nbase_port = {free_base_port()}')
    ensure_keys(keys_dir(desk), 1)
    return desk


async def test_services_with_keys_on_the_list_hear_and_answer_each_other_across_processes(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    with execution_process(desk):
        async with Bus.client(desk) as operator:
            answer = await operator.ask("execution", raise_halt("a"), DEADLINE_MS)
            assert isinstance(answer, HaltsAnswered)
            await until(lambda: heard.halts() == [1] and heard.synced())
            assert operator.key_problem("execution") == ""
    reader.close()


async def test_a_key_that_is_not_on_the_list_is_told_so_at_both_ends_and_counted(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    (tmp_path / "other").mkdir()
    stranger_desk = make_desk(
        tmp_path / "other", f'transport = "tcp"\ncurve = true\nbase_port = {desk.bus.base_port}'
    )
    ensure_keys(keys_dir(stranger_desk), 1)
    theirs, ours = keys_dir(stranger_desk) / "allowed", keys_dir(desk) / "allowed"
    (theirs / "execution.json").write_bytes((ours / "execution.json").read_bytes())
    warnings: list[tuple[str, str]] = []
    server = open_service("execution", desk, warn=lambda kind, detail: warnings.append((kind, detail)))
    server.serve(lambda request: server.reply(request.request_id, AccountAnswer(account=None)))
    async with Bus.client(stranger_desk) as stranger:
        asked = asyncio.ensure_future(stranger.ask("execution", GetAccount(), DEADLINE_MS))
        await until(lambda: stranger.key_problem("execution"))
        assert "execution refuses the key" in stranger.key_problem("execution")
        assert stranger.counts.refused["refused_by_peer"] >= 1
        assert not asked.done()
        asked.cancel()
    await until(lambda: server.counts.refused["unknown_key"])
    assert [kind for kind, _ in warnings] == ["unknown_key"]
    assert "127.0.0.1 came with the key" in warnings[0][1]
    async with Bus.client(desk) as operator:
        assert isinstance(await operator.ask("execution", GetAccount(), DEADLINE_MS), AccountAnswer)
    server.close()


async def test_who_brings_no_key_gets_nothing_and_is_counted(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    server = open_service("execution", desk)
    bare = make_desk(tmp_path, f'transport = "tcp"\nbase_port = {desk.bus.base_port}')
    async with Bus.client(bare) as stranger:
        with pytest.raises(NoAnswer):
            await stranger.ask("execution", GetStatus(), 500)
    listener = raw_socket(zmq.SUB)
    listener.setsockopt(zmq.SUBSCRIBE, b"")
    listener.connect(f"tcp://127.0.0.1:{desk.bus.base_port + 4}")
    await until(lambda: server.counts.refused["no_key"] >= 2)
    assert listener.poll(0) == 0
    listener.close()
    server.close()


async def test_a_service_that_does_not_hold_its_key_is_not_believed(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    (tmp_path / "other").mkdir()
    false_desk = make_desk(tmp_path / "other", f'transport = "tcp"\ncurve = true\nbase_port = {desk.bus.base_port}')
    ensure_keys(keys_dir(false_desk), 1)
    impostor = open_service("execution", false_desk)
    async with Bus.client(desk) as operator:
        asked = asyncio.ensure_future(operator.ask("execution", GetStatus(), DEADLINE_MS))
        await until(lambda: operator.counts.refused["wrong_server_key"] >= 2)
        assert "does not hold the key" in operator.key_problem("execution")
        assert not asked.done()
        impostor.close()
        real = open_service("execution", desk)
        assert isinstance(await asked, Heartbeat)
        real.close()


async def test_a_service_of_the_desk_without_business_here_is_refused(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    server = open_service("risk", desk)
    async with Bus.client(desk, "marketdata") as marketdata:
        asked = asyncio.ensure_future(marketdata.ask("risk", GetStatus(), DEADLINE_MS))
        await until(lambda: marketdata.key_problem("risk") and server.counts.refused["key_not_allowed"])
        asked.cancel()
    async with Bus.client(desk, "risk") as itself:
        assert isinstance(await itself.ask("risk", GetStatus(), DEADLINE_MS), Heartbeat)
    server.close()


async def test_new_keys_are_taken_while_both_run_and_no_event_is_lost(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    publisher = open_service("execution", desk)
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    publisher.publish(HALT_TOPIC, halt_of("a", 1))
    await until(lambda: heard.halts() == [1])
    number = 1
    for name in ("execution", "risk"):
        rotate_key(keys_dir(desk), name, 2)
        number += 1
        publisher.publish(HALT_TOPIC, halt_of(str(number), number))
        await until(lambda: heard.halts() == list(range(1, number + 1)))  # noqa: B023
        async with Bus.client(desk) as operator:
            assert isinstance(await operator.ask("execution", GetStatus(), DEADLINE_MS), Heartbeat)
    reader.close()
    publisher.close()


async def test_a_revoked_key_is_cut_off_though_it_is_connected_and_comes_back_with_a_new_one(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    publisher = open_service("execution", desk)
    heard = Heard()
    reader = Bus("strategy", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    publisher.publish(HALT_TOPIC, halt_of("a", 1))
    await until(lambda: heard.halts() == [1])
    revoke_key(keys_dir(desk), "strategy", 2)
    await until(lambda: publisher.counts.refused["revoked_key"])
    publisher.publish(HALT_TOPIC, halt_of("b", 2))
    await until(lambda: "refuses the key" in reader.key_problem("execution"))
    assert heard.halts() == [1]
    rotate_key(keys_dir(desk), "strategy", 3)
    await until(lambda: heard.halts() == [1, 2])
    reader.close()
    publisher.close()


async def test_every_kind_of_refusal_is_counted_from_zero_and_told_again_later_but_not_each_second(
    tmp_path: Path,
) -> None:
    desk = keyed_desk(tmp_path)
    warnings: list[str] = []
    server = open_service("execution", desk, warn=lambda kind, _: warnings.append(kind))
    assert dict(server.counts.refused) == dict.fromkeys(REFUSALS, 0)
    bare = make_desk(tmp_path, f'transport = "tcp"\nbase_port = {desk.bus.base_port}')
    for refused in (1, 2):
        # ZeroMQ may not come back by itself after a handshake that was broken off
        async with Bus.client(bare) as stranger:
            asked = asyncio.ensure_future(stranger.ask("execution", GetStatus(), DEADLINE_MS))
            await until(lambda refused=refused: server.counts.refused["no_key"] >= refused)
            asked.cancel()
    assert len(warnings) < server.counts.refused["no_key"]
    assert set(warnings) == {"no_key"}
    server.close()


async def test_a_changed_list_that_cannot_be_read_changes_nothing_and_is_told(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    server = open_service("execution", desk)
    path = keys_dir(desk) / "allowed" / "risk.json"
    kept = path.read_bytes()
    path.write_text("{")
    await until(lambda: server.counts.refused["list_unusable"])
    path.write_bytes(kept)
    async with Bus.client(desk, "risk") as risk:
        assert isinstance(await risk.ask("execution", GetStatus(), DEADLINE_MS), Heartbeat)
    server.close()


async def test_a_bus_whose_sockets_do_not_all_end_closes_all_the_same(tmp_path: Path) -> None:
    server = open_service("execution", keyed_desk(tmp_path))
    kept_open = server._link.context.socket(zmq.PUB)
    server.close()
    assert not kept_open.closed
    kept_open.close(0)


def test_keys_are_drawn_once_and_every_secret_is_ours_alone(tmp_path: Path) -> None:
    assert ensure_keys(tmp_path, 1) == KEY_NAMES
    first = read_list(tmp_path)
    revoke_key(tmp_path, "monitor", 2)
    assert ensure_keys(tmp_path, 3) == ()
    assert read_list(tmp_path)["monitor"].revoked
    rotated = rotate_key(tmp_path, "monitor", 4)
    assert (rotated.revoked, rotated.rotated, rotated.previous) == (False, 1, (first["monitor"].public_key,))
    assert {(tmp_path / name / "secret").stat().st_mode & 0o777 for name in KEY_NAMES} == {0o600}
    ring = load_ring(tmp_path, OPERATOR)
    assert ring.secret_key not in repr(ring) + str(ring)
    assert set(CLIENTS) == set(SERVICE_NAMES)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("missing", "has no key for the bus"),
        ("readable", "can be read by others"),
        ("garbage", "holds no CURVE key"),
        ("another", "the list has"),
        ("unlisted", "not on the list"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_its_file(tmp_path: Path, mistake: str, said: str) -> None:
    ensure_keys(tmp_path, 1)
    path = tmp_path / "risk" / "secret"
    match mistake:
        case "missing":
            path.unlink()
        case "readable":
            path.chmod(0o644)
        case "garbage":
            path.write_text("key")
        case "another":
            path.write_bytes((tmp_path / "monitor" / "secret").read_bytes())
        case _:
            (tmp_path / "allowed" / "risk.json").unlink()
    with pytest.raises(BusKeyError, match=said) as refused:
        load_ring(tmp_path, "risk")
    assert refused.value.remedy


def test_a_service_without_its_key_does_not_start_and_names_the_file(tmp_path: Path) -> None:
    desk = keyed_desk(tmp_path)
    (keys_dir(desk) / "risk" / "secret").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "services.risk"],
        cwd=ROOT,
        env={"VOLDESK_CONFIG": str(desk.path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 78
    assert "risk has no key for the bus" in done.stdout
    assert str(keys_dir(desk) / "risk" / "secret") in done.stdout
