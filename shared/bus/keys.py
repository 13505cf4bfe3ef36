"""Who may talk on a bus over tcp: a CURVE key pair of each service and of the operator, and the list of what counts.

`<keys>/<name>/secret` is a name's secret key (mode 0600), `<keys>/allowed/<name>.json` its public one, or that it was
revoked. A service needs its own secret and the list; the operator needs both of everybody to rotate keys.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec
import zmq

from shared.config import SERVICE_NAMES, DeskConfig
from shared.errors import StartRefused
from shared.strategy_hosts import kind_of

OPERATOR = "operator"
"""The name of the command line's key."""

KEY_NAMES = (*SERVICE_NAMES, OPERATOR)
"""Everybody who has a key. All strategy hosts of a desk have that of "strategy": they may do the same."""

_READERS = ("risk", "execution", "strategy", "monitor", "recorder", OPERATOR)
CLIENTS: dict[str, frozenset[str]] = {
    "marketdata": frozenset(_READERS),
    "risk": frozenset(("execution", "strategy", "monitor", "recorder", OPERATOR)),
    "execution": frozenset(("risk", "strategy", "monitor", "recorder", OPERATOR)),
    "strategy": frozenset(("execution", "monitor", "recorder", OPERATOR)),
    "monitor": frozenset(("recorder", OPERATOR)),
    "exchange": frozenset(("monitor", OPERATOR)),
    "recorder": frozenset(("monitor", OPERATOR)),
}
"""Whose keys each service takes, beside its own (`voldesk healthcheck`): those who have a reason to talk to it."""

_SHOWN = 8


class BusKeyError(StartRefused):
    """A key of the bus is missing, readable by others, or not the one on the list."""


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What the list says of a name. `public_key` is in Z85; a revoked one is kept, so that it stays known.

    rotated: how often the name was given a new key. previous: the keys before, newest last, which count no more.
    """

    public_key: str
    since_ns: int
    revoked: bool = False
    rotated: int = 0
    previous: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """So much of the public key that people can tell it from another."""
        return shown(self.public_key)


class KeyRing(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of one process: its own pair, and the list."""

    name: str
    public_key: str
    secret_key: str
    allowed: dict[str, Allowed]

    def __repr__(self) -> str:
        return f"KeyRing(name={self.name!r}, public_key={shown(self.public_key)!r})"

    __str__ = __repr__

    def server_key(self, service: str) -> str | None:
        """The public key that `service` must prove to hold; None while it has none that counts."""
        entry = self.allowed.get(kind_of(service))
        return None if entry is None or entry.revoked else entry.public_key

    def judge(self, service: str, public_key: str) -> tuple[str, str]:
        """The name of a key that may talk to `service` and "", or "" and why not: unknown_key, revoked_key,
        key_not_allowed."""
        for name, entry in self.allowed.items():
            if public_key in entry.previous:
                return "", "revoked_key"
            if public_key == entry.public_key:
                if entry.revoked:
                    return "", "revoked_key"
                if name != service and name not in CLIENTS.get(service, frozenset()):
                    return "", "key_not_allowed"
                return name, ""
        return "", "unknown_key"


def shown(public_key: str) -> str:
    return f"{public_key[:_SHOWN]}…"


def keys_dir(desk: DeskConfig) -> Path:
    """Where the keys of a desk are: [bus] keys_dir, relative to the run directory."""
    return desk.run_dir / (desk.bus.keys_dir or "keys")


def ensure_keys(directory: Path, now_ns: int) -> tuple[str, ...]:
    """Draw the keys of those who never had one; returns their names. What was revoked stays so."""
    drawn = tuple(name for name in KEY_NAMES if not _list_path(directory, name).exists())
    for name in drawn:
        _draw(directory, name, Allowed(public_key="", since_ns=now_ns))
    return drawn


def rotate_key(directory: Path, name: str, now_ns: int) -> Allowed:
    """Give `name` a new key; the one before counts no more, and a revoked name counts again. Raises BusKeyError."""
    before = _entry(directory, name)
    return _draw(
        directory,
        name,
        Allowed(
            public_key="",
            since_ns=now_ns,
            rotated=before.rotated + 1,
            previous=(*before.previous, before.public_key)[-16:],
        ),
    )


def revoke_key(directory: Path, name: str, now_ns: int) -> Allowed:
    """Take the key of `name` off the list until it is rotated. Raises BusKeyError."""
    entry = msgspec.structs.replace(_entry(directory, name), revoked=True, since_ns=now_ns)
    _write(_list_path(directory, name), msgspec.json.format(msgspec.json.encode(entry)) + b"\n", 0o644)
    return entry


def read_list(directory: Path) -> dict[str, Allowed]:
    """What the list says of each name that is on it. Raises BusKeyError when an entry cannot be read."""
    return {name: _entry(directory, name) for name in KEY_NAMES if _list_path(directory, name).exists()}


def list_stamp(directory: Path) -> tuple[tuple[str, int], ...]:
    """Changes whenever the list does; () without a list."""
    try:
        with os.scandir(directory / "allowed") as entries:
            return tuple(sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries))
    except OSError:
        return ()


def load_ring(directory: Path, name: str) -> KeyRing:
    """The keys of the process that speaks as `name`. Raises BusKeyError naming the file and the remedy."""
    path = directory / name / "secret"
    again = f"voldesk keys rotate {name}"
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise BusKeyError(f"{path} is secret and can be read by others (mode {mode:04o})", f"chmod 600 {path}")
        secret = path.read_text().strip()
        public = zmq.curve_public(secret.encode()).decode()
    except FileNotFoundError:
        raise BusKeyError(
            f"{name} has no key for the bus: {path} is missing",
            "start the desk with `voldesk up` (containers: `docker compose up`), which draws the keys",
        ) from None
    except OSError as error:
        raise BusKeyError(f"{path} cannot be read: {error.strerror}", "make it this user's, mode 0600") from None
    except ValueError:
        raise BusKeyError(f"{path} holds no CURVE key", again) from None
    allowed = read_list(directory)
    entry = allowed.get(name)
    if entry is None:
        raise BusKeyError(f"{name} is not on the list of keys in {directory / 'allowed'}", again)
    if entry.public_key != public:
        raise BusKeyError(
            f"the key in {path} is {shown(public)}, the list has {entry.shown} for {name}",
            f"bring the file that was made last, or {again}",
        )
    return KeyRing(name=name, public_key=public, secret_key=secret, allowed=allowed)


def _draw(directory: Path, name: str, entry: Allowed) -> Allowed:
    """The secret first: whoever sees the new list finds the secret that belongs to it."""
    public, secret = zmq.curve_keypair()
    entry = msgspec.structs.replace(entry, public_key=public.decode())
    _write(directory / name / "secret", secret + b"\n", 0o600)
    _write(_list_path(directory, name), msgspec.json.format(msgspec.json.encode(entry)) + b"\n", 0o644)
    return entry


def _entry(directory: Path, name: str) -> Allowed:
    path = _list_path(directory, name)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Allowed)
    except FileNotFoundError:
        raise BusKeyError(f"{name} has no key yet", "start the desk once, which draws the keys") from None
    except OSError as error:
        raise BusKeyError(f"{path} cannot be read: {error.strerror}", "make it readable for this user") from None
    except msgspec.MsgspecError:
        raise BusKeyError(
            f"{path} is no entry of the list of keys", f"remove it and start the desk, which draws a key of {name}"
        ) from None


def _list_path(directory: Path, name: str) -> Path:
    return directory / "allowed" / f"{name}.json"


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
