"""voldesk check-config: is the configuration usable? Starts nothing."""

from __future__ import annotations

import typer

from voldesk.console import EXIT_CONFIG, Failure, Json, note, print_json, progress, say, title
from voldesk.preflight import load_whole_desk, unguarded_warning


def register(app: typer.Typer) -> None:
    app.command("check-config", epilog="Example: voldesk check-config")(check_config)


def check_config(as_json: Json = False) -> None:
    """Check voldesk.toml, every service's section and strategy file. Ends with 78 and the first mistake, if any."""
    desk = load_whole_desk()
    # imported here because strategies bring libraries that take longer to load than any other command takes to run
    from voldesk.strategy_files import check_strategy_files

    with progress("loading the strategy files"):
        strategies = check_strategy_files(desk)
    if strategies.failures:
        first, *others = strategies.failures
        more = f" (and {len(others)} more)" if others else ""
        raise Failure(
            f"strategy {first.name}: {first.reason}{more}",
            first.remedy,
            EXIT_CONFIG,
        )
    if warning := unguarded_warning(desk):
        note(warning)
    if as_json:
        print_json(
            {
                "mode": desk.mode,
                "venue": desk.venue,
                "account": desk.account_id,
                "path": str(desk.path),
                "run_dir": str(desk.run_dir),
                "strategies": list(strategies.loaded),
            }
        )
    else:
        say(f"{title(desk)}: {desk.path} is valid; run directory {desk.run_dir}")
        say(f"strategies that load: {', '.join(strategies.loaded) or 'none is enabled'}")
