"""Where a journal's rows go: to the disk, into what was kept back for a full one, or nowhere for now."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.messages.steps import RaiseAlert

SpaceLevel = Literal["disk", "reserve", "memory"]


class JournalSpace(msgspec.Struct, frozen=True, kw_only=True):
    """An input of every core that keeps a journal, at each change and after each start that is not as it should be.

    level: "disk" is as it should be. "reserve": the disk is full or nearly so, rows go into the space that was
    kept back for that. "memory": that is used up too, rows wait in memory and are lost if the process ends. On either
    of these a core decides nothing that increases exposure.
    reason: what failed, where, and what to do about it.
    unwritten: what an earlier process could not write before it ended; "" when nothing is missing.
    lost_processes: how many processes in a row ended so, each from where the journal ends: 0 when nothing is missing.
    """

    level: SpaceLevel
    reason: str = ""
    unwritten: str = ""
    lost_processes: int = 0


ON_DISK = JournalSpace(level="disk")


def space_alerts(before: JournalSpace, now: JournalSpace, service: str) -> list[RaiseAlert]:
    """What a person is told when `before` became `now`."""
    alerts = []
    if now.unwritten:
        alerts.append(
            RaiseAlert(
                code="journal_incomplete",
                severity="critical",
                subject=service,
                text=f"the journal of {service} is incomplete: {now.unwritten}",
            )
        )
    if (before.level == "disk") != (now.level == "disk"):
        full = now.level != "disk"
        alerts.append(
            RaiseAlert(
                code="disk_full",
                severity="critical" if full else "info",
                subject=service,
                text=f"nothing is opened, closing goes on: {now.reason}"
                if full
                else f"the journal of {service} has its space again: opening is allowed",
                resolved=not full,
            )
        )
    if (before.level == "memory") != (now.level == "memory"):
        lost = now.level == "memory"
        alerts.append(
            RaiseAlert(
                code="journal_in_memory",
                severity="critical" if lost else "info",
                subject=service,
                text=f"{service} can write nothing any more and goes on in memory: free space before you restart it, "
                f"or its next start is halted ({now.reason})"
                if lost
                else f"what {service} kept in memory is written",
                resolved=not lost,
            )
        )
    return alerts


def incomplete_is_over(service: str, lifted_by: str) -> RaiseAlert:
    """What a person is told when somebody has looked after rows that are missing."""
    return RaiseAlert(
        code="journal_incomplete",
        severity="info",
        subject=service,
        text=f"{lifted_by} has compared what the journal of {service} lacks",
        resolved=True,
    )
