"""A desk whose cash rule keeps a minimum of USDT, while somebody takes money out and offers coins by hand."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import msgspec

from services.execution.cash_config import CashConfig
from services.execution.config import ExecutionConfig
from world.desk import Desk
from world.disturbances import at_random
from world.scenario import Scenario, plain

_MINIMUM_USDT = Decimal(20_000)
_PER_MINUTE = 4.0


def cash_rule(seed: int) -> Scenario:
    """The plain strategies on an account that has a bitcoin beside its USDT; the cap and the coins that are not kept
    are at times too few for what is wanted."""
    random = Random(f"cash rule {seed}")
    scenario = plain(seed)
    rule = CashConfig(
        mode="on",
        keep=random.choice((Decimal(0), Decimal("0.6"), Decimal("0.93"))),
        minimum_usdt=_MINIMUM_USDT,
        target_usdt=random.choice((Decimal(0), _MINIMUM_USDT)),
        cap_usd=random.choice((Decimal(6_000), Decimal(60_000))),
        interval_s=random.choice((4, 10)),
        check_s=random.choice((1, 3)),
        rest_s=3,
    )
    account = msgspec.structs.replace(
        scenario.exchange.accounts[0], initial_balance_usd=Decimal(24_000), initial_assets={"BTC": Decimal(1)}
    )
    return msgspec.structs.replace(
        scenario,
        name="cash_rule",
        exchange=msgspec.structs.replace(scenario.exchange, accounts=(account,)),
        execution=ExecutionConfig(cash=rule),
        faulty_s=100,
        script=_take_and_offer,
    )


def _take_and_offer(desk: Desk, until_ns: int) -> None:
    """Money is taken out until less than the minimum is there, and coins are offered by hand for a while."""
    exchange, account_id, engine, cash = desk.venue.exchange, desk.venue.account_id, desk.engine, desk.venue.cash
    symbol = desk.execution_config.cash.symbol

    def take() -> None:
        below = Decimal(round(engine.random.uniform(100, 4_000)))
        amount = exchange.account_summary(account_id).cash - _MINIMUM_USDT + below
        if amount > 0:
            # what more than is available is asked for is refused, as by the venue
            exchange.withdraw(account_id, amount, engine.now_ns)

    def offer() -> None:
        cash.rest_foreign(symbol, Decimal(engine.random.choice(("0.3", "0.9"))))

    at_random(desk, _PER_MINUTE, until_ns, take)
    at_random(desk, _PER_MINUTE / 2, until_ns, offer)
    at_random(desk, _PER_MINUTE, until_ns, cash.withdraw_foreign)
    engine.at(until_ns, cash.withdraw_foreign)
