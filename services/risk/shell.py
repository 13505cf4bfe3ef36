"""Risk as a service: reads the account, hears the others, and carries what the core decides."""

from __future__ import annotations

import asyncio

from services.risk.config import RiskConfig, margined_at
from services.risk.core import RiskCore
from services.risk.inputs import AccountPolled, AccountPollFailed
from services.risk.metrics import RiskMetrics
from services.risk.order_news import OrderNews
from services.risk.reader import AccountReader
from services.risk.rows import GrantIssued, RiskRow, may_go_unwritten
from services.risk.subscriptions import subscriptions
from services.risk.telling import RiskNarrator
from shared.leverage import LeverageTable
from shared.messages.steps import Inbound, StreamSynced
from shared.service import CoreHost, ServiceContext, StartRefused
from shared.service.narration import Narration
from shared.service.venue_metrics import VenueMetrics
from shared.venues.coincall import CoincallGateway, EveryProduct, KeyCheckFailed, check_key, of_venue
from shared.venues.ports import VenueError

_KEY_RETRY_S = 2.0


class RiskShell:
    """Needs a key that may read; one that may trade is accepted with a warning."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        leverages = context.desk.value("execution.leverage", LeverageTable)
        config = self._config = margined_at(context.section(RiskConfig), leverages.values())
        grant_key = context.grant_key()
        venue = VenueMetrics(context.metrics)
        self._gateway = (EveryProduct if context.desk.futures else CoincallGateway)(
            of_venue(context.desk.venue, lambda: context.port("exchange"), context.desk.host.exchange),
            context.api_key(),
            budget_share=config.rate_budget_share,
            on_call=venue.called,
            on_wait=venue.waited,
            on_skipped=venue.skipped,
        )
        venue.watch(self._gateway)
        context.health["venue_errors"] = lambda: venue.errors
        self._host = CoreHost(
            context,
            lambda: RiskCore(config, account_id=context.desk.account_id, grant_key=grant_key),
            context.journal(RiskRow, may_lag=(GrantIssued,)),
            _perform_nothing,
            may_go_unwritten,
        )
        metrics = RiskMetrics(context.metrics, context.desk.underlyings, lambda: self._host.core)
        self._host.observe(metrics)
        self._host.observe(Narration(context, self._host.observed, RiskNarrator()))
        context.health["account"] = metrics.words
        self._reader = AccountReader(self._gateway, context.clock, context.log)
        self._news = OrderNews(context.desk.account_id)
        self._problem = "the key has not been checked yet"

    @property
    def ready(self) -> bool:
        return not self.detail

    @property
    def detail(self) -> str:
        """Why no grant can be given now, "" when one can."""
        core = self._host.core
        if self._problem:
            return self._problem
        if core.account is None:
            return "the account has not been read yet"
        age_ns = self._context.clock.now_ns() - core.account.received_ns
        if age_ns > self._config.account_age_max_ms * 1_000_000:
            return f"the account is {age_ns / 1e9:.0f} s old"
        return "" if core.execution_synced else "execution has not replayed its trades yet"

    async def start(self) -> None:
        bus = self._context.bus
        bus.serve(self._host.put)
        for publisher, prefixes in subscriptions(self._context.desk.underlyings).items():
            bus.subscribe(publisher, prefixes, self._heard if publisher == "execution" else self._host.put)

    async def run(self) -> None:
        await asyncio.gather(self._host.run(), self._poll())

    async def stop(self) -> None:
        await self._gateway.close()

    def _heard(self, item: Inbound | StreamSynced) -> None:
        """Hand on what execution tells, but for changes of orders that say nothing to risk."""
        if self._news.is_news(item, self._host.core):
            self._host.put(item)

    async def _poll(self) -> None:
        # not before the core runs: a venue that is away must not keep it from answering
        await self._gateway.start()
        while True:
            if await self._key_holds():
                break
            await asyncio.sleep(_KEY_RETRY_S)
        pause_s = self._config.poll_interval_ms / 1e3
        while True:
            begun_ns = self._context.clock.now_ns()
            core = self._host.core
            inputs = await self._reader.read(core.journaled_until_ns, core.noted_transfers)
            for item in inputs:
                self._host.put(item)
            if not any(isinstance(item, AccountPolled | AccountPollFailed) for item in inputs):
                continue
            took_s = (self._context.clock.now_ns() - begun_ns) / 1e9
            await asyncio.sleep(max(pause_s - took_s, 0.05))

    async def _key_holds(self) -> bool:
        """Check the key; False while the venue cannot be asked. Raises StartRefused for what a person must change."""
        try:
            warnings = await check_key(self._gateway, need_trading=False)
        except KeyCheckFailed as error:
            raise StartRefused(error.reason, error.remedy) from error
        except VenueError as error:
            self._problem = f"the venue cannot be asked: {error}"
            return False
        for warning in warnings:
            self._context.log.warning("key", detail=warning)
        self._problem = ""
        return True


def _perform_nothing(effect: object, cause_id: str) -> None:
    raise AssertionError(f"risk has no effects of its own, yet here is {effect!r} for {cause_id}")
