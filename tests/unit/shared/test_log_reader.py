"""The log of all services as one: merged by time, filtered, and followed through rotations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.ids import OrderKey, client_order_id
from shared.log_files import RotatingFile, track_file
from shared.log_lines import LogLine, at_text, encode_line, line_text, parse_line
from shared.log_query import LogQuery
from shared.log_reader import Follower, newest_lines

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
ALL = ("risk", "execution", "strategy")
ORDER = client_order_id(OrderKey(desk=1, trade_number=777, leg_index=0, purpose="open", attempt=0))
OTHER = client_order_id(OrderKey(desk=1, trade_number=778, leg_index=0, purpose="open", attempt=0))


def write(folder: Path, service: str, track: str, second: float, event: str, **fields: Any) -> None:
    line = {"at": at_text(START + int(second * SECOND)), "level": "info", "track": track, "service": service}
    file = RotatingFile(track_file(folder, track, service), 1_000_000, 3)
    file.write(encode_line({**line, "event": event, **fields}).encode() + b"\n")
    file.close()


def events(lines: list[LogLine]) -> list[str]:
    return [line.event for line in lines]


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """Two trades, told by three services."""
    write(tmp_path, "strategy", "strategy", 1, "intent made", strategy="condor", intent_id="condor-1")
    write(tmp_path, "risk", "execution", 2, "grant given", intent_id="condor-1", grant_id="condor-1-99")
    names = {"trade_id": "t777", "intent_id": "condor-1", "strategy": "condor"}
    write(tmp_path, "execution", "execution", 3, "trade accepted", **names)
    write(tmp_path, "execution", "execution", 4, "order acked", **names, client_order_id=ORDER, venue_order_id=5551)
    write(tmp_path, "execution", "execution", 5, "venue call", client_order_id=ORDER, outcome="lost")
    write(tmp_path, "monitor", "health", 6, "alert", level="error", text="trade t777: a short option is naked")
    write(tmp_path, "execution", "execution", 7, "reported", seen=[5551])
    write(tmp_path, "strategy", "strategy", 1.5, "intent made", strategy="condor", intent_id="condor-11")
    write(tmp_path, "execution", "execution", 8, "trade accepted", trade_id="t778", intent_id="condor-11")
    write(tmp_path, "execution", "execution", 9, "order acked", trade_id="t778", client_order_id=OTHER)
    write(tmp_path, "strategy", "strategy", 10, "gate closed", strategy="strangle", gate="cooldown")
    return tmp_path


def test_lines_of_all_services_and_tracks_come_in_the_order_of_time_and_only_the_newest(story: Path) -> None:
    found = newest_lines(story, LogQuery(services=(*ALL, "monitor", "nothing")), None)
    assert [line.at for line in found] == sorted((line.at for line in found), reverse=True)
    assert len(found) == 11
    assert events(newest_lines(story, LogQuery(services=ALL), 2)) == ["gate closed", "order acked"]


def test_a_trade_shows_the_lines_of_its_intent_and_its_orders_and_of_no_other_trade(story: Path) -> None:
    found = newest_lines(story, LogQuery(services=(*ALL, "monitor"), trade="t777"), None)
    assert events(found[::-1]) == [
        "intent made",
        "grant given",
        "trade accepted",
        "order acked",
        "venue call",
        "alert",
        "reported",
    ]
    assert found[-1].fields["intent_id"] == "condor-1"
    assert newest_lines(story, LogQuery(services=ALL, trade="t77"), None) == []


@pytest.mark.parametrize("order", [str(ORDER), "5551"])
def test_an_order_is_found_by_our_id_and_by_the_venues(story: Path, order: str) -> None:
    found = newest_lines(story, LogQuery(services=ALL, order=order), None)
    assert events(found[::-1]) == ["order acked", "venue call", "reported"]


def test_a_strategy_shows_its_lines_and_those_of_its_intents(story: Path) -> None:
    found = newest_lines(story, LogQuery(services=ALL, strategy="condor"), None)
    assert {line.fields["intent_id"] for line in found} == {"condor-1", "condor-11"}
    assert "grant given" in events(found)
    assert events(newest_lines(story, LogQuery(services=ALL, strategy="strangle"), None)) == ["gate closed"]


def test_filters_hold_together(story: Path) -> None:
    def found(**wanted: Any) -> list[str]:
        return events(newest_lines(story, LogQuery(services=(*ALL, "monitor"), **wanted), None))

    assert found(tracks=("strategy",)) == ["gate closed", "intent made", "intent made"]
    assert found(level="warning") == ["alert"]
    assert found(since=at_text(START + 8 * SECOND)) == ["gate closed", "order acked", "trade accepted"]
    assert found(search="OUTCOME lost") == ["venue call"]
    assert found(search=".*") == []
    assert found(trade="t777", level="error") == ["alert"]
    assert found(trade="t777", since=at_text(START + 4 * SECOND), tracks=("execution",))[-1] == "order acked"


def test_lines_that_are_torn_or_no_json_are_shown_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path, "risk", "health", 1, "before")
    with track_file(tmp_path, "health", "risk").open("ab") as file:
        file.write(b'{"at": "torn in the mid\n\xff\xfe no text\nTraceback:\n')
    write(tmp_path, "risk", "health", 3, "after")
    write(tmp_path, "execution", "health", 2, "between")
    (tmp_path / "risk.log").write_text("a line without a time\n")
    found = newest_lines(tmp_path, LogQuery(services=ALL), None)[::-1]
    assert events(found)[:2] == ["before", '{"at": "torn in the mid']
    assert events(found)[2:] == ["�� no text", "Traceback:", "between", "after", "a line without a time"]
    assert found[3].at == at_text(START + SECOND)
    assert newest_lines(tmp_path, LogQuery(services=ALL, tracks=("health",), search="torn"), None) == []


def test_a_file_that_ends_in_the_middle_of_a_line_is_shown_whole_and_continued_on_a_line_of_its_own(
    tmp_path: Path,
) -> None:
    path = track_file(tmp_path, "health", "risk")
    path.parent.mkdir()
    path.write_bytes(b'{"event": "killed while wri')
    write(tmp_path, "risk", "health", 1, "started")
    assert path.read_bytes().splitlines()[0] == b'{"event": "killed while wri'
    assert "started" in events(newest_lines(tmp_path, LogQuery(services=ALL), None))


def test_rotated_files_are_read_too_and_reading_is_bounded(tmp_path: Path) -> None:
    file = RotatingFile(track_file(tmp_path, "health", "risk"), 10_000, 100)
    for number in range(1_000):
        file.write(encode_line({"at": at_text(START + number * SECOND), "event": f"e{number}"}).encode() + b"\n")
    assert len(list((tmp_path / "health").iterdir())) > 3
    query = LogQuery(services=ALL)
    assert events(newest_lines(tmp_path, query, None)) == [f"e{number}" for number in range(999, -1, -1)]
    bounded = newest_lines(tmp_path, query, None, bytes_max=15_000)
    assert events(bounded) == [f"e{number}" for number in range(999, 999 - len(bounded), -1)]
    assert 100 < len(bounded) < 500


def following(folder: Path, **wanted: Any) -> Follower:
    return Follower(folder, LogQuery(services=ALL, **wanted))


def later(follower: Follower) -> list[str]:
    return events(follower.new(START + 1_000 * SECOND))


def test_following_shows_each_line_once_whatever_was_written_between_past_and_new(tmp_path: Path) -> None:
    write(tmp_path, "risk", "health", 1, "past")
    follower = following(tmp_path)
    write(tmp_path, "risk", "health", 2, "between")
    write(tmp_path, "execution", "execution", 1.5, "first of its file")
    assert events(follower.past(None)) == ["past"]
    assert later(follower) == ["first of its file", "between"]
    assert later(follower) == []
    write(tmp_path, "risk", "health", 3, "new")
    assert later(follower) == ["new"]
    follower.close()


def test_following_goes_through_rotations_even_several_at_once_and_hears_who_writes_late(tmp_path: Path) -> None:
    path = track_file(tmp_path, "health", "risk")
    file = RotatingFile(path, 200, 10)
    file.write(b"1\n")
    follower = following(tmp_path)
    late = os.open(path, os.O_WRONLY | os.O_APPEND)
    for number in range(2, 8):
        file.write(f"{number} {'x' * 150}\n".encode())
    assert [event.split()[0] for event in later(follower)] == ["2", "3", "4", "5", "6", "7"]
    os.write(late, b"late\n")
    os.close(late)
    assert later(follower) == ["late"]
    file.write(b"8\n")
    assert later(follower) == ["8"]
    for _ in range(10):
        assert later(follower) == []
    file.write(b"9\n")
    assert later(follower) == ["9"]
    follower.close()


def test_following_waits_for_the_end_of_a_line_and_for_services_that_write_earlier_ones(tmp_path: Path) -> None:
    write(tmp_path, "risk", "health", 0, "past")
    follower = following(tmp_path)
    path = track_file(tmp_path, "health", "risk")
    with path.open("ab", buffering=0) as file:
        file.write(b'{"at": "' + at_text(START).encode())
        assert later(follower) == []
        file.write(b'", "event": "whole"}\n')
        assert later(follower) == ["whole"]
    write(tmp_path, "risk", "health", 10, "held back")
    assert events(follower.new(START + 10 * SECOND)) == []
    write(tmp_path, "execution", "health", 9.99, "earlier and later written")
    assert events(follower.new(START + 10 * SECOND + SECOND // 5)) == ["earlier and later written", "held back"]
    follower.close()


def test_following_a_trade_learns_its_orders_as_they_come(tmp_path: Path) -> None:
    follower = following(tmp_path, trade="t777")
    write(tmp_path, "execution", "execution", 1, "order acked", trade_id="t777", venue_order_id=5551)
    write(tmp_path, "execution", "execution", 2, "reported", seen=[5551])
    write(tmp_path, "execution", "execution", 3, "reported", seen=[5552])
    assert later(follower) == ["order acked", "reported"]
    follower.close()


def test_a_line_for_people_cannot_do_anything_to_a_terminal() -> None:
    fields = {"event": "a\x1b[31mred", "text": "b\x07 c\nd", "exception": "Traceback\n  \x1b]0;title\x07"}
    text = line_text("2026-11-27T08:00:00.123456Z", "info", "risk", fields)
    assert text.startswith("2026-11-27 08:00:00.123 info     risk       a\\x1b[31mred  text=")
    assert all(each.isprintable() or each == "\n" for each in text)
    assert text.splitlines()[1] == "  Traceback"
    assert len(text.splitlines()) == 3


def test_a_line_is_json_whatever_it_holds() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "odd"

    loop: list[Any] = []
    loop.append(loop)
    fields = {"event": "x", "a": float("nan"), "b": Odd(), "c": b"\xff", "d": {("k",): 1}, "e": loop, "at": "now"}
    line = encode_line(fields)
    assert "\n" not in line
    read = json.loads(line, parse_constant=pytest.fail)
    assert next(iter(read)) == "at"
    assert (read["a"], read["b"], read["c"]) == ("nan", "odd", "b'\\xff'")
    assert parse_line("risk", line.encode()).event == "x"
