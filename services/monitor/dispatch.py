"""Who is told what, when, and by which message: routes, grouping, rate limits, recoveries, reminders, back-off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from services.monitor.alert_config import Channel, FlappingSection, KindRule, Route, filled
from services.monitor.alerts import Matter, alert_id_of
from services.monitor.effects import AlertRecord, Deliver, DeliveryFailed
from services.monitor.flapping import Flapping, Overdue
from services.monitor.outbox import Lane, Message, Outbox
from services.monitor.rows import (
    AttemptFailed,
    MessageDelivered,
    MessageFormed,
    MessageGivenUp,
    Notice,
    NoticeQueued,
    NoticesDropped,
)
from shared.messages.alert_kinds import title_of
from shared.messages.alerts import ChannelView
from shared.messages.steps import Entry, Step
from shared.messages.system import SEVERITY_RANK, Severity

SECOND = 1_000_000_000
FAILING_AFTER_NS = 20 * SECOND
"""A channel whose messages have failed for so long is one that does not work."""

_CRITICAL_GAP_NS = 1 * SECOND
_CRITICAL_MORE = 10
"""Messages beyond the limit per minute that critical alerts may use."""

_BACKOFF_FIRST_NS, _BACKOFF_MAX_NS = 1 * SECOND, 300 * SECOND
_STALE_NS = 86_400 * SECOND
_REMIND_MAX_NS = 4 * 3_600 * SECOND
_TEXT_MAX = 3_500
"""Characters of a message; Telegram takes 4,096."""

_NOTICE_TEXT_MAX = 700
_NOTICES_MAX = 30
_WORDS: dict[Severity, str] = {"critical": "CRITICAL", "warning": "Warning", "info": "Note"}
_USUAL = KindRule()


class Dispatch:
    """Decides on deliveries; its state is the outbox.

    heading: of every message, with desk, mode and account.
    """

    def __init__(
        self,
        *,
        heading: str,
        kinds: Mapping[str, KindRule],
        routes: Mapping[str, Route],
        channels: Mapping[str, Channel],
        flapping: FlappingSection,
    ) -> None:
        self._heading = heading
        self._kinds = kinds
        self._routes = routes
        self._channels = channels
        self._flapping_rule = flapping
        self.flapping = Flapping(flapping)
        self._sending: set[str] = set()
        self.outbox = Outbox()

    def rule(self, code: str) -> KindRule:
        return self._kinds.get(code, _USUAL)

    def restore(self, records: Iterable[AlertRecord]) -> None:
        """Take over what was written before a restart, oldest first: what flapped goes on to be held back."""
        for record in records:
            rule = self.rule(record.code)
            if rule.holds(record.code):
                self.flapping.restore(record, alert_id_of(record, record.raised_ns), after_s=rule.after_s)

    def start(self, step: Step, now_ns: int) -> None:
        """After the journal was folded: forget channels that are gone, and send again what is not confirmed."""
        self._sending.clear()
        for name, lane in self.outbox.lanes().items():
            if name in self._channels:
                if lane.message is not None and lane.is_final:
                    # somebody has changed what kept it from being taken, or so it seems
                    self._send(step, lane.message)
                continue
            if lane.message is not None:
                gone = MessageGivenUp(message_id=lane.message.message_id, reason="its channel is configured no more")
                self._record(step, gone, now_ns)
            self._drop(step, lane.waiting.values(), "its channel is configured no more", now_ns)
        self.advance(step, now_ns)

    def tell(self, step: Step, record: AlertRecord, alert_id: str, now_ns: int) -> None:
        """Queue what a person should hear of an alert that is new, worse, further or over."""
        rule = self.rule(record.code)
        holds = rule.holds(record.code)
        verdict = self.flapping.note(record, alert_id, after_s=rule.after_s) if holds else "usual"
        if verdict == "flapping":
            often = f"begun {self._flapping_rule.begins} times within {_minutes(self._flapping_rule.window_s)}"
            text = f"flapping, {often}: told again once it is steady. {record.text}"
            self._tell(step, msgspec.structs.replace(record, text=text), alert_id, now_ns, event="flapping")
        elif verdict == "usual":
            self._tell(step, record, alert_id, now_ns)
        self.advance(step, now_ns)

    def settle(self, step: Step, now_ns: int) -> list[tuple[str, str]]:
        """Tell what flapped and is steady now, open or over, and what flaps on and was held back long enough.

        Returns (code, subject) of what is steady.
        """
        found = self.flapping.steady(now_ns)
        for steady in found:
            state = "over" if steady.record.resolved else "open"
            text = f"{steady.record.text} (flapped, {state} for {_minutes(steady.lasted_ns / SECOND)} now)"
            record = msgspec.structs.replace(steady.record, text=text)
            self._tell(step, record, steady.alert_id, now_ns, waited_s=steady.lasted_ns / SECOND)
        for overdue in self.flapping.overdue(now_ns):
            self._tell_on(step, overdue, now_ns)
        self.advance(step, now_ns)
        return [(steady.record.code, steady.record.subject) for steady in found]

    def remind(self, step: Step, matters: Iterable[Matter], now_ns: int) -> None:
        """Tell again, and to more, of what is critical and that nobody has acknowledged."""
        for matter in matters:
            if not matter.is_open or matter.record.severity != "critical" or matter.acknowledged_by:
                continue
            rule = self.rule(matter.record.code)
            route = self._routes.get(matter.record.route or rule.route)
            alert_id = matter.held_id or matter.alert_id
            told = self.outbox.told(alert_id)
            if told is None or route is None or rule.mute or not route.remind_after_s:
                continue
            pause_ns = min(round(route.remind_after_s * SECOND) << min(told.reminders, 20), _REMIND_MAX_NS)
            if now_ns < told.last_ns + pause_ns:
                continue
            held = self.flapping.held_as(matter.record.code, matter.record.subject)
            record = matter.record if held is None else held.told
            self._tell_again(step, route, record, alert_id, now_ns, reminder=told.reminders + 1, flaps=bool(held))

    def _tell_on(self, step: Step, overdue: Overdue, now_ns: int) -> None:
        """Tell again what flaps on; what is critical to those as well who hear of what nobody has acknowledged."""
        record, rule = overdue.record, self.rule(overdue.record.code)
        route = self._routes.get(record.route or rule.route)
        if rule.mute or route is None:
            return
        span = _minutes(overdue.held_ns / SECOND)
        often = f"begun {overdue.begins} times within {span}, open for {overdue.open_share:.0%} of them"
        record = msgspec.structs.replace(record, text=f"flapping on, {often}. {record.text}")
        told = self.outbox.told(overdue.alert_id)
        reminds = told is not None and record.severity == "critical" and route.remind_after_s
        reminder = told.reminders + 1 if told is not None and reminds else 0
        event = f"flapping@{overdue.due_ns}"
        self._tell_again(step, route, record, overdue.alert_id, now_ns, reminder=reminder, flaps=True, event=event)

    def _tell_again(
        self,
        step: Step,
        route: Route,
        record: AlertRecord,
        alert_id: str,
        now_ns: int,
        *,
        reminder: int,
        flaps: bool,
        event: str = "",
    ) -> None:
        names = tuple(dict.fromkeys((*route.channels, *(route.escalate_to if reminder else ()))))
        for channel, note in self._targets(names, route, record, now_ns):
            self._queue(
                step,
                alert_id,
                record,
                channel,
                now_ns,
                now_ns,
                reminder=reminder,
                note=note,
                event=event,
                flaps=flaps,
            )

    def advance(self, step: Step, now_ns: int) -> None:
        """Send what is due by each channel that is free."""
        for name, channel in self._channels.items():
            lane = self.outbox.lane(name)
            if lane.message is not None:
                self._try_again(step, lane, now_ns)
            if lane.message is None:
                self._form(step, name, channel, lane, now_ns)

    def delivered(self, step: Step, message_id: str, now_ns: int) -> None:
        self._sending.discard(message_id)
        if self.outbox.message(message_id) is not None:
            self._record(step, MessageDelivered(message_id=message_id), now_ns)
            self.advance(step, now_ns)

    def failed(self, step: Step, failure: DeliveryFailed, now_ns: int) -> None:
        self._sending.discard(failure.message_id)
        message = self.outbox.message(failure.message_id)
        if message is None:
            return
        # what is critical and waits behind it is worth trying anew from the shortest pause
        attempts = 0 if self.outbox.lane(message.channel).is_urged(now_ns) else message.attempts
        pause_ns = min(_BACKOFF_FIRST_NS << min(attempts, 20), _BACKOFF_MAX_NS)
        if failure.is_final:
            pause_ns = _BACKOFF_MAX_NS
        if failure.retry_after_s is not None:
            pause_ns = max(pause_ns if failure.is_final else 0, round(failure.retry_after_s * SECOND), SECOND)
        row = AttemptFailed(
            message_id=message.message_id,
            attempts=attempts + 1,
            retry_ns=now_ns + pause_ns,
            reason=failure.reason[:300],
            is_final=failure.is_final,
            other_side_said=failure.retry_after_s is not None,
        )
        self._record(step, row, now_ns)

    def failing(self, now_ns: int) -> dict[str, str]:
        """The channels that do not work now, each with the reason."""
        return {name: self.outbox.lane(name).reason for name in self._channels if self._fails(name, now_ns)}

    def fall_back(self, step: Step, channel: str, now_ns: int) -> None:
        """A channel has just been found not to work: what it has not told goes to the fallback channels too."""
        lane = self.outbox.lane(channel)
        stuck = [*(() if lane.message is None else lane.message.notices), *lane.waiting.values()]
        for notice in stuck:
            route = self._routes.get(notice.record.route or self.rule(notice.record.code).route)
            if route is None or notice.note:
                continue
            for name, note in self._targets((channel,), route, notice.record, now_ns):
                if name != channel:
                    self._queue(
                        step,
                        notice.alert_id,
                        notice.record,
                        name,
                        notice.not_before_ns,
                        now_ns,
                        reminder=notice.reminder,
                        note=note,
                        flaps=notice.flaps,
                    )
        self.advance(step, now_ns)

    @property
    def tells_somebody(self) -> bool:
        """Whether any route leads to a channel."""
        return any(route.channels for route in self._routes.values())

    def states(self, now_ns: int) -> tuple[ChannelView, ...]:
        """Every channel, for people."""
        states = []
        for name, channel in self._channels.items():
            lane = self.outbox.lane(name)
            unconfirmed = 0 if lane.message is None else len(lane.message.notices)
            states.append(
                ChannelView(
                    name=name,
                    via=channel.via,
                    failing_since_ns=lane.failing_since_ns,
                    reason=lane.reason,
                    waiting=len(lane.waiting) + unconfirmed,
                    delivered=lane.delivered,
                )
            )
        return tuple(states)

    def _fails(self, channel: str, now_ns: int) -> bool:
        lane = self.outbox.lane(channel)
        since_ns = lane.failing_since_ns
        return since_ns is not None and (lane.is_final or now_ns - since_ns >= FAILING_AFTER_NS)

    def _targets(self, names: Sequence[str], route: Route, record: AlertRecord, now_ns: int) -> list[tuple[str, str]]:
        """(channel, note) of who hears of it; of a channel that fails its fallback does too, but it never itself."""
        targets: dict[str, str] = {}
        for name in names:
            if record.code == "delivery_failed" and record.subject == name:
                # without a fallback by whatever way there is: nothing else says that this one is silent
                others = route.fallback or route.escalate_to or (tuple(self._channels) if len(names) == 1 else ())
                targets.update({each: "" for each in others if each not in targets and each != name})
                continue
            if not self._wants(name, record):
                continue
            targets[name] = ""
            if self._fails(name, now_ns):
                note = f"by another way: {name} does not take alerts"
                for each in route.fallback:
                    if each != name and self._wants(each, record):
                        targets.setdefault(each, note)
        return [(name, note) for name, note in targets.items() if name in self._channels]

    def _wants(self, channel: str, record: AlertRecord) -> bool:
        return SEVERITY_RANK[record.severity] >= SEVERITY_RANK[self._channels[channel].min_severity]

    def _tell(
        self,
        step: Step,
        record: AlertRecord,
        alert_id: str,
        now_ns: int,
        *,
        event: str = "",
        waited_s: float = 0.0,
    ) -> None:
        rule = self.rule(record.code)
        route = self._routes.get(record.route or rule.route)
        if rule.mute or route is None:
            return
        if record.resolved:
            self._tell_end(step, record, alert_id, now_ns)
            return
        # what is known already does not wait to be worse
        wait_s = 0.0 if self.outbox.told(alert_id) is not None else rule.after_s
        not_before_ns = now_ns + round(max(wait_s - waited_s, 0.0) * SECOND)
        for channel, note in self._targets(route.channels, route, record, now_ns):
            self._queue(step, alert_id, record, channel, not_before_ns, now_ns, note=note, event=event)

    def _tell_end(self, step: Step, record: AlertRecord, alert_id: str, now_ns: int) -> None:
        untold = [notice for notice in self.outbox.waiting_of(alert_id) if not notice.record.resolved]
        self._drop(step, untold, "over before it was told", now_ns)
        told = self.outbox.told(alert_id)
        for channel in sorted(told.channels) if told is not None else ():
            if channel in self._channels:
                self._queue(step, alert_id, record, channel, now_ns, now_ns)

    def _queue(
        self,
        step: Step,
        alert_id: str,
        record: AlertRecord,
        channel: str,
        not_before_ns: int,
        now_ns: int,
        *,
        reminder: int = 0,
        note: str = "",
        event: str = "",
        flaps: bool = False,
    ) -> None:
        event = event or (f"again{reminder}" if reminder else "over" if record.resolved else record.severity)
        if record.stage and event == record.severity:
            event = f"{event}@{record.raised_ns}"
        notice = Notice(
            notice_id=f"{alert_id}.{event}.{channel}",
            alert_id=alert_id,
            channel=channel,
            record=record,
            not_before_ns=not_before_ns,
            reminder=reminder,
            note=note,
            flaps=flaps,
        )
        if not self.outbox.knows(notice.notice_id):
            self._record(step, NoticeQueued(notice), now_ns)

    def _drop(self, step: Step, notices: Iterable[Notice], reason: str, now_ns: int) -> None:
        ids = tuple(notice.notice_id for notice in notices)
        if ids:
            self._record(step, NoticesDropped(notice_ids=ids, reason=reason), now_ns)

    def _try_again(self, step: Step, lane: Lane, now_ns: int) -> None:
        message = lane.message
        if message is None or message.message_id in self._sending:
            return
        if now_ns < message.retry_ns and (message.other_side_said or not lane.is_urged(now_ns)):
            return
        if now_ns - message.formed_ns > _STALE_NS:
            reason = f"not taken for a day: {lane.reason}"
            self._record(step, MessageGivenUp(message_id=message.message_id, reason=reason), now_ns)
            return
        self._send(step, message)

    def _form(self, step: Step, name: str, channel: Channel, lane: Lane, now_ns: int) -> None:
        stale = [notice for notice in lane.waiting.values() if now_ns - notice.not_before_ns > _STALE_NS]
        self._drop(step, stale, "too old", now_ns)
        due = [notice for notice in lane.waiting.values() if notice.not_before_ns <= now_ns]
        if not due:
            return
        is_critical = any(notice.record.severity == "critical" for notice in due)
        gap_ns = (
            min(_CRITICAL_GAP_NS, round(channel.group_s * SECOND)) if is_critical else round(channel.group_s * SECOND)
        )
        allowed = channel.per_minute + (_CRITICAL_MORE if is_critical else 0)
        if now_ns < lane.last_formed_ns + gap_ns or lane.formed_within_minute(now_ns) >= allowed:
            return
        due.sort(key=lambda notice: -SEVERITY_RANK[notice.record.severity])
        text, taken = self._text(due, now_ns)
        ids = tuple(notice.notice_id for notice in taken)
        message_id = "m" + hashlib.sha256("\0".join((name, *ids)).encode()).hexdigest()[:8]
        text = f"{text}\n{message_id}"
        self._record(step, MessageFormed(message_id=message_id, channel=name, notice_ids=ids, text=text), now_ns)
        if lane.message is not None:
            self._send(step, lane.message)

    def _text(self, due: Sequence[Notice], now_ns: int) -> tuple[str, list[Notice]]:
        lines: list[str] = []
        taken: list[Notice] = []
        length = 0
        for notice in due[:_NOTICES_MAX]:
            line = self._line(notice, now_ns)
            if taken and length + len(line) > _TEXT_MAX:
                break
            lines.append(line)
            taken.append(notice)
            length += len(line) + 1
        more = len(due) - len(taken)
        counted = f"{len(taken)} alerts" if len(taken) > 1 else ""
        heading = " · ".join(
            part for part in (self._heading, counted, f"{more} more to come" if more else "") if part
        )
        return "\n".join((heading, *lines)), taken

    def _line(self, notice: Notice, now_ns: int) -> str:
        record = notice.record
        title = title_of(record.code)
        text = record.text
        if not record.resolved:
            text = filled(
                self.rule(record.code).text,
                text,
                text=text,
                subject=record.subject,
                service=record.service,
                code=record.code,
                title=title,
            )
        word = "Over" if record.resolved else _WORDS[record.severity]
        if notice.reminder:
            minutes = max(now_ns - record.raised_ns, 0) // (60 * SECOND)
            word = f"{word}, {'flapping' if notice.flaps else 'open'} for {minutes} min and not acknowledged"
        if len(text) > _NOTICE_TEXT_MAX:
            text = f"{text[:_NOTICE_TEXT_MAX]}…"
        note = f" ({notice.note})" if notice.note else ""
        return f"{word} · {title}: {text}{note} #{notice.alert_id}"

    def _send(self, step: Step, message: Message) -> None:
        self._sending.add(message.message_id)
        open_now: list[Severity] = [
            notice.record.severity for notice in message.notices if not notice.record.resolved
        ]
        worst: Severity = max(open_now, key=lambda each: SEVERITY_RANK[each], default="info")
        deliver = Deliver(message_id=message.message_id, channel=message.channel, text=message.text, severity=worst)
        step.effects.append(deliver)

    def _record(self, step: Step, row: msgspec.Struct, now_ns: int) -> None:
        step.rows.append(Entry(now_ns, "", row))
        self.outbox.apply(row, now_ns)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
