"""A bench in the place of the strategy host: it hears market and execution, and trades over the bus as one does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from shared.bus import Bus
from shared.config import DeskConfig
from shared.ids import intent_id
from shared.messages.base import Message, Side
from shared.messages.control import GrantGiven, RequestGrant
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.messages.quoting import ChangeOrders, OrdersChanged, OrderToAmend, OrderToPlace
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Heartbeat
from shared.messages.trades import (
    ExecutionMode,
    ExecutionParams,
    LegOrder,
    OpenTrade,
    OrderUpdate,
    Policy,
    TradeAccepted,
    TradeUpdate,
)
from shared.options.chain import ChainView, OptionList

STRATEGY = "bench"
PATIENCE_S = 90.0
_POLL_S = 0.02
_DAY_NS = 86_400_000_000_000
_NEAREST_DAYS, _FARTHEST_DAYS = 6.0, 40.0
_VALID_NS = 10_000_000_000
_FRESH_NS = 1_000_000_000

IRON_CONDOR = (("P", 0.10), ("C", 0.10), ("P", 0.25), ("C", 0.25))
"""Type and delta of its legs, the wings first."""

WIDE_LIMITS = """
[risk]
max_consecutive_losses = 100000
max_slippage_pct = 1e9
max_rejection_pct = 100
max_venue_errors_per_minute = 1000
max_grants_per_minute = 1000
max_open_trades = 1000
max_open_orders = 100000
max_orders_per_minute = 1000000
max_order_notional_usd = 1e12
max_delta_usd = 1e12
max_gamma_usd = 1e12
max_vega_usd = 1e12
max_theta_usd = 1e12
max_underlying_notional_pct = 1e9
max_expiry_notional_pct = 1e9
max_stressed_loss_pct = 1e9
max_trade_risk_pct = 100
max_total_risk_pct = 100
"""
"""Risk's section for benches: every check is made, and none says no."""


def nearest_options(view: ChainView, wanted: Sequence[tuple[str, float]], now_ns: int) -> tuple[str, ...]:
    """The quoted options of these types nearest to these deltas (> 0 for puts too), no symbol twice.

    All are of the nearest expiry from 6 to 40 days away. Where strikes lie so far apart that two deltas have the same
    nearest option, the one wanted first has it and the other takes the next best.
    """
    listed = view.listed
    days_away = (listed.expiries_ns - now_ns) / _DAY_NS
    free = (days_away > _NEAREST_DAYS) & (days_away < _FARTHEST_DAYS)
    free &= np.isfinite(view.column("bid")) & np.isfinite(view.column("ask"))
    free &= listed.expiries_ns == listed.expiries_ns[free].min()
    symbols = []
    for option_type, delta in wanted:
        fits = free & (listed.is_call == (option_type == "C"))
        off = np.where(fits, np.abs(np.abs(view.column("delta")) - delta), np.nan)
        chosen = int(np.nanargmin(off))
        free[chosen] = False
        symbols.append(view.instruments[chosen].symbol)
    return tuple(symbols)


class Opened(msgspec.Struct, frozen=True):
    """When (wall clock, ns) the intent was made, risk's grant and execution's answer were here, and the trade."""

    asked_ns: int
    granted_ns: int
    accepted_ns: int
    trade_id: str


class Refused(Exception):
    """Risk or execution said no, in its words."""


class Trader:
    """``async with Trader(desk)``: open while the block runs, with a heartbeat, as execution wants of a host.

    `orders`, `trades`: the newest of each that execution told of. `on_order` is told of each at once.
    """

    def __init__(self, desk: DeskConfig, on_order: Callable[[OrderUpdate], None] = lambda _: None) -> None:
        self.desk = desk
        self.orders: dict[int, OrderUpdate] = {}
        self.trades: dict[str, TradeUpdate] = {}
        self.beats: dict[str, Heartbeat] = {}
        self._on_order = on_order
        self._chain: ChainSnapshot | None = None
        self._lists: dict[str, OptionList] = {}
        self._ordinal = 0
        self._bus = Bus("strategy", desk)
        self._started_ns = time.time_ns()

    async def __aenter__(self) -> Self:
        bus = self._bus
        bus.open(self._heartbeat)
        self._beating = asyncio.ensure_future(self._beat())
        underlying = self.desk.underlyings[0]
        bus.subscribe(
            "marketdata",
            [f"md.{underlying}.instruments", f"md.{underlying}.chain", "sys.marketdata.heartbeat"],
            self._hear,
        )
        bus.subscribe("execution", ["exec.", "sys.execution.heartbeat"], self._hear)
        bus.subscribe("risk", ["sys.risk.heartbeat"], self._hear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._beating
        self._bus.close()

    @property
    def chain(self) -> ChainView | None:
        """The newest chain of the desk's first underlying."""
        listed = None if self._chain is None else self._lists.get(self._chain.list_id)
        return None if self._chain is None or listed is None else ChainView(self._chain, listed)

    async def ready(self) -> None:
        """Until there is a fresh chain, and market data, risk and execution say that they can work."""

        def can_trade() -> bool:
            up = (beat.ready for beat in map(self.beats.get, ("marketdata", "risk", "execution")) if beat is not None)
            fresh = self._chain is not None and time.time_ns() - self._chain.received_ns < _FRESH_NS
            return fresh and self.chain is not None and list(up) == [True] * 3

        await self.until(can_trade, "market data, risk and execution ready")

    async def until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Raises RuntimeError when the condition does not hold in time."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                told = ", ".join(f"{beat.service}: {beat.detail or 'ready'}" for beat in self.beats.values())
                raise RuntimeError(f"not within {patience_s:g} s: {what} ({told})")
            await asyncio.sleep(_POLL_S)

    async def ask(self, service: str, message: Message) -> Message:
        return await self._bus.ask(service, message, 10_000)

    async def open(
        self,
        legs: Sequence[LegOrder],
        mode: ExecutionMode,
        *,
        params: ExecutionParams | None = None,
        smart: SmartParams | None = None,
        rfq: RfqParams | None = None,
        policy: Policy = "atomic",
        opening_s: float = 0.0,
    ) -> Opened:
        """Make an intent, get its grant, have it opened. Raises Refused."""
        self._ordinal += 1
        ordinal, asked_ns = self._ordinal, time.time_ns()
        name = intent_id(STRATEGY, ordinal)
        ask = RequestGrant(
            intent_id=name,
            account_id=self.desk.account_id,
            strategy=STRATEGY,
            legs=tuple(legs),
            execution_mode=mode,
            max_loss_usd=None,
            valid_until_ns=asked_ns + _VALID_NS,
            opening_s=opening_s,
        )
        given = await self.ask("risk", ask)
        granted_ns = time.time_ns()
        if not isinstance(given, GrantGiven):
            raise Refused(str(given))
        opening = OpenTrade(
            intent_id=name,
            account_id=self.desk.account_id,
            strategy=STRATEGY,
            ordinal=ordinal,
            legs=tuple(legs),
            execution_mode=mode,
            execution_params=params or ExecutionParams(),
            policy=policy,
            exit_conditions=(),
            hard_deadline_ns=None,
            max_loss_usd=None,
            if_host_silent="hold",
            host_silent_after_s=60.0,
            valid_until_ns=asked_ns + _VALID_NS,
            grant=given.grant,
            smart=smart or SmartParams(),
            rfq=rfq or RfqParams(),
        )
        accepted = await self.ask("execution", opening)
        if not isinstance(accepted, TradeAccepted):
            raise Refused(str(accepted))
        return Opened(asked_ns, granted_ns, time.time_ns(), accepted.trade_id)

    async def change(
        self,
        trade_id: str,
        place: Sequence[OrderToPlace] = (),
        amend: Sequence[OrderToAmend] = (),
        cancel: Sequence[int] = (),
    ) -> OrdersChanged:
        """Work the orders of a quoting trade. Raises Refused when nothing of it was judged."""
        changed = await self.ask(
            "execution",
            ChangeOrders(
                trade_id=trade_id,
                strategy=STRATEGY,
                valid_until_ns=time.time_ns() + _VALID_NS,
                place=tuple(place),
                amend=tuple(amend),
                cancel=tuple(cancel),
            ),
        )
        if not isinstance(changed, OrdersChanged):
            raise Refused(str(changed))
        return changed

    def symbols(self, *wanted: tuple[str, float]) -> tuple[str, ...]:
        """One of `nearest_options` for each (option type, delta) that is wanted."""
        assert self.chain is not None, "wait until it is ready"
        return nearest_options(self.chain, wanted, time.time_ns())

    def iron_condor(self, quantity: Decimal) -> tuple[LegOrder, ...]:
        """Two wings bought, two strikes nearer to the money sold."""
        sides: tuple[Side, ...] = ("buy", "buy", "sell", "sell")
        symbols = self.symbols(*IRON_CONDOR)
        return tuple(
            LegOrder(symbol=each, side=side, quantity=quantity) for each, side in zip(symbols, sides, strict=True)
        )

    def _hear(self, item: Inbound | StreamSynced) -> None:
        if isinstance(item, StreamSynced):
            return
        match item.message:
            case OrderUpdate() as order:
                self.orders[order.client_order_id] = order
                self._on_order(order)
            case TradeUpdate() as trade:
                self.trades[trade.trade_id] = trade
            case ChainSnapshot() as chain:
                self._chain = chain
            case InstrumentList() as listed:
                self._lists[listed.list_id] = OptionList(listed)
            case Heartbeat() as beat:
                self.beats[beat.service] = beat
            case _:
                pass

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._bus.beat()

    def _heartbeat(self, event_sequences: dict[str, int]) -> Heartbeat:
        fields: dict[str, Any] = {"service": "strategy", "account_id": self.desk.account_id, "mode": self.desk.mode}
        return Heartbeat(
            **fields,
            venue=self.desk.venue,
            pid=os.getpid(),
            epoch=self._bus.epoch,
            started_ns=self._started_ns,
            beat_ns=time.time_ns(),
            starts=1,
            ready=True,
            detail="",
            event_sequences=event_sequences,
            strategies=(STRATEGY,),
        )
