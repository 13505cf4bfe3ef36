"""TCP ports of a desk, resolved once into its run directory so that restarts and readers find the same ones."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.clock import wall_ns
from shared.errors import StartRefused

_FIRST_PORT = 20_000
_PORT_COUNT = 12_000
"""Below the range from which Linux takes ports for outgoing connections, which could take ours during a restart."""

_DRAWN_KEPT_NS = 10 * 60 * 1_000_000_000
"""For so long a drawn port is no other desk's: until then its own has started to listen on it."""


def resolve_ports(run_dir: Path, configured: Mapping[str, int]) -> dict[str, int]:
    """The port of each name in `configured`; 0 there means a free one, drawn once and kept in `ports.json`.

    Raises StartRefused when two names are configured to the same port.
    """
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(run_dir / "ports.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(run_dir / "ports.json")
        ports = {name: port for name, port in configured.items() if port}
        if len(set(ports.values())) != len(ports):
            raise StartRefused("[ports] gives one port to two names", "give each its own, or 0 for a free one")
        with _drawn_lately() as drawn:
            for name in configured:
                if name not in ports:
                    taken = set(ports.values())
                    kept = known.get(name)
                    if not kept or kept in taken:
                        kept = _free_port(run_dir, taken | set(known.values()) | set(drawn))
                        drawn.append(kept)
                    ports[name] = kept
        if ports != known:
            _write(run_dir / "ports.json", ports)
        return ports
    finally:
        os.close(lock)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(run_dir: Path, taken: set[int]) -> int:
    digest = hashlib.blake2b(os.fsencode(run_dir.absolute()), digest_size=8).digest()
    start = int.from_bytes(digest, "little") % _PORT_COUNT
    for offset in range(_PORT_COUNT):
        port = _FIRST_PORT + (start + offset) % _PORT_COUNT
        if port not in taken and port_is_free(port):
            return port
    raise StartRefused(
        f"no free port from {_FIRST_PORT} to {_FIRST_PORT + _PORT_COUNT}", "set the ports in [ports] by hand"
    )


@contextmanager
def _drawn_lately() -> Iterator[list[int]]:
    """The ports that desks of this user have drawn lately, to be added to; other desks wait meanwhile.

    Two desks that start at the same moment would otherwise draw one port, as neither listens yet. Where the file
    cannot be kept, ports are drawn without it.
    """
    path = Path(tempfile.gettempdir()) / f"voldesk-ports-{os.getuid()}.json"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield []
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        now_ns = wall_ns()
        with os.fdopen(os.dup(file), "r+b") as stream:
            kept = {
                port: drawn_ns
                for port, drawn_ns in _numbers(stream.read()).items()
                if port.isdigit() and 0 <= now_ns - drawn_ns < _DRAWN_KEPT_NS
            }
            drawn = [int(port) for port in kept]
            yield drawn
            kept |= {str(port): now_ns for port in drawn if str(port) not in kept}
            stream.seek(0)
            stream.truncate()
            stream.write(json.dumps(kept).encode())
    finally:
        os.close(file)


def _read(path: Path) -> dict[str, int]:
    try:
        return _numbers(path.read_bytes())
    except FileNotFoundError:
        return {}


def _numbers(text: bytes) -> dict[str, int]:
    """The integers of a JSON object by name, none of anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {name: port for name, port in found.items() if isinstance(port, int)} if isinstance(found, dict) else {}


def _write(path: Path, ports: Mapping[str, int]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(ports, indent=1) + "\n")
    temporary.replace(path)
