"""Runs a core inside a service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from shared.runner import Core, Journal
from shared.service.context import ServiceContext

CoreT = TypeVar("CoreT", bound=Core)


class CoreHost(Generic[CoreT]):
    def __init__(
        self,
        context: ServiceContext,
        make_core: Callable[[], CoreT],
        journal: Journal,
        perform: Callable[[Any, str], None],
    ) -> None:
        raise NotImplementedError

    @property
    def core(self) -> CoreT:
        raise NotImplementedError

    def put(self, item: Any) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        raise NotImplementedError
