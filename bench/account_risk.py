"""Risk as a real service with a real account, for bench/account.py: the core of a desk in `world` that holds trades.

    VOLDESK_CONFIG=... VOLDESK_RUN_DIR=... python -m bench.account_risk

Everything between the request and the answer is what the risk service runs; only what would read a venue is missing,
so that nothing else happens meanwhile.
"""

from services.risk.core import RiskCore
from shared.runner import MemoryJournal
from shared.service import CoreHost, ServiceContext, run_service
from shared.strategy import StrategyConfig, max_hold_hours, strangle
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS

SECONDS = 30
STRATEGIES = 3


def risk_core() -> RiskCore:
    """Of a desk whose strategies have each opened a strangle and keep it."""
    strategies = [
        StrategyConfig(
            name=f"bench{number}",
            legs=strangle("0.1", call_delta=0.1 + number / 20, put_delta=-0.1 - number / 20, side="buy"),
            exit_conditions=[max_hold_hours(24)],
            check_interval_seconds=1,
        )
        for number in range(STRATEGIES)
    ]
    desk = Desk(Engine(START_NS, 1), Faults.none(), strategies, small_exchange(1))
    desk.engine.run_until(START_NS + SECONDS * SECOND)
    core: RiskCore = desk.nodes["risk"].core
    assert core.account is not None, "the desk has read its account"
    assert core.account.positions, "the desk holds something"
    return core


class AccountShell:
    """The request side of the risk service's shell."""

    ready, detail = True, ""

    def __init__(self, context: ServiceContext) -> None:
        core = risk_core()
        self._context = context
        self._host = CoreHost(context, lambda: core, MemoryJournal(), _perform_nothing)

    async def start(self) -> None:
        self._context.bus.serve(self._host.put)

    async def run(self) -> None:
        await self._host.run()

    async def stop(self) -> None:
        return None


def _perform_nothing(effect: object, cause_id: str) -> None:
    raise AssertionError(f"risk has no effects of its own, yet here is {effect!r} for {cause_id}")


if __name__ == "__main__":
    run_service("risk", AccountShell)
