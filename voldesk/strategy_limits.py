"""Limits of strategies: each must be of one that the desk can run, or it would hold nothing."""

from __future__ import annotations

from collections.abc import Sequence

from services.strategy.config import StrategyHostConfig
from services.strategy.loader import folders_of, path_of
from services.strategy.validation import PATIENCE_S, validate
from shared.config import ConfigError, DeskConfig, did_you_mean


def check_limited_strategies(desk: DeskConfig, names: Sequence[str], patience_s: float = PATIENCE_S) -> None:
    """Raises ConfigError for the first of `names`, keys of [risk.strategies], that no strategy bears.

    A strategy is named by its file, which is loaded for that in a process of its own within `patience_s`. One that
    exists and is not enabled may have limits; a file that does not load is for `check_strategy_files` to tell.
    """
    if not names:
        return
    config = desk.section("strategy", StrategyHostConfig)
    folders = folders_of(desk, config)
    idle = [name for name in names if name not in config.enabled and path_of(name, folders, config.instances)]
    files = validate(desk, (*config.enabled, *idle), patience_s)
    broken = {failure.name for failure in files.failures}
    for name in names:
        if name in files.loaded or name in broken:
            continue
        there_are = did_you_mean(name, files.loaded) if files.loaded else "no strategy of this desk loads"
        also = f" ({', '.join(sorted(broken))} cannot be loaded: see `voldesk check-config`)" if broken else ""
        is_file = name in config.enabled or name in idle
        what = "names a file whose strategy has another name" if is_file else "is no strategy of this desk"
        raise ConfigError(
            f"{desk.path}: [risk.strategies.{name}] {what}, so it would limit nothing", f"{there_are}{also}"
        )
