"""A strategy as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from shared.messages.conditions import EntryCondition, ExitCondition
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.trades import ExecutionMode, IfBroken, Policy, TradeUpdate
from shared.messages.trades import ExecutionParams as LimitParams
from shared.strategy.actions import ScheduledAction
from shared.strategy.condition_functions import (
    EntryFunction,
    ExitFunction,
    as_data,
    check_callback,
    check_conditions,
    check_signature,
    entry_functions_of,
    exit_functions_of,
    parts_of,
)
from shared.strategy.execution_params import (
    GivenParams,
    RfqConfig,
    SmartConfig,
    check_limit_params,
    limit_params_of,
)
from shared.strategy.hedge import DeltaHedge
from shared.strategy.legs import AnyLeg, LegSpec, LinearLeg, SpotLeg, index_name
from shared.strategy.premium import refuse_missing_premium
from shared.strategy.rolling import Roll
from shared.strategy.schedule import Schedule
from shared.strategy.views import EntryView

LegsFactory = Callable[[EntryView, int], Sequence[AnyLeg] | str]

STRATEGY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


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
    execution_params: GivenParams | None = None
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
        check_conditions("entry_conditions", self.entry_conditions, get_args(EntryCondition))
        if not isinstance(self.roll, Roll | None):
            raise ValueError(f"roll {self.roll!r} must be a Roll")
        when = () if self.roll is None else self.roll.when
        check_conditions("exit_conditions", self.exit_conditions, get_args(ExitCondition))
        check_conditions("roll: when", when, get_args(ExitCondition))
        self._check_legs()
        refuse_missing_premium(self.legs, parts_of(self.exit_conditions))
        if self.on_trade_closed is not None:
            check_callback(self.on_trade_closed)
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
        check_limit_params(self._given_params, self.execution_profile)
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
        check_signature("legs_factory", self.legs_factory)
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
    def _given_params(self) -> GivenParams | None:
        if self.execution_params is not None:
            return self.execution_params
        from_metadata: GivenParams | None = self.metadata.get("execution_params")
        return from_metadata

    def limit_params(self, profiles: Mapping[str, LimitParams] = {}) -> LimitParams:
        """The parameters of the limit plan in the words of the bus: the profile of `profiles` that is named, changed
        where single fields are given. Raises ValueError when there is no such profile."""
        return limit_params_of(self._given_params, self.execution_profile, profiles)

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
        return entry_functions_of(self.entry_conditions)

    @property
    def exit_functions(self) -> dict[str, ExitFunction]:
        return exit_functions_of(self.exit_conditions)

    @property
    def roll_functions(self) -> dict[str, ExitFunction]:
        """Those of `Roll.when`: not among those of the exits, one of which may have the same name."""
        return {} if self.roll is None else exit_functions_of(self.roll.when)

    @property
    def underlyings(self) -> tuple[str, ...]:
        """The index names of the legs, each once, in their order."""
        names = self.legs_underlyings if self.legs_factory is not None else (leg.underlying for leg in self.legs)
        return tuple(dict.fromkeys(names))
