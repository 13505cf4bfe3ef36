"""Start, stop and supervise one service process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

from shared.service.context import ServiceContext


class Shell(Protocol):
    """A service's own part. `run` goes on until it is cancelled."""

    ready: bool
    detail: str

    async def start(self) -> None: ...

    async def run(self) -> None: ...

    async def stop(self) -> None: ...


def run_service(name: str, make_shell: Callable[[ServiceContext], Shell]) -> NoReturn:
    raise NotImplementedError
