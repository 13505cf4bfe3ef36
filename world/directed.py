"""Short runs in which one fault or one person's act is made likely that drawn seeds hardly ever see.

A mistake that no drawn seed finds is looked for in the one that is made for it; without the mistake each keeps every
promise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from services.exchange.config import DealerConfig, ExchangeConfig
from services.exchange.config import RfqConfig as ExchangeRfqConfig
from services.execution.config import ExecutionConfig
from services.risk.config import RiskConfig
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.trades import ExecutionMode, IfBroken, Policy
from shared.strategy import LegSpec, RfqConfig, SmartConfig, StrategyConfig, max_hold_hours, strangle
from world.cash_scenario import cash_rule
from world.covered_coins import coins_sold_by_hand, covered_coins
from world.dated_futures import dated_futures
from world.desk import Desk
from world.faults import MS, SECOND, Faults
from world.limits import WIDE
from world.market_conditions import market_conditions
from world.moving_groups import moving_groups
from world.perpetuals import hedged, leveraged, perpetuals, stopped
from world.rolling import rolling, rolling_futures
from world.scenario import Scenario, expiring, plain, quoted, small_exchange


class Directed(msgspec.Struct, frozen=True, kw_only=True):
    """What is made likely, and by what. faults: None where they are drawn from the seed as ever."""

    what: str
    scenario: Callable[[int], Scenario]
    faults: Faults | None = None


def _trader(
    name: str,
    legs: Sequence[LegSpec] | None = None,
    *,
    hold_s: float = 5.0,
    mode: ExecutionMode = "limit",
    params: Mapping[str, object] = {},
    smart: SmartConfig | None = None,
    rfq: RfqConfig | None = None,
    if_broken: IfBroken | None = None,
    concurrent: int = 1,
    policy: Policy = "atomic",
) -> StrategyConfig:
    """Opens again and again, and holds for a short time."""
    return StrategyConfig(
        name=name,
        legs=strangle(qty="0.2", dte=1, side=1) if legs is None else legs,
        exit_conditions=[max_hold_hours(hold_s / 3600)],
        execution_mode=mode,
        execution_params=params,
        smart_config=smart or SmartConfig(),
        rfq=rfq or RfqConfig(),
        policy=policy,
        max_concurrent_trades=concurrent,
        max_trades_per_day=50,
        cooldown_seconds=1,
        check_interval_seconds=1,
        if_broken=if_broken,
    )


def _fleeting_halts(seed: int) -> Scenario:
    """Grants of before a halt arrive after it was lifted."""

    def halt_and_lift(desk: Desk, until_ns: int) -> None:
        for number, when_ns in enumerate(range(desk.engine.now_ns + 3 * SECOND, until_ns, 3 * SECOND)):
            halt = RaiseHalt(level="no_new_trades", reason="by mistake", requested_by="operator")
            desk.operate_at(when_ns, "execution", halt, f"halt-{number}")
            lift = LiftHalts(requested_by="operator")
            desk.operate_at(when_ns + 50 * MS, "execution", lift, f"unhalt-{number}")

    return Scenario(
        name="fleeting_halts",
        strategies=tuple(_trader(name) for name in ("alpha", "beta", "gamma")),
        exchange=small_exchange(seed),
        faulty_s=70,
        script=halt_and_lift,
    )


def _frozen_prices(seed: int) -> Scenario:
    chunks = SmartConfig(chunk_count=8, time_per_chunk=2.0, total_duration_seconds=24.0, aggressive_wait_seconds=1.0)
    return Scenario(
        name="frozen_prices",
        strategies=tuple(
            _trader(name, strangle(qty="0.5", dte=1, side=1), mode="smart", smart=chunks)
            for name in ("alpha", "beta")
        ),
        exchange=small_exchange(seed),
        faulty_s=60,
    )


def _short_grants(seed: int) -> Scenario:
    return Scenario(
        name="short_grants",
        strategies=tuple(_trader(name) for name in ("alpha", "beta")),
        exchange=small_exchange(seed),
        risk=RiskConfig(grant_ttl_ms=4_000, grant_ttl_max_ms=4_000),
        faulty_s=40,
    )


def _narrow_collar(seed: int) -> Scenario:
    """A buyer who would pay far more than is granted, in a market whose dealers ask for more."""
    exchange = small_exchange(seed)
    dear = DealerConfig(
        name="dear", better_min_pct=-20.0, better_max_pct=-15.0, answer_min_ms=500, answer_max_ms=1_500
    )
    content = RfqConfig(
        min_notional_usd=0.0,
        window_seconds=2.0,
        timeout_seconds=4.0,
        min_improvement_usd=-1e9,
        min_improvement_pct=-100.0,
        max_over_mark_pct=100.0,
    )
    willing = {"buffer_pct": 20.0}
    return Scenario(
        name="narrow_collar",
        strategies=(
            _trader("alpha", params=willing),
            _trader("beta", mode="rfq", rfq=content, params=willing),
        ),
        exchange=_with_dealers(exchange, dear),
        risk=RiskConfig(collar_pct=10.0, collar_index_pct=0.0, collar_ticks=1),
        faulty_s=40,
    )


def _with_dealers(exchange: ExchangeConfig, *dealers: DealerConfig) -> ExchangeConfig:
    return msgspec.structs.replace(exchange, rfq=ExchangeRfqConfig(dealers=dealers))


def _hand_closes(seed: int) -> Scenario:
    """A part of what two trades hold together is closed by hand, and one of them closes before that is settled."""
    return Scenario(
        name="hand_closes",
        strategies=tuple(_trader(name, hold_s=hold_s) for name, hold_s in (("alpha", 8.0), ("beta", 15.0))),
        exchange=small_exchange(seed),
        execution=ExecutionConfig(confirm_ms=8_000, reconcile_interval_ms=2_000),
        intruder_pause_s=3.0,
        faulty_s=60,
    )


def _broken_structures(seed: int) -> Scenario:
    """Legs of trades are closed by hand; some of the trades are to be held then, until their exit."""
    declared: tuple[tuple[str, IfBroken], ...] = (("alpha", "hold"), ("beta", "close"))
    return Scenario(
        name="broken_structures",
        strategies=tuple(_trader(name, hold_s=20.0, if_broken=if_broken) for name, if_broken in declared),
        exchange=small_exchange(seed),
        execution=ExecutionConfig(reconcile_interval_ms=2_000),
        intruder_pause_s=4.0,
        faulty_s=80,
    )


def _guarded(seed: int) -> Scenario:
    """Short options of an account that money goes into and out of, under breakers that open at once."""

    def lift(desk: Desk, until_ns: int) -> None:
        for number, when_ns in enumerate(range(desk.engine.now_ns + 5 * SECOND, until_ns, 5 * SECOND)):
            desk.operate_at(when_ns, "execution", LiftHalts(requested_by="operator"), f"unhalt-{number}")

    return Scenario(
        name="guarded",
        strategies=(
            _trader("alpha", strangle(qty="0.1", dte=1, side=2), hold_s=6.0, concurrent=3),
            _trader("beta", strangle(qty="0.25", dte=1, side=2), hold_s=9.0),
            _trader("gamma"),
        ),
        exchange=small_exchange(seed),
        risk=msgspec.structs.replace(
            WIDE,
            max_consecutive_losses=3,
            max_slippage_pct=0.2,
            max_rejection_pct=30.0,
            rejection_orders_min=4,
            max_venue_errors_per_minute=4,
            breaker_pause_s=4,
            breaker_short_pause_s=3,
            max_drawdown_pct=12.0,
            max_daily_loss_pct=12.0,
            margin_warn_pct=2.0,
            margin_no_new_trades_pct=6.0,
            margin_reduce_pct=9.0,
            margin_flatten_pct=14.0,
            margin_hysteresis_pct=1.5,
            margin_notice_s=2,
        ),
        treasurer_pause_s=5.0,
        faulty_s=120,
        script=lift,
    )


def _stale_positions(seed: int) -> Scenario:
    """The venue's positions are looked at all the time, and lag as far behind as the desk can bear."""
    return Scenario(
        name="stale_positions",
        strategies=tuple(_trader(name, hold_s=8.0) for name in ("alpha", "beta")),
        exchange=small_exchange(seed),
        # what is missing is believed at the second look: here it is about what may be compared at all
        execution=ExecutionConfig(reconcile_interval_ms=1_000, vanished_after_ms=2_000),
        faulty_s=40,
    )


def _position_gaps(seed: int) -> Scenario:
    """Positions are looked at all the time, and one of them is not shown for many looks in a row."""
    return Scenario(
        name="position_gaps",
        strategies=tuple(_trader(name, hold_s=20.0) for name in ("alpha", "beta")),
        exchange=small_exchange(seed),
        execution=ExecutionConfig(reconcile_interval_ms=1_000),
        faulty_s=130,
    )


def _lost_rows(seed: int) -> Scenario:
    """Execution closes with its disk full, and is killed before it could write what it did."""

    def fill_and_kill(desk: Desk, until_ns: int) -> None:
        execution = desk.nodes["execution"]
        for number, when_ns in enumerate(
            range(desk.engine.now_ns + 10 * SECOND, until_ns - 15 * SECOND, 20 * SECOND)
        ):
            desk.engine.at(when_ns, lambda: execution.fill_disk(0, 10 * SECOND))
            desk.engine.at(when_ns + 8 * SECOND, lambda: execution.crash(SECOND))
            lift = LiftHalts(requested_by="operator")
            desk.operate_at(when_ns + 14 * SECOND, "execution", lift, f"unhalt-{number}")

    return Scenario(
        name="lost_rows",
        strategies=tuple(_trader(name) for name in ("alpha", "beta", "gamma")),
        exchange=small_exchange(seed),
        faulty_s=80,
        script=fill_and_kill,
    )


def _expired_requests(seed: int) -> Scenario:
    """One leg that is tried once: what arrives after all finds its trade over, and nothing in its place."""
    call = [LegSpec("C", 1, "0.1", {"type": "spotdistance", "value": 1}, {"dte": "next"})]
    return Scenario(
        name="expired_requests",
        strategies=(_trader("alpha", call, params={"max_requote_rounds": 1}),),
        exchange=small_exchange(seed),
        faulty_s=60,
    )


def _overfills(seed: int) -> Scenario:
    """Orders that are given up and replaced, and arrive after all; the trades are held long enough to be mended."""
    return Scenario(
        name="overfilled_openings",
        strategies=(
            _trader("alpha", hold_s=200.0, params={"max_requote_rounds": 8}),
            _trader("beta", hold_s=200.0, params={"max_requote_rounds": 8}, policy="best_effort"),
        ),
        exchange=small_exchange(seed),
        faulty_s=260,
    )


def _requotes(seed: int) -> Scenario:
    """Orders that are filled in part and moved all the time, in thin books."""
    params = {"pricing": "mid", "reprice_interval_s": 2.0, "max_requote_rounds": 20}
    return Scenario(
        name="late_cancels",
        strategies=tuple(
            _trader(name, strangle(qty="0.4", dte=1, side=1), params=params) for name in ("alpha", "beta")
        ),
        exchange=small_exchange(seed, level_lots=6.0, jumps_per_day=1_000.0),
        faulty_s=40,
    )


def _partial_chunks(seed: int) -> Scenario:
    """Chunks of which little is bought in books that hold little, by traders who are content with a smaller size."""
    chunks = SmartConfig(
        chunk_count=3,
        time_per_chunk=2.0,
        quoting_strategy="top_of_book",
        aggressive_attempts=1,
        aggressive_wait_seconds=1.0,
    )
    legs = [
        *strangle(qty="0.7", call_delta=0.12, put_delta=-0.12, dte="next", side=1),
        *strangle(qty="0.7", call_delta=0.30, put_delta=-0.30, dte="next", side=2),
    ]
    return Scenario(
        name="partial_chunks",
        strategies=tuple(
            _trader(name, legs, mode=mode, smart=chunks, params={"scale_to_filled": True, "max_requote_rounds": 2})
            for name, mode in _PARTIAL_MODES
        ),
        exchange=small_exchange(seed, level_lots=6.0, jumps_per_day=1_000.0),
        faulty_s=60,
    )


_PARTIAL_MODES: tuple[tuple[str, ExecutionMode], ...] = (("alpha", "smart"), ("beta", "smart"), ("gamma", "limit"))


def _lost_batches(seed: int) -> Scenario:
    """Many orders go out at once, and of most nobody knows whether they arrived."""
    return Scenario(
        name="lost_batches",
        strategies=(_trader("alpha"),),
        exchange=small_exchange(seed),
        quotes=8,
        faulty_s=60,
    )


def _countdowns(seed: int) -> Scenario:
    """One trades, another quotes under the venue's countdown, and its old orders are forgotten."""
    return Scenario(
        name="countdowns",
        strategies=(_trader("alpha", hold_s=20.0),),
        exchange=small_exchange(seed),
        execution=ExecutionConfig(quoting_countdown_s=15, close_window_ms=10_000, unfilled_orders_kept_s=10),
        quotes=1,
        faulty_s=120,
    )


def _lossy_bus(seed: int) -> Scenario:
    return msgspec.structs.replace(plain(seed), name="lossy_bus", faulty_s=40)


DIRECTED: dict[str, Directed] = {
    "quoted": Directed(what="every trade asks makers for quotes, and takes nearly any", scenario=quoted),
    "expiring": Directed(what="trades are held over the expiry of their options", scenario=expiring),
    "fleeting_halts": Directed(
        what="an operator halts and lifts at once, while grants are on their way",
        scenario=_fleeting_halts,
        faults=Faults(bus_delay_max_ms=1_500),
    ),
    "lossy_bus": Directed(
        what="one message in ten between services is lost",
        scenario=_lossy_bus,
        faults=Faults(bus_drop=0.1),
    ),
    "frozen_prices": Directed(
        what="market data stop again and again, while trades open in chunks",
        scenario=_frozen_prices,
        faults=Faults(market_freeze_per_minute=8.0),
    ),
    "short_grants": Directed(
        what="grants last for 4 s, and every second order is refused",
        scenario=_short_grants,
        faults=Faults(refused=0.5, venue_delay_max_ms=500),
    ),
    "narrow_collar": Directed(
        what="little is granted past mark, and dealers and buyers would go far past it",
        scenario=_narrow_collar,
        faults=Faults(),
    ),
    "hand_closes": Directed(
        what="somebody closes by hand a part of what two trades hold together",
        scenario=_hand_closes,
        faults=Faults(),
    ),
    "broken_structures": Directed(
        what="legs are closed by hand, of trades that then close the rest and of trades that hold it",
        scenario=_broken_structures,
        faults=Faults(crash_per_minute=0.5, restart_after_max_ms=1_500),
    ),
    "guarded": Directed(
        what="breakers open after a few losses, refusals or errors, margin is short, and money is paid in and out",
        scenario=_guarded,
        faults=Faults(refused=0.1, read_fails=0.1, crash_per_minute=0.3, restart_after_max_ms=1_500),
    ),
    "stale_positions": Directed(
        what="the positions that the venue shows are nearly 5 s old, and are looked at every second",
        scenario=_stale_positions,
        faults=Faults(position_lag_ms=3_500),
    ),
    "position_gaps": Directed(
        what="a position is in no list of the venue's for 20 s of each minute",
        scenario=_position_gaps,
        faults=Faults(position_gap_ms=20_000, crash_per_minute=0.3, restart_after_max_ms=1_500),
    ),
    "lost_rows": Directed(
        what="execution is killed with rows that its full disk did not take",
        scenario=_lost_rows,
        faults=Faults(refused=0.3, request_lost=0.2),
    ),
    "expired_requests": Directed(
        what="opening orders arrive long after the venue should have dropped them",
        scenario=_expired_requests,
        faults=Faults(request_expired=0.4),
    ),
    "overfilled_openings": Directed(
        what="opening orders arrive after they were given up and others took their place",
        scenario=_overfills,
        faults=Faults(request_expired=0.4, crash_per_minute=0.3, restart_after_max_ms=1_500),
    ),
    "countdowns": Directed(
        what="a strategy quotes under the venue's countdown, again and again, and nothing goes wrong",
        scenario=_countdowns,
        faults=Faults(),
    ),
    "lost_batches": Directed(
        what="many orders go out at once, their answers are lost, and the venue's lists leave out most",
        scenario=_lost_batches,
        faults=Faults(answer_lost=0.5, request_lost=0.2, list_gaps=0.9, stream_lost=0.9),
    ),
    "late_cancels": Directed(
        what="cancels are acknowledged seconds before they are carried out",
        scenario=_requotes,
        faults=Faults(cancel_late=0.7),
    ),
    "partial_chunks": Directed(
        what="legs are filled in part, and the trades are scaled to what there is",
        scenario=_partial_chunks,
        faults=Faults(request_lost=0.1, crash_per_minute=0.3, restart_after_max_ms=1_500),
    ),
    "hedged": Directed(
        what="the delta of open trades is hedged with the perpetual, in a market that jumps",
        scenario=hedged,
    ),
    "dated_futures": Directed(
        what="dated futures are traded alone, as spreads and beside options, over the delivery of one",
        scenario=dated_futures,
    ),
    "perpetuals": Directed(
        what="perpetuals are traded alone and as legs beside options, over the hour of funding",
        scenario=perpetuals,
    ),
    "stopped": Directed(
        what="perpetuals are traded and protected with stop orders, in a market that reaches their triggers",
        scenario=stopped,
    ),
    "market_conditions": Directed(
        what="strategies wait for candles, funding and volatility, of which many reads are lost",
        scenario=market_conditions,
        faults=Faults(bus_drop=0.1, bus_delay_max_ms=200, crash_per_minute=0.3, restart_after_max_ms=1_500),
    ),
    "rolling": Directed(
        what="sold strangles are rolled every few seconds, and host and execution are killed in the middle of it",
        scenario=rolling,
        faults=Faults(bus_drop=0.02, bus_duplicate=0.05, bus_delay_max_ms=200),
    ),
    "rolling_futures": Directed(
        what="dated futures are rolled between two quarters, alone and against a perpetual, while host and execution "
        "are killed",
        scenario=rolling_futures,
        faults=Faults(bus_drop=0.02, bus_duplicate=0.05, bus_delay_max_ms=200),
    ),
    "cash_rule": Directed(
        what="USDT are short again and again, and the cash rule sells coins beside somebody who offers them by hand",
        scenario=cash_rule,
    ),
    "lost_sales": Directed(
        what="the answers to sales of the cash rule are lost, and execution is killed again and again",
        scenario=cash_rule,
        faults=Faults(answer_lost=0.6, crash_per_minute=8.0, restart_after_max_ms=500),
    ),
    "leveraged": Directed(
        what="the leverage of futures is configured, asked for again and again, and changed by hand",
        scenario=leveraged,
        faults=Faults(answer_lost=0.3, request_late=0.3, crash_per_minute=4.0, restart_after_max_ms=1_500),
    ),
    "covered_coins": Directed(
        what="coins of spot are bought under sold calls, against the perpetual and alone, some beside a cash rule "
        "that may not sell them",
        scenario=covered_coins,
    ),
    "coins_sold_by_hand": Directed(
        what="the coins of trades are sold by hand with the account's own: under sold calls, against the perpetual "
        "and alone",
        scenario=coins_sold_by_hand,
    ),
    "moving_groups": Directed(
        what="strategies move between two hosts while they trade, and one of them is paused",
        scenario=moving_groups,
    ),
    "lost_accepts": Directed(
        what="the answers to accepted quotes are lost, and so is what the stream says of them",
        scenario=quoted,
        faults=Faults(answer_lost=0.6, stream_lost=0.8),
    ),
}
"""By name. Some are also there for mistakes that drawn seeds find late."""
