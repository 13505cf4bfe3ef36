"""Exit codes are a promise: the documented ones, and for each a command that ends with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voldesk import console

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"
VOLDESK = [sys.executable, "-c", "import sys; sys.argv[0] = 'voldesk'; from voldesk.main import app; app()"]


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VOLDESK, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_page_has_every_code_that_a_command_can_end_with() -> None:
    section = PAGE.read_text().split("## Exit codes")[1].split("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    ours = {value for name, value in vars(console).items() if name.startswith("EXIT_")}
    assert documented == ours | {0, 130}


@pytest.mark.long
def test_a_process_ends_with_the_code_of_its_failure_and_one_line_without_a_traceback(home: Path) -> None:
    config = home / "voldesk.toml"
    valid = config.read_text()
    for arguments, text, code in (
        (("--version",), valid, 0),
        (("down",), valid, 0),
        (("bogus",), valid, 2),
        (("chain", "DOGE"), valid, 2),
        (("trades",), valid, 69),
        (("status", "--check"), valid, 69),
        (("check-config",), valid + "[risk]\nbogus = 1\n", 78),
        (("why", "x"), "[desk\n", 78),
        (("doctor",), "[desk\n", 1),
        (("halt", "--level", "flatten"), valid, 1),
    ):
        config.write_text(text)
        done = ended(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.count("voldesk: ") == (1 if code else 0)
        assert done.stderr.endswith("\n") or not done.stderr


def test_ctrl_c_ends_with_130_and_says_nothing(home: Path) -> None:
    log = home / "run" / "logs" / "risk.log"
    log.parent.mkdir(parents=True)
    log.write_text("a line\n")
    command = [*VOLDESK, "logs", "risk", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert b"a line" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
        assert running.stderr.read() == b""
