"""Who may use the dashboard, and what they did: a small SQLite file of the monitor, also written by `voldesk web`.

Of sessions, tokens and the set-up link only hashes are kept: who reads the file cannot use them. A disk that is full
keeps nobody out: a session is then kept in memory, and so are lines of the audit until there is room.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sqlite3
from collections import deque
from pathlib import Path
from typing import Literal, get_args

import msgspec

Role = Literal["viewer", "operator"]
Scope = Literal["read", "halt", "operate"]
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)

_HOUR_NS = 3_600_000_000_000
_SEEN_EVERY_NS = _HOUR_NS // 6
_SETUP_NS = 24 * _HOUR_NS
_VOLATILE_MAX = 100
_UNWRITTEN_MAX = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}\Z")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL,
  created_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (hash BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
  created_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL,
  created_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (action_id TEXT PRIMARY KEY, at_ns INTEGER NOT NULL, who TEXT NOT NULL,
  address TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL, outcome TEXT NOT NULL, ended_ns INTEGER);
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (at_ns);
"""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with a password. `password` is a hash."""

    name: str
    role: Role
    password: str
    created_ns: int


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a program. Scopes: read; halt (pause and halt only); operate (everything)."""

    name: str
    scopes: tuple[Scope, ...]
    created_ns: int


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, and what came of it. `outcome` "" = no answer yet; `ended_ns` None until there is one."""

    action_id: str
    at_ns: int
    who: str
    address: str
    what: str
    detail: str
    outcome: str = ""
    ended_ns: int | None = None


class WebStore:
    """All of it. Any method that changes users or tokens raises sqlite3.OperationalError on a disk that is full."""

    def __init__(self, path: Path, *, session_hours: int = 12, session_days: int = 7) -> None:
        self._idle_ns = session_hours * _HOUR_NS
        self._longest_ns = session_days * 24 * _HOUR_NS
        self._volatile: dict[bytes, tuple[str, int]] = {}
        self._unwritten: deque[AuditLine] = deque(maxlen=_UNWRITTEN_MAX)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, timeout=0.25, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('form_key', ?)", (secrets.token_bytes(32),))
        self.form_key: bytes = self._db.execute("SELECT value FROM meta WHERE name = 'form_key'").fetchone()[0]

    def close(self) -> None:
        self._db.close()

    # Users

    def users(self) -> tuple[User, ...]:
        rows = self._db.execute("SELECT name, role, password, created_ns FROM users ORDER BY name")
        return tuple(User(name=n, role=r, password=p, created_ns=c) for n, r, p, c in rows)

    def user(self, name: str) -> User | None:
        row = self._db.execute(
            "SELECT name, role, password, created_ns FROM users WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else User(name=row[0], role=row[1], password=row[2], created_ns=row[3])

    def put_user(self, name: str, role: Role, password_hash: str, now_ns: int) -> None:
        """Add a user, or give one a new role and password; that ends the sessions of this user, and the set-up link.

        Raises ValueError for a name that is none.
        """
        check_name(name)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM sessions WHERE user = ?", (name,))
            self._db.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET role = excluded.role, "
                "password = excluded.password",
                (name, role, password_hash, now_ns),
            )
            self._db.execute("DELETE FROM meta WHERE name IN ('setup', 'setup_ns')")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._volatile = {key: held for key, held in self._volatile.items() if held[0] != name}

    def remove_user(self, name: str) -> bool:
        """Remove a user and every session of it; False when there is none of that name."""
        return self._db.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0

    # Set-up

    def new_setup(self, now_ns: int) -> str:
        """A new secret for making the first user; the one before it is void."""
        secret = secrets.token_urlsafe(32)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('setup', ?)", (_hash(secret),))
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('setup_ns', ?)", (str(now_ns).encode(),))
        return secret

    def is_setup(self, secret: str, now_ns: int) -> bool:
        """Whether the secret may make the first user: it is the newest, no older than a day, and there is no user."""
        rows = dict(self._db.execute("SELECT name, value FROM meta WHERE name IN ('setup', 'setup_ns')"))
        if "setup" not in rows or self.users():
            return False
        is_young = now_ns - int(rows["setup_ns"]) < _SETUP_NS
        return secrets.compare_digest(bytes(rows["setup"]), _hash(secret)) and is_young

    # Sessions

    def new_session(self, user: str, now_ns: int) -> str:
        """A new session, under a secret that nobody knew before."""
        secret = secrets.token_urlsafe(32)
        try:
            self._db.execute(
                "DELETE FROM sessions WHERE seen_ns < ? OR created_ns < ?",
                (now_ns - self._idle_ns, now_ns - self._longest_ns),
            )
            self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (_hash(secret), user, now_ns, now_ns))
        except sqlite3.OperationalError:
            while len(self._volatile) >= _VOLATILE_MAX:
                del self._volatile[next(iter(self._volatile))]
            self._volatile[_hash(secret)] = (user, now_ns)
        return secret

    def session(self, secret: str, now_ns: int) -> User | None:
        """Whose session it is; None when it is unknown or over."""
        key = _hash(secret)
        held = self._volatile.get(key)
        if held is not None:
            return self.user(held[0]) if now_ns - held[1] < self._idle_ns else None
        row = self._db.execute(
            "SELECT name, role, password, users.created_ns, sessions.created_ns, seen_ns FROM sessions JOIN users "
            "ON user = name WHERE hash = ?",
            (key,),
        ).fetchone()
        if row is None or now_ns - row[5] >= self._idle_ns or now_ns - row[4] >= self._longest_ns:
            return None
        if now_ns - row[5] >= _SEEN_EVERY_NS:
            self._attempt("UPDATE sessions SET seen_ns = ? WHERE hash = ?", (now_ns, key))
        return User(name=row[0], role=row[1], password=row[2], created_ns=row[3])

    def end_session(self, secret: str) -> None:
        self._volatile.pop(_hash(secret), None)
        self._attempt("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))

    # Tokens

    def new_token(self, name: str, scopes: tuple[Scope, ...], now_ns: int) -> str:
        """A new token, shown once. Raises ValueError for a name that is taken or none."""
        check_name(name)
        secret = "vd_" + secrets.token_urlsafe(32)
        try:
            self._db.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?)", (name, _hash(secret), " ".join(scopes), now_ns)
            )
        except sqlite3.IntegrityError:
            raise ValueError(f"there is a token {name!r} already") from None
        return secret

    def tokens(self) -> tuple[Token, ...]:
        rows = self._db.execute("SELECT name, scopes, created_ns FROM tokens ORDER BY name")
        return tuple(_token(*row) for row in rows)

    def token(self, secret: str) -> Token | None:
        row = self._db.execute(
            "SELECT name, scopes, created_ns FROM tokens WHERE hash = ?", (_hash(secret),)
        ).fetchone()
        return None if row is None else _token(*row)

    def remove_token(self, name: str) -> bool:
        return self._db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount > 0

    # Audit

    def begin(self, line: AuditLine) -> AuditLine | None:
        """Note that an action begins. Returns the line that has this id already: the action was asked for before."""
        known = self.audit_line(line.action_id)
        if known is None:
            self._unwritten.append(line)
            self.write_audit()
        return known

    def end(self, action_id: str, outcome: str, now_ns: int) -> None:
        """Note what came of an action."""
        line = self.audit_line(action_id)
        if line is not None:
            self._unwritten.append(msgspec.structs.replace(line, outcome=outcome, ended_ns=now_ns))
            self.write_audit()

    def write_audit(self) -> bool:
        """Write what waits; False while the disk takes nothing."""
        try:
            while self._unwritten:
                line = self._unwritten[0]
                self._db.execute(
                    "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (action_id) DO UPDATE SET "
                    "outcome = excluded.outcome, ended_ns = excluded.ended_ns",
                    msgspec.structs.astuple(line),
                )
                self._unwritten.popleft()
        except sqlite3.OperationalError:
            return False
        return True

    def audit_line(self, action_id: str) -> AuditLine | None:
        for line in reversed(self._unwritten):
            if line.action_id == action_id:
                return line
        row = self._db.execute("SELECT * FROM audit WHERE action_id = ?", (action_id,)).fetchone()
        return None if row is None else _audit_line(row)

    def audit(self, limit: int, before_ns: int | None = None) -> tuple[AuditLine, ...]:
        """The newest lines, newest first; those before a time when it is given."""
        until_ns = 2**62 if before_ns is None else before_ns
        rows = self._db.execute("SELECT * FROM audit WHERE at_ns < ? ORDER BY at_ns DESC LIMIT ?", (until_ns, limit))
        found = {line.action_id: line for line in map(_audit_line, rows)}
        found.update({line.action_id: line for line in self._unwritten if line.at_ns < until_ns})
        return tuple(sorted(found.values(), key=lambda line: line.at_ns, reverse=True)[:limit])

    def logins(self, since_ns: int) -> tuple[tuple[str, str], ...]:
        """(name, address) of the logins that succeeded since then."""
        rows = self._db.execute(
            "SELECT DISTINCT who, address FROM audit WHERE at_ns >= ? AND what = 'login' AND outcome = 'done'",
            (since_ns,),
        )
        return tuple((who, address) for who, address in rows)

    def _attempt(self, statement: str, values: tuple[object, ...]) -> None:
        """A change that may be lost on a full disk."""
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError:
            return


def check_name(name: str) -> None:
    """Raises ValueError for what cannot be the name of a user or a token."""
    if not _NAME.match(name):
        raise ValueError(
            "a name has 1 to 40 letters, digits, dots, dashes, underscores or @, and begins with one of the first two"
        )


def store_path(run_dir: Path) -> Path:
    return run_dir / "web.sqlite3"


def _hash(secret: str) -> bytes:
    """These secrets are random and long: a fast hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def _token(name: str, scopes: str, created_ns: int) -> Token:
    return Token(name=name, scopes=tuple(each for each in SCOPES if each in scopes.split()), created_ns=created_ns)


def _audit_line(row: tuple[object, ...]) -> AuditLine:
    names = AuditLine.__struct_fields__
    return msgspec.convert(dict(zip(names, row, strict=True)), AuditLine)
