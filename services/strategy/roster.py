"""Which strategies a host runs: those that loaded, those that did not, and what a changed file makes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from services.strategy.asking import Asking
from services.strategy.closings import Closings
from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.memory import Memory
from services.strategy.rows import Row, TradesFollowed
from services.strategy.slot import Slot
from shared.ids import hedge_name, hedged_name
from shared.messages.steps import Entry
from shared.weakly import weakly


class Roster:
    """`slots`: the strategies by name. `failures`: the files that gave none. `asking`: whose code runs now.
    `alert` and `record` are the core's."""

    def __init__(
        self,
        config: StrategyHostConfig,
        strategies: Sequence[LoadedStrategy],
        failures: Iterable[LoadFailure],
        record: Callable[[Row], None],
        alert: Callable[..., None],
    ) -> None:
        self._config = config
        self._record = record
        self._alert = alert
        self.asking = Asking()
        self._memories: defaultdict[str, Memory] = defaultdict(Memory)
        self.failures = list(failures)
        self.slots: dict[str, Slot] = {loaded.name: self._slot(loaded) for loaded in strategies}
        self.closings = Closings(record, weakly(self.report))

    def start(self) -> None:
        """Report what could not be loaded."""
        for failure in self.failures:
            self._alert("strategy_load_failed", "critical", failure.name, failure.reason)
        for slot in self.slots.values():
            self._follow(slot)

    def apply(self, entry: Entry) -> None:
        """Fold a row. What was told to a strategy that is not loaded is kept for when it is."""
        row: Any = entry.row
        self._memories[row.strategy].apply(row, entry.at_ns)

    def trading_as(self, name: str) -> Slot | None:
        """The strategy whose trades go by this name; None for a name of nobody's here, and for hedges of a trade."""
        slot = self.slots.get(hedged_name(name))
        return slot if slot is not None and slot.trades_as == name else None

    def forget(self, strategy: str) -> None:
        """What was folded of a strategy, and of the hedges of its trades, counts no more."""
        for name in (strategy, hedge_name(strategy)):
            self._memories[name].forget()

    def ordinal_used(self, name: str) -> int:
        """The highest ordinal of this name, of a strategy or not, that is known to have had its outcome."""
        return self._memories[name].ordinal_used

    def report(self, slot: Slot, failure: str | None) -> None:
        if failure is not None:
            self._alert("strategy_failed", "critical", slot.name, f"{slot.name} is stopped: {failure}")

    def revive(self, slot: Slot) -> None:
        """Start a failed strategy anew."""
        if slot.revive():
            self._alert("strategy_failed", "info", slot.name, f"{slot.name} was started anew", resolved=True)
            self.closings.tell(slot)

    def on_reloaded(self, loaded: LoadedStrategy, open_trades: Iterable[str]) -> None:
        """Run the changed file from now on. One that could not be loaded, or has failed, begins anew with it."""
        name = loaded.name
        enabled_as = loaded.enabled_as or name
        if any(failure.name == enabled_as for failure in self.failures):
            self.failures = [failure for failure in self.failures if failure.name != enabled_as]
            self._alert("strategy_load_failed", "info", enabled_as, f"{name} is loaded now", resolved=True)
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = self._slot(loaded)
        else:
            if slot.reload_problem:
                self._alert("strategy_not_reloaded", "info", name, f"{name} runs its changed file", resolved=True)
            slot.reload(loaded, open_trades)
            self.revive(slot)
        self._alert("strategy_reloaded", "info", name, f"{name} runs its changed file; open trades keep their exits")
        self._follow(slot)

    def on_reload_refused(self, name: str, reason: str) -> None:
        """Go on with what ran before, if anything did, and say why."""
        slot = self.slots.get(name)
        if slot is not None:
            slot.reload_problem = reason
            self._alert("strategy_not_reloaded", "warning", name, f"{name} goes on as before: {reason}")
            return
        self.failures = [
            msgspec.structs.replace(each, reason=reason) if each.name == name else each for each in self.failures
        ]
        self._alert("strategy_load_failed", "critical", name, reason)

    def _slot(self, loaded: LoadedStrategy) -> Slot:
        return Slot(loaded, self._config, self._memories[loaded.name], self.asking)

    def _follow(self, slot: Slot) -> None:
        """Tell it from now on of each trade that ends."""
        if slot.loaded.on_trade_closed is not None and slot.memory.followed_ns is None:
            self._record(TradesFollowed(strategy=slot.name))
