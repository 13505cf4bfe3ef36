"""Plain functions of a strategy file as conditions: checked when it is read, named in what travels, and asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from shared.messages.conditions import AllOf, AnyOf, Condition, ForAtLeast, HostFunction, Not
from shared.messages.trades import TradeUpdate
from shared.strategy.views import EntryView, ExitView, Verdict

Answer = bool | Verdict | tuple[bool, str]
"""Of a plain function: yes or no, with its reason or without."""

EntryFunction = Callable[[EntryView, int], Answer]
ExitFunction = Callable[[ExitView, int], Answer]


def as_data(item: Any) -> Any:
    """A condition with each plain function in it by its name."""
    match item:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return type(item)(conditions=tuple(map(as_data, parts)))
        case Not(condition=part):
            return Not(condition=as_data(part))
        case ForAtLeast(condition=part, seconds=seconds):
            return ForAtLeast(condition=as_data(part), seconds=seconds)
        case Condition():
            return item
    return HostFunction(name=_name_of(item))


def parts_of(given: Iterable[Any]) -> Iterator[Any]:
    """The conditions and functions of these, those within combinators in place of the combinators."""
    for item in given:
        match item:
            case AllOf(conditions=parts) | AnyOf(conditions=parts):
                yield from parts_of(parts)
            case Not(condition=part) | ForAtLeast(condition=part):
                yield from parts_of((part,))
            case _:
                yield item


def entry_functions_of(given: Iterable[Any]) -> dict[str, EntryFunction]:
    """The functions among these conditions, by name, each as the host asks it."""
    return {_name_of(item): _of_views(item, trade_of=lambda view: None) for item in _functions(given)}


def exit_functions_of(given: Iterable[Any]) -> dict[str, ExitFunction]:
    """The same of exits and rolls: a function of the account is given the trade too."""
    return {_name_of(item): _of_views(item, trade_of=lambda view: view.trade) for item in _functions(given)}


def check_conditions(field: str, given: Sequence[object], allowed: tuple[type, ...]) -> None:
    """Raises ValueError, beginning with `field`, for what is no condition of these kinds and no function that can be
    asked as one."""
    named: dict[str, object] = {}
    for item in parts_of(given):
        if isinstance(item, HostFunction) or not (isinstance(item, allowed) or callable(item)):
            factories = "entry" if field == "entry_conditions" else "exit"
            raise ValueError(f"{field}: {item!r} must be made by one of the {factories} condition factories")
        if not isinstance(item, Condition):
            # a condition knows its function by name alone: of two with one name the other would answer
            if named.setdefault(_name_of(item), item) is not item:
                raise ValueError(f"{field}: two functions are named {_name_of(item)!r}; give each its own name")
            check_signature(field, item)


def check_signature(field: str, function: Any) -> None:
    """Raises ValueError with the file and line of a function that cannot be called with (view, now_ns)."""
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"{field}: {_name_of(function)} is async and would always count as yes: make it a plain def")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # built in, without a signature to look at
    if list(signature.parameters)[:1] == ["account"] and len(signature.parameters) == 1:
        return
    try:
        signature.bind(None, 0)
    except TypeError as error:
        code = getattr(function, "__code__", getattr(type(function).__call__, "__code__", None))
        place = "" if code is None else f" at {code.co_filename}:{code.co_firstlineno}"
        view = "ExitView" if field in ("exit_conditions", "roll: when") else "EntryView"
        raise ValueError(
            f"{field}: {_name_of(function)}{place} must take two arguments, the {view} and now_ns, "
            f"or account and trade: {error}"
        ) from None


def check_callback(function: Any) -> None:
    """Raises ValueError where `on_trade_closed` cannot be called with the trade: else its first close would tell."""
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"on_trade_closed: {_name_of(function)} is async and would never run: make it a plain def")
    if not callable(function):
        raise ValueError(f"on_trade_closed {function!r} must be a function of the trade")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise ValueError(
            f"on_trade_closed: {_name_of(function)} must take one argument, the trade: {error}"
        ) from None
    except ValueError:
        return  # built in, without a signature to look at


def _functions(given: Iterable[Any]) -> list[Any]:
    return [item for item in parts_of(given) if not isinstance(item, Condition)]


def _of_views(function: Any, trade_of: Callable[[Any], TradeUpdate | None]) -> Callable[[Any, int], Answer]:
    """A function as a condition is asked; one whose first argument is the account gets the account and the trade."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    if names[:1] != ["account"]:
        return cast(Callable[[Any, int], Answer], function)

    def ask(view: EntryView | ExitView, now_ns: int) -> Answer:
        account = view.fresh_account(now_ns)
        if isinstance(account, str):
            return Verdict.wait(account)
        given = (account,) if len(names) == 1 else (account, trade_of(view))
        return cast(Answer, function(*given))

    return ask


def _name_of(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
