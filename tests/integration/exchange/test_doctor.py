"""The doctor asks a running exchange about its clock and about each service's key."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.config import load_config
from tests.integration.exchange.test_command_line import started
from tests.integration.exchange.test_process import ExchangeProcess
from voldesk.doctor_venue import check_venue
from voldesk.findings import Finding


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExchangeProcess]:
    exchange = ExchangeProcess(tmp_path)
    monkeypatch.setenv("VOLDESK_CONFIG", str(tmp_path / "voldesk.toml"))
    monkeypatch.setenv("VOLDESK_RUN_DIR", str(exchange.run_dir))
    monkeypatch.delenv("TRADING_ENVIRONMENT", raising=False)
    asyncio.run(started(exchange))
    yield exchange
    if exchange.process is not None and exchange.process.poll() is None:
        exchange.end(signal.SIGKILL)


def found() -> list[Finding]:
    return check_venue(load_config())


def test_venue_clock_and_keys_are_as_they_should_be(desk: ExchangeProcess) -> None:
    findings = found()
    assert [finding.level for finding in findings] == ["ok"] * 6
    assert [finding.check for finding in findings] == ["keys", "venue", "clock", "keys", "keys", "keys"]
    assert findings[-1].text == "execution: known to the venue, may trade, as it should be"


def test_a_key_without_the_right_or_with_too_much_right_is_found(desk: ExchangeProcess) -> None:
    secrets = desk.run_dir / "secrets"
    trading, reading = (secrets / f"sim-{name}.env" for name in ("execution", "risk"))
    first, second = trading.read_text(), reading.read_text()
    trading.write_text(second)
    reading.write_text(first)
    by_service = {finding.text.split(":")[0]: finding for finding in found()[-3:]}
    assert by_service["execution"].level == "problem"
    assert "read-only" in by_service["execution"].text
    assert by_service["execution"].remedy == "create a key with the Trade right and store it"
    assert by_service["risk"].level == "warning"
    assert by_service["risk"].remedy == "give it a read-only key"


def test_a_wrong_secret_is_found_and_not_shown(desk: ExchangeProcess) -> None:
    path = desk.run_dir / "secrets" / "sim-risk.env"
    path.write_text(path.read_text().replace("COINCALL_API_SECRET=", "COINCALL_API_SECRET=f00"))
    wrong = next(finding for finding in found() if finding.level == "problem")
    assert wrong.text.startswith("risk: the venue refuses the signature")
    assert "f00" not in str(found())


def test_an_exchange_that_is_gone_is_no_problem_of_a_desk_that_does_not_run(desk: ExchangeProcess) -> None:
    desk.end(signal.SIGKILL)
    assert found()[-1].text == "the simulated exchange is not running; it starts with the desk"
