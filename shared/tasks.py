"""Background tasks that are not lost and do not fail silently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

_running: set[asyncio.Task[Any]] = set()


def spawn(
    work: Coroutine[Any, Any, Any], *, name: str, on_error: Callable[[BaseException], None] | None = None
) -> asyncio.Task[Any]:
    """Start `work`, keep a reference until it ends, and hand an exception to `on_error`.

    Without `on_error` the exception goes to the loop's exception handler, which the service shell logs and counts.
    """
    task = asyncio.create_task(work, name=name)
    _running.add(task)

    def done(finished: asyncio.Task[Any]) -> None:
        _running.discard(finished)
        if finished.cancelled():
            return
        error = finished.exception()
        if error is None:
            return
        if on_error is not None:
            on_error(error)
        else:
            finished.get_loop().call_exception_handler(
                {"message": f"task {name} failed", "exception": error, "task": finished}
            )

    task.add_done_callback(done)
    return task
