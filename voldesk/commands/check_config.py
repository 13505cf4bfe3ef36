"""voldesk check-config: is the configuration usable? Starts nothing."""

from __future__ import annotations

import typer

from voldesk.console import Json, print_json, say, title
from voldesk.preflight import load_whole_desk


def register(app: typer.Typer) -> None:
    app.command("check-config", epilog="Example: voldesk check-config")(check_config)


def check_config(as_json: Json = False) -> None:
    """Check voldesk.toml, every service's section included. Ends with 78 and the first mistake, if there is one."""
    desk = load_whole_desk()
    if as_json:
        print_json(
            {
                "mode": desk.mode,
                "venue": desk.venue,
                "account": desk.account_id,
                "path": str(desk.path),
                "run_dir": str(desk.run_dir),
            }
        )
    else:
        say(f"{title(desk)}: {desk.path} is valid; run directory {desk.run_dir}")
