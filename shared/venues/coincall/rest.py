"""Signed REST calls: budget, signature, time-out, one exchange, and for reads repetition and the circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from yarl import URL

from shared.clock import monotonic_ns, wall_ns
from shared.venues.coincall import sign, wire
from shared.venues.coincall.endpoints import TIME, Body, Endpoint, LimitGroup
from shared.venues.coincall.errors import TIMESTAMP_CODES, WRONG_BODY, describe, kind_of
from shared.venues.coincall.limits import SHARED_GROUPS, CallWindow, CircuitBreaker, Lane, limits_at
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded
from shared.venues.coincall.transport import ConnectionBroke, HttpTransport, NotConnected
from shared.venues.coincall.wire import Answer, Lost, NotSent
from shared.venues.ports import VenueError

OnCall = Callable[[str, str, float], None]
"""Told (endpoint, outcome, seconds) of every call. Outcomes: ok, rejected, throttled, auth, unknown, down, lost,
not_sent."""

OnWait = Callable[[str, float], None]
"""Told (limit group, seconds) of every call that waited for room in a rate limit, also of one that gave up."""

_THROTTLE_HOLD_NS = 2_000_000_000
_OFFSET_VALID_NS = 600_000_000_000
_OFFSET_RETRY_NS = 30_000_000_000
_CONNECT_SHARE = 0.6
_WARM_CONNECTIONS = 2
_WARM_EVERY_S = 15.0
"""Shorter than the transport keeps an idle connection, and than venues do."""


class KeyPair(Protocol):
    """An API key and its secret, as text."""

    @property
    def key(self) -> str: ...

    @property
    def secret(self) -> str: ...


class RestClient:
    """One account's REST connection. Opened by its first call; `close` ends it for good.

    `budget_share` is this process's part of the rate limits in which processes of a desk meet: `SHARED_GROUPS`.
    `orders_per_s`: see `limits_at`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: KeyPair,
        *,
        budget_share: float = 1.0,
        orders_per_s: int | None = None,
        backoff_s: Sequence[float] = (1.0, 2.0, 4.0),
        on_call: OnCall | None = None,
        on_wait: OnWait | None = None,
    ) -> None:
        if not 0 < budget_share <= 1:
            raise ValueError(f"budget_share {budget_share} must be above 0 and at most 1")
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._backoff_s = tuple(backoff_s)
        self._on_call = on_call
        self._on_wait = on_wait
        self._transport = HttpTransport()
        self._windows: dict[LimitGroup, CallWindow] = {
            group: CallWindow(limit, budget_share if group in SHARED_GROUPS else 1.0)
            for group, limit in limits_at(orders_per_s).items()
        }
        self._breaker = CircuitBreaker()
        self._read_last: dict[str, Body] = {}
        self._offset_ns = 0
        self._offset_due_ns = 0
        self._offset_lock = asyncio.Lock()
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        await self._transport.close()

    @property
    def breaker_is_open(self) -> bool:
        return self._breaker.is_open

    @property
    def clock_offset_ns(self) -> int:
        """Venue clock minus ours as it was measured last; 0 before."""
        return self._offset_ns

    def venue_now_ns(self) -> int:
        """The venue's clock as far as it is known: ours plus the measured offset."""
        return wall_ns() + self._offset_ns

    async def measure_offset_ns(self) -> int:
        """Venue clock minus ours at the middle of the round trip; signatures use it from now on. Raises VenueError.

        The venue's stamp may be up to 1 ms old, its resolution.
        """
        for delay_s in (*self._backoff_s, None):
            if wait_ns := self._take(TIME, "close"):
                await self._wait_for_room(TIME, "close", wait_ns)
            failure = await self._measure_once()
            if failure is None:
                return self._offset_ns
            if delay_s is None or failure.kind in ("rejected", "auth"):
                raise failure
            await asyncio.sleep(delay_s)
        raise AssertionError("the last round returns or raises")

    async def keep_warm(self, every_s: float = _WARM_EVERY_S) -> None:
        """Read the venue's clock over two connections every so often, until cancelled. The first orders after a quiet
        time then need not wait for TCP and TLS, and do not go out on a connection that the venue has long closed,
        where nobody could say whether they arrived."""
        while True:
            await asyncio.sleep(every_s)
            if not self._breaker.is_open and not self._windows[TIME.group].take("close", monotonic_ns()):
                await asyncio.gather(*(self._measure_once() for _ in range(_WARM_CONNECTIONS)))

    async def read(
        self, endpoint: Endpoint, params: Mapping[str, sign.Value] | None = None, **path_parts: str
    ) -> bytes:
        """The data of the answer. Repeats after 1, 2, 4 s what may be repeated. Raises VenueError."""
        answer = await self.read_answer(endpoint, params, **path_parts)
        kind = kind_of(answer)
        if kind is not None:
            raise VenueError(kind, f"{endpoint.name}: {describe(answer)}", answer.code)
        return answer.data

    async def read_answer(
        self, endpoint: Endpoint, params: Mapping[str, sign.Value] | None = None, **path_parts: str
    ) -> Answer:
        """As `read`, for callers to whom a refusal says something. Raises VenueError for what is not an answer."""
        path = endpoint.path.format(**path_parts)
        delays = iter(self._backoff_s if endpoint.repeatable else ())
        while True:
            if not self._breaker.is_open and self._offset_is_due(endpoint):
                await self._refresh_offset(endpoint)
            if wait_ns := self._take(endpoint, "close"):
                await self._wait_for_room(endpoint, "close", wait_ns)
            if not self._breaker.admit(monotonic_ns()):
                raise VenueError(
                    "down", f"{endpoint.name}: not asked, the venue failed repeatedly; probed again soon"
                )
            result = await self._exchange(endpoint, path, params or {})
            if isinstance(result, Answer):
                kind = kind_of(result)
                failure = VenueError(kind, f"{endpoint.name}: {describe(result)}", result.code) if kind else None
            else:
                failure = VenueError("down", f"{endpoint.name}: {result.reason}")
            if failure is not None and failure.kind == "down":
                self._breaker.failed(monotonic_ns())
            else:
                self._breaker.succeeded()
            delay_s = next(delays, None) if failure and failure.kind in ("down", "throttled", "unknown") else None
            if delay_s is not None:
                await asyncio.sleep(delay_s)
            elif isinstance(result, Answer) and (failure is None or failure.kind != "down"):
                return result
            else:
                assert failure is not None
                raise failure

    async def send(
        self,
        endpoint: Endpoint,
        params: Mapping[str, sign.Value],
        lane: Lane,
        **path_parts: str,
    ) -> Answer | NotSent | Lost:
        """One order call, sent at most once. Lane "open" is held back while the venue fails; the others never are.

        A body that the venue could not read has changed nothing: the call goes out in the endpoint's next form, and
        from then on in that form first.
        """
        if lane == "open" and self._breaker.is_open:
            return self._not_sent(endpoint, "the venue failed repeatedly; opening orders wait until a read succeeds")
        path = endpoint.path.format(**path_parts)
        read_last = self._read_last.get(endpoint.name, endpoint.bodies[0])
        bodies = endpoint.bodies
        for body in sorted(bodies, key=lambda form: form != read_last) if len(bodies) > 1 else bodies:
            if self._offset_is_due(endpoint):
                await self._refresh_offset(endpoint)
            if wait_ns := self._take(endpoint, lane):
                try:
                    await self._wait_for_room(endpoint, lane, wait_ns)
                except VenueError as error:
                    return self._not_sent(endpoint, str(error))
            result = await self._exchange(endpoint, path, params, body)
            if not isinstance(result, Answer) or result.code not in WRONG_BODY:
                self._read_last[endpoint.name] = body
                break
        return result

    def _not_sent(self, endpoint: Endpoint, reason: str) -> NotSent:
        if self._on_call is not None:
            self._on_call(endpoint.name, "not_sent", 0.0)
        return NotSent(reason)

    def _take(self, endpoint: Endpoint, lane: Lane) -> int:
        """Take room in the endpoint's group: 0 when there was some, else the nanoseconds until there may be."""
        return self._windows[endpoint.group].take(lane, monotonic_ns())

    async def _wait_for_room(self, endpoint: Endpoint, lane: Lane, wait_ns: int) -> None:
        """Wait until there is room, and take it. Raises VenueError when the endpoint's time-out passes first."""
        window = self._windows[endpoint.group]
        begun_ns = monotonic_ns()
        window.join(lane)
        try:
            async with asyncio.timeout(endpoint.timeout_ms / 1_000):
                while wait_ns:
                    await asyncio.sleep(wait_ns / 1e9)
                    wait_ns = window.take(lane, monotonic_ns())
        except TimeoutError:
            raise VenueError(
                "throttled", f"{endpoint.name}: no room within the rate limit for {endpoint.timeout_ms} ms"
            ) from None
        finally:
            window.leave(lane)
            if self._on_wait is not None:
                self._on_wait(endpoint.group, (monotonic_ns() - begun_ns) / 1e9)

    async def _exchange(
        self, endpoint: Endpoint, path: str, params: Mapping[str, sign.Value], body: Body = "json"
    ) -> Answer | NotSent | Lost:
        # again: a refusal for its time stamp may have voided the offset while this call waited for room
        if self._offset_is_due(endpoint):
            await self._refresh_offset(endpoint)
        started_ns = monotonic_ns()
        result: Answer | NotSent | Lost
        if self._closed:
            result = NotSent("the gateway is closed")
        else:
            result = await self._send_once(endpoint, path, params, body)
        outcome = "lost" if isinstance(result, Lost) else "not_sent"
        if isinstance(result, Answer):
            outcome = kind_of(result) or "ok"
            if outcome == "throttled":
                self._windows[endpoint.group].throttled(monotonic_ns(), _THROTTLE_HOLD_NS)
            if result.code in TIMESTAMP_CODES:
                self._offset_due_ns = 0
        if self._on_call is not None:
            self._on_call(endpoint.name, outcome, (monotonic_ns() - started_ns) / 1e9)
        return result

    async def _send_once(
        self, endpoint: Endpoint, path: str, params: Mapping[str, sign.Value], body: Body
    ) -> Answer | NotSent | Lost:
        timeout_s = endpoint.timeout_ms / 1_000
        url, headers, sent = self._request(endpoint, path, params, body)
        try:
            async with asyncio.timeout(timeout_s):
                status, content = await self._transport.send(
                    endpoint.method, url, headers, sent, connect_s=timeout_s * _CONNECT_SHARE
                )
        except NotConnected as error:
            return NotSent(f"no connection: {error}")
        except TimeoutError:
            return Lost(f"no answer within {endpoint.timeout_ms} ms")
        except ConnectionBroke as error:
            return Lost(f"the connection broke: {error}")
        answer = wire.parse_answer(status, content)
        if self._api_key.key in answer.text:
            return Answer(answer.status, answer.code, answer.text.replace(self._api_key.key, "<key>"), answer.data)
        return answer

    def _request(
        self, endpoint: Endpoint, path: str, params: Mapping[str, sign.Value], body: Body
    ) -> tuple[URL, list[tuple[str, str]], bytes]:
        """Address, headers and body."""
        address = f"{self._base_url}{path}"
        headers = [("Accept", "application/json")]
        sent = b""
        if endpoint.method == "POST":
            if body == "json":
                sent = sign.json_body(params)
                headers.append(("Content-Type", "application/json"))
            else:
                sent = sign.query_text(params).encode()
                headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            url = _url(address)
        else:
            url = URL(f"{address}?{sign.query_text(params)}" if params else address, encoded=True)
        if endpoint.signed:
            headers += self._signature_headers(endpoint, path, params)
        return url, headers, sent

    def _signature_headers(
        self, endpoint: Endpoint, path: str, params: Mapping[str, sign.Value]
    ) -> list[tuple[str, str]]:
        ts_ms = self.venue_now_ns() // NS_PER_MS
        text = sign.prehash(endpoint.method, path, params, self._api_key.key, ts_ms)
        return [
            ("X-CC-APIKEY", self._api_key.key),
            ("sign", sign.signature(self._api_key.secret, text)),
            ("ts", str(ts_ms)),
            ("X-REQ-TS-DIFF", str(sign.VALIDITY_WINDOW_MS)),
        ]

    def _offset_is_due(self, endpoint: Endpoint) -> bool:
        """Whether the venue's clock is to be measured before this call is signed. An order waits for that only when
        nothing usable is known."""
        due_ns = self._offset_due_ns
        return endpoint.signed and due_ns <= monotonic_ns() and not (endpoint.order and due_ns)

    async def _refresh_offset(self, endpoint: Endpoint) -> None:
        """Measure the venue's clock. No call fails because of it.

        Done before room in a rate limit is taken: calls that took room and then waited here would leave late,
        together with those of the next window.
        """
        async with self._offset_lock:
            if not self._offset_is_due(endpoint) or self._closed:
                return
            if self._windows[TIME.group].take("close", monotonic_ns()):
                return
            if await self._measure_once() is not None:
                self._offset_due_ns = monotonic_ns() + _OFFSET_RETRY_NS

    async def _measure_once(self) -> VenueError | None:
        before_ns, started_ns = wall_ns(), monotonic_ns()
        result = await self._exchange(TIME, TIME.path, {})
        middle_ns = before_ns + (monotonic_ns() - started_ns) // 2
        if not isinstance(result, Answer):
            return VenueError("down", f"time: {result.reason}")
        kind = kind_of(result)
        if kind is not None:
            return VenueError(kind, f"time: {describe(result)}", result.code)
        try:
            server_ms = decoded(wire.ServerTime, result.data).serverTime
        except ParseError as error:
            return VenueError("unknown", f"time: {error}")
        self._offset_ns = server_ms * NS_PER_MS - middle_ns
        self._offset_due_ns = monotonic_ns() + _OFFSET_VALID_NS
        return None


@lru_cache(maxsize=64)
def _url(text: str) -> URL:
    """Parsed once per endpoint."""
    return URL(text, encoded=True)
