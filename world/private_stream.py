"""The account's private stream: it breaks and returns by itself, and loses, doubles and delays what it carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.messages.venue import StreamDown, StreamUp
from world.engine import Engine
from world.faults import MS, SECOND, Faults

Deliver = Callable[[Any], None]


class PrivateStream:
    """One subscriber at a time. faults: those of now. is_away: whether the venue is unreachable. delay_ns: drawn for
    each item that is on its way."""

    def __init__(
        self,
        engine: Engine,
        *,
        faults: Callable[[], Faults],
        is_away: Callable[[], bool],
        delay_ns: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._faults = faults
        self._is_away = is_away
        self._delay_ns = delay_ns
        self._subscriber: Deliver | None = None
        self._break: Callable[[], None] = lambda: None
        self._silent_until_ns = 0

    def connect(self, deliver: Deliver) -> Callable[[], None]:
        """Subscribe. The result disconnects it for good."""
        engine = self._engine
        live = True

        def put(item: Any) -> None:
            if live:
                deliver(item)

        def drop() -> None:
            if not live or self._subscriber is None:
                return
            self._subscriber = None
            put(StreamDown(reason="connection closed"))
            engine.after(engine.between_ns(SECOND // 2, 5 * SECOND), up)

        def up() -> None:
            if not live:
                return
            if self._is_away():
                engine.after(engine.between_ns(SECOND // 2, 5 * SECOND), up)
                return
            self._subscriber = put
            self._break = drop
            put(StreamUp())
            per_minute = self._faults().stream_drop_per_minute
            if per_minute:
                wait_s = engine.random.expovariate(per_minute / 60)
                engine.after(int(wait_s * SECOND), drop)

        def disconnect() -> None:
            nonlocal live
            live = False
            self._subscriber = None

        engine.after(self._delay_ns(), up)
        return disconnect

    def drop(self) -> None:
        """Break now; it tries to return a little later."""
        self._break()

    def fall_silent(self, duration_ns: int) -> None:
        """Stay up, and carry nothing of what happens for so long."""
        self._silent_until_ns = self._engine.now_ns + duration_ns

    def talk(self) -> None:
        """Be silent no longer."""
        self._silent_until_ns = 0

    def push(self, item: Any) -> None:
        """Carry one item, as far as faults and silence let it."""
        engine, faults = self._engine, self._faults()
        if engine.now_ns < self._silent_until_ns or engine.chance(faults.stream_lost):
            return
        copies = 2 if engine.chance(faults.stream_duplicate) else 1
        for _ in range(copies):
            late_ns = engine.between_ns(0, faults.stream_reorder_ms * MS)
            engine.after(self._delay_ns() + late_ns, lambda: self._subscriber and self._subscriber(item))
