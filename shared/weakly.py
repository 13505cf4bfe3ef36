"""Callbacks that keep nothing alive. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakMethod

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")


def weakly(method: Callable[ArgumentsT, ResultT]) -> Callable[ArgumentsT, ResultT]:
    """A bound method for the parts of its object to call: they hold it no longer than its owner does, so that the two
    are in no cycle and are freed at once. To call it after that is a mistake, and an AssertionError."""
    found: WeakMethod[Any] = WeakMethod(method)

    def call(*args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs) -> ResultT:
        alive = found()
        assert alive is not None, "its owner is gone"
        result: ResultT = alive(*args, **kwargs)
        return result

    return call
