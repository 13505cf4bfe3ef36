"""What a core decides is in the log, after what it sends has left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest_asyncio
import structlog
from structlog.contextvars import bound_contextvars

from shared.log_files import LogFiles
from shared.log_lines import Told
from shared.log_query import LogQuery
from shared.log_reader import newest_lines
from shared.logging import output, setup_logging
from shared.service.narration import Narration
from tests.integration.bus.harness import HALT_TOPIC, halt_of, until
from tests.integration.service.test_host import Desk, Effect, Noted, running


class Speaker:
    hears = frozenset[type]({Effect})

    def told(self, what: Any) -> Iterable[Told]:
        if isinstance(what, Noted):
            yield Told("execution", "a row", {"trade_id": "t1", "nothing": None})
            yield Told("execution", "for debugging", {}, "debug")
        elif isinstance(what, Effect):
            yield Told("strategy", "an effect", {"of": what.of})


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    made.context.log = setup_logging(
        "info", "json", files=LogFiles(tmp_path / "logs", "risk", 10**6, 2), service="risk"
    )
    made.host.observe(Narration(made.context, made.host.observed, Speaker()))
    async with running(made):
        yield made
    made.bus.close()
    made.execution.close()
    output.flush()
    setup_logging("info", "json", service="risk")
    structlog.reset_defaults()


async def test_rows_and_effects_are_told_in_order_each_in_its_track_with_the_time_of_the_decision(
    desk: Desk, tmp_path: Path
) -> None:
    desk.execution.publish(HALT_TOPIC, halt_of("main", 1))
    await until(lambda: len(desk.performed) == 1)
    folder = tmp_path / "logs"
    await until(lambda: len(newest_lines(folder, LogQuery(services=("risk",)), None)) == 2)
    effect, row = newest_lines(folder, LogQuery(services=("risk",)), None)
    assert (row.event, row.track, row.fields["trade_id"]) == ("a row", "execution", "t1")
    assert "nothing" not in row.fields
    assert (effect.event, effect.track, effect.fields["of"]) == ("an effect", "strategy", "Inbound")
    assert effect.fields["cause_id"]
    assert row.at <= effect.at


async def test_nothing_is_written_before_the_effects_of_the_decision_are_on_their_way(
    desk: Desk, tmp_path: Path
) -> None:
    written: list[int] = []
    folder = tmp_path / "logs"
    begin = desk.performed.append

    class Watching(list[Effect]):
        def append(self, effect: Effect) -> None:
            written.append(len(newest_lines(folder, LogQuery(services=("risk",)), None)))
            begin(effect)

    desk.performed = Watching()
    desk.execution.publish(HALT_TOPIC, halt_of("main", 1))
    await until(lambda: len(written) == 1)
    assert written == [0]
    await until(lambda: len(newest_lines(folder, LogQuery(services=("risk",)), None)) == 2)


async def test_a_line_that_cannot_wait_is_preceded_by_what_was_decided_before(desk: Desk, tmp_path: Path) -> None:
    narration = Narration(desk.context, desk.host.observed, Speaker())
    narration.performed(Effect("first"), "")
    desk.context.log.error("second")
    found = newest_lines(tmp_path / "logs", LogQuery(services=("risk",)), None)
    assert [line.event for line in found[::-1]] == ["an effect", "second"]


async def test_what_is_bound_where_somebody_logs_is_in_no_line_of_a_decision(desk: Desk, tmp_path: Path) -> None:
    narration = Narration(desk.context, desk.host.observed, Speaker())
    with bound_contextvars(client_order_id=7):
        narration.performed(Effect("first"), "")
        desk.context.log.error("of the call")
    lines = newest_lines(tmp_path / "logs", LogQuery(services=("risk",)), None)
    told = {line.event: line.fields for line in lines}
    assert told["of the call"]["client_order_id"] == 7
    assert "client_order_id" not in told["an effect"]


async def test_computed_money_is_told_without_digits_that_say_nothing(desk: Desk, tmp_path: Path) -> None:
    class Counting(Speaker):
        def told(self, what: Any) -> Iterable[Told]:
            yield Told("execution", "money", {"max_loss_usd": 296.78065200000003, "fee_usd": Decimal("0.000001")})

    Narration(desk.context, desk.host.observed, Counting()).performed(Effect("first"), "")
    output.flush()
    (line,) = newest_lines(tmp_path / "logs", LogQuery(services=("risk",)), None)
    assert (line.fields["max_loss_usd"], line.fields["fee_usd"]) == (296.7807, "0.000001")
