"""The process around the core: bus and venue in, effects out. It holds no business rule."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.courier import Courier
from services.execution.effects import may_go_unwritten
from services.execution.fold import snapshots_of
from services.execution.metrics import ExecutionMetrics, Outcome
from services.execution.rows import Row
from services.execution.subscriptions import subscriptions
from services.execution.telling import ExecutionNarrator
from services.execution.winding_down import WindDown
from shared.flatten_record import read_record, record_stamp
from shared.latch import read_latches, remove_latch
from shared.messages.steps import RaiseAlert
from shared.messages.venue import StreamDown, StreamUp
from shared.options.instruments import instrument_kind
from shared.service import CoreHost, ServiceContext, StartRefused
from shared.service.compaction import Compaction
from shared.service.journals import binding_of, journal_path
from shared.service.narration import Narration
from shared.service.venue_metrics import VenueMetrics
from shared.shutdown import take_announced
from shared.tasks import spawn
from shared.venues.coincall import EveryProduct, check_key, of_venue
from shared.venues.coincall.check import KeyCheckFailed
from shared.venues.ports import AccountPush, TradingGateway, VenueError

_KEY_RETRY_S = 2.0
_STOP_S = 2.0
_WATCH_S = 1.0
_WIND_DOWN_POLL_S = 0.05
_DISARM_S = 4.0
"""Longer than one call for the venue's countdown may take."""


class ExecutionShell:
    """Runs ExecutionCore as a service. Ready when the key was checked, the stream is up and the venue compared."""

    def __init__(self, context: ServiceContext, gateway: TradingGateway | None = None) -> None:
        self._context = context
        self._config = context.section(ExecutionConfig)
        self._venue = VenueMetrics(context.metrics, context.log)
        self._gateway = gateway or self._connected()
        grant_key = context.grant_key()

        def make_core() -> ExecutionCore:
            return ExecutionCore(
                self._config,
                account_id=context.desk.account_id,
                desk_number=context.desk.number,
                grant_key=grant_key,
            )

        snapshots = snapshots_of(journal_path(context.desk, context.name), binding_of(context.desk), self._config)
        journal = context.journal(Row, snapshots=snapshots, starts_over=True)
        self._host = CoreHost(context, make_core, journal, self._perform, may_go_unwritten)
        self._compaction = Compaction(context, journal, snapshots, "services.execution.compact")
        self._courier = Courier(self._gateway, context.clock, self._outcome, self._config.place_deadline_ms / 1000)
        self._key_checked = False
        self._stream_up = False
        self._core: ExecutionCore | None = None
        self._record_stamp: tuple[int, int] | None = None
        self._metrics = ExecutionMetrics(
            context.metrics, self._host.observed, lambda: self._host.core.book, context.clock.now_ns
        )
        self._metrics.begin()
        self._host.observe(self._metrics)
        narrator = ExecutionNarrator(lambda: self._host.core.book)
        self._host.observe(Narration(context, self._host.observed, narrator, narrator.is_quiet))
        context.health["book"] = self._metrics.words
        context.health["venue_errors"] = lambda: self._venue.errors

    def _connected(self) -> EveryProduct:
        context, venue = self._context, self._venue
        gateway = EveryProduct(
            of_venue(context.desk.venue, lambda: context.port("exchange"), context.desk.host.exchange),
            context.api_key(),
            budget_share=self._config.rate_budget_share,
            orders_per_s=self._config.orders_per_s,
            on_skipped=self._skipped,
            on_call=self._called,
            on_wait=venue.waited,
            on_stream=venue.streamed,
        ).limited_to(futures=context.desk.futures, pairs=context.desk.spot_pairs)
        venue.watch(gateway)
        return gateway

    @property
    def ready(self) -> bool:
        return self._key_checked and self._stream_up and self._host.core.is_synced

    @property
    def detail(self) -> str:
        if not self._key_checked:
            return "the venue does not answer yet"
        if not self._stream_up:
            return "the private stream is down"
        if not self._host.core.is_synced:
            return "orders and positions are being compared with the venue"
        return ""

    async def start(self) -> None:
        """Subscribe and answer requests: a halt must not wait for a venue that is away. `run` asks the venue."""
        self._check_products()
        # First in the queue: a desk that was flattened without us is halted before anything else is decided.
        self._take_latches()
        self._take_record()
        take_announced(self._context.run_dir)
        bus = self._context.bus
        desk = self._context.desk
        for publisher, prefixes in subscriptions(desk.underlyings, desk.strategy_hosts.services).items():
            bus.subscribe(publisher, prefixes, self._host.put)
        bus.serve(self._host.put)

    async def run(self) -> None:
        """Core, private stream, key check and gauges, until cancelled or one of them fails."""
        parts = {
            "core": self._host.run(),
            "key": self._until_checked(),
            "stream": self._gateway.stream_account(self._streamed),
            "warmth": self._gateway.keep_warm(),
            "watch": self._watch(),
            "snapshots": self._compaction.run(),
        }
        tasks = [spawn(work, name=name, on_error=_raised_below) for name, work in parts.items()]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def wind_down(self) -> None:
        """Before the end: what was announced, or is configured, for resting orders and open trades. Bounded."""
        context = self._context
        choice = take_announced(context.run_dir)
        confirmed = choice is not None
        choice = choice or self._config.on_shutdown
        if choice == "flatten" and context.desk.mode == "LIVE" and not confirmed:
            context.log.warning("nobody was asked: orders are cancelled instead of closing everything in LIVE")
            choice = "cancel"
        context.log.info("winding down", orders=choice)
        if choice == "leave_all" and not self._config.quoting_countdown_s:
            return
        order = WindDown(choice, f"execution stops: {choice}")
        limit_s = min(self._config.shutdown_timeout_s, _DISARM_S if choice == "leave_all" else math.inf)
        deadline = asyncio.get_running_loop().time() + limit_s
        left = ["nothing was done yet"]
        while left and asyncio.get_running_loop().time() < deadline:
            if self._host.core.winding_down.choice != choice:
                # The first time, and to a core that was built anew.
                self._host.put(order)
            await asyncio.sleep(_WIND_DOWN_POLL_S)
            if self._host.core.winding_down.choice == choice:
                left = self._host.core.winding_down.left()
        if left:
            text = f"stopped {choice} after {limit_s:g} s with this left: {'; '.join(left)}"
            context.log.error("not wound down in time", left=left)
            context.alert(
                RaiseAlert(code="shutdown_incomplete", severity="critical", subject=context.name, text=text)
            )
        else:
            context.log.info("wound down", orders=choice)

    async def stop(self) -> None:
        """Let the calls on their way come back, then leave the venue."""
        await self._courier.drained(_STOP_S)
        await self._gateway.close()

    def _check_products(self) -> None:
        """Without [desk] futures, or spot, those of the venue are not looked at, and what a trade holds of them would
        seem gone."""
        book = self._host.core.book
        held = {leg.symbol for trade in book.active_trades() for leg in trade.legs}
        if self._config.leverage and not self._context.desk.futures:
            raise StartRefused(
                "[execution.leverage] names contracts, and [desk] futures is off", "set [desk] futures = true"
            )
        desk = self._context.desk
        for setting, is_on, kinds in (
            ("futures", desk.futures, ("perpetual", "future")),
            ("spot", desk.spot, ("spot",)),
        ):
            found = sorted(symbol for symbol in held if instrument_kind(symbol) in kinds)
            if found and not is_on:
                raise StartRefused(
                    f"open trades have legs in {', '.join(found)}, and [desk] {setting} is off",
                    f"set [desk] {setting} = true until these trades are closed",
                )

    async def _check_key(self) -> None:
        try:
            warnings = await check_key(self._gateway, need_trading=True)
        except KeyCheckFailed as error:
            raise StartRefused(error.reason, error.remedy) from error
        except VenueError as error:
            self._context.log.warning("the venue cannot be asked about the key yet", reason=str(error))
            return
        for warning in warnings:
            self._context.log.warning(warning)
        self._key_checked = True

    async def _until_checked(self) -> None:
        """Raises StartRefused for what a person must change."""
        await self._gateway.start()
        await self._check_key()
        while not self._key_checked:
            await asyncio.sleep(_KEY_RETRY_S)
            await self._check_key()

    def _take_latches(self) -> None:
        """Hand over what `flatten --direct` left, and remove what is journalled by now: on disk, not in memory."""
        answers = self._host.core.book.answers
        for latch in read_latches(self._context.run_dir):
            if latch.latch_id not in answers:
                self._host.put(latch)
            elif self._host.space.level != "memory":
                remove_latch(self._context.run_dir, latch.latch_id)

    def _take_record(self) -> None:
        """Hand over what direct flattens say that they did, when there is more of it."""
        run_dir = self._context.run_dir
        stamp = record_stamp(run_dir)
        if stamp is None or stamp == self._record_stamp:
            return
        self._record_stamp = stamp
        for record in read_record(run_dir, self._context.desk.number):
            self._host.put(record)

    async def _watch(self) -> None:
        """Tell a core that was built anew about the stream, see to latches, and keep the gauges."""
        while True:
            self._take_latches()
            core = self._host.core
            if core is not self._core and self._core is not None:
                self._record_stamp = None
                if self._stream_up:
                    self._host.put(StreamUp())
            self._take_record()
            self._core = core
            self._metrics.watch(is_synced=core.is_synced)
            await asyncio.sleep(_WATCH_S)

    def _perform(self, effect: Any, cause_id: str) -> None:
        self._courier.carry(effect)

    def _outcome(self, item: Any) -> None:
        if isinstance(item, Outcome):
            # it may come before the call that it is of was counted
            self._host.observed.tell()
            self._metrics.outcome(item)
        self._host.put(item)

    def _streamed(self, item: AccountPush | StreamUp | StreamDown) -> None:
        if isinstance(item, StreamUp):
            self._stream_up = True
        elif isinstance(item, StreamDown):
            self._stream_up = False
        self._host.put(item)

    def _skipped(self, reason: str) -> None:
        self._venue.skipped(reason)
        self._context.log.warning("skipped what the venue sent", reason=reason)

    def _called(self, endpoint: str, outcome: str, seconds: float) -> None:
        self._venue.called(endpoint, outcome, seconds)
        if outcome != "ok":
            self._context.log.info("venue call", endpoint=endpoint, outcome=outcome, seconds=round(seconds, 3))


def _raised_below(error: BaseException) -> None:
    """The error of a part ends `run`, which raises it."""


def make_shell(context: ServiceContext) -> ExecutionShell:
    return ExecutionShell(context)
