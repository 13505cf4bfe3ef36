"""One strategy rehearsed: on the whole desk, at the simulated exchange, on a virtual clock, without faults."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from services.exchange.config import ExchangeConfig, ListingConfig
from shared.messages.base import Message
from shared.messages.control import ListStrategies, StrategyList, StrategyStatus
from shared.messages.trades import ListTrades, TradeList, TradeState, TradeUpdate
from shared.strategy import StrategyConfig
from shared.strategy.legs import LinearLeg, SpotLeg
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange

_LISTING = ListingConfig(
    dailies=2,
    weeklies=3,
    monthlies=2,
    quarterlies=0,
    strike_steps=(Decimal(1_000), Decimal(1_000), Decimal(2_000), Decimal(5_000)),
    strikes_per_side=(7, 15, 9, 5),
    wing_strikes=0,
)


def listed_exchange(seed: int) -> ExchangeConfig:
    """BTC with every kind of expiry up to two months, and strikes as far as delta 0.1."""
    exchange = small_exchange(seed)
    return msgspec.structs.replace(exchange, bases=(msgspec.structs.replace(exchange.bases[0], listing=_LISTING),))


class Rehearsal:
    """A desk with one strategy from a moment on: BTC at 100,000 USD, an account of 100,000 USD, all expiries from a
    day to two months, books on both sides. Minutes of it take a second, and the same seed gives the same run.

    at: when it begins, UTC. dry_run: whether it is rehearsed as a dry run; without, one trades too, as nothing leaves
    this process. Times of the market before it are not there, so that what needs hours of candles waits.
    Raises ValueError when `at` is no time.

    >>> from shared.strategy import max_hold_hours, straddle
    >>> config = StrategyConfig(name="rehearsed", legs=straddle("0.1"), exit_conditions=[max_hold_hours(0.01)])
    >>> trade = Rehearsal(config).run_until("CLOSED")
    >>> [leg.closed_quantity == leg.filled_quantity == leg.quantity for leg in trade.legs]
    [True, True]
    """

    def __init__(
        self, config: StrategyConfig, at: str = "2025-11-18T14:00", *, seed: int = 1, dry_run: bool = False
    ) -> None:
        start = dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC)
        self.desk = Desk(
            Engine(int(start.timestamp()) * SECOND, seed),
            Faults.none(),
            [msgspec.structs.replace(config, dry_run=dry_run)],
            listed_exchange(seed),
            futures=_may_trade_futures(config),
            spot=_may_trade(SpotLeg, config),
        )
        self._asked = 0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.desk.engine.run_until(self.desk.engine.now_ns + int(seconds * SECOND))

    def run_until(self, state: TradeState, limit_s: int = 600) -> TradeUpdate:
        """Let time pass until a trade is in this state, and give the newest that is.

        Raises AssertionError with what the strategy waits for when none is within `limit_s` seconds.
        """
        end_ns = self.desk.engine.now_ns + limit_s * SECOND
        while not (found := [trade for trade in self.trades if trade.state == state]):
            if self.desk.engine.now_ns >= end_ns:
                states = ", ".join(f"{trade.state}: {trade.reason}" for trade in self.trades) or "no trade"
                raise AssertionError(f"nothing {state} within {limit_s} s; {states}; it waits for {self.waits_for}")
            self.run(1)
        return found[-1]

    def move_index(self, pct: float) -> None:
        """Move the index by so many per cent, from the next second on."""
        exchange = self.desk.venue.exchange
        exchange.move_index("BTC", pct, exchange.now_ns)

    @property
    def trades(self) -> tuple[TradeUpdate, ...]:
        """All trades of the strategy, oldest first, as execution tells of them; not those that hedge them."""
        answer = self._ask("execution", ListTrades())
        assert isinstance(answer, TradeList)
        own = (trade for trade in answer.trades if not trade.hedge_of)
        return tuple(sorted(own, key=lambda trade: trade.ordinal))

    @property
    def waits_for(self) -> Mapping[str, str]:
        """The gates that are closed, each with its reason, as `voldesk why` shows them."""
        return {gate.name: gate.reason for gate in self.status.gates if not gate.open}

    @property
    def status(self) -> StrategyStatus:
        """What `voldesk strategies` shows of it."""
        answer = self._ask("strategy", ListStrategies())
        assert isinstance(answer, StrategyList)
        (status,) = answer.strategies
        return status

    def _ask(self, service: str, question: Message) -> Message:
        """Services that have only just begun answer a little later."""
        for _ in range(10):
            self._asked += 1
            engine = self.desk.engine
            answers = self.desk.operate_at(engine.now_ns, service, question, f"rehearsal-{self._asked}")
            self.run(1)
            if answers:
                return answers[0]
        raise AssertionError(f"{service} has not answered for 10 s")


def _may_trade_futures(config: StrategyConfig) -> bool:
    return _may_trade(LinearLeg, config) or config.delta_hedge is not None


def _may_trade(kind: type[LinearLeg], config: StrategyConfig) -> bool:
    """What a `legs_factory` returns is not known before it is asked."""
    return any(isinstance(leg, kind) for leg in config.legs) or config.legs_factory is not None
