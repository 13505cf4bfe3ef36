"""Requests and answers: ids made by the client, repeated until answered, acted on once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import msgspec
import zmq

from shared.bus.frames import FrameError, Opened, open_array, read_body, split_frame, topic_prefix
from shared.bus.link import Link
from shared.bus.sockets import LoopSocket
from shared.messages.base import Message
from shared.messages.steps import ReplyReceived, Request, RequestTimedOut
from shared.messages.trades import Refusal, unknown_request

_REQUEST_TOPIC, _REPLY_TOPIC = b"request", b"reply"
_REQUEST_PREFIX, _REPLY_PREFIX = topic_prefix("request"), topic_prefix("reply")
_ANSWER_BYTES_KEPT = 64 * 1024 * 1024
_REQUEST_BYTES_MAX = 65_536
"""The largest request of ours has a tenth of this; its texts are kept, journalled and published."""

_PENDING_S = 60.0
_TIMER_STEP_S = 0.001
"""What the loop's timers are rounded to."""

_LOOK_PAUSE_S = 0.01
"""Least time between two looks at what is due: with thousands waiting for a dead service each look has its price."""

_REQUEST_QUEUE = 500
"""Requests that wait in the socket; further ones wait at their clients."""

AnswerReceiver = Callable[[ReplyReceived | RequestTimedOut], None]


class _Waiting(msgspec.Struct):
    """A request without an answer. `due`: when it is repeated or given up, on the loop's clock."""

    service: str
    frame: bytearray
    deadline: float
    due: float
    receiver: AnswerReceiver
    sent: bool = False

    @property
    def source(self) -> str:
        return f"reply from {self.service}"


class RequestClient:
    """Asks other services. A request is repeated with its id until it is answered or its deadline has passed.

    All requests share one timer, set to the earliest that is due: one that is answered in time costs none.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sockets: dict[str, LoopSocket] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._resend_s = link.settings.resend_ms / 1_000
        self._max_bytes = link.settings.max_message_bytes
        self._delays = link.counts.delays["reply"]

    def send(
        self, service: str, message: Message, request_id: str, deadline_ms: int, receiver: AnswerReceiver
    ) -> None:
        """Ask; `receiver` is called exactly once. An id that is still waiting is not asked twice, only for longer."""
        now = self._link.loop.time()
        deadline = now + deadline_ms / 1_000
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            waiting.deadline = max(waiting.deadline, deadline)
            waiting.receiver = receiver
            return
        frame = self._link.encode(_REQUEST_PREFIX, message, request_id)
        waiting = _Waiting(service, frame, deadline, deadline, receiver)
        self._waiting[request_id] = waiting
        self._link.counts.requests_sent += 1
        self._try(request_id, waiting, now)

    def forget(self, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(request_id, None)

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()

    def _try(self, request_id: str, waiting: _Waiting, now: float) -> None:
        socket = self._sockets.get(waiting.service) or self._connect(waiting.service)
        if waiting.sent:
            self._link.counts.requests_repeated += 1
        sent = socket.send(waiting.frame)
        waiting.sent = waiting.sent or sent
        if not waiting.sent:
            socket.wants_writable = True
        waiting.due = min(now + self._resend_s, waiting.deadline)
        self._look_at(waiting.due)

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer, self._timer_due = self._link.loop.call_at(due, self._look), due

    def _look(self) -> None:
        """Repeat what is due, give up what is past its deadline, and come back for the next."""
        self._timer = None
        now = self._link.loop.time()
        for request_id, waiting in list(self._waiting.items()):
            if waiting.due > now + _TIMER_STEP_S or self._waiting.get(request_id) is not waiting:
                continue
            if now + _TIMER_STEP_S < waiting.deadline:
                self._try(request_id, waiting, now)
                continue
            del self._waiting[request_id]
            self._link.counts.requests_timed_out += 1
            self._link.deliver(waiting.source, waiting.receiver, RequestTimedOut(request_id))
        if self._waiting:
            due = max(now + _LOOK_PAUSE_S, min(waiting.due for waiting in self._waiting.values()))
            self._look_at(due)

    def _connect(self, service: str) -> LoopSocket:
        socket = LoopSocket(
            self._link.context,
            zmq.DEALER,
            {
                # without a connection a request waits here, where it has a deadline, not in ZeroMQ's queue
                zmq.IMMEDIATE: 1,
                zmq.SNDHWM: self._link.settings.publish_queue,
                zmq.RCVHWM: self._link.settings.event_queue,
                zmq.MAXMSGSIZE: 4 * self._link.settings.max_message_bytes,
            },
            self._received,
            on_writable=lambda: self._connected(service),
        )
        self._sockets[service] = socket
        self._link.connect(socket, service, self._link.endpoints.requests(service))
        return socket

    def _connected(self, service: str) -> None:
        self._sockets[service].wants_writable = False
        now = self._link.loop.time()
        for request_id, waiting in list(self._waiting.items()):
            if waiting.service == service and not waiting.sent:
                self._try(request_id, waiting, now)

    def _received(self, batch: list[bytes]) -> None:
        link = self._link
        link.counts.received += len(batch)
        for data in batch:
            try:
                topic, array = split_frame(data, self._max_bytes)
                if topic != _REPLY_TOPIC:
                    raise FrameError("garbage", f"topic {topic[:80]!r} on a request socket")
                opened = open_array(array)
                request_id = opened.cause_id
                if request_id not in self._waiting:
                    continue
                message = read_body(opened)
            except FrameError as error:
                link.drop(error.kind, str(error))
                continue
            waiting = self._waiting.pop(request_id)
            self._delays.observe(link.since_s(opened.published_ns))
            answer = ReplyReceived(request_id, message, opened.message_id)
            link.deliver(waiting.source, waiting.receiver, answer)


class _Asked(msgspec.Struct):
    client: str
    identity: bytes
    since: float


class Later:
    """In place of an answer: it cannot be given yet."""


LATER = Later()


class RequestServer:
    """Answers requests. A repeated id gets the first answer, and is not handed over again while one is pending.

    What cannot be read or is too large is counted, and refused where its id can be read. With `answers_kept` requests
    pending no further one is taken; their clients repeat them.

    `answer_now` may answer without being asked twice to remember: status and replays, which change nothing. What it
    answers with `LATER` waits for `release`.
    Answers are kept in memory, the newest `answers_kept` and at most 64 MB; durable idempotence is the core's.
    """

    def __init__(self, link: Link, answer_now: Callable[[Message], Message | Later | None]) -> None:
        self._link = link
        self._later: dict[str, tuple[bytes, Message]] = {}
        self._answer_now = answer_now
        self._receiver: Callable[[Request], None] | None = None
        self._pending: dict[str, _Asked] = {}
        self._answers: OrderedDict[tuple[str, str], bytearray] = OrderedDict()
        self._answer_bytes = 0
        self._max_bytes = link.settings.max_message_bytes
        self._answers_kept = link.settings.answers_kept
        self._delays = link.counts.delays["request"]
        self._socket = LoopSocket(
            link.context,
            zmq.ROUTER,
            {
                zmq.SNDHWM: link.settings.publish_queue,
                zmq.RCVHWM: min(link.settings.event_queue, _REQUEST_QUEUE),
                zmq.MAXMSGSIZE: 4 * link.settings.max_message_bytes,
            },
            self._received,
        )
        link.bind(self._socket, link.endpoints.bound_requests(link.name))

    def serve(self, receiver: Callable[[Request], None]) -> None:
        """Hand requests to `receiver` from now on; until then they wait at the client, who repeats them."""
        self._receiver = receiver

    def release(self) -> None:
        """Answer what was put off."""
        later, self._later = self._later, {}
        for request_id, (identity, message) in later.items():
            answer = self._answer_now(message)
            assert answer is not None, "it can be answered"
            assert not isinstance(answer, Later), "it is not put off again"
            self._send(identity, self._answer(request_id, answer))

    def refuse_unserved(self) -> None:
        """When nobody serves: refuse requests from now on, instead of letting their clients wait in vain."""
        if self._receiver is None:
            self._receiver = self._refuse_unserved

    def _refuse_unserved(self, request: Request) -> None:
        self.reply(request.request_id, unknown_request(self._link.name, request.message))

    def reply(self, request_id: str, message: Message) -> None:
        """Answer a request that was handed over; an id that nobody waits for is ignored."""
        asked = self._pending.pop(request_id, None)
        if asked is None:
            return
        frame = self._answer(request_id, message)
        self._link.counts.requests_served += 1
        self._send(asked.identity, frame)
        self._keep((asked.client, request_id), frame)

    def forget(self, request_id: str) -> None:
        """A request that was handed over has been lost: its next repeat is handed over again."""
        self._pending.pop(request_id, None)

    def close(self) -> None:
        self._socket.close()

    def _keep(self, key: tuple[str, str], frame: bytearray) -> None:
        self._answers[key] = frame
        self._answer_bytes += len(frame)
        while len(self._answers) > self._answers_kept or (
            self._answer_bytes > _ANSWER_BYTES_KEPT and len(self._answers) > 1
        ):
            _, forgotten = self._answers.popitem(last=False)
            self._answer_bytes -= len(forgotten)

    def _send(self, identity: bytes, frame: bytearray) -> None:
        if not self._socket.send_to(identity, frame):
            self._link.counts.not_sent += 1

    def _received(self, batch: list[list[bytes]]) -> None:
        self._link.counts.received += len(batch)
        for parts in batch:
            try:
                if len(parts) != 2:
                    raise FrameError("garbage", f"a request of {len(parts)} frames")
                self._request(parts[0], parts[1])
            except FrameError as error:
                self._link.drop(error.kind, str(error))

    def _request(self, identity: bytes, data: bytes) -> None:
        topic, array = split_frame(data, self._max_bytes)
        opened = open_array(array)
        request_id, client = opened.message_id, opened.publisher
        if topic != _REQUEST_TOPIC or not request_id:
            raise FrameError("garbage", "no request, or one without an id")
        kept = self._answers.get((client, request_id))
        if kept is not None:
            self._link.counts.requests_answered_again += 1
            self._send(identity, kept)
            return
        pending = self._pending.get(request_id)
        if pending is not None:
            # another client with the same id waits until the first is answered; its repeats bring it back
            if pending.client == client:
                pending.identity = identity
            return
        try:
            message = self._message(opened, len(data))
        except FrameError as error:
            refusal = Refusal(
                code="unreadable_request",
                detail=f"{self._link.name} cannot read this request: {error.detail[:500]}",
                remedy="see docs/messages.md, and run one version of voldesk everywhere",
            )
            self._send(identity, self._answer(request_id, refusal))
            raise
        answer = self._answer_now(message)
        if isinstance(answer, Later):
            # with very many of them the rest waits at the clients, who repeat it
            if len(self._later) < self._answers_kept:
                self._later[request_id] = identity, message
        elif answer is not None:
            self._send(identity, self._answer(request_id, answer))
        elif self._receiver is not None:
            self._make_room()
            self._pending[request_id] = _Asked(client, identity, self._link.loop.time())
            self._delays.observe(self._link.since_s(opened.published_ns))
            request = Request(request_id, message, client, opened.published_ns)
            self._link.deliver("request", self._receiver, request)

    def _make_room(self) -> None:
        """Raises FrameError when as many requests are pending as may be; one that stays so for ever is forgotten."""
        if len(self._pending) < self._answers_kept:
            return
        request_id, oldest = next(iter(self._pending.items()))
        if self._link.loop.time() - oldest.since < _PENDING_S:
            raise FrameError("overload", f"{len(self._pending)} requests are pending")
        del self._pending[request_id]

    @staticmethod
    def _message(opened: Opened, size: int) -> Message:
        if size > _REQUEST_BYTES_MAX:
            raise FrameError("oversize", f"a request of {size} bytes, at most {_REQUEST_BYTES_MAX} are taken")
        return read_body(opened)

    def _answer(self, request_id: str, message: Message) -> bytearray:
        return self._link.encode(_REPLY_PREFIX, message, self._link.new_id(), 0, request_id)
