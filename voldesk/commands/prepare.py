"""voldesk prepare: what `voldesk up` does before it starts processes, for whoever starts them himself."""

from __future__ import annotations

import typer

from voldesk.commands.up import prepare_desk
from voldesk.console import Json, print_json, say, title
from voldesk.groups import write_groups_of_stopped
from voldesk.preflight import exclusive, load_whole_desk, read_ports


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk prepare")(prepare)


def prepare(as_json: Json = False) -> None:
    """Draw keys and check everything that must be there before the first container starts.

    Changes nothing that is there already. Compose runs it before all services; `voldesk up` does the same itself.
    """
    desk = load_whole_desk().as_configured()
    with exclusive(desk.run_dir):
        prepare_desk(desk)
        write_groups_of_stopped(desk)
    if as_json:
        print_json({"run_dir": str(desk.run_dir), "ports": read_ports(desk.run_dir)})
    else:
        say(f"{title(desk)}: {desk.run_dir} is ready for its services")
