"""supervisord is woken by a death, so that it starts the dead service at once and not at its next look."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

import pytest
from supervisor import events
from supervisor.states import ProcessStates

from voldesk.restarts import make_prompt_restarts


class Options:
    def __init__(self) -> None:
        self.socket_map: dict[int, Any] = {}

    def get_socket_map(self) -> dict[int, Any]:
        return self.socket_map


class Supervisord:
    """The part of supervisord that a plug-in sees."""

    def __init__(self) -> None:
        self.options = Options()


class Process:
    pid = 7
    backoff = 0


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


@pytest.fixture(autouse=True)
def _no_listeners_left() -> Any:
    before = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(before)
    events.clear()


def test_each_death_makes_a_descriptor_readable_until_it_was_read() -> None:
    supervisord = Supervisord()
    make_prompt_restarts(supervisord)
    ((descriptor, dispatcher),) = supervisord.options.socket_map.items()
    assert dispatcher.readable()
    assert not dispatcher.writable()
    assert not is_readable(descriptor)
    for _ in range(2):
        events.notify(events.ProcessStateExitedEvent(Process(), ProcessStates.RUNNING))
    assert is_readable(descriptor)
    dispatcher.handle_read_event()
    assert not is_readable(descriptor)


def test_the_signal_that_a_child_died_makes_the_descriptor_readable() -> None:
    supervisord = Supervisord()
    make_prompt_restarts(supervisord)
    ((descriptor, _),) = supervisord.options.socket_map.items()
    handler = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        os.kill(os.getpid(), signal.SIGCHLD)
        assert select.select([descriptor], [], [], 60)[0] == [descriptor]
    finally:
        signal.signal(signal.SIGCHLD, handler)


def test_a_descriptor_that_nobody_reads_is_no_reason_to_fail() -> None:
    supervisord = Supervisord()
    make_prompt_restarts(supervisord)
    ((descriptor, _),) = supervisord.options.socket_map.items()
    for _ in range(100_000):
        events.notify(events.ProcessStateExitedEvent(Process(), ProcessStates.RUNNING))
    assert is_readable(descriptor)


def test_other_events_wake_nobody() -> None:
    supervisord = Supervisord()
    make_prompt_restarts(supervisord)
    ((descriptor, _),) = supervisord.options.socket_map.items()
    events.notify(events.ProcessStateRunningEvent(Process(), ProcessStates.STARTING))
    assert not is_readable(descriptor)
