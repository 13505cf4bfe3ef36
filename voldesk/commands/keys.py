"""voldesk keys: who may talk on the bus over tcp."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shared.bus.keys import CLIENTS, KEY_NAMES, Allowed, keys_dir, read_list, revoke_key, rotate_key
from shared.clock import Clock
from shared.config import DeskConfig
from shared.views import iso
from voldesk.console import EXIT_USAGE, Failure, Json, Yes, confirm, note, print_json, print_table, say, title
from voldesk.preflight import load_desk

KeyName = Annotated[
    str, typer.Argument(help="A service, or operator for the command line.", autocompletion=lambda: list(KEY_NAMES))
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        invoke_without_command=True,
        help="Show the bus's keys, whose each is and which services take it; rotate or revoke one.",
        epilog="Example: voldesk keys; voldesk keys rotate strategy",
    )
    group.callback()(keys)
    group.command(epilog="Example: voldesk keys rotate strategy")(rotate)
    group.command(epilog="Example: voldesk keys revoke strategy --yes")(revoke)
    app.add_typer(group, name="keys")


def keys(context: typer.Context, as_json: Json = False) -> None:
    """Show the bus's keys, whose each is and which services take it; rotate or revoke one."""
    if context.invoked_subcommand is not None:
        return
    desk = load_desk()
    listed = read_list(keys_dir(desk))
    in_use = desk.bus.transport == "tcp" and desk.bus.curve
    if as_json:
        print_json({"in_use": in_use, "keys": [_row(desk, name, entry) for name, entry in listed.items()]})
        return
    if not in_use:
        say(
            f"{title(desk)}: the bus uses no keys: [bus] transport is {desk.bus.transport}"
            + (", without curve" if desk.bus.transport == "tcp" else ", closed to other users")
        )
    if not listed:
        say("no keys have been drawn; the first start with [bus] curve = true draws them")
        return
    print_table(
        desk,
        "keys of the bus",
        ("name", "state", "public key", "rotated", "is taken by"),
        [
            (
                name,
                "[red]revoked[/red]" if entry.revoked else "[green]counts[/green]",
                entry.shown,
                str(entry.rotated),
                "nobody" if entry.revoked else ", ".join(_takers(name)),
            )
            for name, entry in listed.items()
        ],
        right=("rotated",),
    )


def rotate(name: KeyName, as_json: Json = False) -> None:
    """Give a service a new key; the one before counts no more. Running services take it within a second.

    Events are replayed and requests repeated, so nothing is lost. A revoked name counts again.
    """
    desk = load_desk()
    entry = rotate_key(keys_dir(desk), _known(name), Clock().now_ns())
    _tell(desk, name, entry, as_json, f"{name} has the new key {entry.shown}; the one before counts no more")


def revoke(name: KeyName, yes: Yes = False, as_json: Json = False) -> None:
    """Take a key off the list: every service refuses it and cuts its connections, until it is rotated."""
    desk = load_desk()
    known = _known(name)
    confirm(desk, f"cut {name} off the bus until its key is rotated?", yes=yes)
    entry = revoke_key(keys_dir(desk), known, Clock().now_ns())
    _tell(desk, name, entry, as_json, f"{name} is cut off; `voldesk keys rotate {name}` lets it in again")


def _known(name: str) -> str:
    if name not in KEY_NAMES:
        raise Failure(f"{name!r} has no key", f"use one of: {', '.join(KEY_NAMES)}", EXIT_USAGE)
    return name


def _tell(desk: DeskConfig, name: str, entry: Allowed, as_json: bool, text: str) -> None:
    if as_json:
        print_json(_row(desk, name, entry))
    else:
        say(f"{title(desk)}: {text}")
    note("a service on another machine needs the new files of the keys directory too")


def _has_secret(desk: DeskConfig, name: str) -> bool:
    return (keys_dir(desk) / name / "secret").exists()


def _takers(name: str) -> list[str]:
    return sorted(service for service, clients in CLIENTS.items() if name in clients)


def _row(desk: DeskConfig, name: str, entry: Allowed) -> dict[str, Any]:
    return {
        "name": name,
        "public_key": entry.public_key,
        "revoked": entry.revoked,
        "since": iso(entry.since_ns),
        "rotated": entry.rotated,
        "has_secret": _has_secret(desk, name),
        "taken_by": [] if entry.revoked else _takers(name),
    }
