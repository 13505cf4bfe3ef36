"""The state of a service is judged from what supervisord says, its own answer, and its log."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from shared.config import load_config
from shared.messages.countdowns import Countdown, CountdownList
from shared.messages.system import Heartbeat
from tests.unit.voldesk.peers import Ran
from tests.unit.voldesk.samples import OPENED_NS
from voldesk.commands.status import health_json, switch_text
from voldesk.health import collect_health, judge_service, last_log_line
from voldesk.supervision import SupervisedProcess

RUNNING = SupervisedProcess(name="risk", state="RUNNING", pid=12, uptime_s=100.0, exit_status=0, problem="")
BEAT = Heartbeat(
    service="risk",
    account_id="acc1",
    mode="paper",
    venue="sim",
    pid=12,
    epoch=5,
    started_ns=1_000_000_000,
    beat_ns=91_500_000_000,
    starts=3,
    ready=True,
    detail="",
    event_sequences={},
)


def countdowns(
    *armed: tuple[str, bool | None, int | None], seconds: int = 15, lacks_right: bool = False
) -> CountdownList:
    return CountdownList(
        countdown_s=seconds,
        lacks_right=lacks_right,
        countdowns=tuple(Countdown(underlying=name, is_armed=is_armed, fires_ns=at) for name, is_armed, at in armed),
    )


def gone(state: str, exit_status: int = 0) -> SupervisedProcess:
    return msgspec.structs.replace(RUNNING, state=state, pid=None, uptime_s=None, exit_status=exit_status)


def write_log(run_dir: Path, *lines: str) -> None:
    (run_dir / "logs").mkdir(parents=True, exist_ok=True)
    (run_dir / "logs" / "risk.log").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("process", "answer", "state"),
    [
        (RUNNING, (BEAT, 0.01), "RUNNING"),
        (RUNNING, (msgspec.structs.replace(BEAT, ready=False, detail="no venue"), 0.01), "NOT_READY"),
        (RUNNING, None, "NOT_RESPONDING"),
        (msgspec.structs.replace(RUNNING, uptime_s=2.0), None, "STARTING"),
        (gone("STOPPED"), None, "STOPPED"),
        (gone("BACKOFF"), None, "STARTING"),
        (gone("FATAL"), None, "FATAL"),
        (gone("EXITED", 70), None, "EXITED"),
        (gone("EXITED", 78), None, "CONFIG_ERROR"),
        (None, None, "STOPPED"),
    ],
)
def test_the_state_of_a_service(
    home: Path, process: SupervisedProcess | None, answer: tuple[Heartbeat, float] | None, state: str
) -> None:
    assert judge_service(load_config(), "risk", process, answer).state == state


def test_an_answer_gives_uptime_age_and_restarts(home: Path) -> None:
    health = judge_service(load_config(), "risk", RUNNING, (BEAT, 0.25))
    assert (health.pid, health.uptime_s, health.heartbeat_age_s, health.restarts) == (12, 90.5, 0.25, 2)


def test_without_an_answer_restarts_come_from_the_start_counter(home: Path) -> None:
    desk = load_config()
    (desk.run_dir / "starts").mkdir(parents=True)
    (desk.run_dir / "starts" / "risk.json").write_text('{"count": 4, "epoch": 9}')
    assert judge_service(desk, "risk", gone("EXITED", 70), None).restarts == 3
    assert judge_service(desk, "monitor", gone("STOPPED"), None).restarts is None


def test_a_configuration_error_is_explained_by_the_services_own_words(home: Path) -> None:
    desk = load_config()
    refused = {"event": "start refused", "reason": "no key", "remedy": "set it", "level": "critical", "at": "x"}
    write_log(desk.run_dir, json.dumps(refused), '{"event": "stopped", "level": "info"}')
    assert judge_service(desk, "risk", gone("EXITED", 78), None).detail == "no key; set it"


def test_the_last_line_counts_when_there_is_no_error_and_plain_text_is_taken_as_it_is(home: Path) -> None:
    run_dir = load_config().run_dir
    assert last_log_line(run_dir, "risk") == ""
    write_log(run_dir, '{"event": "starting", "level": "info", "pid": 1}', "Segmentation fault", "", "[1, 2]")
    assert last_log_line(run_dir, "risk") == "[1, 2]"


def test_status_of_a_desk_that_was_never_started_is_all_stopped(home: Path) -> None:
    ran = Ran("status", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert (told["mode"], told["venue"], told["account"]) == ("paper", "sim", "acc1")
    assert [row["name"] for row in told["services"]] == [
        "exchange",
        "marketdata",
        "risk",
        "execution",
        "strategy",
        "monitor",
    ]
    for row in told["services"]:
        assert list(row) == ["name", "state", "pid", "uptime_s", "heartbeat_age_s", "restarts"]
        assert row["state"] == "STOPPED"
    assert Ran("status", "--check").code == 69


def test_logs_are_readable_and_merged_by_time(home: Path) -> None:
    desk = load_config()
    write_log(
        desk.run_dir,
        '{"event": "third", "level": "info", "at": "2026-11-20T14:00:03Z", "service": "risk"}',
        '{"event": "boom", "level": "error", "at": "2026-11-20T14:00:04Z", "exception": "Traceback:\\n  here"}',
    )
    (desk.run_dir / "logs" / "execution.log").write_text(
        '{"event": "first", "level": "info", "at": "2026-11-20T14:00:01Z", "order": 7}\n'
    )
    merged = Ran("logs").out.splitlines()
    assert merged[0].split() == ["2026-11-20", "14:00:01Z", "info", "execution", "first", "order=7"]
    assert "third" in merged[1]
    assert merged[3:] == ["  Traceback:", "    here"]
    assert len(Ran("logs", "risk", "-n", "1", "--json").out.splitlines()) == 1
    assert json.loads(Ran("logs", "execution", "--json").out)["order"] == 7


def test_logs_without_any_log_say_how_to_get_one(home: Path) -> None:
    ran = Ran("logs")
    assert ran.code == 69
    assert "voldesk up" in ran.err


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (None, "nothing cancels our orders at the venue: no dead-man switch."),
        (countdowns(seconds=0), "nothing cancels our orders at the venue: no dead-man switch."),
        (countdowns(), "nothing cancels our orders at the venue: its countdown is not armed, no strategy quotes."),
        (countdowns(lacks_right=True), "its countdown is not armed, the venue grants this account none."),
        (
            countdowns(("BTCUSD", True, OPENED_NS), ("ETHUSD", True, OPENED_NS + 1_000_000_000)),
            "If this host dies, the venue cancels every order in BTCUSD at 14:37:54 UTC, ETHUSD at 14:37:55 UTC, and "
            "15 s after each renewal; no others.",
        ),
        (
            countdowns(("BTCUSD", None, None)),
            "Whether the venue's countdown is armed in BTCUSD is not known; it is being set.",
        ),
    ],
)
def test_status_says_what_becomes_of_orders_when_the_host_dies(told: CountdownList | None, says: str) -> None:
    assert switch_text(told).endswith(says)


def test_status_as_json_says_what_is_armed_and_until_when(home: Path) -> None:
    desk = load_config()
    health = collect_health(desk)
    assert health_json(desk, health, None)["countdown"] is None
    assert health_json(desk, health, countdowns(("BTCUSD", True, OPENED_NS)))["countdown"] == {
        "countdown_s": 15,
        "lacks_right": False,
        "underlyings": [{"underlying": "BTCUSD", "is_armed": True, "fires_at": "2026-11-20T14:37:54.114Z"}],
    }
