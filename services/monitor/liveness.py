"""What the heartbeats of a service say of it: whether it is there, works, and lasts."""

from __future__ import annotations

from services.monitor.views import ServiceView
from shared.messages.system import Heartbeat

LOOPS_AFTER = 2
"""Starts in a row that did not last before a service is said to start again and again."""


def heard(earlier: ServiceView | None, beat: Heartbeat, now_ns: int, lasting_ns: int) -> ServiceView:
    """The service after this heartbeat. A process that lived for less than `lasting_ns` was a short run."""
    known = None if earlier is None else earlier.heartbeat
    is_other = known is None or known.epoch != beat.epoch
    not_ready_since_ns, up_since_ns, short_runs = None, now_ns, 0
    if earlier is not None and not is_other:
        not_ready_since_ns, short_runs = earlier.not_ready_since_ns, earlier.short_runs
        up_since_ns = now_ns if earlier.is_down else earlier.up_since_ns
    elif earlier is not None and known is not None:
        short_runs = earlier.short_runs + 1 if known.beat_ns - known.started_ns < lasting_ns else 0
    ready_since_ns = beat.beat_ns if beat.ready else None
    if beat.ready and earlier is not None and not (is_other or earlier.is_down or earlier.ready_since_ns is None):
        ready_since_ns = earlier.ready_since_ns
    if beat.ready:
        not_ready_since_ns = None
    elif not_ready_since_ns is None:
        not_ready_since_ns = now_ns
    return ServiceView(
        name=beat.service,
        heartbeat=beat,
        heard_ns=now_ns,
        up_since_ns=up_since_ns,
        short_runs=short_runs,
        not_ready_since_ns=not_ready_since_ns,
        ready_since_ns=ready_since_ns,
    )
