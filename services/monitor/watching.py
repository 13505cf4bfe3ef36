"""Who is heard and who is missing: services by their heartbeats, feeds by their longest normal silence."""

from __future__ import annotations

from services.monitor.alerts import AlertBook
from services.monitor.config import MonitorConfig
from services.monitor.liveness import LOOPS_AFTER, heard
from services.monitor.telling import OWN_NAME, Teller
from services.monitor.views import ServiceView
from shared.messages.alert_kinds import TOLD_AGAIN
from shared.messages.steps import Step
from shared.messages.system import Heartbeat
from shared.messages.topics import topic_of, topic_row
from shared.strategy_hosts import StrategyHosts, is_host

_MS = 1_000_000
_TOLD_AGAIN_NS = 180_000 * _MS
"""A service that was ready for so long has told `TOLD_AGAIN` again, and a strategy host shown all that it runs."""

_STRATEGY_STATUS = "strat.{strategy}.status"


class Watch:
    """What was heard when. Volatile: after a restart everybody has the time of a start to be heard."""

    def __init__(
        self, config: MonitorConfig, alerts: AlertBook, teller: Teller, hosts: StrategyHosts = StrategyHosts()
    ) -> None:
        self._hosts = hosts
        self._config = config
        self._alerts = alerts
        self._teller = teller
        self._services: dict[str, ServiceView] = {}
        self._feeds: dict[str, int] = {}
        self._silent: set[str] = set()
        self._silent_streams: set[str] = set()
        self._started_ns = 0

    @property
    def services(self) -> tuple[ServiceView, ...]:
        return tuple(self._services.values())

    @property
    def silent_feeds(self) -> tuple[str, ...]:
        return tuple(sorted(self._silent | self._silent_streams))

    def start(self, now_ns: int) -> None:
        self._started_ns = now_ns
        for name in self._config.services:
            self._services[name] = ServiceView(name=name, heartbeat=None, heard_ns=now_ns)

    def stalled(self, now_ns: int) -> None:
        """It was we who were silent: nobody is missing until it had its time again."""
        for view in self._services.values():
            view.heard_ns = now_ns
        self._feeds = dict.fromkeys(self._feeds, now_ns)

    def fed(self, topic: str, now_ns: int) -> None:
        """Something of this topic was heard."""
        row = topic_row(topic)
        if row is not None and row.silence_max_ms is not None:
            self._feeds[topic] = now_ns

    def beat(self, step: Step, beat: Heartbeat, now_ns: int) -> tuple[str, ...]:
        """A heartbeat of another service. Returns the strategies that it has shown to be gone."""
        if beat.service == OWN_NAME:
            return ()
        earlier = self._services.get(beat.service)
        known = None if earlier is None else earlier.heartbeat
        view = heard(earlier, beat, now_ns, self._config.recovered_ms * _MS)
        self._services[beat.service] = view
        end = self._teller.end
        if known is not None and beat.epoch != known.epoch:
            self._started_anew(step, view, beat, now_ns)
        if now_ns - view.up_since_ns >= self._config.recovered_ms * _MS:
            end(step, "service_down", beat.service, f"{beat.service} is alive again", now_ns)
        if beat.ready:
            end(step, "service_not_ready", beat.service, f"{beat.service} is ready", now_ns)
        self._check_streams(step, beat, now_ns)
        if self._has_told_again(view):
            self._end_what_is_not_told_again(step, beat, now_ns)
        if beat.beat_ns - beat.started_ns < _TOLD_AGAIN_NS or not (is_host(beat.service) and beat.ready):
            return ()
        return self._gone_strategies(step, beat, now_ns)

    def _check_streams(self, step: Step, beat: Heartbeat, now_ns: int) -> None:
        """Streams of the venue that bring nothing although the service publishes what it reads by other ways."""
        silent = {f"{beat.service}/{name}": streams for name, streams in beat.silent_streams.items()}
        for subject, streams in silent.items():
            if not self._alerts.is_open("feed_stale", subject):
                name = subject.partition("/")[2]
                text = f"streams of {name} bring nothing, it comes by REST alone: {', '.join(streams)}"
                self._teller.tell(step, "feed_stale", "warning", subject, text, now_ns)
        own = {each for each in self._alerts.open_of("feed_stale") if each.startswith(f"{beat.service}/")}
        if beat.ready:
            for subject in own - silent.keys():
                text = f"streams of {subject.partition('/')[2]} bring something again, or are not listed any more"
                self._teller.end(step, "feed_stale", subject, text, now_ns)
        others = {each for each in self._silent_streams if not each.startswith(f"{beat.service}/")}
        self._silent_streams = others | silent.keys()

    def _started_anew(self, step: Step, view: ServiceView, beat: Heartbeat, now_ns: int) -> None:
        if view.short_runs >= LOOPS_AFTER:
            # one matter until a start lasts, in place of a notice for each
            text = f"{beat.service} starts again and again (start {beat.starts}): see its log"
            self._teller.tell(step, "service_down", "critical", beat.service, text, now_ns)
        else:
            text = f"{beat.service} was started anew (start {beat.starts})"
            subject = f"{beat.service} {beat.epoch}"
            self._teller.notice(step, "service_restarted", "info", subject, text, now_ns)

    def _has_told_again(self, view: ServiceView) -> bool:
        """Whether a service has told of all that holds: without the venue it cannot know, and says nothing of it. A
        strategy host is ready at once, and yet knows of no trade while execution does not."""
        needed = [view]
        if is_host(view.name):
            needed.append(self._services.get("execution", ServiceView(name="execution", heartbeat=None, heard_ns=0)))
        return all(each.ready_for_ns >= _TOLD_AGAIN_NS for each in needed)

    def _end_what_is_not_told_again(self, step: Step, beat: Heartbeat, now_ns: int) -> None:
        text = f"{beat.service} was started anew and does not tell of it any more"
        for code, subject in self._alerts.raised_by(beat.service, before_ns=beat.started_ns):
            if code in TOLD_AGAIN:
                self._teller.end(step, code, subject, text, now_ns)

    def _gone_strategies(self, step: Step, beat: Heartbeat, now_ns: int) -> tuple[str, ...]:
        """Those that ran before the host's start and that it has not shown since: nobody waits for their status."""
        if now_ns - self._started_ns < _TOLD_AGAIN_NS:
            return ()
        stale, failed = self._alerts.open_of("feed_stale"), self._alerts.open_of("strategy_failed")
        topics = {*self._feeds, *stale, *(topic_of(_STRATEGY_STATUS, strategy=each) for each in failed)}
        gone = []
        for topic in sorted(topics):
            row = topic_row(topic)
            if row is None or row.pattern != _STRATEGY_STATUS or self._feeds.get(topic, 0) >= beat.started_ns:
                continue
            strategy = topic.split(".")[1]
            if self._hosts.of(strategy) != beat.service:
                continue
            gone.append(strategy)
            self._feeds.pop(topic, None)
            self._silent.discard(topic)
            text = f"strategy {strategy} is not run any more"
            self._teller.end(step, "feed_stale", topic, text, now_ns)
            self._teller.end(step, "strategy_failed", strategy, text, now_ns)
        return tuple(gone)

    def check(self, step: Step, now_ns: int) -> None:
        """Tell of who is missing."""
        for view in self._services.values():
            self._check_service(step, view, now_ns)
        for topic, heard_ns in self._feeds.items():
            self._check_feed(step, topic, heard_ns, now_ns)

    def _check_service(self, step: Step, view: ServiceView, now_ns: int) -> None:
        config, tell = self._config, self._teller.tell
        allowed_ms = config.startup_grace_ms if view.heartbeat is None else config.heartbeat_silence_ms
        silent_ms = (now_ns - view.heard_ns) / _MS
        if silent_ms > allowed_ms:
            if not view.is_down:
                view.is_down = True
                seen = "has not been heard yet" if view.heartbeat is None else f"silent for {silent_ms / 1e3:.1f} s"
                tell(step, "service_down", "critical", view.name, f"{view.name} is down: {seen}", now_ns)
        elif view.not_ready_since_ns is not None and view.heartbeat is not None:
            waiting_ms = (now_ns - view.not_ready_since_ns) / _MS
            if waiting_ms > config.not_ready_ms and not self._alerts.is_open("service_not_ready", view.name):
                text = f"{view.name} has not been ready for {waiting_ms / 1e3:.0f} s: {view.heartbeat.detail}"
                tell(step, "service_not_ready", "warning", view.name, text, now_ns)

    def _check_feed(self, step: Step, topic: str, heard_ns: int, now_ns: int) -> None:
        row = topic_row(topic)
        assert row is not None, f"{topic} was taken in although the table of topics lacks it"
        assert row.silence_max_ms is not None, f"{topic} may be silent for ever"
        silent_ms = (now_ns - heard_ns) / _MS
        if silent_ms <= row.silence_max_ms:
            self._silent.discard(topic)
            self._teller.end(step, "feed_stale", topic, f"{topic} is heard again", now_ns)
        elif topic not in self._silent:
            self._silent.add(topic)
            text = f"{topic} has been silent for {silent_ms / 1e3:.1f} s"
            self._teller.tell(step, "feed_stale", "warning", topic, text, now_ns)
