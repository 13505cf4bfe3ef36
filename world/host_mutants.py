"""Mistakes of strategy hosts of several groups: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Edit, Mutant

_SCENARIO = "moving_groups"

HOST_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "host_takes_all_for_its_own",
        "a strategy host acts on the trades of every host",
        (
            Edit(
                "services/strategy/core.py",
                "return self._hosts.of(strategy) == self._service and hedged_name(strategy) not in self._elsewhere",
                "return True",
            ),
        ),
        scenario=_SCENARIO,
    ),
    Mutant(
        "memory_left_behind",
        "a strategy that moves to another host leaves behind what was written of it",
        (
            Edit(
                "services/strategy/handover.py",
                'return samples if known else [Entry(now_ns, "", taken), *told, *samples]',
                "return samples",
            ),
        ),
        scenario=_SCENARIO,
    ),
    Mutant(
        "old_host_goes_on",
        "the host that gives a strategy up is not stopped before another one has it",
        (
            Edit(
                "shared/strategy_hosts.py",
                "changed = {host for pair in pairs if pair[0] != pair[1] for host in pair}",
                "changed = {pair[1] for pair in pairs if pair[0] != pair[1]}",
            ),
        ),
        scenario=_SCENARIO,
    ),
)
