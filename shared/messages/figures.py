"""Decimals that arrive from outside: msgpack and JSON readers take any exponent, and one figure of "1e999999999" is
gigabytes as soon as somebody writes it out. What no price or quantity can be is refused where it arrives. Pure."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from operator import attrgetter
from typing import Any, Union, get_args, get_origin

import msgspec

MAGNITUDE_MAX = 30
"""Largest power of ten of a figure."""

DIGITS_MAX = 80
"""Most characters of a figure in its shortest notation."""

Check = Callable[[Any, str], None]

_USUAL_MIN, _USUAL_MAX = Decimal("0.01"), Decimal("1e20")
_bytes_of = Decimal.__sizeof__
_USUAL_BYTES = _bytes_of(Decimal(1))
"""What a decimal takes whose digits need no memory of their own: at most 76, with which it has no more than 79
characters at the usual sizes."""


def check_decimal(value: Decimal, where: str) -> None:
    """Raises ValueError naming `where` for a decimal that is not finite, too large, too small or too long."""
    if not value.is_finite():
        raise ValueError(f"{where} is not a finite number")
    if not -DIGITS_MAX < value.adjusted() <= MAGNITUDE_MAX or len(str(value)) > DIGITS_MAX:
        raise ValueError(f"{where} is larger, smaller or longer than any price or quantity")


def check_of(kind: Any) -> Check | None:
    """What checks every decimal inside a value of this type, None for a type that holds none.

    Built once per type from its annotations: a message without decimals costs nothing.
    """
    if kind is Decimal:
        return check_decimal
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _of_struct(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _of_union(arguments)
    if origin is tuple and arguments[1:] == (...,):
        return _of_items(check_of(arguments[0]), iter)
    if origin is dict:
        assert check_of(arguments[0]) is None, f"{kind} has decimals as keys"
        return _of_items(check_of(arguments[1]), lambda mapping: iter(mapping.values()))
    assert not any(map(check_of, arguments)), f"decimals inside {kind} would not be checked"
    return None


def _holds_figures(kind: Any, seen: set[Any]) -> bool:
    """Whether a value of this type can hold a decimal at any depth. `seen`: types that were looked at."""
    if kind is Decimal:
        return True
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in seen:
            return False
        seen.add(kind)
        return any(_holds_figures(held, seen) for _, held in _fields(kind))
    return any(_holds_figures(argument, seen) for argument in get_args(kind))


def figures_of(kind: type[msgspec.Struct]) -> Callable[[Any], tuple[Decimal | None, ...]] | None:
    """What reads all decimals of a value at once, to ask `all_usual` about them; None for a type that has none, or
    has some deeper inside."""
    figures, others = _parts(kind)
    return None if others else _values_of([name for name, _ in figures])


def _parts(kind: type[msgspec.Struct]) -> tuple[tuple[tuple[str, Check], ...], tuple[tuple[str, Check], ...]]:
    """The fields that are decimals, and those that have some inside."""
    found = [(name, check_of(held)) for name, held in _fields(kind)]
    checks = [(name, check) for name, check in found if check is not None]
    plain = (check_decimal, _check_optional)
    return (
        tuple((name, check) for name, check in checks if check in plain),
        tuple((name, check) for name, check in checks if check not in plain),
    )


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Name and type of each field. Reading annotations is what takes long, and most types are parts of several."""
    return tuple((field.name, field.type) for field in msgspec.structs.fields(kind))


@cache
def _of_struct(kind: type[msgspec.Struct]) -> Check | None:
    # what holds none may hold itself, as a condition made of conditions does
    if not _holds_figures(kind, set()):
        return None
    figures, others = _parts(kind)
    values_of = _values_of([name for name, _ in figures])

    def check_fields(value: Any, where: str) -> None:
        todo = (*figures, *others)
        # one look at all plain figures: most messages are nothing but those, and every message passes here
        if values_of is not None and all_usual(values_of(value)):
            todo = others
        for name, check in todo:
            check(getattr(value, name), f"{where}.{name}" if where else name)

    return check_fields


def _values_of(names: Sequence[str]) -> Callable[[Any], tuple[Decimal | None, ...]] | None:
    """What reads all these fields of a value at once; None for no names."""
    if len(names) == 1:
        (name,) = names
        return lambda value: (getattr(value, name),)
    return attrgetter(*names) if names else None


def _check_optional(value: Decimal | None, where: str) -> None:
    if value is not None:
        check_decimal(value, where)


def all_usual(figures: tuple[Decimal | None, ...]) -> bool:
    """Whether all are missing, a zero (of no endless exponent), or positive and of usual size and length; False for
    what needs a closer look."""
    try:
        for figure in figures:
            if figure is None:
                continue
            if not _USUAL_MIN <= figure <= _USUAL_MAX and (figure or not -DIGITS_MAX < figure.adjusted() <= 0):
                return False
            if _bytes_of(figure) > _USUAL_BYTES:
                return False
    except InvalidOperation:
        return False
    return True


def _of_union(kinds: tuple[Any, ...]) -> Check | None:
    by_type = {kind: check for kind in kinds if isinstance(kind, type) and (check := check_of(kind)) is not None}
    nested = [kind for kind in kinds if not isinstance(kind, type) and check_of(kind) is not None]
    assert not nested, f"decimals inside {nested} would not be checked"
    if not by_type:
        return None
    if set(kinds) == {Decimal, types.NoneType}:
        return _check_optional

    def check_member(value: Any, where: str) -> None:
        check = by_type.get(type(value))
        if check is not None:
            check(value, where)

    return check_member


def _of_items(check: Check | None, items: Callable[[Any], Any]) -> Check | None:
    if check is None:
        return None

    def check_items(values: Any, where: str) -> None:
        for value in items(values):
            check(value, where)

    return check_items
