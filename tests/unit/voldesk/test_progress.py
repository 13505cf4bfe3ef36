"""Progress is for eyes: on a terminal, on standard error, and only when something takes a while."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

SLOW = """
import time
from voldesk.console import progress
with progress("looking at [everything]") as tell:
    with progress("an inner thing"):
        time.sleep(1.2)
    tell("nearly done")
    time.sleep(1.0)
print("answer")
"""
QUICK = 'from voldesk.console import progress\nwith progress("looking"):\n    pass\nprint("answer")\n'
FAILING = "from voldesk.console import progress\nwith progress('looking'):\n    raise SystemExit(3)\n"


def on_terminal(code: str) -> tuple[int, str, str]:
    """Exit code, standard output, and what the terminal that is standard error was sent."""
    ours, theirs = pty.openpty()
    sent: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 4_096)
            except OSError:
                return
            if not data:
                return
            sent.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        reader.join(timeout=60)
        os.close(ours)
    return done.returncode, done.stdout.decode(), b"".join(sent).decode(errors="replace")


def test_what_takes_long_shows_what_it_does_on_a_terminal() -> None:
    code, out, err = on_terminal(SLOW)
    assert (code, out) == (0, "answer\n")
    assert "looking at [everything]" in err
    assert "nearly done" in err
    assert "an inner thing" not in err, "one sign at a time"


def test_what_is_quick_shows_nothing() -> None:
    assert on_terminal(QUICK) == (0, "answer\n", "")


def test_the_sign_goes_away_with_a_failure() -> None:
    code, out, err = on_terminal(FAILING)
    assert (code, out, err) == (3, "", "")


def test_nothing_is_shown_where_standard_error_is_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "answer\n", "")
