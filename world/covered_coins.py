"""Desks that trade coins of spot, beside options and perpetuals and alone: some with a cash rule, some on an account
whose coins somebody else sells too."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import msgspec

from services.execution.cash_config import CashConfig
from services.execution.config import ExecutionConfig
from shared.strategy import AnyLeg, LegSpec, covered_call
from world.desk import Desk
from world.disturbances import at_random
from world.limits import WIDE
from world.perpetuals import futures_trader
from world.scenario import Scenario, small_exchange

_MINIMUM_USDT = Decimal(60_000)
_PER_MINUTE = 4.0
_SALES_PER_MINUTE = 3.0


def covered_coins(seed: int) -> Scenario:
    """A covered call with its coins, coins carried against the perpetual, and coins alone, of an account that has
    coins of its own; in two seeds of three a cash rule sells of those while money is taken out."""
    random = Random(f"covered coins {seed}")
    carried: list[AnyLeg] = [LegSpec.spot("BTC", "buy", "0.1"), LegSpec.perpetual("BTC", "sell", {"of_leg": 0})]
    strike = {"type": "spotdistance", "value": 1}
    call = covered_call("0.1", {"dte_min": 1, "dte_max": 2}, strike, buys_coins=True)
    scenario = Scenario(
        name="covered_coins",
        strategies=(
            futures_trader("covered", call, seed),
            futures_trader("carry", carried, seed + 1),
            futures_trader("coins", [LegSpec.spot("BTC", "buy", "0.105")], seed + 2, hold_s=6.0),
        ),
        exchange=small_exchange(seed),
        risk=msgspec.structs.replace(WIDE, max_position_quantity=Decimal(100)),
        futures=True,
        spot=True,
        operator_pause_s=random.choice((0.0, 20.0)),
        faulty_s=90,
    )
    scenario = _with_coins(scenario, random.choice((Decimal(0), Decimal("0.05"), Decimal(1))))
    return scenario if seed % 3 == 0 else _short_of_cash(scenario, random)


def coins_sold_by_hand(seed: int) -> Scenario:
    """The same without a cash rule, while somebody sells the account's few coins by hand, and those of trades with
    them."""
    own = Random(f"coins sold by hand {seed}").choice((Decimal(0), Decimal("0.05")))
    scenario = _with_coins(covered_coins(3 * seed), own)
    return msgspec.structs.replace(scenario, name="coins_sold_by_hand", script=_sell_by_hand)


def _with_coins(scenario: Scenario, own: Decimal) -> Scenario:
    """The account has so many bitcoins of its own."""
    account = msgspec.structs.replace(scenario.exchange.accounts[0], initial_assets={"BTC": own} if own else {})
    exchange = msgspec.structs.replace(scenario.exchange, accounts=(account,))
    return msgspec.structs.replace(scenario, exchange=exchange)


def _sell_by_hand(desk: Desk, until_ns: int) -> None:
    cash, engine = desk.venue.cash, desk.engine

    def sell() -> None:
        cash.sell_foreign("BTCUSDT", Decimal(engine.random.choice(("0.5", "1"))))

    at_random(desk, _SALES_PER_MINUTE, until_ns, sell)


def _short_of_cash(scenario: Scenario, random: Random) -> Scenario:
    rule = CashConfig(
        mode="on",
        keep=random.choice((Decimal(0), Decimal("0.02"))),
        minimum_usdt=_MINIMUM_USDT,
        cap_usd=random.choice((Decimal(6_000), Decimal(60_000))),
        interval_s=4,
        check_s=random.choice((1, 3)),
        rest_s=3,
    )
    return msgspec.structs.replace(scenario, execution=ExecutionConfig(cash=rule), script=_take)


def _take(desk: Desk, until_ns: int) -> None:
    """Money is taken out until less than the minimum is there."""
    exchange, account_id, engine = desk.venue.exchange, desk.venue.account_id, desk.engine

    def take() -> None:
        below = Decimal(round(engine.random.uniform(100, 4_000)))
        amount = exchange.account_summary(account_id).cash - _MINIMUM_USDT + below
        if amount > 0:
            # what more than is available is asked for is refused, as by the venue
            exchange.withdraw(account_id, amount, engine.now_ns)

    at_random(desk, _PER_MINUTE, until_ns, take)
