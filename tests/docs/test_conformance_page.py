"""The conformance page of the simulated exchange is made from its tables and has a row for all that the venue has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from starlette.routing import Route, WebSocketRoute

from services.exchange.server.app import ExchangeServer
from services.exchange.server.channels import parse_request
from services.exchange.server.conformance import channel_rows, endpoint_rows, switch_rows
from services.exchange.server.conformance import page as made_page
from services.exchange.server.errors import ApiError
from services.exchange.server.openquestions import QUESTIONS
from services.exchange.server.routes import all_endpoints
from services.exchange.server.spot_channels import SpotSocket, parse_spot_request
from services.exchange.shell import credentials_of
from services.exchange.switches import Switches
from shared.clock import Clock
from shared.runner import MemoryJournal
from tests.docs.pages import page
from tests.integration.exchange.harness import small_config

RECORDED = Path(__file__).parents[1] / "contract" / "recorded"


def listed(name: str) -> list[str]:
    return [line for line in (RECORDED / name).read_text().splitlines() if line and not line.startswith("#")]


def served_routes() -> Iterator[str]:
    """What the running application would answer, its control routes left out."""
    config = small_config()
    server = ExchangeServer(config, credentials_of(config), MemoryJournal(), Clock().now_ns, paper=True)
    for route in server.app.routes:
        if isinstance(route, Route) and not route.path.startswith("/sim/"):
            for method in (route.methods or set()) - {"HEAD"}:
                yield f"{method} {route.path}"
        else:
            assert isinstance(route, Route | WebSocketRoute)


def test_the_page_is_made_from_the_tables_of_today() -> None:
    renew = "run: python -m services.exchange.server.conformance > docs/venues/coincall-sim.md"
    assert page("venues/coincall-sim.md") == made_page(), renew


def test_every_endpoint_and_channel_of_the_venue_has_one_row_and_no_row_is_invented() -> None:
    endpoints = [line.partition(" ")[2] for line in listed("endpoints.txt")]
    assert sorted(name for name, _, _ in endpoint_rows()) == sorted(endpoints)
    assert sorted(name for name, _, _ in channel_rows()) == sorted(listed("channels.txt"))


def test_what_is_done_is_served_and_what_is_served_is_done() -> None:
    done = [name for name, status, _ in endpoint_rows() if status == "done"]
    assert sorted(done) == sorted(served_routes())


def test_a_channel_is_taken_by_the_socket_exactly_if_it_is_done() -> None:
    payload = '"payload":{"symbol":"BTCUSD","end":1,"period":"h1"}'
    for name, status, _ in channel_rows():
        socket, data_type, *_ = name.split(" ")
        try:
            if socket == "spot":
                topic = data_type.replace("<SYM>", "BTCUSDT").replace("<N>", "50").replace("<interval>", "60min")
                private: SpotSocket = "spot_private" if data_type in ("order", "trade") else "spot"
                parse_spot_request(private, f'{{"sub":"{topic}","id":1}}')
            else:
                frame = f'{{"action":"subscribe","dataType":"{data_type}",{payload}}}'
                parse_request(socket, frame)  # type: ignore[arg-type]
        except ApiError:
            assert status != "done", name
        else:
            assert status == "done", name


def test_what_is_not_done_says_why() -> None:
    for name, status, reason in [*endpoint_rows(), *channel_rows()]:
        assert status == "done" or len(reason) > 10, name


def test_access_is_that_of_the_venue() -> None:
    wanted = {name: access for access, _, name in (line.partition(" ") for line in listed("endpoints.txt"))}
    letters = {"public": "P", "read": "S", "trade": "S", "market_maker": "M", "rfq_quotes": "Q", "mmp": "T"}
    for endpoint in all_endpoints():
        assert letters[endpoint.access] == wanted[f"{endpoint.method} {endpoint.path}"], endpoint.path


def test_every_question_is_listed_and_every_switch_belongs_to_one() -> None:
    assert [question.number for question in QUESTIONS] == list(range(1, 21))
    named = [switch for question in QUESTIONS for switch in question.switches]
    assert sorted(named) == sorted(Switches.__struct_fields__)
    for question in QUESTIONS:
        assert question.switches, question.number


def test_every_switch_is_explained_and_stands_in_the_shipped_configuration() -> None:
    explained = Switches.__doc__ or ""
    shipped = (Path(__file__).parents[2] / "voldesk.toml").read_text().partition("\n[exchange")[2]
    for name in switch_rows():
        assert re.search(rf"\b{name}\b", explained), name
        assert re.search(rf"^# {name} = ", shipped, re.MULTILINE), name


def test_every_switch_is_set_in_a_test() -> None:
    """In the tests of the exchange or of its contract, as an argument or a key: what is only named proves nothing."""
    tests = Path(__file__).parents[1]
    folders = [tests / "unit" / "exchange", tests / "integration" / "exchange", tests / "contract"]
    texts = "\n".join(path.read_text() for folder in folders for path in sorted(folder.glob("*.py")))
    unset = [name for name in Switches.__struct_fields__ if not re.search(rf'\b{name}=|"{name}":', texts)]
    assert unset == []
