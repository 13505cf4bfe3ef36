"""What a service is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from shared.bus import Bus
from shared.clock import Clock
from shared.config import DeskConfig
from shared.metrics import Metrics
from shared.runner import Journal
from shared.secrets import ApiKey

SectionT = TypeVar("SectionT")


class ServiceContext:
    name: str
    desk: DeskConfig
    run_dir: Path
    clock: Clock
    log: Any
    bus: Bus
    epoch: int
    metrics: Metrics

    def section(self, kind: type[SectionT]) -> SectionT:
        raise NotImplementedError

    def api_key(self) -> ApiKey:
        raise NotImplementedError

    def journal(self, row_types: Any) -> Journal:
        raise NotImplementedError

    def grant_key(self) -> bytes:
        raise NotImplementedError

    def port(self, name: str) -> int:
        raise NotImplementedError
