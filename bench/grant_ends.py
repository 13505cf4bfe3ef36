"""Both ends of bench/grant.py: a risk service that guards 50 positions among 1,000 options, and who asks it.

    VOLDESK_CONFIG=... VOLDESK_RUN_DIR=... python -m bench.grant_ends service
    python -m bench.grant_ends client RUN_DIR

Everything between a request and its answer is what the risk service runs. The trade of each grant is over before the
next request is judged, so that all requests meet the same account: 50 positions, 5 open trades and a grant of another
strategy that is not used yet.
"""

import sys
import time
import tomllib
from collections.abc import Callable
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from bench.bus_ends import REPLY_FILE, WAIT_S, desk_in
from bench.trader import WIDE_LIMITS
from bench.workers import obey
from services.risk.config import RiskConfig
from services.risk.core import RiskCore
from services.risk.inputs import AccountPolled
from shared.bus import Bus
from shared.bus.frames import Header, encode_frame
from shared.clock import wall_ns
from shared.config import DeskConfig
from shared.messages.control import GrantGiven, RequestGrant
from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.messages.steps import Inbound, Reply, Request, Step, StreamSynced
from shared.messages.trades import Grant, LegOrder, LegStatus, TradeState, TradeUpdate
from shared.messages.venue import VenueAccount, VenuePosition
from shared.options import black76
from shared.options.chain import list_id_of, pack_columns
from shared.runner import MemoryJournal
from shared.service import CoreHost, ServiceContext, run_service

ACCOUNT, KEY = "main", b"k" * 32
INDEX, VOL = 100_000.0, 0.6
SECOND = 1_000_000_000
DAY_NS = 86_400 * SECOND
POSITIONS, OPEN_TRADES = 50, 5
POLL_EVERY = 200


def wide_limits(**changes: Any) -> RiskConfig:
    """Limits that refuse none of the requests, on prices and an account that stay as they are."""

    table = tomllib.loads(WIDE_LIMITS)["risk"]
    table |= {"market_age_max_ms": 3_600_000, "account_age_max_ms": 3_600_000, "max_grants_per_minute": 10_000_000}
    return msgspec.convert(table | changes, RiskConfig, strict=False)


def instruments(now_ns: int) -> tuple[Instrument, ...]:
    """1,000 options: 20 expiries, 25 strikes, calls and puts."""
    found = []
    for expiry, strike, kind in product(range(1, 21), range(70_000, 132_500, 2_500), ("C", "P")):
        expiry_ns = now_ns + expiry * 7 * DAY_NS
        found.append(
            Instrument(
                symbol=f"BTCUSD-E{expiry}-{strike}-{kind}",
                underlying="BTCUSD",
                option_type="C" if kind == "C" else "P",
                strike=Decimal(strike),
                expiry_ns=expiry_ns,
                last_trade_ns=expiry_ns - 900 * SECOND,
                tick_size=Decimal(1),
                lot_size=Decimal("0.01"),
                min_quantity=Decimal("0.01"),
                max_quantity=Decimal(1_000),
            )
        )
    return tuple(found)


def chain_of(options: tuple[Instrument, ...], now_ns: int) -> ChainSnapshot:
    strikes = np.array([float(option.strike) for option in options])
    years = np.array([(option.expiry_ns - now_ns) / (365 * DAY_NS) for option in options])
    values = black76.greeks(INDEX, strikes, years, VOL, np.array([option.option_type == "C" for option in options]))
    price = np.maximum(values.price, 5.0)
    columns = {
        "mark": price,
        "bid": np.floor(price * 0.99),
        "ask": np.ceil(price * 1.01),
        "mark_iv": np.full(len(options), VOL),
        "forward": np.full(len(options), INDEX),
        **{name: getattr(values, name) for name in ("delta", "gamma", "vega", "theta", "rho")},
    }
    return ChainSnapshot(
        underlying="BTCUSD",
        list_id=list_id_of(options),
        venue_ns=now_ns,
        received_ns=now_ns,
        index_price=INDEX,
        index_received_ns=now_ns,
        matrix=pack_columns(columns, len(options)),
    )


def account_of(options: tuple[Instrument, ...], now_ns: int) -> AccountPolled:
    """Every twentieth option is held, long and short in turn."""
    held = options[:: len(options) // POSITIONS][:POSITIONS]
    positions = tuple(
        VenuePosition(
            symbol=option.symbol,
            quantity=Decimal("0.1") * (-1) ** number,
            average_price=Decimal(100),
            mark=100.0,
            unrealized_pnl_usd=0.0,
        )
        for number, option in enumerate(held)
    )
    figures = VenueAccount(
        equity_usd=Decimal(1_000_000),
        available_margin_usd=Decimal(900_000),
        initial_margin_usd=Decimal(100_000),
        maintenance_margin_usd=Decimal(50_000),
        unrealized_pnl_usd=Decimal(0),
    )
    return AccountPolled(asked_ns=now_ns, received_ns=now_ns, account=figures, positions=positions)


def structure(number: int, options: tuple[Instrument, ...]) -> tuple[LegOrder, ...]:
    """A condor of one expiry, another one each time."""
    expiry = options[(number % 20) * 50 : (number % 20) * 50 + 50]
    rows = (("sell", 30), ("buy", 38), ("sell", 19), ("buy", 11))
    return tuple(
        LegOrder(symbol=expiry[row].symbol, side="buy" if side == "buy" else "sell", quantity=Decimal("0.1"))
        for side, row in rows
    )


def asking(number: int, options: tuple[Instrument, ...], strategy: str = "bench") -> RequestGrant:
    return RequestGrant(
        intent_id=f"{strategy}-{number}",
        account_id=ACCOUNT,
        strategy=strategy,
        legs=structure(number, options),
        execution_mode="limit",
        max_loss_usd=None,
        valid_until_ns=2**62,
    )


def trade_of(grant: Grant, number: int, now_ns: int, state: TradeState) -> TradeUpdate:
    return TradeUpdate(
        trade_id=f"t{number}",
        account_id=ACCOUNT,
        strategy="bench",
        ordinal=number,
        intent_id=grant.intent_id,
        state=state,
        reason="",
        legs=tuple(
            LegStatus(
                symbol=leg.symbol,
                side=leg.side,
                quantity=leg.max_quantity,
                filled_quantity=Decimal(0),
                closed_quantity=Decimal(0),
                open_price=None,
                close_price=None,
            )
            for leg in grant.legs
        ),
        execution_mode="limit",
        policy="atomic",
        exit_conditions=(),
        hard_deadline_ns=None,
        created_ns=now_ns,
        opened_ns=None,
        closed_ns=None,
        updated_ns=now_ns - DAY_NS,
        realized_pnl_usd=Decimal(0),
        fees_usd=Decimal(0),
        entry_premium_usd=Decimal(0),
        grant=grant,
        grant_open=state == "OPENING",
    )


class BusyRisk:
    """A RiskCore with its account. The trade of the newest grant ends when the next request comes."""

    def __init__(self, now_ns: int) -> None:
        self.options = instruments(now_ns)
        self._core = RiskCore(wide_limits(), account_id=ACCOUNT, grant_key=KEY)
        self._number = 0
        self._granted: Grant | None = None
        self._tell(
            InstrumentList(underlying="BTCUSD", list_id=list_id_of(self.options), instruments=self.options), now_ns
        )
        self._tell(chain_of(self.options, now_ns), now_ns)
        self._core.handle(StreamSynced("execution", 1), now_ns)
        self._core.handle(account_of(self.options, now_ns), now_ns)
        for number in range(OPEN_TRADES):
            grant = self.grant(number, now_ns)
            self._tell(trade_of(grant, number, now_ns, "OPENING"), now_ns, "execution")
        self._core.handle(Request("other", asking(7, self.options, "other"), "strategy"), now_ns)
        self._number, self._granted = OPEN_TRADES, None

    def grant(self, number: int, now_ns: int) -> Grant:
        (reply,) = self._core.handle(
            Request("held", asking(number, self.options, "held"), "strategy"), now_ns
        ).effects
        assert isinstance(reply, Reply)
        assert isinstance(reply.message, GrantGiven), reply.message
        return reply.message.grant

    def end_last(self, now_ns: int) -> None:
        if self._granted is not None:
            self._number += 1
            self._tell(trade_of(self._granted, self._number, now_ns, "CLOSED"), now_ns, "execution")
            self._granted = None
            if self._number % POLL_EVERY == 0:
                # as a read of the account does now and then, after which ended trades are forgotten
                self._core.handle(account_of(self.options, now_ns), now_ns)

    def handle(self, item: Any, now_ns: int) -> Step:
        if isinstance(item, Request):
            self.end_last(now_ns)
        step: Step = self._core.handle(item, now_ns)
        for effect in step.effects:
            if isinstance(effect, Reply) and isinstance(effect.message, GrantGiven):
                self._granted = effect.message.grant
        return step

    def _tell(self, message: Any, now_ns: int, publisher: str = "marketdata") -> None:
        self._core.handle(Inbound("", message, "", publisher, 1), now_ns)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


class GrantShell:
    """The request side of the risk service's shell."""

    ready, detail = True, ""

    def __init__(self, context: ServiceContext) -> None:
        core = BusyRisk(wall_ns())
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


async def client(desk: DeskConfig) -> None:
    """Asks for grants one after the other, each for another intent; keeps an answer's bytes for the bare loop."""
    options = instruments(wall_ns())
    number = 0

    async def asks(count: int) -> list[float]:
        nonlocal number
        times = []
        for _ in range(count):
            number += 1
            request = asking(number, options)
            begun = time.perf_counter_ns()
            answer = await bus.ask("risk", request, int(WAIT_S * 1_000))
            times.append((time.perf_counter_ns() - begun) / 1_000)
            assert isinstance(answer, GrantGiven), answer
        return times

    async with Bus("strategy", desk) as bus:
        answer = await bus.ask("risk", asking(0, options), int(WAIT_S * 1_000))
        assert isinstance(answer, GrantGiven), answer
        header = Header("risk", 1, 0, "risk.1.1", "strategy.18e9c6d5ea305818.1", time.time_ns())
        (desk.run_dir / REPLY_FILE).write_bytes(encode_frame("reply", header, answer))
        await obey({"asks": asks})


def main() -> None:
    ends: dict[str, Callable[[], None]] = {
        "service": lambda: run_service("risk", GrantShell),
        "client": lambda: uvloop.run(client(desk_in(Path(sys.argv[2])))),
    }
    ends[sys.argv[1]]()


if __name__ == "__main__":
    main()
