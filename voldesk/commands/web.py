"""voldesk web: the way into the dashboard, its users and its tokens."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from services.monitor.web.store import SCOPES, Role, Scope, WebStore, check_name, store_path
from shared.clock import Clock
from shared.config import DeskConfig
from shared.views import clock_text, iso
from voldesk.console import (
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Failure,
    Json,
    Yes,
    confirm,
    print_json,
    print_table,
    say,
    title,
)
from voldesk.preflight import load_desk, page_url

UserName = Annotated[str, typer.Argument(help="The name that is typed to log in.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        invoke_without_command=True,
        help="Show the dashboard's address, its users and tokens; without a user, the link that makes the first.",
        epilog="Example: voldesk web; voldesk web add anna --role viewer",
    )
    group.callback()(web)
    group.command(epilog="Example: voldesk web add anna --role viewer")(add)
    group.command(epilog="Example: voldesk web remove anna --yes")(remove)
    group.command(epilog="Example: voldesk web token grafana --scope read")(token)
    group.command("remove-token", epilog="Example: voldesk web remove-token grafana --yes")(remove_token)
    app.add_typer(group, name="web")


def web(context: typer.Context, as_json: Json = False) -> None:
    """Show the dashboard's address, its users and tokens; without a user, the link that makes the first."""
    if context.invoked_subcommand is not None:
        return
    desk = load_desk()
    url = page_url(desk)
    with _store(desk) as store:
        users, tokens = store.users(), store.tokens()
    link = None if users else setup_link(desk)
    if as_json:
        print_json(
            {
                "url": url,
                "setup_link": link,
                "users": [
                    {"name": each.name, "role": each.role, "created_at": iso(each.created_ns)} for each in users
                ],
                "tokens": [
                    {"name": each.name, "scopes": list(each.scopes), "created_at": iso(each.created_ns)}
                    for each in tokens
                ],
            }
        )
        return
    say(f"{title(desk)}: dashboard {url or 'not started yet'}")
    if users:
        rows = [(each.name, each.role, clock_text(each.created_ns)) for each in users]
        print_table(desk, "users", ("name", "role", "since UTC"), rows)
    elif link is not None:
        tell_setup(link)
    else:
        say("nobody can log in yet: start the desk with `voldesk up`, or add a user with `voldesk web add NAME`")
    if tokens:
        token_rows = [(each.name, ", ".join(each.scopes), clock_text(each.created_ns)) for each in tokens]
        print_table(desk, "tokens", ("name", "scopes", "since UTC"), token_rows)


def add(
    name: UserName,
    role: Annotated[Role, typer.Option(help="viewer looks; operator also halts, closes, flattens.")] = "viewer",
    as_json: Json = False,
) -> None:
    """Add a user, or give one a new password and role, which ends that user's sessions. Asks for the password twice;
    from a pipe it is the first line."""
    # imported here because hashing is needed by nothing else of the command line
    from services.monitor.web.passwords import hash_password, problem_of

    desk = load_desk()
    try:
        check_name(name)
    except ValueError as error:
        raise Failure(str(error), "choose another one", EXIT_USAGE) from None
    password = _password()
    if problem := problem_of(password, name):
        raise Failure(problem, "choose another one", EXIT_USAGE)
    with _store(desk) as store:
        known = store.user(name) is not None
        store.put_user(name, role, hash_password(password), Clock().now_ns())
    if as_json:
        print_json({"name": name, "role": role, "changed": known})
    else:
        say(f"{title(desk)}: {name} is {role} now" + (", with a new password" if known else ""))


def remove(name: UserName, yes: Yes = False, as_json: Json = False) -> None:
    """Remove a user and end every session of that user."""
    desk = load_desk()
    confirm(desk, f"remove the user {name}?", yes=yes)
    with _store(desk) as store:
        if not store.remove_user(name):
            raise Failure(f"there is no user {name!r}", "see `voldesk web`")
    _removed(desk, name, as_json)


def token(
    name: Annotated[str, typer.Argument(help="What the token is for; shown in the audit.")],
    scope: Annotated[
        Scope, typer.Option(help="read; halt: also pause and halt, nothing else; operate: everything.")
    ] = "read",
    as_json: Json = False,
) -> None:
    """Make a token for the JSON API. It is shown once, and only its hash is kept."""
    desk = load_desk()
    scopes = SCOPES[: SCOPES.index(scope) + 1]
    with _store(desk) as store:
        try:
            secret = store.new_token(name, scopes, Clock().now_ns())
        except ValueError as error:
            raise Failure(str(error), "choose another name, or remove that one first", EXIT_USAGE) from None
    if as_json:
        print_json({"name": name, "scopes": list(scopes), "token": secret})
    else:
        say(f"{title(desk)}: token {name} ({', '.join(scopes)}), shown this once:")
        say(secret)


def remove_token(
    name: Annotated[str, typer.Argument(help="As `voldesk web` shows it.")], yes: Yes = False, as_json: Json = False
) -> None:
    """Remove a token: what it is used by is refused from now on."""
    desk = load_desk()
    confirm(desk, f"remove the token {name}?", yes=yes)
    with _store(desk) as store:
        if not store.remove_token(name):
            raise Failure(f"there is no token {name!r}", "see `voldesk web`")
    _removed(desk, name, as_json)


def needs_setup(desk: DeskConfig) -> bool:
    """Whether nobody can log in yet."""
    with _store(desk) as store:
        return not store.users()


def setup_link(desk: DeskConfig) -> str | None:
    """A new link that makes the first user, in place of the one before; None with a user, or before a first start."""
    url = page_url(desk)
    if url is None:
        return None
    with _store(desk) as store:
        return None if store.users() else f"{url}setup/{store.new_setup(Clock().now_ns())}"


def tell_setup(link: str) -> None:
    say("nobody can log in to the dashboard yet; this link makes the first user, once, within a day:")
    say(link)


def _removed(desk: DeskConfig, name: str, as_json: bool) -> None:
    if as_json:
        print_json({"removed": name})
    else:
        say(f"{title(desk)}: {name} is removed")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: Any = typer.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)
    return str(password)


@contextmanager
def _store(desk: DeskConfig) -> Iterator[WebStore]:
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)
    try:
        store = WebStore(store_path(desk.run_dir))
        try:
            yield store
        finally:
            store.close()
    except sqlite3.DatabaseError as error:
        raise Failure(
            f"{store_path(desk.run_dir)} cannot be used: {error}", "repeat, or free space on the disk"
        ) from None
