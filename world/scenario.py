"""What a desk does in a run, drawn from the seed: its strategies, its market, and what its operator asks for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Literal, get_args

import msgspec

from services.exchange.config import (
    BTC,
    AccountConfig,
    ExchangeConfig,
    IndexConfig,
    LadderConfig,
    ListingConfig,
)
from services.exchange.switches import Switches
from services.execution.config import ExecutionConfig
from services.risk.config import RiskConfig
from services.strategy.config import StrategyHostConfig
from shared.messages.base import Message, Side
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.rfq import RequestSides
from shared.messages.smart import QuotingStrategy
from shared.messages.trades import CancelOrders, CloseTrade, ExecutionMode, HaltLevel, IfBroken, Policy
from shared.options import OptionType
from shared.strategy import (
    LegSpec,
    RfqConfig,
    SmartConfig,
    StrategyConfig,
    max_hold_hours,
    max_loss,
    profit_target,
    straddle,
    strangle,
    utc_time_window,
)
from shared.strategy_hosts import StrategyHosts
from world.desk import ACCOUNT_ID, Desk
from world.faults import SECOND
from world.limits import WIDE

NOON_NS = 1_763_640_000_000_000_000
"""2025-11-20T12:00:00Z, far from an expiry."""

BEFORE_FRIDAYS_EXPIRY_NS = NOON_NS + (19 * 60 + 42) * 60 * SECOND
"""2025-11-21T07:42:00Z, a Friday, whose options pay a delivery fee: traded for 3 minutes more, settled after 18."""

HOLD_S = 30
_TYPES: tuple[OptionType, ...] = ("C", "P")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One desk. faulty_s: how long faults last.

    operator_pause_s: mean time between two requests of the operator; 0 for none.
    intruder_pause_s: mean time between two acts of somebody else on the account; 0 for none.
    treasurer_pause_s: mean time between two payments into or out of the account; 0 for none.
    quotes: a strategy that works its own orders trades beside the others, and places so many where one would do; 0:
    none does.
    futures, spot: the desk trades perpetuals, and coins of spot, too. stops: a strategy trades perpetuals by orders
    of its own, and stop orders.
    script: what else is done to the desk, until the moment that it is given.
    hosts: the groups of strategies that have hosts of their own when it begins.
    """

    name: str
    strategies: tuple[StrategyConfig, ...]
    exchange: ExchangeConfig
    start_ns: int = NOON_NS
    execution: ExecutionConfig = ExecutionConfig()
    risk: RiskConfig = WIDE
    host: StrategyHostConfig = StrategyHostConfig()
    faulty_s: int = 150
    operator_pause_s: float = 0.0
    intruder_pause_s: float = 0.0
    treasurer_pause_s: float = 0.0
    quotes: int = 0
    futures: bool = False
    spot: bool = False
    stops: bool = False
    script: Callable[[Desk, int], None] | None = None
    hosts: StrategyHosts = StrategyHosts()

    def mix(self) -> str:
        """What there is beside the faults, in one line."""
        base = self.exchange.bases[0]
        parts = [f"scenario={self.name}", f"level_lots={base.ladder.level_lots:g}"]
        parts += [f"jumps_per_day={base.index.jumps_per_day:g}", f"jump_vol={base.index.jump_vol:g}"]
        parts += [
            f"{name}={getattr(self, name):g}"
            for name in ("operator_pause_s", "intruder_pause_s", "treasurer_pause_s")
        ]
        return " ".join(parts)


def drawn(seed: int) -> Scenario:
    """Half of the seeds trade the plain three strategies; the others are short of liquidity, jump, or are disturbed
    by their operator, often all at once; and one in fifty holds its trades over an expiry, which takes longest."""
    number = Random(f"scenario {seed}").random()
    if number < 0.02:
        return expiring(seed)
    return plain(seed) if number < 0.5 else disturbed(seed)


def disturbed(seed: int) -> Scenario:
    """Strategies in each other's way, thin books, jumps, an operator, and somebody else on the account."""
    random = Random(f"disturbed {seed}")
    scenario = Scenario(
        name="disturbed",
        strategies=_menu(random, seed),
        exchange=small_exchange(
            seed,
            level_lots=random.choice((6.0, 20.0, 200.0)),
            jumps_per_day=random.choice((50.0, 1_000.0)),
            jump_vol=random.choice((0.004, 0.02)),
            max_order=random.choice(("1000", "0.15")),
        ),
        risk=msgspec.structs.replace(
            WIDE,
            max_open_trades=random.choice((2, 50, 50)),
            max_position_quantity=random.choice((Decimal("0.4"), Decimal(100), Decimal(100))),
            **drawn_guard(seed),
        ),
        treasurer_pause_s=Random(f"treasurer {seed}").choice((0.0, 0.0, 15.0)),
        operator_pause_s=random.choice((0.0, 10.0, 40.0)),
        intruder_pause_s=random.choice((0.0, 0.0, 15.0)),
        quotes=Random(f"quotes {seed}").choice((0, 0, 1, 6)),
        execution=ExecutionConfig(
            quoting_countdown_s=Random(f"countdown {seed}").choice((0, 15)),
            close_window_ms=10_000,
            unfilled_orders_kept_s=10,
        ),
    )
    return _short_of_lots(scenario, seed) if Random(f"short of lots {seed}").random() < 0.1 else scenario


def _short_of_lots(scenario: Scenario, seed: int) -> Scenario:
    """Two of the strategies ask for more than the books hold, in chunks, and are content with what there is."""
    variants = ((f"short of lots {number}", policy) for number, policy in enumerate(get_args(Policy)))
    greedy = tuple(
        msgspec.structs.replace(
            _strategy(name.replace(" ", "_"), _condor("0.7"), seed, policy=policy, mode="smart", params=_REQUOTES[1]),
            smart_config=SmartConfig(
                chunk_count=Random(f"{name} {seed}").choice((1, 3)),
                time_per_chunk=2.0,
                quoting_strategy="top_of_book",
                aggressive_attempts=1,
                aggressive_wait_seconds=1.0,
            ),
        )
        for name, policy in variants
    )
    bases = tuple(
        msgspec.structs.replace(base, ladder=msgspec.structs.replace(base.ladder, level_lots=6.0))
        for base in scenario.exchange.bases
    )
    return msgspec.structs.replace(
        scenario,
        strategies=(*greedy, *scenario.strategies[len(greedy) :]),
        exchange=msgspec.structs.replace(scenario.exchange, bases=bases),
    )


def drawn_guard(seed: int) -> dict[str, Any]:
    """Breakers and the margin guard, off in half of the seeds; they open for seconds, and nothing that they do needs
    a person to undo it."""
    random = Random(f"guard {seed}")
    if random.random() < 0.5:
        return {}
    return {
        "max_consecutive_losses": random.choice((1, 3, 10_000)),
        "max_slippage_pct": random.choice((0.005, 0.05, 100.0)),
        "slippage_openings": random.choice((1, 4)),
        "max_rejection_pct": random.choice((20.0, 50.0, 100.0)),
        "rejection_orders_min": 4,
        "max_venue_errors_per_minute": random.choice((3, 10, 1_000)),
        "breaker_pause_s": random.choice((3, 15)),
        "breaker_short_pause_s": random.choice((3, 10)),
        "margin_warn_pct": 1.0,
        "margin_no_new_trades_pct": random.choice((2.0, 4.0)),
        "margin_reduce_pct": 6.0,
        "margin_flatten_pct": 60.0,
        "margin_hysteresis_pct": 0.8,
        "margin_notice_s": 2,
        "margin_acts_up_to": random.choice(("warn", "no_new_trades", "reduce")),
    }


def plain(seed: int) -> Scenario:
    return Scenario(name="plain", strategies=tuple(three_strategies(seed)), exchange=small_exchange(seed))


def quoted(seed: int) -> Scenario:
    """The plain strategies, all by request for quote and content with nearly any quote: many accepts to lose."""
    eager = RfqConfig(
        min_notional_usd=0.0,
        window_seconds=2.0,
        timeout_seconds=8.0,
        min_improvement_pct=-50.0,
        max_over_mark_pct=50.0,
    )
    scenario = plain(seed)
    strategies = tuple(
        msgspec.structs.replace(config, execution_mode="rfq", rfq=eager) for config in scenario.strategies
    )
    return msgspec.structs.replace(scenario, name="quoted", strategies=strategies)


def expiring(seed: int) -> Scenario:
    """Trades that are held over the expiry of their options, beside one that is closed before it."""
    hold = [LegSpec(kind, 1, "0.1", {"type": "spotdistance", "value": 1}, {"dte": "next"}) for kind in _TYPES]
    spread = [
        LegSpec("C", 1, "0.2", {"type": "spotdistance", "value": 1}, {"dte": "next"}),
        LegSpec("C", 2, "0.2", {"type": "spotdistance", "value": 2}, {"dte": "next"}),
    ]
    # what would be opened later expires tomorrow
    held = tuple(
        msgspec.structs.replace(each, entry_conditions=[utc_time_window(dt.time(7, 0), dt.time(7, 44))])
        for each in (
            _strategy("hold", hold, seed, hold_s=86_400, per_day=1),
            _strategy("short", straddle(qty="0.1", dte="next", side=2), seed + 1, hold_s=86_400, per_day=1),
        )
    )
    return Scenario(
        name="expiring",
        strategies=(*held, _strategy("spread", spread, seed + 2, hold_s=HOLD_S, per_day=0)),
        exchange=small_exchange(seed),
        start_ns=BEFORE_FRIDAYS_EXPIRY_NS,
        execution=ExecutionConfig(tradable_margin_s=20),
        risk=msgspec.structs.replace(WIDE, min_time_to_last_trade_ms=20_000),
        host=StrategyHostConfig(no_trade_margin_s=30.0),
        faulty_s=19 * 60,
    )


def small_exchange(
    seed: int,
    *,
    level_lots: float = 200.0,
    jumps_per_day: float = 50.0,
    jump_vol: float = 0.008,
    max_order: str = "1000",
) -> ExchangeConfig:
    """Two daily expiries of BTC with few strikes: what a chain costs is not what is tested here.

    Every side is quoted within the bound of a close: a leg that nobody buys stays open and alarmed, by design.
    """
    listing = ListingConfig(
        dailies=2,
        weeklies=0,
        monthlies=0,
        quarterlies=0,
        strike_steps=(Decimal(1_000), Decimal(1_000), Decimal(2_000), Decimal(5_000)),
        strikes_per_side=(5, 5, 5, 5),
    )
    index = IndexConfig(initial_price=100_000.0, jumps_per_day=jumps_per_day, jump_vol=jump_vol)
    ladder = LadderConfig(empty_side_probability=0.0, wing_multiplier=1.5, level_lots=level_lots)
    return ExchangeConfig(
        seed=seed,
        step_ms=1_000,
        bases=(
            msgspec.structs.replace(
                BTC, listing=listing, index=index, ladder=ladder, max_order_quantity=Decimal(max_order)
            ),
        ),
        accounts=(AccountConfig(account_id=ACCOUNT_ID),),
        switches=drawn_switches(seed),
    )


def drawn_switches(seed: int) -> Switches:
    """What the venue's documentation leaves open and the desk must bear either way, drawn from the seed."""
    random = Random(f"switches {seed}")
    return Switches(
        post_only_cross=random.choice(("invalid", "cancelled")),
        unfilled_state=random.choice(("cancelled", "invalid")),
        report_client_order_id=random.choice(("order_id", "none")),
        client_order_id_scope=random.choice(("ever", "open")),
        event_order=random.choice(("order_first", "trade_first")),
        open_quotes=random.choice(("cancelled", "left")),
        expired_request_push=random.choice((True, False)),
        suspended_code=random.choice((10609, 10620)),
        position_greeks=random.choice(("per_unit", "signed_total")),
        expiry_pushes=random.choice((True, False)),
        amended_future_id=random.choice(("same", "new")),
        triggered_stop_id=random.choice(("same", "new")),
    )


def three_strategies(seed: int, mode: ExecutionMode | None = None) -> Sequence[StrategyConfig]:
    """Two strategies with the same legs, so that two trades hold one symbol; a third with protective legs. How they
    are worked is drawn where no mode is given."""
    long_legs = strangle(qty=0.1, call_delta=0.25, put_delta=-0.25, dte=1, side=1)
    return (
        _strategy("alpha", long_legs, seed, mode=mode),
        _strategy("beta", long_legs, seed + 1, mode=mode, params={"requote_by": "amend"}),
        _strategy("condor", _condor("0.2"), seed + 2, mode=mode),
    )


def _menu(random: Random, seed: int) -> tuple[StrategyConfig, ...]:
    """Four of: long and short of one structure (they would net), spreads, legs of unequal size, and exits by price or
    by silence."""
    strangle_legs = {side: strangle(qty="0.3", dte=1, side=side) for side in (1, 2)}
    calendar = [
        LegSpec("C", 1, "0.1", {"type": "delta", "value": 0.5}, {"dte": 1}),
        LegSpec("C", 2, "0.1", {"type": "delta", "value": 0.5}, {"dte": "next"}),
    ]
    choices = {
        "alpha": strangle_legs[1],
        "beta": strangle_legs[1],
        "short_strangle": strangle_legs[2],
        "short_straddle": straddle(qty="0.2", dte="next", side=2),
        "condor": _condor("0.4"),
        "calendar": calendar,
        "butterfly": _butterfly(),
    }
    return tuple(
        _strategy(
            name,
            choices[name],
            seed + number,
            hold_s=random.choice((5, HOLD_S)),
            policy=random.choice(("atomic", "best_effort")),
            priced=random.random() < 0.5,
            silence=random.choice(("hold", "close")),
            params=random.choice(_REQUOTES),
            if_broken=Random(f"broken {seed} {number}").choice(("hold", "close", None)),
        )
        for number, name in enumerate(random.sample(sorted(choices), 4))
    )


def drawn_mode(name: str, variant: int) -> tuple[ExecutionMode, SmartConfig]:
    """By what a strategy trades, and its chunks: few seconds each, so that a run sees several of them."""
    random = Random(f"mode {name} {variant}")
    mode: ExecutionMode = random.choice(("limit", "smart", "auto", "rfq"))
    chunk_count = random.choice((1, 2, 3, 5))
    time_per_chunk = random.choice((0.0, 3.0, 8.0))
    return mode, SmartConfig(
        chunk_count=chunk_count,
        time_per_chunk=time_per_chunk,
        quoting_strategy=random.choice(get_args(QuotingStrategy)),
        # with neither time to quote nor attempts across it would send no order
        aggressive_attempts=random.choice((0, 2, 6)) or (0 if time_per_chunk else 2),
        aggressive_wait_seconds=random.choice((1.0, 3.0)),
        total_duration_seconds=random.choice((0.0, 0.0, max(20.0, chunk_count * time_per_chunk))),
    )


def drawn_rfq(name: str, variant: int) -> RfqConfig:
    """How a strategy asks makers: for any notional, and content with little, so that many quotes are taken."""
    random = Random(f"rfq {name} {variant}")
    return RfqConfig(
        min_notional_usd=random.choice((0.0, 0.0, 0.0, 50_000.0)),
        window_seconds=random.choice((2.0, 4.0)),
        timeout_seconds=random.choice((6.0, 12.0)),
        min_improvement_pct=random.choice((-5.0, 0.0, 2.0)),
        max_over_mark_pct=random.choice((5.0, 50.0)),
        fallback_mode=random.choice(("limit", "smart", None)),
        request_sides=random.choice(get_args(RequestSides)),
        closes=random.random() < 0.8,
    )


def _butterfly() -> list[LegSpec]:
    """1:2:1, of which chunks keep the ratio."""
    legs: tuple[tuple[Side, str, int], ...] = (("buy", "0.11", 1), ("sell", "0.22", 2), ("buy", "0.11", 3))
    return [
        LegSpec("C", side, quantity, {"type": "spotdistance", "value": distance}, {"dte": 1})
        for side, quantity, distance in legs
    ]


def _condor(quantity: str) -> list[LegSpec]:
    return [
        *strangle(qty=quantity, call_delta=0.30, put_delta=-0.30, dte="next", side=2),
        *strangle(qty=quantity, call_delta=0.12, put_delta=-0.12, dte="next", side=1),
    ]


def _strategy(
    name: str,
    legs: Sequence[LegSpec],
    variant: int,
    *,
    hold_s: int = HOLD_S,
    policy: Policy | None = None,
    priced: bool = False,
    silence: Literal["hold", "close"] = "hold",
    per_day: int = 3,
    params: Mapping[str, object] = {},
    mode: ExecutionMode | None = None,
    if_broken: IfBroken | None = None,
) -> StrategyConfig:
    exits = [max_hold_hours(hold_s / 3600)]
    drawn, smart_config = drawn_mode(name, variant)
    return StrategyConfig(
        name=name,
        legs=legs,
        exit_conditions=[*exits, profit_target(pct=5), max_loss(pct=10)] if priced else exits,
        execution_mode=mode or drawn,
        execution_params=params,
        smart_config=smart_config,
        rfq=drawn_rfq(name, variant),
        policy=policy or ("atomic" if variant % 3 else "best_effort"),
        max_concurrent_trades=1,
        max_trades_per_day=per_day,
        cooldown_seconds=10,
        check_interval_seconds=2,
        if_host_silent=silence,
        host_silent_after_seconds=5,
        if_broken=if_broken,
    )


_REQUOTES: tuple[dict[str, object], ...] = (
    {},
    {"scale_to_filled": True, "max_requote_rounds": 3, "reprice_interval_s": 3.0, "duration_s": 5.0},
    {"requote_by": "amend", "pricing": "fair", "fair_aggression": 0.3, "reprice_interval_s": 3.0},
    {"requote_by": "amend", "pricing": "passive", "reprice_interval_s": 2.0, "max_requote_rounds": 30},
)
"""How the strategies' orders come to other prices: some replace them, some amend them; and what becomes of a leg that
is filled in part."""


class Operator:
    """Somebody who closes, cancels, halts, flattens and lifts at random moments, and repeats himself at times.

    He lifts what he halted when he stops.
    """

    def __init__(self, desk: Desk, pause_s: float, until_ns: int) -> None:
        self._desk = desk
        self._pause_s = pause_s
        self._count = 0
        engine = desk.engine
        when_ns = engine.now_ns
        while pause_s:
            when_ns += int(engine.random.expovariate(1 / pause_s) * SECOND)
            if when_ns >= until_ns:
                break
            engine.at(when_ns, self._act)
        if pause_s:
            for again in range(10):
                engine.at(until_ns + (1 + 2 * again) * SECOND, self._lift)

    def _act(self) -> None:
        random = self._desk.engine.random
        trades = [trade.trade_id for trade in self._desk.book.trades.values()][-8:]
        one = random.choice(trades) if trades else ""
        level: HaltLevel = random.choice(("no_new_trades", "cancel_all", "flatten"))
        choices: list[Message] = [
            CloseTrade(trade_id=one, reason="drill", requested_by="operator"),
            CloseTrade(trade_id=one, reason="drill", requested_by="operator"),
            CancelOrders(trade_id=one, requested_by="operator"),
            CancelOrders(requested_by="operator"),
            RaiseHalt(level=level, reason="drill", requested_by="operator"),
            LiftHalts(requested_by="operator"),
            LiftHalts(requested_by="operator"),
        ]
        self._ask(random.choice(choices))

    def _lift(self) -> None:
        self._ask(LiftHalts(requested_by="operator"))

    def _ask(self, message: Message) -> None:
        self._count += 1
        engine = self._desk.engine
        self._desk.operate_at(engine.now_ns, "execution", message, f"operator-{self._count}")
        if engine.chance(0.3):
            later_ns = engine.now_ns + engine.between_ns(0, 20 * SECOND)
            self._desk.operate_at(later_ns, "execution", message, f"operator-{self._count}")
