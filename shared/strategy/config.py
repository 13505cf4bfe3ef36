"""A strategy as data."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, cast, get_args

import msgspec

from shared.messages.conditions import (
    AllOf,
    AnyOf,
    Condition,
    EntryCondition,
    ExitCondition,
    ForAtLeast,
    HostFunction,
    Not,
)
from shared.messages.rfq import RequestSides, RfqFallback, RfqParams
from shared.messages.smart import QuotingStrategy, SmartParams
from shared.messages.trades import ExecutionMode, IfBroken, LimitPhase, Policy, TradeUpdate
from shared.messages.trades import ExecutionParams as LimitParams
from shared.strategy.actions import ScheduledAction
from shared.strategy.hedge import DeltaHedge
from shared.strategy.legs import AnyLeg, LegSpec, LinearLeg, SpotLeg, index_name
from shared.strategy.premium import refuse_missing_premium
from shared.strategy.profiles import changed, params_problem
from shared.strategy.rolling import Roll
from shared.strategy.schedule import Schedule
from shared.strategy.views import EntryView, ExitView, Verdict

Answer = bool | Verdict | tuple[bool, str]
"""Of a plain function: yes or no, with its reason or without."""

EntryFunction = Callable[[EntryView, int], Answer]
ExitFunction = Callable[[ExitView, int], Answer]
LegsFactory = Callable[[EntryView, int], Sequence[AnyLeg] | str]

STRATEGY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


class ExecutionParams(msgspec.Struct, frozen=True, kw_only=True):
    """The short form of the limit plan: aggressive pricing only.

    fill_timeout_seconds: how long one order rests before it is requoted. aggressive_buffer_pct: how far past mid.
    max_requote_rounds: how many orders are sent for a leg at most.
    """

    fill_timeout_seconds: float = 30.0
    aggressive_buffer_pct: float = 2.0
    max_requote_rounds: int = 10

    def __post_init__(self) -> None:
        if not self.fill_timeout_seconds > 0:
            raise ValueError(f"fill_timeout_seconds {self.fill_timeout_seconds} must be above 0")
        if not 0 <= self.aggressive_buffer_pct <= 100:
            raise ValueError(f"aggressive_buffer_pct {self.aggressive_buffer_pct} must lie within 0 to 100")
        if self.max_requote_rounds < 1:
            raise ValueError(f"max_requote_rounds {self.max_requote_rounds} must be 1 or more")

    def limit_params(self) -> LimitParams:
        """The same in the words of the bus."""
        phase = LimitPhase(
            pricing="aggressive",
            duration_s=self.fill_timeout_seconds,
            reprice_interval_s=self.fill_timeout_seconds,
            buffer_pct=self.aggressive_buffer_pct,
        )
        return LimitParams(
            phases=(phase,), fill_timeout_s=self.fill_timeout_seconds, max_requote_rounds=self.max_requote_rounds
        )


class SmartConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of the smart plan (execution_mode "smart"): see `shared.messages.smart.SmartParams`.

    Times in seconds. quoting_strategy: "mid", "top_of_book", "top_of_book_offset_pct" (with spread_pct) or "mark".
    reprice_price_threshold: in USD per unit. total_duration_seconds: chunks evenly spaced over this time (TWAP).
    Raises ValueError naming the field and what is allowed.
    """

    chunk_count: int = 2
    time_per_chunk: float = 20.0
    quoting_strategy: QuotingStrategy = "mid"
    spread_pct: float = 0.5
    reprice_interval: float = 10.0
    reprice_price_threshold: float = 0.1
    min_order_qty: float = 0.01
    aggressive_attempts: int = 10
    aggressive_wait_seconds: float = 5.0
    aggressive_retry_pause: float = 1.0
    total_duration_seconds: float = 0.0

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if field == "quoting_strategy":
                if value not in get_args(QuotingStrategy):
                    raise ValueError(f"{field} {value!r} must be one of {', '.join(get_args(QuotingStrategy))}")
            elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                raise ValueError(f"{field} {value!r} must be a number")
        for field in ("chunk_count", "aggressive_attempts"):
            if not isinstance(getattr(self, field), int):
                raise ValueError(f"{field} {getattr(self, field)!r} must be a whole number")
        problem = self.smart_params().problem(_SMART_NAMES)
        if problem:
            raise ValueError(problem)

    def smart_params(self) -> SmartParams:
        """The same in the words of the bus."""
        own_names = {field: _SMART_NAMES.get(field, field) for field in SmartParams.__struct_fields__}
        fields = {field: getattr(self, name) for field, name in own_names.items()}
        return SmartParams(**fields | {"min_order_qty": Decimal(str(self.min_order_qty))})


_SMART_NAMES: dict[str, str] = {
    "time_per_chunk_s": "time_per_chunk",
    "reprice_interval_s": "reprice_interval",
    "aggressive_wait_s": "aggressive_wait_seconds",
    "aggressive_retry_pause_s": "aggressive_retry_pause",
    "total_duration_s": "total_duration_seconds",
}
"""What a strategy file calls the parameters whose names on the bus carry the unit."""


class RfqConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a request for quote (execution_mode "rfq"): see `shared.messages.rfq.RfqParams`.

    fallback_mode: what works the trade when no quote is taken; None fails the opening. Raises ValueError naming the
    field and what is allowed.
    """

    min_notional_usd: float = 50_000.0
    window_seconds: float = 5.0
    timeout_seconds: float = 15.0
    min_improvement_usd: float = 0.0
    min_improvement_pct: float = 0.0
    max_over_mark_pct: float = 10.0
    fallback_mode: RfqFallback | None = "limit"
    request_sides: RequestSides = "own"
    closes: bool = True

    def __post_init__(self) -> None:
        for field, allowed in (
            ("fallback_mode", (*get_args(RfqFallback), None)),
            ("request_sides", get_args(RequestSides)),
            ("closes", (True, False)),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} {getattr(self, field)!r} must be one of {', '.join(map(repr, allowed))}")
        for field in self.__struct_fields__[:6]:
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{field} {value!r} must be a number")
        problem = self.rfq_params().problem(_RFQ_NAMES)
        if problem:
            raise ValueError(problem)

    def rfq_params(self) -> RfqParams:
        """The same in the words of the bus."""
        names = {field: _RFQ_NAMES.get(field, field) for field in RfqParams.__struct_fields__}
        return RfqParams(**{field: getattr(self, name) for field, name in names.items()})


_RFQ_NAMES: dict[str, str] = {
    "window_s": "window_seconds",
    "timeout_s": "timeout_seconds",
    "fallback": "fallback_mode",
}


class StrategyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to trade, when to enter, when to leave, and how often.

    legs: what to trade; all resolved against one moment of the market.
    legs_factory: instead of legs, a function of (EntryView, now_ns) asked at each look: it returns the legs, or a
    text that says why there are none now; the chains of `legs_underlyings` are young when it is asked.
    entry_conditions: all must hold. exit_conditions: any one closes. A plain function is a condition too: it takes
    (EntryView or ExitView, now_ns), or (account, trade) as AccountSnapshot and TradeUpdate (None at the entry), and
    returns True or False, (bool, reason) or a Verdict; only this host can answer it.
    execution_mode: "auto", "limit", "rfq" or "smart".
    execution_profile: the name of a section [execution.profiles.NAME] of voldesk.toml, for the limit plan.
    execution_params: of the limit plan, instead of a profile, or a mapping of single fields that changes the profile
    (without one the defaults); metadata {"execution_params": ...} is taken when it is not given.
    smart_config: of the smart plan, in which "auto" trades several legs too. rfq: of requests for quote.
    policy: "atomic" unwinds an opening that cannot complete, "best_effort" keeps what was filled.
    max_trades_per_day: trades that had a fill or still may, per trading day; 0 = unlimited.
    cooldown_seconds: the pause after a trade has ended. check_interval_seconds: between two looks at the entry.
    entry_schedule: nothing is opened but from each firing on, for schedule_window_seconds, until a trade is made.
    exit_schedule: the same of the exits that the host looks at; those that execution enforces go on.
    actions: what is done by a schedule, made by close_on, pause_on, resume_on and call_on.
    roll: when and into what a trade is rolled: closed, and its successor opened, within a net price.
    on_trade_closed: called once with the final TradeUpdate of each trade, over restarts of the host.
    if_host_silent, host_silent_after_seconds: what execution does with open trades when no host is heard that long.
    if_broken: what it does with the rest of a trade that lost a leg from outside: "hold" or "close"; None for the
    desk's [execution] if_broken.
    delta_hedge: keep the delta of each open trade near a target with the perpetual of its underlying, on a desk with
    [desk] futures = true; exits are judged on the trade with its hedge. None: not hedged.
    dry_run: send nothing, keep the trades that would have been made. paper_only: refused by a desk with real keys.
    Raises ValueError naming the field and what is allowed.
    """

    name: str
    legs: Sequence[AnyLeg] = ()
    entry_conditions: Sequence[EntryCondition | EntryFunction] = ()
    exit_conditions: Sequence[ExitCondition | ExitFunction] = ()
    execution_mode: ExecutionMode = "auto"
    execution_profile: str | None = None
    execution_params: ExecutionParams | LimitParams | Mapping[str, Any] | None = None
    smart_config: SmartConfig | None = None
    rfq: RfqConfig | None = None
    policy: Policy = "atomic"
    legs_factory: LegsFactory | None = None
    legs_underlyings: Sequence[str] = ("BTC",)
    max_concurrent_trades: int = 1
    max_trades_per_day: int = 0
    cooldown_seconds: float = 0.0
    check_interval_seconds: float = 10.0
    entry_schedule: Schedule | None = None
    exit_schedule: Schedule | None = None
    schedule_window_seconds: float = 60.0
    actions: Sequence[ScheduledAction] = ()
    roll: Roll | None = None
    on_trade_closed: Callable[[TradeUpdate], None] | None = None
    if_host_silent: Literal["hold", "close"] = "hold"
    host_silent_after_seconds: float = 60.0
    if_broken: IfBroken | None = None
    delta_hedge: DeltaHedge | None = None
    dry_run: bool = False
    paper_only: bool = False
    metadata: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        if not STRATEGY_NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} must be letters, digits and '_', begin with a letter, 64 at most")
        for field in ("legs", "entry_conditions", "exit_conditions", "actions"):
            given = getattr(self, field)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ValueError(f"{field} {given!r} must be a list: put it in [ ]")
            msgspec.structs.force_setattr(self, field, tuple(given))
        self._check_numbers()
        self._check_choices()
        self._check_conditions("entry_conditions", self.entry_conditions, get_args(EntryCondition))
        if not isinstance(self.roll, Roll | None):
            raise ValueError(f"roll {self.roll!r} must be a Roll")
        when = () if self.roll is None else self.roll.when
        self._check_conditions("exit_conditions", self.exit_conditions, get_args(ExitCondition))
        self._check_conditions("roll: when", when, get_args(ExitCondition))
        self._check_legs()
        refuse_missing_premium(self.legs, parts_of(self.exit_conditions))
        if self.delta_hedge is not None and len(self.underlyings) > 1:
            raise ValueError("delta_hedge: all legs must be of one underlying, whose perpetual hedges them")
        self._check_schedules()

    def _check_numbers(self) -> None:
        for field, least in (
            ("max_concurrent_trades", 1),
            ("max_trades_per_day", 0),
            ("cooldown_seconds", 0),
            ("check_interval_seconds", 0.1),
            ("host_silent_after_seconds", 3),
            ("schedule_window_seconds", 1),
        ):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
                raise ValueError(f"{field} {value!r} must be a number, {least} or more")

    def _check_choices(self) -> None:
        for field, allowed in (
            # "quoting" is for strategies that are code: somebody must work the orders
            ("execution_mode", [mode for mode in get_args(ExecutionMode) if mode != "quoting"]),
            ("policy", get_args(Policy)),
            ("if_host_silent", ("hold", "close")),
            ("if_broken", get_args(IfBroken)),
        ):
            if getattr(self, field) not in allowed and (field, getattr(self, field)) != ("if_broken", None):
                raise ValueError(f"{field} {getattr(self, field)!r} must be one of {', '.join(allowed)}")
        self._check_params()
        if self.smart_config is not None and not isinstance(self.smart_config, SmartConfig):
            raise ValueError(f"smart_config {self.smart_config!r} must be a SmartConfig")
        if self.rfq is not None and not isinstance(self.rfq, RfqConfig):
            raise ValueError(f"rfq {self.rfq!r} must be a RfqConfig")
        if self.delta_hedge is not None and not isinstance(self.delta_hedge, DeltaHedge):
            raise ValueError(f"delta_hedge {self.delta_hedge!r} must be a DeltaHedge")
        if not all(isinstance(leg, LegSpec | LinearLeg) for leg in self.legs):
            raise ValueError("legs must be a list of LegSpec, or what straddle() or strangle() return")
        if self.execution_mode == "rfq" and any(isinstance(leg, LinearLeg) for leg in self.legs):
            raise ValueError("execution_mode 'rfq': makers are asked for options alone; use 'limit' or 'smart'")

    def _check_schedules(self) -> None:
        for field in ("entry_schedule", "exit_schedule"):
            if not isinstance(getattr(self, field), Schedule | None):
                raise ValueError(f"{field} {getattr(self, field)!r} must be made by cron, every or daily_at")
        keys: set[str] = set()
        for action in self.actions:
            if not isinstance(action, ScheduledAction):
                raise ValueError(f"actions: {action!r} must be made by close_on, pause_on, resume_on or call_on")
            if action.key in keys:
                raise ValueError(f"actions: {action.key!r} is there twice")
            keys.add(action.key)

    def _check_params(self) -> None:
        given = self._given_params
        if given is not None and not isinstance(given, ExecutionParams | LimitParams | Mapping):
            raise ValueError(f"execution_params {given!r} must be an ExecutionParams or a mapping of single fields")
        if self.execution_profile is not None:
            if not isinstance(self.execution_profile, str):
                raise ValueError(f"execution_profile {self.execution_profile!r} must be the name of a profile")
            if given is not None and not isinstance(given, Mapping):
                raise ValueError(
                    "execution_params beside an execution_profile must be a mapping of the fields to change, as in "
                    '{"max_requote_rounds": 5}'
                )
        problem = params_problem(given) if isinstance(given, LimitParams) else ""
        if isinstance(given, Mapping):
            try:
                changed(LimitParams(), given)
            except ValueError as error:
                problem = str(error)
        if problem:
            raise ValueError(f"execution_params: {problem}")

    def _check_conditions(self, field: str, given: Sequence[object], allowed: tuple[type, ...]) -> None:
        named: dict[str, object] = {}
        for item in parts_of(given):
            if isinstance(item, HostFunction) or not (isinstance(item, allowed) or callable(item)):
                factories = "entry" if field == "entry_conditions" else "exit"
                raise ValueError(f"{field}: {item!r} must be made by one of the {factories} condition factories")
            if not isinstance(item, Condition):
                # a condition knows its function by name alone: of two with one name the other would answer
                if named.setdefault(_name_of(item), item) is not item:
                    raise ValueError(f"{field}: two functions are named {_name_of(item)!r}; give each its own name")
                _check_signature(field, item)

    def _check_legs(self) -> None:
        if self.roll is not None and any(isinstance(leg, SpotLeg) for leg in (*self.legs, *self.roll.legs)):
            raise ValueError(
                "roll: a trade with coins of spot is not rolled, as it would sell them and buy them again; "
                "leave it out, or use LegSpec.perpetual(...)"
            )
        if self.legs_factory is None:
            if not self.legs:
                raise ValueError("legs must name at least one leg")
            return
        if self.legs:
            raise ValueError("legs and legs_factory exclude one another: give one of them")
        if not callable(self.legs_factory):
            raise ValueError(f"legs_factory {self.legs_factory!r} must be a function of (EntryView, now_ns)")
        _check_signature("legs_factory", self.legs_factory)
        if isinstance(self.legs_underlyings, str) or not self.legs_underlyings:
            raise ValueError(f"legs_underlyings {self.legs_underlyings!r} must be a list such as ['BTC']")
        names = tuple(index_name(name) for name in self.legs_underlyings)
        msgspec.structs.force_setattr(self, "legs_underlyings", names)

    def specs(self, view: EntryView, now_ns: int) -> Sequence[AnyLeg] | str:
        """The legs to trade now, or why there are none. Raises what `legs_factory` raises, and TypeError when it
        returns something else."""
        if self.legs_factory is None:
            return self.legs
        made: object = self.legs_factory(view, now_ns)
        if isinstance(made, str):
            return made
        legs = tuple(made) if isinstance(made, list | tuple) else (made,)
        if not all(isinstance(leg, LegSpec | LinearLeg) for leg in legs):
            raise TypeError(f"legs_factory returned {made!r}: it must return a list of LegSpec, or why there is none")
        return legs or "legs_factory returned no legs"

    @property
    def _given_params(self) -> ExecutionParams | LimitParams | Mapping[str, Any] | None:
        if self.execution_params is not None:
            return self.execution_params
        from_metadata: ExecutionParams | LimitParams | Mapping[str, Any] | None = self.metadata.get(
            "execution_params"
        )
        return from_metadata

    def limit_params(self, profiles: Mapping[str, LimitParams] = {}) -> LimitParams:
        """The parameters of the limit plan in the words of the bus: the profile of `profiles` that is named, changed
        where single fields are given. Raises ValueError when there is no such profile."""
        given = self._given_params
        if isinstance(given, ExecutionParams):
            return given.limit_params()
        if isinstance(given, LimitParams):
            return given
        base = LimitParams()
        if self.execution_profile is not None:
            if self.execution_profile not in profiles:
                raise ValueError(_no_profile(self.execution_profile, profiles))
            base = profiles[self.execution_profile]
        return changed(base, given) if given else base

    @property
    def rfq_params(self) -> RfqParams:
        """The parameters of a request for quote in the words of the bus."""
        return RfqParams() if self.rfq is None else self.rfq.rfq_params()

    @property
    def smart_params(self) -> SmartParams:
        """The parameters of the smart plan in the words of the bus."""
        return SmartParams() if self.smart_config is None else self.smart_config.smart_params()

    @property
    def entries(self) -> tuple[EntryCondition, ...]:
        """The entry conditions as data, functions by name."""
        return tuple(as_data(item) for item in self.entry_conditions)

    @property
    def exits(self) -> tuple[ExitCondition, ...]:
        """The exit conditions as they travel with a trade, functions by name."""
        return tuple(as_data(item) for item in self.exit_conditions)

    @property
    def entry_functions(self) -> dict[str, EntryFunction]:
        return {
            _name_of(item): _of_views(item, trade_of=lambda view: None) for item in _functions(self.entry_conditions)
        }

    @property
    def exit_functions(self) -> dict[str, ExitFunction]:
        return _exit_functions(self.exit_conditions)

    @property
    def roll_functions(self) -> dict[str, ExitFunction]:
        """Those of `Roll.when`: not among those of the exits, one of which may have the same name."""
        return {} if self.roll is None else _exit_functions(self.roll.when)

    @property
    def underlyings(self) -> tuple[str, ...]:
        """The index names of the legs, each once, in their order."""
        names = self.legs_underlyings if self.legs_factory is not None else (leg.underlying for leg in self.legs)
        return tuple(dict.fromkeys(names))


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


def _functions(given: Iterable[Any]) -> list[Any]:
    return [item for item in parts_of(given) if not isinstance(item, Condition)]


def _exit_functions(given: Iterable[Any]) -> dict[str, ExitFunction]:
    return {_name_of(item): _of_views(item, trade_of=lambda view: view.trade) for item in _functions(given)}


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


def _check_signature(field: str, function: Any) -> None:
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


def _no_profile(name: str, profiles: Mapping[str, LimitParams]) -> str:
    known = ", ".join(sorted(profiles)) or "none"
    close = difflib.get_close_matches(name, profiles, n=1, cutoff=0.6)
    remedy = f"did you mean {close[0]!r}? There are: {known}" if close else f"use one of those there are: {known}"
    return (
        f"execution_profile {name!r} is no section [execution.profiles.{name}] of voldesk.toml: add it, or {remedy}"
    )


def _name_of(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
