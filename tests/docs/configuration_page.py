"""docs/configuration.md, made from the structs that voldesk.toml is read into.

After a change of one: ``python -m tests.docs.configuration_page > docs/configuration.md``.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from services.exchange.server.config import ExchangeServiceConfig
from services.execution.config import ExecutionConfig
from services.marketdata.config import MarketdataConfig
from services.monitor.config import MonitorConfig
from services.risk.config import RiskConfig
from services.strategy.config import StrategyHostConfig
from shared.config import PORT_NAMES, BusSection, DeskSection, HostSection, JournalSection, LoggingSection

SECTIONS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("desk", DeskSection),
    ("host", HostSection),
    ("bus", BusSection),
    ("logging", LoggingSection),
    ("journal", JournalSection),
    ("marketdata", MarketdataConfig),
    ("risk", RiskConfig),
    ("execution", ExecutionConfig),
    ("strategy", StrategyHostConfig),
    ("monitor", MonitorConfig),
    ("exchange", ExchangeServiceConfig),
)

_INTRODUCTION = """# Configuration

Every key of `voldesk.toml`, made from the structs that the file is read into (`shared/config.py`,
`services/*/config.py`). The file is checked before anything starts: an unknown key, a wrong type or a value outside
its range is one line that names file, section and key and says what is allowed (`voldesk check-config`). A test fails
when this page is out of date; renew it with `python -m tests.docs.configuration_page > docs/configuration.md`.

Decimals (quantities, prices, amounts of money) are written in quotes. A duration says its unit in its name. Secrets
are never in this file: see [.env.example](../.env.example) and [venues/coincall.md](venues/coincall.md).

| environment variable | what it does |
|---|---|
| `VOLDESK_CONFIG` | the file, instead of `voldesk.toml` in the working directory |
| `VOLDESK_RUN_DIR` | the run directory, instead of `[desk] run_dir` |
| `VOLDESK_OVERLAY` | a second file whose keys take the place of the first one's: what is so in containers |
| `VOLDESK_SECRETS_DIR` | where a container is handed `<venue>-<service>.env` |
| `TRADING_ENVIRONMENT` | `sim`, `beta` or `production`: overrides `[desk] venue` |
"""

_GROUP_PORTS = ", and `metrics-strategy-GROUP` for the host of each group of strategies."

_PORTS = """## [ports]

TCP ports, 0 to 65,535; 0, the default of each, is a free port that `voldesk up` draws once and keeps in the run
directory.
"""


class Key(NamedTuple):
    """One key of a section."""

    name: str
    allowed: str
    default: str
    meaning: str


def keys_of(struct: type[msgspec.Struct]) -> Iterator[Key]:
    """The keys of a section without its sub-sections."""
    meanings = _meanings(struct)
    for field in msgspec.structs.fields(struct):
        if _struct_in(field.type) is None:
            yield Key(field.name, _allowed(field.type), _default(field), meanings.get(field.name, ""))


def subsections_of(struct: type[msgspec.Struct]) -> Iterator[tuple[str, type[msgspec.Struct], bool]]:
    """(name, struct, whether it is a list of such) of the sections inside a section; NAME stands for any name."""
    for field in msgspec.structs.fields(struct):
        inner = _struct_in(field.type)
        if inner is not None:
            bare = _bare(field.type)
            by_name = get_origin(bare) is dict
            yield f"{field.name}.NAME" if by_name else field.name, inner, inner is not bare and not by_name


def configuration_page() -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION]
    for name, struct in SECTIONS:
        if name == "marketdata":
            parts += [_PORTS, "Names: " + ", ".join(f"`{port}`" for port in PORT_NAMES) + _GROUP_PORTS, ""]
        parts += _section(name, struct, is_list=False)
    return "\n".join(parts)


def _section(name: str, struct: type[msgspec.Struct], *, is_list: bool) -> list[str]:
    lines = [f"## [[{name}]]" if is_list else f"## [{name}]", ""]
    about = _about(struct)
    if about:
        lines += [about, ""]
    rows = list(keys_of(struct))
    if rows:
        lines += ["| key | allowed | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{key.name}` | {key.allowed} | {key.default} | {key.meaning} |" for key in rows]
        lines.append("")
    for inner_name, inner, inner_is_list in subsections_of(struct):
        lines += _section(f"{name}.{inner_name}", inner, is_list=inner_is_list)
    return lines


def _texts(struct: type[msgspec.Struct]) -> Iterator[tuple[str, list[tuple[int, int, tuple[str, ...]]]]]:
    """Each docstring of the struct and its bases as one line, and where in it keys are explained."""
    known = {field.name for field in msgspec.structs.fields(struct)}
    names = "|".join(sorted(known, key=len, reverse=True))
    entry = re.compile(rf"(?<![\w`])((?:{names})(?:(?:, | and )(?:{names}))*): ")
    for base in struct.__mro__:
        if base is msgspec.Struct or not base.__doc__ or not issubclass(base, msgspec.Struct):
            continue
        text = " ".join(base.__doc__.split())
        found = [
            (match.start(), match.end(), tuple(re.split(r", | and ", match[1]))) for match in entry.finditer(text)
        ]
        yield text, found


def _meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    meanings: dict[str, str] = {}
    for text, found in _texts(struct):
        for number, (_, end, names) in enumerate(found):
            until = found[number + 1][0] if number + 1 < len(found) else len(text)
            for name in names:
                meanings.setdefault(name, text[end:until].strip().rstrip(".;").replace("|", "\\|"))
    return meanings


def _about(struct: type[msgspec.Struct]) -> str:
    """What a docstring says before it explains keys."""
    for text, found in _texts(struct):
        about = re.sub(r"^(The )?\[\w+\]( section)?[:.] ?", "", text[: found[0][0]] if found else text).strip()
        return about[:1].upper() + about[1:]
    return ""


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a field is, or is a list or a table of."""
    bare = _bare(kind)
    if get_origin(bare) is dict:
        bare = _bare(get_args(bare)[1])
    if get_origin(bare) is tuple:
        bare = _bare(get_args(bare)[0])
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return bare
    return None


_TYPES: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "`true` or `false`",
    Decimal: "decimal in quotes",
    Any: "anything",
}


def _allowed(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        bounds = " ".join(_bounds(meta) for meta in metas if isinstance(meta, Meta)).strip()
        return f"{_allowed(inner)} {bounds}".strip()
    if get_origin(kind) is Literal:
        return ", ".join(_shown(value) for value in get_args(kind))
    if get_origin(kind) is tuple:
        arguments = get_args(kind)
        if arguments[-1] is Ellipsis:
            return f"list of {_allowed(arguments[0])}"
        return f"[{', '.join(_allowed(argument) for argument in arguments)}]"
    if get_origin(kind) is dict:
        return f"table of {_allowed(get_args(kind)[1])}"
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_allowed(option) for option in get_args(kind) if option is not type(None))
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return ", ".join(f"`{member.value}` ({member.name.lower().replace('_', ' ')})" for member in kind)
    return _TYPES[kind]


def _bounds(meta: Meta) -> str:
    low = _number(meta.ge if meta.ge is not None else meta.gt)
    high = _number(meta.le if meta.le is not None else meta.lt)
    parts = []
    if low is not None and high is not None:
        from_, to = ("above " if meta.ge is None else ""), ("below " if meta.le is None else "")
        parts.append(f"{from_}{low} to {to}{high}")
    elif low is not None:
        parts.append(f"from {low}" if meta.ge is not None else f"above {low}")
    elif high is not None:
        parts.append(f"to {high}" if meta.le is not None else f"below {high}")
    if meta.pattern is not None:
        parts.append(f"`{meta.pattern}`".replace("|", "\\|"))
    if meta.min_length:
        parts.append("not empty")
    return " ".join(parts)


def _number(value: float | None) -> str | None:
    """Integral floats as integers: of two equal bounds, 0 and 0.0, typing keeps the one that it met first."""
    return None if value is None else f"{int(value) if value == int(value) else value:,}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(_shown(item).strip("`") for item in value) + "]`"
    if isinstance(value, int | float):
        return f"`{value:d}`" if isinstance(value, int) else f"`{value}`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{name} = {_shown(item).strip('`')}" for name, item in value.items()) + "}`"
    return f'`"{value}"`'


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be given"
    if field.default_factory is not msgspec.NODEFAULT:
        return _shown(field.default_factory())
    return _shown(field.default)


if __name__ == "__main__":
    sys.stdout.write(configuration_page())
