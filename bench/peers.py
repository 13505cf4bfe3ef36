"""The environment of the libraries that we are compared with and that do not run beside current packages.

    python -m bench.peers [--check]

Makes .venv-peers from bench/peers.lock, pinned with hashes; a bench that needs it does so by itself. Renew the lock
from bench/peers.in with `make lock`.
"""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from bench.workers import Worker

HERE = Path(__file__).parent
LOCK = HERE / "peers.lock"
ENVIRONMENT = HERE.parent / ".venv-peers"
PYTHON = ENVIRONMENT / "bin" / "python"
_STAMP = ENVIRONMENT / ".installed"


class PeerMissing(Exception):
    """The peers cannot be installed here; the text says why, in one line."""


def installed() -> bool:
    """Whether the environment is there and of the present lock."""
    return _STAMP.exists() and _STAMP.read_text() == _digest()


def ensure() -> Path:
    """The peers' Python, installed if need be. Raises PeerMissing."""
    if installed():
        return PYTHON
    told = Console(stderr=True)
    with told.status("installing py_vollib_vectorized and its pinned packages into .venv-peers (about a minute)"):
        _run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
        _run(
            [
                str(PYTHON),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
                str(LOCK),
            ]
        )
    _STAMP.write_text(_digest())
    return PYTHON


def py_vollib() -> Worker:
    """py_vollib_vectorized, ready to work. Raises PeerMissing."""
    python = ensure()
    try:
        return Worker(str(python), str(HERE / "py_vollib_peer.py"))
    except RuntimeError as error:
        raise PeerMissing(f"py_vollib_vectorized does not start: {error}") from None


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise PeerMissing(words[-1] if words else f"{command[0]} ended with {done.returncode}")


def _digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description=__doc__,
        epilog="example: python -m bench.peers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="only say whether it is installed (exit code 0 or 1)")
    arguments = parser.parse_args()
    if arguments.check:
        print("installed" if installed() else "not installed, or of an older lock")
        return 0 if installed() else 1
    try:
        print(ensure())
    except PeerMissing as error:
        print(f"peers: cannot be installed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
