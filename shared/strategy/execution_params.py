"""How the orders of a strategy are worked, as its file says it: the limit plan's short form, smart and rfq."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

import msgspec

from shared.messages.rfq import RequestSides, RfqFallback, RfqParams
from shared.messages.smart import QuotingStrategy, SmartParams
from shared.messages.trades import ExecutionParams as LimitParams
from shared.messages.trades import LimitPhase
from shared.strategy.profiles import changed, params_problem


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


GivenParams = ExecutionParams | LimitParams | Mapping[str, Any]
"""What a strategy file gives for the limit plan: all of it, or the single fields that it changes."""


def check_limit_params(given: object, profile: object) -> None:
    """Raises ValueError naming what is wrong with the parameters of the limit plan and the name of a profile, as a
    strategy file gives them; None for what it does not give. Which profiles there are is not looked at."""
    if given is not None and not isinstance(given, ExecutionParams | LimitParams | Mapping):
        raise ValueError(f"execution_params {given!r} must be an ExecutionParams or a mapping of single fields")
    if profile is not None:
        if not isinstance(profile, str):
            raise ValueError(f"execution_profile {profile!r} must be the name of a profile")
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


def limit_params_of(
    given: GivenParams | None, profile: str | None, profiles: Mapping[str, LimitParams]
) -> LimitParams:
    """The parameters of the limit plan in the words of the bus: the profile of `profiles` that is named, changed
    where single fields are given. Raises ValueError when there is no such profile."""
    if isinstance(given, ExecutionParams):
        return given.limit_params()
    if isinstance(given, LimitParams):
        return given
    base = LimitParams()
    if profile is not None:
        if profile not in profiles:
            raise ValueError(_no_profile(profile, profiles))
        base = profiles[profile]
    return changed(base, given) if given else base


def _no_profile(name: str, profiles: Mapping[str, LimitParams]) -> str:
    known = ", ".join(sorted(profiles)) or "none"
    close = difflib.get_close_matches(name, profiles, n=1, cutoff=0.6)
    remedy = f"did you mean {close[0]!r}? There are: {known}" if close else f"use one of those there are: {known}"
    return (
        f"execution_profile {name!r} is no section [execution.profiles.{name}] of voldesk.toml: add it, or {remedy}"
    )
