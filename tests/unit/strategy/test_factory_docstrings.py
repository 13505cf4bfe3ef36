"""Every public factory says what it is given, in which unit, with an example that runs."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import shared.strategy
from tests.unit.strategy.making import NOON, chain, leg, trade

FACTORIES: dict[str, Callable[..., Any]] = {
    name: member for name in shared.strategy.__all__ if inspect.isfunction(member := getattr(shared.strategy, name))
}
WITH_EXAMPLES = {
    name: member
    for name in shared.strategy.__all__
    if ">>>" in ((member := getattr(shared.strategy, name)).__doc__ or "")
}

UNIT_IN_NAME = re.compile(
    r"(^|_)(pct|usd|hours?|minutes?|seconds|days|ns|points|bars|count|index|(min|max)_ratio)($|_)"
)
"""A parameter so named says its unit itself, or is a number of things."""

UNIT_OF = {"qty": r"qty: (of what is bought, )?in coins", "width": r"width: USD", "ratio": r"ratio: sold for each"}
ANY_UNIT = r"\b(USD|per cent|coins?|UTC|per unit|DTE|delta)\b|\btimes\b|ranges|0 to 1"


def moment() -> dict[str, Any]:
    """What examples take for granted: a chain, and a trade in it."""
    bought = leg("BTCUSD-12MAR26-105000-C", "buy", "0.1", "1000")
    return {"chain": chain(), "now_ns": NOON, "trade": trade(legs=[bought])}


def numbers_of(factory: Callable[..., Any]) -> list[str]:
    """The parameters that take a number or a quantity."""
    return [
        each.name
        for each in inspect.signature(factory).parameters.values()
        if re.search(r"\b(float|int|Decimal|QuantityForm)\b", str(each.annotation))
    ]


@pytest.mark.parametrize("name", FACTORIES)
def test_each_number_that_it_takes_has_its_unit(name: str) -> None:
    words = (inspect.getdoc(FACTORIES[name]) or "").partition(">>>")[0]
    without = [
        parameter
        for parameter in numbers_of(FACTORIES[name])
        if not UNIT_IN_NAME.search(parameter) and not re.search(UNIT_OF.get(parameter, ANY_UNIT), words)
    ]
    assert without == []


@pytest.mark.parametrize("name", FACTORIES)
def test_it_has_an_example(name: str) -> None:
    assert ">>>" in (FACTORIES[name].__doc__ or "")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_its_example_answers_as_shown(name: str) -> None:
    member = WITH_EXAMPLES[name]
    names = {**vars(shared.strategy), **vars(inspect.getmodule(member)), **moment()}
    found = doctest.DocTestFinder(recurse=False).find(member, name, globs=names)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in found:
        runner.run(example, out=said.append)
    assert said == []
    assert runner.tries > 0
