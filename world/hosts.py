"""Strategy hosts of several groups: who has which strategy, what moves with it, and who may act on its trades."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from services.strategy.config import StrategyHostConfig
from services.strategy.core import StrategyHostCore
from services.strategy.handover import rows_taken
from services.strategy.loaded import LoadedStrategy, LoadFailure
from shared.ids import hedged_name
from shared.strategy_hosts import StrategyHosts
from world.node import Crashed, Node
from world.violations import Violation


class _Tenancy:
    """What one process of a host has, by the groups that ran when it started."""

    def __init__(
        self,
        hosts: StrategyHosts,
        loaded: Sequence[LoadedStrategy],
        failures: Sequence[LoadFailure],
        elsewhere: set[str],
    ) -> None:
        self.hosts = hosts
        self.loaded = tuple(loaded)
        self.failures = tuple(failures)
        self.elsewhere = frozenset(elsewhere)


class Tenants:
    """The strategies of one desk, as the files and locks of `services.strategy.tenancy` keep them apart.

    `hosts`: the groups that run; a process goes by those of its start. `nodes`: by service, the hosts among them.
    """

    def __init__(self, loaded: Iterable[LoadedStrategy], hosts: StrategyHosts, account_id: str) -> None:
        self.hosts = hosts
        self.nodes: Mapping[str, Node] = {}
        self._account_id = account_id
        self._loaded = {each.name: each for each in loaded}
        self._held: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._processes: dict[str, _Tenancy] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def take(self, service: str, now_ns: int, *, dies: bool) -> None:
        """A host starts: it has its strategies from now on, with what the one before it had written of them. `dies`:
        after it took the rows of one over and before it said so. Raises JournalFull."""
        journal = self.nodes[service].journal
        kept: list[LoadedStrategy] = []
        failures: list[LoadFailure] = []
        for name, each in self._loaded.items():
            if self.hosts.of(name) != service:
                continue
            holder = self._held.get(name, service)
            if holder != service:
                failures.append(LoadFailure(name=name, source="", reason=f"it still runs in the host {holder}"))
                continue
            self._held[name] = service
            last = self._named.get(name, service)
            if last != service:
                rows = rows_taken(name, last, journal.entries, self.nodes[last].journal.entries, now_ns)
                if rows:
                    journal.append(rows)
                    if dies:
                        self.release(service)
                        raise Crashed
            self._named[name] = service
            kept.append(each)
        elsewhere = {failure.name for failure in failures}
        self._processes[service] = _Tenancy(self.hosts, kept, failures, elsewhere)

    def release(self, service: str) -> None:
        """The process of a host has ended."""
        self._held = {name: holder for name, holder in self._held.items() if holder != service}

    def core(self, service: str, config: StrategyHostConfig) -> StrategyHostCore:
        """Of the process that took its strategies last."""
        process = self._processes[service]
        return StrategyHostCore(
            config,
            process.loaded,
            account_id=self._account_id,
            failures=process.failures,
            service=service,
            hosts=process.hosts,
            elsewhere=process.elsewhere,
        )

    def violations(self, since_ns: int, trading: Iterable[str]) -> Iterator[Violation]:
        """Strategies, those of open trades among them, that two hosts answer for, or, where all run since an instant,
        none."""
        hosts = [node for name, node in self.nodes.items() if name in self.hosts.services]
        all_run = all(node.was_up(since_ns) for node in hosts)
        answers = {node.name: set(node.core.answers_for) for node in hosts if node.alive}
        for strategy in sorted({*self._loaded, *map(hedged_name, trading)}):
            having = [name for name, names in answers.items() if strategy in names]
            if len(having) > 1:
                yield Violation("host_acts_alone", f"{strategy} is answered for by {' and '.join(having)}")
            elif not having and all_run:
                yield Violation("always_hosted", f"all hosts run and none answers for {strategy}")
