"""`StrategyConfig` as a `Strategy`."""

from __future__ import annotations

from services.strategy.config import StrategyHostConfig
from shared.strategy.config import StrategyConfig


class StrategyRunner:
    """Looks at the entry every check interval and says what to open."""

    def __init__(self, config: StrategyConfig, host: StrategyHostConfig) -> None:
        self._config = config
        self._host = host

    @property
    def name(self) -> str:
        return self._config.name
