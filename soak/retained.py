"""What an object keeps: the elements of all containers that can be reached from it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from sys import getsizeof
from typing import Any

import msgspec
import numpy as np

_STEP = 16
"""Memory is given out in steps of so many bytes."""

_LEAVES = (str, bytes, int, float, bool, complex, type(None), type, Enum)


def retained(root: Any) -> Counter[str]:
    """Elements kept per place: a path of attribute names, so that all elements of one table count together."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, thing = waiting.pop()
        if isinstance(thing, _LEAVES) or callable(thing) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            found[path] += thing.size
            continue
        if isinstance(thing, Mapping | list | tuple | set | frozenset | deque):
            found[path] += len(thing)
            parts = [*thing.keys(), *thing.values()] if isinstance(thing, Mapping) else list(thing)
            waiting += [(path, part) for part in parts]
        else:
            waiting += [(f"{path}.{name}", part) for name, part in _attributes(thing)]
    return found


def grown(earlier: Counter[str], later: Counter[str], allowed: int = 0) -> dict[str, tuple[int, int]]:
    """Places that keep more than before, with both counts."""
    return {
        place: (earlier[place], count) for place, count in sorted(later.items()) if count > earlier[place] + allowed
    }


def weighed_bytes(roots: Iterable[Any], without: Iterable[Any] = ()) -> int:
    """Bytes of every object that can be reached from `roots` and not from `without`; classes, functions and modules
    are nobody's own."""
    seen = {id(roots)}
    for root in without:
        _weigh(root, seen)
    return sum(_weigh(root, seen) for root in roots)


def _weigh(root: Any, seen: set[int]) -> int:
    total, waiting = 0, [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | Enum) or callable(thing):
            continue
        seen.add(id(thing))
        size = thing.nbytes if isinstance(thing, np.ndarray) else getsizeof(thing)
        total += -(-size // _STEP) * _STEP
        if isinstance(thing, Mapping):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset | deque):
            waiting += list(thing)
        elif not isinstance(thing, _LEAVES):
            waiting += [part for _, part in _attributes(thing)]
    return total


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, msgspec.Struct):
        for name in thing.__struct_fields__:
            yield name, getattr(thing, name)
        return
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                yield name, getattr(thing, name)
