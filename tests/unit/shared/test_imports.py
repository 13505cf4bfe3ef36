"""What services import before they work: how soon a desk is back after a crash is mostly a matter of that."""

from __future__ import annotations

import subprocess
import sys

from shared.messages.topics import BUS_SERVICES

NEVER = ("scipy.special", "numpy.f2py", "numpy.ma", "rich", "pygments", "pandas", "matplotlib", "typer")
ONLY_MONITOR = ("fastapi", "pydantic", "jinja2", "uvicorn", "argon2")
NO_VENUE = ("aiohttp", "websockets")


def imported_by(services: tuple[str, ...], modules: tuple[str, ...]) -> set[str]:
    """Which of the modules a process of its own has imported with the services' shells."""
    shells = ", ".join(f"services.{name}.shell" for name in services)
    code = f"import sys, {shells}; print(*[name for name in {modules!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_no_service_that_trades_imports_what_its_work_does_not_need() -> None:
    trading = tuple(name for name in BUS_SERVICES if name != "monitor")
    assert imported_by(trading, (*NEVER, *ONLY_MONITOR)) == set()


def test_the_dashboard_imports_a_web_framework_and_nothing_else_of_that_kind() -> None:
    assert imported_by(("monitor",), (*NEVER, *ONLY_MONITOR)) == set(ONLY_MONITOR)


def test_a_strategy_host_talks_to_no_venue() -> None:
    assert imported_by(("strategy",), NO_VENUE) == set()
