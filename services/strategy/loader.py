"""Loads strategy files. A broken one is reported with file and line and does not stop the others."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import msgspec

from services.strategy.config import StrategyHostConfig, StrategyInstance
from services.strategy.instances import arguments_of, file_of, text_of
from services.strategy.loaded import LoadedStrategy, LoadFailure, hedged_twice
from services.strategy.opening_limits import opening_problem
from services.strategy.slot import where
from shared.config import DeskConfig
from shared.ids import hedge_name
from shared.messages.conditions import Condition
from shared.messages.grants import GRANT_TTL_MAX_MS, GRANT_TTL_MS
from shared.messages.system import Mode
from shared.messages.trades import ExecutionParams
from shared.strategy.config import StrategyConfig
from shared.strategy.market_reads import needs_of
from shared.strategy.profiles import ExecutionProfile

STRATEGIES_FOLDER = Path(__file__).resolve().parents[2] / "strategies"
_PROTOCOL = ("on_market", "on_order", "on_trade", "on_timer", "on_outcome", "gates", "next_deadline_ns")


class _Unusable(Exception):
    """The file was read and does not give a strategy; the text says what to change."""


def profiles_of(desk: DeskConfig) -> dict[str, ExecutionParams]:
    """The execution profiles of the configuration by name. Raises ConfigError naming section and key."""
    sections = desk.table("execution.profiles", ExecutionProfile)
    return {name: profile.params(name) for name, profile in sections.items()}


def folders_of(desk: DeskConfig, config: StrategyHostConfig) -> list[Path]:
    """Where strategy files are looked for after the desk's own."""
    return [desk.path.parent / name for name in config.folders]


def load_enabled(
    desk: DeskConfig, only: Sequence[str] | None = None
) -> tuple[list[LoadedStrategy], list[LoadFailure]]:
    """Every strategy that the configuration enables, or `only` these of them.

    Raises ConfigError where the configuration cannot be read.
    """
    config = desk.section("strategy", StrategyHostConfig)
    loaded, failures = load_strategies(
        config.enabled if only is None else only,
        folders_of(desk, config),
        mode=desk.mode,
        profiles=profiles_of(desk),
        instances=config.instances,
        underlyings=desk.underlyings,
        granted_s=_granted_s(desk, config),
    )
    hosts = desk.strategy_hosts
    strange = [each for each in loaded if hosts.of(each.name) != hosts.of(each.enabled_as)]
    reason = "the name {!r} is taken by a strategy of the host {}: give each strategy its own name"
    failures += [
        LoadFailure(name=each.enabled_as, source=each.source, reason=reason.format(each.name, hosts.of(each.name)))
        for each in strange
    ]
    return [each for each in loaded if each not in strange], failures


def _granted_s(desk: DeskConfig, config: StrategyHostConfig) -> float:
    """How long risk's grant lasts at most once execution has it. Raises ConfigError."""
    longest_ms = max(
        desk.value("risk.grant_ttl_ms", int, GRANT_TTL_MS), desk.value("risk.grant_ttl_max_ms", int, GRANT_TTL_MAX_MS)
    )
    return (longest_ms - config.intent_valid_ms) / 1_000


def load_strategies(
    enabled: Sequence[str],
    folders: Sequence[Path] = (),
    *,
    mode: Mode = "paper",
    profiles: Mapping[str, ExecutionParams] = {},
    instances: Mapping[str, StrategyInstance] = {},
    underlyings: Sequence[str] = (),
    granted_s: float = math.inf,
) -> tuple[list[LoadedStrategy], list[LoadFailure]]:
    """Load each file of `enabled` from the first folder that has it: the desk's strategies/, then `folders`.

    `<name>.py` defines a function `<name>()` that returns a StrategyConfig, or a fresh object with the methods of
    `shared.strategy.protocol.Strategy`. One that is `paper_only` is not loaded in any other mode, and one that names
    an execution profile not among `profiles` is not loaded at all. A name among `instances` is its file's function
    called with its parameters, under its own name. One that selects legs on a chain that is not among `underlyings`
    (none given: any) is not loaded: it would wait for ever. Nor is one whose atomic opening may take longer than
    `granted_s`.
    """
    loaded: dict[str, LoadedStrategy] = {}
    failures: list[LoadFailure] = []
    for name in enabled:
        path = path_of(name, folders, instances)
        if path is None:
            searched = ", ".join(str(folder) for folder in (STRATEGIES_FOLDER, *folders))
            file = f"{file_of(name, instances)}.py"
            remedy = "add it, or take the name out of [strategy] enabled"
            failures.append(LoadFailure(name=name, source="", reason=f"no file {file} in {searched}", remedy=remedy))
            continue
        try:
            strategy = _load(name, path, mode, profiles, instances.get(name), underlyings, granted_s)
            strategy = msgspec.structs.replace(strategy, enabled_as=name)
            if strategy.name in loaded:
                first = loaded[strategy.name].source
                raise _Unusable(f"the name {strategy.name!r} is taken by {first}: give each strategy its own name")
            if twice := hedged_twice(strategy, loaded.values()):
                raise _Unusable(twice)
            loaded[strategy.name] = strategy
        except (Exception, SystemExit) as error:
            failures.append(LoadFailure(name=name, source=str(path), reason=_reason(error, path)))
    return list(loaded.values()), failures


def path_of(name: str, folders: Sequence[Path], instances: Mapping[str, StrategyInstance]) -> Path | None:
    """The file of an enabled name: of the first folder that has it."""
    file = f"{file_of(name, instances)}.py"
    return next((folder / file for folder in (STRATEGIES_FOLDER, *folders) if (folder / file).is_file()), None)


def _load(
    name: str,
    path: Path,
    mode: Mode,
    profiles: Mapping[str, ExecutionParams],
    instance: StrategyInstance | None,
    underlyings: Sequence[str],
    granted_s: float,
) -> LoadedStrategy:
    factory = getattr(_import(name, path), path.stem, None)
    if not callable(factory):
        raise _Unusable(f"{path} defines no function {path.stem}() that returns a StrategyConfig")
    line = getattr(getattr(factory, "__code__", None), "co_firstlineno", 1)
    try:
        arguments = arguments_of(factory, name, instance)
    except ValueError as error:
        raise _Unusable(f"{path}:{line}: {error}") from None
    result = factory(**arguments)
    if isinstance(result, StrategyConfig):
        if instance is not None:
            result = msgspec.structs.replace(result, name=name)
        if result.paper_only and mode != "paper":
            raise _Unusable(
                f"{result.name} is for paper trading only and this desk is {mode}: take {name!r} out of "
                "[strategy] enabled, or set paper_only=False in its file"
            )
        if underlyings and (strange := [each for each in result.underlyings if each not in underlyings]):
            raise _Unusable(
                f"{path}:{line}: {result.name} trades {', '.join(strange)}, and this desk {', '.join(underlyings)}: "
                "add it to [desk] underlyings, or give the strategy another one"
            )
        try:
            loaded = LoadedStrategy.from_config(result, str(path), profiles)
            if problem := opening_problem(result, result.limit_params(profiles), granted_s):
                raise ValueError(problem)
            return msgspec.structs.replace(loaded, parameters=text_of(instance))
        except ValueError as error:
            raise _Unusable(f"{path}: {error}") from None
    missing = [method for method in _PROTOCOL if not callable(getattr(result, method, None))]
    if missing or not isinstance(getattr(result, "name", None), str):
        raise _Unusable(
            f"{path}:{line}: {path.stem}() returned {type(result).__name__}; it must return a StrategyConfig, "
            f"or an object with a name and the methods {', '.join(_PROTOCOL)}"
        )
    if instance is not None and result.name != name:
        raise _Unusable(
            f"{path}:{line}: {path.stem}() is named {result.name!r} whatever it is called with: let it take a "
            f"`name`, so that it can run as {name!r}"
        )
    judged = getattr(result, "market_conditions", ())
    if not (isinstance(judged, list | tuple) and all(isinstance(each, Condition) for each in judged)):
        raise _Unusable(
            f"{path}:{line}: market_conditions {judged!r} of {result.name} must be a list of conditions, such as "
            "supertrend(10, 3)"
        )
    hedges_account = getattr(result, "hedges_account", False)
    return LoadedStrategy(
        name=result.name,
        make=lambda _config: factory(**arguments),
        source=str(path),
        parameters=text_of(instance),
        trades_as=hedge_name(result.name) if hedges_account else "",
        hedged_underlying=str(getattr(result, "underlying", "")) if hedges_account else "",
        needs=needs_of(judged),
    )


def _import(name: str, path: Path) -> ModuleType:
    module_name = f"voldesk_strategy_{name}"
    loader = SourceFileLoader(module_name, str(path))
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None, f"{path} ends in .py"
    module = importlib.util.module_from_spec(spec)
    # compiled from its text: what is cached is found by a time in seconds, and a file may change twice in one
    code = loader.source_to_code(path.read_bytes(), str(path))
    sys.modules[module_name] = module
    exec(code, module.__dict__)
    return module


def _reason(error: BaseException, path: Path) -> str:
    """What is wrong and where: file and line inside the strategy file where there is one."""
    if isinstance(error, _Unusable):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} at {error.filename or path}:{error.lineno or 1}"
    if isinstance(error, OSError) and error.filename == str(path):
        return f"{path} cannot be read: {error.strerror}"
    return f"{type(error).__name__}: {error} at {where(error, str(path))}"
