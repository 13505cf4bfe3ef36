"""The outbox: what is still to be told by which channel, as the fold of the monitor's journal."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

import msgspec

from services.monitor.rows import (
    AttemptFailed,
    MessageDelivered,
    MessageFormed,
    MessageGivenUp,
    Notice,
    NoticeQueued,
    NoticesDropped,
)

_IDS_KEPT = 20_000
_ALERTS_KEPT = 5_000
MINUTE_NS = 60_000_000_000


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message that is not confirmed yet. `failed_ns`: the newest failure; `retry_ns`: when it may be tried again.

    other_side_said: the other side has named that time, so nothing makes it earlier.
    """

    message_id: str
    channel: str
    notices: tuple[Notice, ...]
    text: str
    formed_ns: int
    attempts: int = 0
    failed_ns: int = 0
    retry_ns: int = 0
    other_side_said: bool = False


class Lane(msgspec.Struct):
    """One channel: what waits, and the one message that is on its way. Order is kept, so there is one at a time.

    failing_since_ns: the first of the failures since the last success; is_final: one of them said that a person must
    change something.
    """

    waiting: dict[str, Notice] = {}
    message: Message | None = None
    formed_ns: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=100))
    failing_since_ns: int | None = None
    is_final: bool = False
    reason: str = ""
    delivered: int = 0

    def is_urged(self, now_ns: int) -> bool:
        """Whether something critical has come to wait behind the message since it failed last."""
        since_ns = 0 if self.message is None else self.message.failed_ns
        return any(
            notice.record.severity == "critical" and since_ns < notice.not_before_ns <= now_ns
            for notice in self.waiting.values()
        )

    def formed_within_minute(self, now_ns: int) -> int:
        return sum(at_ns > now_ns - MINUTE_NS for at_ns in self.formed_ns)

    @property
    def last_formed_ns(self) -> int:
        return self.formed_ns[-1] if self.formed_ns else 0


class Told(msgspec.Struct):
    """By which channels an alert was told, and when it was last told of again."""

    channels: set[str]
    last_ns: int
    reminders: int = 0


class Outbox:
    """State changes only by `apply`."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self._told: OrderedDict[str, Told] = OrderedDict()

    def apply(self, row: object, at_ns: int) -> None:
        match row:
            case NoticeQueued(notice=notice):
                self.lane(notice.channel).waiting[notice.notice_id] = notice
                self._known[notice.notice_id] = None
                if len(self._known) > _IDS_KEPT:
                    self._known.popitem(last=False)
                if notice.reminder and (told := self._told.get(notice.alert_id)) is not None:
                    told.reminders, told.last_ns = max(told.reminders, notice.reminder), at_ns
            case NoticesDropped():
                for lane in self._lanes.values():
                    for notice_id in row.notice_ids:
                        lane.waiting.pop(notice_id, None)
            case MessageFormed():
                self._formed(row, at_ns)
            case AttemptFailed():
                self._failed(row, at_ns)
            case MessageDelivered():
                if lane_of := self._carrying(row.message_id):
                    lane_of.message = None
                    lane_of.failing_since_ns, lane_of.is_final, lane_of.reason = None, False, ""
                    lane_of.delivered += 1
            case MessageGivenUp():
                if lane_of := self._carrying(row.message_id):
                    lane_of.message = None
            case _:
                raise AssertionError(f"{row!r} is no row of the outbox")

    def lane(self, channel: str) -> Lane:
        return self._lanes.setdefault(channel, Lane())

    def lanes(self) -> dict[str, Lane]:
        return self._lanes

    def knows(self, notice_id: str) -> bool:
        return notice_id in self._known

    def told(self, alert_id: str) -> Told | None:
        """By which channels the alert was told, None when by none."""
        return self._told.get(alert_id)

    def waiting_of(self, alert_id: str) -> Iterator[Notice]:
        """Its notices that are in no message yet."""
        for lane in self._lanes.values():
            yield from (notice for notice in lane.waiting.values() if notice.alert_id == alert_id)

    def pending(self) -> Iterator[Notice]:
        """All that nobody has confirmed yet."""
        for lane in self._lanes.values():
            yield from () if lane.message is None else lane.message.notices
            yield from lane.waiting.values()

    def message(self, message_id: str) -> Message | None:
        lane = self._carrying(message_id)
        return None if lane is None else lane.message

    def _carrying(self, message_id: str) -> Lane | None:
        for lane in self._lanes.values():
            if lane.message is not None and lane.message.message_id == message_id:
                return lane
        return None

    def _formed(self, row: MessageFormed, at_ns: int) -> None:
        lane = self.lane(row.channel)
        notices = tuple(lane.waiting.pop(each) for each in row.notice_ids if each in lane.waiting)
        lane.message = Message(
            message_id=row.message_id, channel=row.channel, notices=notices, text=row.text, formed_ns=at_ns
        )
        lane.formed_ns.append(at_ns)
        for notice in notices:
            if notice.record.resolved:
                self._told.pop(notice.alert_id, None)
                continue
            told = self._told.pop(notice.alert_id, None) or Told(channels=set(), last_ns=at_ns)
            told.channels.add(row.channel)
            if not notice.reminder:
                told.last_ns = at_ns
            self._told[notice.alert_id] = told
            if len(self._told) > _ALERTS_KEPT:
                self._told.popitem(last=False)

    def _failed(self, row: AttemptFailed, at_ns: int) -> None:
        lane = self._carrying(row.message_id)
        if lane is None or lane.message is None:
            return
        lane.message = msgspec.structs.replace(
            lane.message,
            attempts=row.attempts,
            failed_ns=at_ns,
            retry_ns=row.retry_ns,
            other_side_said=row.other_side_said,
        )
        lane.failing_since_ns = at_ns if lane.failing_since_ns is None else lane.failing_since_ns
        lane.is_final = lane.is_final or row.is_final
        lane.reason = row.reason
