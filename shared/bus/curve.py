"""CURVE on the sockets of one process: whose keys are taken, what was refused and why, and new keys while it runs.

A service asks its list about each key that comes (ZeroMQ's ZAP, on the event loop). A quarter of a second later at
the latest it is known at both ends what became of a handshake. When the list changes, every socket is opened anew:
that is what cuts the connections of a key that counts no more.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import zmq
from zmq.utils import z85

from shared.bus.keys import BusKeyError, KeyRing, list_stamp, load_ring, shown
from shared.bus.sockets import LoopSocket

if TYPE_CHECKING:
    from shared.bus.link import Link

_LOOK_S = 0.25
_RETRY_LOOKS = 4
"""ZeroMQ gives a connection up for good whose key was refused: it is made anew after so many looks."""

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_WHY = {
    "unknown_key": "which is not on the list of keys",
    "revoked_key": "which was revoked or replaced",
    "key_not_allowed": "which is of the desk, but has no business here",
}


REFUSALS = (
    "no_key",
    *_WHY,
    "refused_by_peer",
    "peer_without_key",
    "wrong_server_key",
    "no_server_key",
    "list_unusable",
)
"""The kinds of refusal, counted from zero, so that the first is an increase."""


class _Socket(msgspec.Struct, eq=False):
    """A socket under CURVE. `peer` is the service that it connects to, "" for one that is bound."""

    socket: LoopSocket
    peer: str
    endpoint: str
    is_open: bool = False
    retry_in: int = 0


class Curve:
    """The keys of one process on its sockets. Raises BusKeyError when its own key cannot be used."""

    def __init__(self, link: Link, directory: Path, name: str) -> None:
        self._link = link
        self._directory = directory
        self._name = name
        self._stamp = list_stamp(directory)
        self._ring: KeyRing = load_ring(directory, name)
        link.counts.refused.update(dict.fromkeys(REFUSALS, 0))
        self._sockets: list[_Socket] = []
        self._problems: dict[str, str] = {}
        self._zap: LoopSocket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def bind(self, socket: LoopSocket, endpoint: str) -> None:
        """Bind a socket that takes the keys on the list only."""
        if self._zap is None:
            self._zap = LoopSocket(self._link.context, zmq.ROUTER, {}, self._asked)
            self._zap.bind(_ZAP_ENDPOINT)
        self._open(_Socket(socket, "", endpoint))

    def connect(self, socket: LoopSocket, peer: str, endpoint: str) -> None:
        """Connect to `peer`, who must prove to hold its key; as soon as it has one on the list."""
        self._open(_Socket(socket, peer, endpoint))

    def problem(self, peer: str) -> str:
        """Why the last handshake with `peer` failed; "" when none did since one succeeded."""
        self._look_at_handshakes()
        return self._problems.get(peer, "")

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._zap is not None:
            self._zap.close()

    def _open(self, held: _Socket) -> None:
        self._sockets.append(held)
        held.socket.observe_handshakes()
        self._apply(held)
        if self._timer is None:
            self._timer = self._link.loop.call_later(_LOOK_S, self._look)

    def _apply(self, held: _Socket) -> None:
        """Open a socket, or open it anew, with the keys that count now."""
        ring = self._ring
        if held.peer:
            server_key = ring.server_key(held.peer)
            if server_key is None:
                held.socket.disconnect()
                held.is_open = False
                self._problem(held.peer, "no_server_key", f"{held.peer} has no key that counts; see `voldesk keys`")
                return
            options: dict[int, int | bytes] = {
                zmq.CURVE_SERVERKEY: server_key.encode(),
                zmq.CURVE_PUBLICKEY: ring.public_key.encode(),
                zmq.CURVE_SECRETKEY: ring.secret_key.encode(),
            }
        else:
            options = {
                zmq.CURVE_SERVER: 1,
                zmq.CURVE_SECRETKEY: ring.secret_key.encode(),
                zmq.ZAP_DOMAIN: self._name.encode(),
            }
        if held.is_open:
            held.socket.reopen(options)
        else:
            held.socket.secure(options)
            (held.socket.connect if held.peer else held.socket.bind)(held.endpoint)
            held.is_open = True
        held.retry_in = 0

    def _look(self) -> None:
        """What has become of the handshakes, and whether the list has changed."""
        if self._closed:
            return
        self._timer = self._link.loop.call_later(_LOOK_S, self._look)
        self._sockets = [held for held in self._sockets if not held.socket.closed]
        self._look_at_handshakes()
        for held in self._sockets:
            if held.retry_in:
                held.retry_in -= 1
                if not held.retry_in:
                    self._apply(held)
        stamp = list_stamp(self._directory)
        if stamp != self._stamp:
            self._reload(stamp)

    def _reload(self, stamp: tuple[tuple[str, int], ...]) -> None:
        """Take the changed list. One that cannot be used leaves everything as it is, and is looked at again."""
        try:
            ring = load_ring(self._directory, self._name)
        except BusKeyError as error:
            self._refuse("list_unusable", f"the changed list of keys cannot be used: {error.reason}; {error.remedy}")
            self._stamp = stamp
            return
        changed, self._ring, self._stamp = ring != self._ring, ring, stamp
        if changed:
            self._problems.clear()
            for held in self._sockets:
                self._apply(held)

    def _look_at_handshakes(self) -> None:
        for held in self._sockets:
            for event in held.socket.handshakes():
                if held.peer:
                    self._answered(held, event)
                elif event in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
                    self._refuse(
                        "no_key",
                        "a connection brought no CURVE key, or was made for another key of this service: give its "
                        "program the keys of this desk, see `voldesk keys`",
                    )

    def _answered(self, held: _Socket, event: int) -> None:
        peer, key = held.peer, shown(self._ring.public_key)
        match event:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._problems.pop(peer, None)
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                held.retry_in = _RETRY_LOOKS
                text = f"{peer} refuses the key {key} of {self._name}: it is not on its list, see `voldesk keys`"
                self._problem(peer, "refused_by_peer", text)
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                held.retry_in = _RETRY_LOOKS
                text = f"{peer} speaks without CURVE keys: it runs with another [bus] section"
                self._problem(peer, "peer_without_key", text)
            case _:
                expected = shown(self._ring.server_key(peer) or "")
                text = f"{peer} broke off the handshake: it does not hold the key {expected} of the list"
                self._problem(peer, "wrong_server_key", text)

    def _problem(self, peer: str, kind: str, text: str) -> None:
        self._problems[peer] = text
        self._refuse(kind, text)

    def _refuse(self, kind: str, text: str) -> None:
        self._link.refuse(kind, text)

    def _asked(self, batch: list[list[bytes]]) -> None:
        """ZeroMQ asks about a key: [identity, "", version, id, domain, address, identity, mechanism, key]."""
        assert self._zap is not None
        for parts in batch:
            identity, _, version, request_id, _, address, _, mechanism, *credentials = parts
            if mechanism == b"CURVE" and len(credentials) == 1:
                public_key = z85.encode(credentials[0]).decode()
                name, why = self._ring.judge(self._name, public_key)
            else:
                public_key, name, why = "", "", "unknown_key"
            if why:
                text = f"{address.decode(errors='replace')} came with the key {shown(public_key)}, {_WHY[why]}"
                self._refuse(why, f"{text}; `voldesk keys` shows the list")
            status = (b"400", b"refused") if why else (b"200", b"OK")
            self._zap.send_parts([identity, b"", version, request_id, *status, name.encode(), b""])
