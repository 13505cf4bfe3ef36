"""A desk for a bench: `voldesk up` in a directory of its own, or its services started one by one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.config import DeskConfig, load_config
from voldesk.identity import record_identity
from voldesk.preflight import check_keys, choose_ports
from voldesk.processes import desk_processes
from voldesk.supervision import Supervisor

REPOSITORY = Path(__file__).resolve().parents[1]
VOLDESK = (sys.executable, "-c", "from voldesk.main import app; app()")


class BenchDesk:
    """A desk with its own configuration, run directory and strategies in `home`."""

    def __init__(self, home: Path, config: str, strategies: Mapping[str, str]) -> None:
        self.home = home
        self.run_dir = home / "run"
        (home / "strategies").mkdir()
        for name, text in strategies.items():
            (home / "strategies" / f"{name}.py").write_text(text)
        self.config_path = home / "voldesk.toml"
        self.config_path.write_text(config)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOLDESK_", "COINCALL_"))}
        self.environment = {**kept, "VOLDESK_CONFIG": str(self.config_path), "VOLDESK_RUN_DIR": str(self.run_dir)}

    @property
    def settings(self) -> DeskConfig:
        return load_config(self.config_path, {"VOLDESK_RUN_DIR": str(self.run_dir)})

    def voldesk(self, *arguments: str) -> str:
        """What the command printed. Raises CalledProcessError when it fails; its own words are on standard error."""
        done = subprocess.run(
            [*VOLDESK, *arguments],
            env=self.environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def answer(self, *arguments: str) -> Any:
        """What the command said with --json."""
        return json.loads(self.voldesk(*arguments, "--json"))

    def journal(self, service: str) -> Path:
        return self.run_dir / "journals" / f"{service}-{self.settings.account_id}.sqlite3"

    def pids(self) -> dict[str, int]:
        """The process of each service that runs now, supervisord's too."""
        return {process.name: process.pid for process in desk_processes(self.run_dir)}

    @contextmanager
    def up(self) -> Iterator[None]:
        """The whole stack under supervisord, ready; taken down in the end."""
        try:
            self.voldesk("up", "--timeout", "120", "--json")
            yield
        finally:
            self.voldesk("down")

    @contextmanager
    def modules(self, modules: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
        """Each service as `python -m` with these arguments, without supervisord; ended in the end."""
        desk = self.settings
        check_keys(desk)
        choose_ports(desk)
        record_identity(desk)
        (self.run_dir / "logs").mkdir(parents=True, exist_ok=True)
        environment = Supervisor(desk).environment(self.environment)
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, arguments in modules.items():
                with (self.run_dir / "logs" / f"{name}.log").open("wb") as log:
                    running[name] = subprocess.Popen(
                        [sys.executable, "-m", *arguments], env=environment, cwd=REPOSITORY, stdout=log, stderr=log
                    )
            yield running
        finally:
            end(running)


def end(running: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Ask all to stop, then wait; one that does not is killed."""
    for process in running.values():
        process.terminate()
    for process in running.values():
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
