"""Where a service's sockets are: ipc in the run directory, or tcp; beyond loopback with keys only."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from pathlib import Path
from typing import Literal

from shared.config import SERVICE_NAMES, BusSection, ConfigError
from shared.errors import StartRefused
from shared.strategy_hosts import StrategyHosts

SOCKET_PATH_MAX_BYTES = 107
"""What a unix socket's address holds on Linux, without the closing zero."""


def socket_path(run_dir: Path, name: str) -> Path:
    """The path of the unix socket `name` of a desk; its directory exists and only we can enter it.

    `<run_dir>/sockets/<name>`, or where that is too long for a socket `/tmp/voldesk-<user>-<hash>/<name>`.
    Raises StartRefused when that directory belongs to somebody else.
    """
    directory = run_dir / "sockets"
    if len(os.fsencode(directory / name)) > SOCKET_PATH_MAX_BYTES:
        digest = hashlib.blake2b(os.fsencode(run_dir.absolute()), digest_size=8).hexdigest()
        directory = Path(f"/tmp/voldesk-{os.getuid()}-{digest}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise StartRefused(
            f"{directory} cannot be made: {error.strerror}", "make it writable, or set VOLDESK_RUN_DIR"
        ) from None
    if status.st_uid != os.getuid():
        raise StartRefused(f"{directory} belongs to another user", "set VOLDESK_RUN_DIR to a shorter path")
    if status.st_mode & 0o077:
        directory.chmod(0o700)
    return directory / name


class Endpoints:
    """The addresses of all services of one desk. `hosts`: its strategy hosts; over tcp those of groups have the ports
    after those of all other services. Raises ConfigError for tcp without keys on an address that others can reach."""

    def __init__(self, run_dir: Path, settings: BusSection, hosts: StrategyHosts = StrategyHosts()) -> None:
        self._run_dir = run_dir
        self._hosts = hosts
        self._settings = settings
        self.needs_keys = settings.transport == "tcp" and settings.curve
        others = (settings.host, settings.peer_host or settings.host)
        if settings.transport == "tcp" and not settings.curve:
            for host in others:
                if not _is_loopback(host):
                    raise ConfigError(
                        f"[bus] host {host} is not a loopback address: tcp without CURVE keys is open to all",
                        'set curve = true, or use host = "127.0.0.1" or transport = "ipc"',
                    )

    def events(self, service: str) -> str:
        """Where others find what `service` publishes."""
        return self._address(service, "events", self._peer_host(service))

    def requests(self, service: str) -> str:
        """Where others ask `service`."""
        return self._address(service, "requests", self._peer_host(service))

    def bound_events(self, service: str) -> str:
        """Where `service` binds to publish."""
        return self._address(service, "events", self._settings.host)

    def bound_requests(self, service: str) -> str:
        """Where `service` binds to answer."""
        return self._address(service, "requests", self._settings.host)

    def _peer_host(self, service: str) -> str:
        return self._settings.peer_host.replace("{service}", service) or self._settings.host

    def _address(self, service: str, kind: Literal["events", "requests"], host: str) -> str:
        if self._settings.transport == "ipc":
            return f"ipc://{socket_path(self._run_dir, f'{service}.{kind}')}"
        place = self._hosts.place(service)
        if service not in SERVICE_NAMES and place is None:
            raise ConfigError(f"[bus] transport tcp has no port for {service}", 'use transport = "ipc"')
        number = SERVICE_NAMES.index(service) if place is None else len(SERVICE_NAMES) + place
        port = self._settings.base_port + 2 * number + (kind == "requests")
        return f"tcp://{f'[{host}]' if ':' in host else host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
