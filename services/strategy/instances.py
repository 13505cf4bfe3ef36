"""One strategy file that runs several times: the parameters of each instance, checked against its function."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from services.strategy.config import StrategyInstance

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def file_of(name: str, instances: Mapping[str, StrategyInstance]) -> str:
    """The strategy file, without ".py", that runs under this name."""
    instance = instances.get(name)
    return name if instance is None or not instance.file else instance.file


def arguments_of(factory: Callable[..., Any], name: str, instance: StrategyInstance | None) -> dict[str, Any]:
    """What the file's function is called with: the parameters of the instance, each as the type that it declares,
    and the instance's name where it takes a `name`.

    Raises ValueError naming the parameter, what is allowed and the remedy.
    """
    signature = inspect.signature(factory)
    given = {} if instance is None else dict(instance.parameters)
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
    known = [each.name for each in signature.parameters.values() if each.kind in _BY_NAME]
    called = getattr(factory, "__name__", "the function")
    if "name" in given:
        raise ValueError(f"parameter name is the instance's own, {name!r}: take it out of the parameters")
    for key in given:
        if key not in known and not takes_any:
            raise ValueError(f"{called}() has no parameter {key!r}: {_remedy(key, known)}")
    if instance is not None and "name" in known:
        given["name"] = name
    missing = [
        each.name
        for each in signature.parameters.values()
        if each.kind in _BY_NAME and each.default is inspect.Parameter.empty and each.name not in given
    ]
    if missing:
        raise ValueError(
            f"{called}() needs {', '.join(missing)}: give the parameter a default, or set it under "
            f"[strategy.instances.{name}.parameters]"
        )
    types = _types_of(factory)
    return {key: _converted(key, value, types.get(key)) for key, value in given.items()}


def _types_of(factory: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(factory, include_extras=True)
    except Exception:
        # an annotation that cannot be read says nothing about its parameter
        return {}


def _converted(key: str, value: Any, kind: Any) -> Any:
    if kind is None:
        return value
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise ValueError(f"parameter {key} = {value!r}: {error}") from None
    except TypeError:
        # no type of data, but a class of the file's own: the function judges it
        return value


def _remedy(key: str, known: Sequence[str]) -> str:
    if not known:
        return "it takes none; add it to the function, with a default"
    listed = f"it takes {', '.join(each for each in known if each != 'name') or 'none'}"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}? {listed[0].upper()}{listed[1:]}" if close else listed


def text_of(instance: StrategyInstance | None) -> str:
    """The parameters as people read them, "" for none."""
    given = {} if instance is None else instance.parameters
    return ", ".join(f"{key} = {value}" for key, value in given.items())
