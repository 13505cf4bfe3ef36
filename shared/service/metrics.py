"""What every service measures about itself, its core, the bus and the venue, each declared in one place."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence, Sized

from shared.bus.link import BusCounts
from shared.clock import monotonic_ns
from shared.http_refusals import HttpRefusals
from shared.messages.base import Message
from shared.messages.control import GrantRefused
from shared.messages.steps import Entry, Reply, Request
from shared.messages.trades import Refusal
from shared.metrics import Metrics

_REQUESTS_REMEMBERED = 4_096


def tag_of(kind: type) -> str:
    """The tag of a struct without its version: "open_trade" of "open_trade.1"; never a text from outside."""
    return str(getattr(kind, "__struct_config__").tag or kind.__name__).partition(".")[0]  # noqa: B009


class ProcessMetrics:
    """The process itself. `lost_log_lines` reads how many there are."""

    def __init__(self, metrics: Metrics, lost_log_lines: Callable[[], float] = lambda: 0.0) -> None:
        self.loop_lag_seconds = metrics.histogram("voldesk_loop_lag_seconds", "How late the event loop ran a timer")
        self.loop_stalls = metrics.counter("voldesk_loop_stalls_total", "Gaps of more than 2 s in the event loop")
        self.heartbeat_seconds = metrics.gauge("voldesk_heartbeat_timestamp_seconds", "UTC of the last heartbeat")
        self.ready = metrics.gauge("voldesk_ready", "1 when the service can do its work, else 0")
        self.starts = metrics.gauge("voldesk_starts", "How often the service was started in this run directory")
        metrics.read_one(
            "counter",
            "voldesk_log_lines_lost_total",
            "Lines that could not be written to the log's files",
            lost_log_lines,
        )
        metrics.process()


class BusMetrics:
    """The service's side of the bus: what `BusCounts` counted, read when it is scraped."""

    def __init__(self, metrics: Metrics, counts: BusCounts) -> None:
        self._counts = counts
        read = metrics.read
        read(
            "counter",
            "voldesk_bus_messages_total",
            "Frames by what became of them: published, not_sent (answers: a client's queue was full, or it was "
            "gone), received, conflated (a newer state was there already)",
            ("kind",),
            self._messages,
        )
        read(
            "counter",
            "voldesk_bus_requests_total",
            "Requests: sent, repeated, timed_out; served, answered_again (a repeat, from memory)",
            ("kind",),
            self._requests,
        )
        read(
            "counter",
            "voldesk_bus_dropped_total",
            "Frames that could not be used, by what was wrong with them",
            ("kind",),
            lambda: dict(counts.dropped),
        )
        read(
            "counter",
            "voldesk_bus_refused_total",
            "Connections that came to nothing for want of a CURVE key. Of those who came: no_key (none, or meant for "
            "another key of ours), unknown_key, revoked_key, key_not_allowed (of another service without business "
            "here). Of ours: refused_by_peer, wrong_server_key, peer_without_key, no_server_key; list_unusable",
            ("kind",),
            lambda: dict(counts.refused),
        )
        for name, documentation, counter in (
            ("gaps", "Gaps seen in event streams, by publisher", counts.gaps),
            ("lost", "Events that no replay brought back, by publisher", counts.lost),
            ("replays", "Replays asked for, by publisher", counts.replays),
        ):
            read("counter", f"voldesk_bus_{name}_total", documentation, ("publisher",), _copy_of(counter))
        metrics.read_histograms(
            "voldesk_bus_delay_seconds",
            "From publishing to receipt, by pattern of the table of topics, request or reply; of events that were "
            "received together the first, which waited longest; without replayed events. Publisher's clock to ours: "
            "on several machines the offset of their clocks is in it, and what is negative by it counts as 0",
            ("topic",),
            lambda: tuple(dict(counts.delays).items()),
        )

    def _messages(self) -> Mapping[str, float]:
        counts = self._counts
        return {
            "published": counts.published,
            "not_sent": counts.not_sent,
            "received": counts.received,
            "conflated": counts.conflated,
        }

    def _requests(self) -> Mapping[str, float]:
        counts = self._counts
        return {
            "sent": counts.requests_sent,
            "repeated": counts.requests_repeated,
            "timed_out": counts.requests_timed_out,
            "served": counts.requests_served,
            "answered_again": counts.requests_answered_again,
        }


class HttpMetrics:
    """What came over HTTP, to the scrapes' port too, and could not be answered."""

    def __init__(self, metrics: Metrics, refusals: HttpRefusals) -> None:
        metrics.read(
            "counter",
            "voldesk_http_refused_total",
            "HTTP not answered: garbage (no HTTP), late (half a request), crowd (one connection too many), cut (the "
            "client went away in the middle), failed (our own error)",
            ("kind",),
            lambda: dict(refusals.counts),
        )


class AlertMetrics:
    """The alerts that a service publishes."""

    def __init__(self, metrics: Metrics) -> None:
        self.raised = metrics.counters(
            "voldesk_alerts_raised_total",
            "Alerts published, by code and severity; severity resolved: it is over",
            "code",
            "severity",
        )


class HostMetrics:
    """A core and its queue. `queue` and `queued_ns` are the inputs that wait and since when, oldest first."""

    hears: frozenset[type] = frozenset()

    def __init__(self, metrics: Metrics, queue: Sized, queued_ns: Sequence[int]) -> None:
        self._queued_ns = queued_ns
        self._asked: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self.inputs = 0
        one = metrics.read_one
        one("counter", "voldesk_inputs_total", "Inputs that the core has handled", lambda: self.inputs)
        one("gauge", "voldesk_queue_depth", "Inputs that wait for the core now", lambda: len(queue))
        one(
            "gauge",
            "voldesk_queue_oldest_age_seconds",
            "How long the oldest input that waits has been waiting; 0 when none does",
            self._oldest_s,
        )
        self.wait_seconds = metrics.histogram(
            "voldesk_queue_wait_seconds", "How long the oldest input of each batch had waited for the core"
        )
        self.batch_seconds = metrics.histogram(
            "voldesk_batch_seconds", "Time to handle one batch of inputs: decisions, commit, effects"
        )
        self.space = metrics.gauge(
            "voldesk_journal_space",
            "Where the journal's rows go: 0 to the disk; 1 the disk is full or nearly so, nothing is opened; 2 into "
            "memory, lost if the process ends",
        )
        self.commit_seconds = metrics.histogram("voldesk_commit_seconds", "Time to commit one batch of rows")
        self.rebuilds = metrics.counter(
            "voldesk_core_failures_total", "Inputs and batches on which the core or its journal failed"
        )
        self._rows = metrics.counters("voldesk_journal_rows_total", "Rows committed to the journal, by kind", "row")
        self._answered = metrics.counters(
            "voldesk_requests_answered_total",
            "Requests answered by the core, by kind of request and answer; of a refusal its code is the reason. "
            "Grants of risk are request request_grant, intents at execution are request open_trade",
            "request",
            "answer",
            "reason",
        )
        self._request_seconds = metrics.histograms(
            "voldesk_request_seconds",
            "From the first sending of a request until the core's answer was handed to the bus, commit included: of "
            "request_grant the time a grant takes",
            "request",
        )

    def asked(self, request: Request) -> None:
        """Remember a request until it is answered."""
        self._asked[request.request_id] = (tag_of(type(request.message)), request.published_ns)
        if len(self._asked) > _REQUESTS_REMEMBERED:
            self._asked.popitem(last=False)

    def answered(self, reply: Reply, now_ns: int) -> None:
        asked = self._asked.pop(reply.request_id, None)
        if asked is None:
            return
        request, published_ns = asked
        self._answered(request, tag_of(type(reply.message)), _reason(reply.message)).inc()
        if published_ns:
            self._request_seconds(request).observe((now_ns - published_ns) / 1e9)

    def committed(self, entries: Sequence[Entry]) -> None:
        for kind, count in Counter(type(entry.row) for entry in entries).items():
            self._rows(tag_of(kind)).inc(count)

    def performed(self, effect: object, cause_id: str) -> None:
        """Effects are not counted."""

    def _oldest_s(self) -> float:
        try:
            return (monotonic_ns() - self._queued_ns[0]) / 1e9
        except IndexError:
            return 0.0


def _reason(answer: Message) -> str:
    return answer.code if isinstance(answer, Refusal | GrantRefused) else ""


def _copy_of(counter: Mapping[str, float]) -> Callable[[], Mapping[str, float]]:
    return lambda: dict(counter)


class SnapshotMetrics:
    """Of a journal that has snapshots. `replayed`: how many rows a start would replay now."""

    def __init__(self, metrics: Metrics, replayed: Callable[[], int]) -> None:
        metrics.read_one(
            "gauge",
            "voldesk_journal_replay_rows",
            "Rows that a restart would replay: those since the newest snapshot",
            replayed,
        )
        self.attempts = metrics.counters(
            "voldesk_journal_snapshots_total",
            "Snapshots of the journal by outcome: made, failed (a restart takes longer), damaged (old rows are not "
            "as they were written)",
            "outcome",
        )
