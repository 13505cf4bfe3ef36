"""A plug-in of supervisord: a service that died is started again at once.

supervisord looks after its processes when one of its descriptors has something to read, and otherwise once a second.
The signal that says that a child died ends no such wait, and the end of the child's output, which does, often comes
before the child can be collected. And it notes a death only after that look, and so starts the dead service a look
later. Here each signal makes a descriptor readable, and so does each death that was noted.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from supervisor import events


class _Wake:
    """A pipe in supervisord's table of descriptors, in the form in which it keeps them."""

    def __init__(self, socket_map: dict[int, Any]) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        socket_map[self._reader] = self
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def died(self, _event: object) -> None:
        # a full pipe wakes as well as one more byte would
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4_096)

    def handle_error(self) -> None:
        raise AssertionError("reading a pipe of our own cannot fail")


class PromptRestarts:
    """What supervisord calls an RPC interface; it answers nothing."""


def make_prompt_restarts(supervisord: Any) -> PromptRestarts:
    """Named in supervisord.conf, called by supervisord with itself when it starts."""
    wake = _Wake(supervisord.options.get_socket_map())
    events.subscribe(events.ProcessStateExitedEvent, wake.died)
    return PromptRestarts()
