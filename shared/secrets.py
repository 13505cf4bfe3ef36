"""Keys of the venue and of the grants: where they are kept and how they are read. Never printed, never logged.

A key of a real venue comes from, in this order: the environment, a file ``.env`` beside the configuration, the
service's own file ``<run_dir>/secrets/<environment>-<service>.env``, or one of that name in VOLDESK_SECRETS_DIR,
where containers are handed theirs. The names are ``COINCALL_API_KEY_<BETA|PROD>`` and
``COINCALL_API_SECRET_<BETA|PROD>``, with ``_<SERVICE>`` appended for a key of one service alone. Keys of the
simulated exchange are drawn once per run directory. A file that others can read is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from dotenv import dotenv_values

from shared.config import DeskConfig
from shared.errors import StartRefused

_SUFFIXES = {"beta": "BETA", "production": "PROD"}
_PAPER_SERVICES = {"execution": False, "risk": True, "marketdata": True}
"""Whether the paper key of each service that talks to the venue is read-only."""

_SECRET_NAME = re.compile(r"^COINCALL_|SECRET|TOKEN|PASSWORD|API_KEY")


class SecretError(StartRefused):
    """A secret is missing, incomplete, or readable by others."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the venue. `secret` is never part of its text."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return f"ApiKey(key='{self.key[:4]}…')"

    __str__ = __repr__


class PaperKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key that the simulated exchange accepts. `secret` is never part of its text."""

    account_id: str
    service: str
    key: str
    secret: str
    read_only: bool

    def __repr__(self) -> str:
        return f"PaperKey(service={self.service!r}, key='{self.key[:4]}…', read_only={self.read_only})"

    __str__ = __repr__


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process which is not ours to trust may see."""
    return {name: value for name, value in environment.items() if not _SECRET_NAME.search(name)}


def load_api_key(desk: DeskConfig, service: str, environment: Mapping[str, str] = os.environ) -> ApiKey:
    """The key of `service` for the configured venue. Raises SecretError naming the variables and the file."""
    own_file = _secret_dir(desk.run_dir) / f"{desk.venue}-{service}.env"
    if desk.venue == "sim":
        pairs = [("COINCALL_API_KEY", "COINCALL_API_SECRET")]
        sources = [_read_env(own_file)]
        remedy = "start the desk with `voldesk up`, which draws the keys of the simulated exchange"
    else:
        suffix = _SUFFIXES[desk.venue]
        own = f"{suffix}_{service.upper()}"
        pairs = [(f"COINCALL_API_KEY_{name}", f"COINCALL_API_SECRET_{name}") for name in (own, suffix)]
        handed = _read_handed(desk, service)
        sources = [environment, _read_env(desk.path.parent / ".env"), _read_env(own_file), handed]
        remedy = f"set {pairs[0][0]} and {pairs[0][1]} in the environment, in .env, or in {own_file} (mode 0600)"
        if handed_file := _handed_file(desk, service):
            remedy = f"write {pairs[1][0]} and {pairs[1][1]} into the file that is handed over as {handed_file}"
    for values in sources:
        for key_name, secret_name in pairs:
            key, secret = values.get(key_name), values.get(secret_name)
            if key and secret:
                return ApiKey(key=key, secret=secret)
            if key or secret:
                missing = secret_name if key else key_name
                raise SecretError(f"{service} has only half a key: {missing} is missing", remedy)
    raise SecretError(f"{service} has no API key for {desk.venue}", remedy)


def load_secret(
    desk: DeskConfig, service: str, name: str, purpose: str, environment: Mapping[str, str] = os.environ
) -> str:
    """A secret that is not of the venue, from the same places. Raises SecretError naming variable and file."""
    own_file = _secret_dir(desk.run_dir) / f"{desk.venue}-{service}.env"
    handed = _read_handed(desk, service)
    for values in (environment, _read_env(desk.path.parent / ".env"), _read_env(own_file), handed):
        if value := values.get(name):
            return value
    raise SecretError(
        f"{service} has no {name}, which is {purpose}",
        f"set it in .env beside {desk.path.name} (chmod 600), or in {own_file}",
    )


def ensure_paper_secrets(run_dir: Path, account_id: str = "main") -> tuple[PaperKey, ...]:
    """The keys of the simulated exchange, drawn at the first call and the same ever after; also the grant key.

    Execution gets the trading key, risk and marketdata read-only ones, all of one account. Each service's key is
    in its own 0600 file; `paper-keys.json` is the list that the exchange reads.
    """
    directory = _secret_dir(run_dir)
    path = directory / "paper-keys.json"
    if not path.exists():
        keys = tuple(
            PaperKey(
                account_id=account_id,
                service=service,
                key=secrets.token_hex(16),
                secret=secrets.token_hex(32),
                read_only=read_only,
            )
            for service, read_only in _PAPER_SERVICES.items()
        )
        _write_private(path, json.dumps(msgspec.to_builtins(list(keys)), indent=1).encode())
    keys = load_paper_keys(run_dir)
    for key in keys:
        own_file = directory / f"sim-{key.service}.env"
        if not own_file.exists():
            _write_private(own_file, f"COINCALL_API_KEY={key.key}\nCOINCALL_API_SECRET={key.secret}\n".encode())
    ensure_grant_key(run_dir)
    return keys


def load_paper_keys(run_dir: Path) -> tuple[PaperKey, ...]:
    """The keys that the simulated exchange accepts. Raises SecretError when they are missing or unreadable."""
    path = _secret_dir(run_dir) / "paper-keys.json"
    data = _read_private(path, "start the desk with `voldesk up`, which draws them")
    try:
        return msgspec.json.decode(data, type=tuple[PaperKey, ...])
    except msgspec.MsgspecError:
        raise SecretError(f"{path} is not a list of paper keys", "remove it and start with `voldesk up`") from None


def ensure_grant_key(run_dir: Path) -> bytes:
    """The key with which risk signs grants and execution checks them; drawn at the first call."""
    path = _secret_dir(run_dir) / "grant.key"
    if not path.exists():
        _write_private(path, secrets.token_hex(32).encode())
    return load_grant_key(run_dir)


def load_grant_key(run_dir: Path) -> bytes:
    """The grant key. Raises SecretError when it is missing or readable by others."""
    path = _secret_dir(run_dir) / "grant.key"
    data = _read_private(path, "start the desk with `voldesk up`, which draws it").strip()
    if len(data) < 32:
        raise SecretError(f"{path} is too short to be a key", "remove it and start with `voldesk up`")
    return data


def _secret_dir(run_dir: Path) -> Path:
    return run_dir / "secrets"


def _read_env(path: Path) -> Mapping[str, str]:
    """The variables of an env file; none when there is no such file."""
    if not path.exists():
        return {}
    _refuse_if_open(path)
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}


def _handed_file(desk: DeskConfig, service: str) -> Path | None:
    """Where a container is handed the key of `service`; None elsewhere."""
    directory = os.environ.get("VOLDESK_SECRETS_DIR")
    return Path(directory) / f"{desk.venue}-{service}.env" if directory else None


def _read_handed(desk: DeskConfig, service: str) -> Mapping[str, str]:
    """What a container was handed for `service`; none elsewhere. Raises SecretError."""
    path = _handed_file(desk, service)
    if path is None:
        return {}
    try:
        return _read_env(path)
    except PermissionError:
        raise SecretError(
            f"{path} cannot be read by user {os.getuid()}, as whom the container runs",
            f"on the host: chown {os.getuid()} its file, mode 0600",
        ) from None


def _read_private(path: Path, remedy: str) -> bytes:
    try:
        _refuse_if_open(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise SecretError(f"{path} is missing", remedy) from None
    except PermissionError:
        raise SecretError(f"{path} cannot be read", f"chown it to this user and chmod 600 {path}") from None


def _refuse_if_open(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecretError(f"{path} holds secrets and can be read by others (mode {mode:04o})", f"chmod 600 {path}")


def _write_private(path: Path, data: bytes) -> None:
    """Write a 0600 file whole or not at all; one that appeared meanwhile is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        _write_all(descriptor, data)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
