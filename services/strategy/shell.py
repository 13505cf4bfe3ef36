"""The strategy host as a service: loads the files, hands the bus to the core. It holds no key of the venue."""

from __future__ import annotations

from typing import Any

from services.strategy.config import StrategyHostConfig
from services.strategy.core import StrategyHostCore
from services.strategy.loader import load_enabled
from services.strategy.metrics import StrategyMetrics
from services.strategy.rows import Row, may_go_unwritten
from services.strategy.subscriptions import SUBSCRIPTIONS
from services.strategy.telling import StrategyNarrator
from services.strategy.tenancy import Tenancy
from services.strategy.watchdog import Watchdog, without_blocked
from services.strategy.watcher import FileWatcher
from shared.service import CoreHost, ServiceContext
from shared.service.narration import Narration
from shared.tasks import spawn


class StrategyShell:
    """Starts with every other service absent; the core waits for what it needs and says so."""

    def __init__(self, context: ServiceContext) -> None:
        self.ready = False
        self.detail = ""
        self._context = context
        self._host: CoreHost[StrategyHostCore] | None = None
        self._watcher: FileWatcher | None = None
        self._watchdog: Watchdog | None = None
        self._tenancy = Tenancy(context.desk, context.name)

    @property
    def strategies(self) -> tuple[str, ...]:
        return () if self._host is None else self._host.core.answers_for

    async def start(self) -> None:
        context = self._context
        config = context.section(StrategyHostConfig)
        hosts = context.desk.strategy_hosts
        enabled = hosts.enabled(context.name, config.enabled)
        loaded, failures = without_blocked(context.run_dir, *load_enabled(context.desk, enabled))
        journal = context.journal(Row)
        loaded, failures = await self._tenancy.take(loaded, failures, journal, context.clock.now_ns())
        log = context.log.bind(track="strategy")
        for name, last in self._tenancy.taken_from.items():
            log.info("strategy taken over from another host", strategy=name, host=last)
        for name, reason in self._tenancy.unread.items():
            log.error("nothing is known of a strategy that is not enabled", strategy=name, reason=reason)
        for failure in failures:
            log.error("strategy not loaded", strategy=failure.name, reason=failure.reason, remedy=failure.remedy)
        for strategy in loaded:
            log.info(
                "strategy loaded", strategy=strategy.name, source=strategy.source, parameters=strategy.parameters
            )

        watcher = self._watcher = FileWatcher(
            context.desk,
            loaded,
            failures,
            lambda changed: host.put(changed),
            context.log.bind(track="strategy"),
            enabled=[name for name in enabled if name not in self._tenancy.refused],
        )

        def make_core() -> StrategyHostCore:
            return StrategyHostCore(
                config,
                watcher.running,
                account_id=context.desk.account_id,
                failures=watcher.failures,
                service=context.name,
                hosts=hosts,
                elsewhere=self._tenancy.elsewhere,
            )

        host = self._host = CoreHost(context, make_core, journal, self._perform, may_go_unwritten)
        self._watchdog = Watchdog(
            context.run_dir,
            lambda: host.core.asking,
            lambda: {name: slot.loaded.source for name, slot in host.core.slots.items()},
            config.block_max_s,
            log,
        )
        metrics = StrategyMetrics(context.metrics, host.observed, lambda: host.core.slots)
        host.observe(metrics)
        host.observe(Narration(context, host.observed, StrategyNarrator(lambda: host.core.slots)))
        context.health["strategies"] = metrics.words
        for publisher, prefixes in SUBSCRIPTIONS.items():
            context.bus.subscribe(publisher, prefixes, self._host.put)
        context.bus.serve(self._host.put)
        self.detail = f"{len(loaded)} strategies, {len(failures)} not loaded"
        self.ready = True

    async def run(self) -> None:
        assert self._host is not None, "start comes first"
        assert self._watcher is not None, "start comes first"
        assert self._watchdog is not None, "start comes first"
        watching = spawn(self._watcher.run(), name="strategy files")
        self._watchdog.start()
        try:
            await self._host.run()
        finally:
            watching.cancel()
            self._watchdog.stop()

    async def stop(self) -> None:
        self.ready = False
        self._tenancy.release()

    def _perform(self, effect: Any, cause_id: str) -> None:
        raise AssertionError(f"a strategy host has no effect {type(effect).__name__}")
