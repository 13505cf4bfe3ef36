"""The parts of the dashboard that decide or remember, each alone."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.alerts import Matter
from services.monitor.effects import AlertRecord
from services.monitor.web.attempts import Attempts, network_of
from services.monitor.web.events import event
from services.monitor.web.logs import RecentLogs, shown_lines
from services.monitor.web.pages import urgent_first
from services.monitor.web.payoff import payoff
from services.monitor.web.store import AuditLine, WebStore, store_path
from services.monitor.web.trading import account_figures, closed_today_usd, trade_rows
from shared.log_query import LogQuery
from shared.messages.system import Severity
from shared.messages.trades import LegStatus
from tests.unit.monitor.desk import SECOND, START, SYMBOL, Script, account, trade

MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


def test_wrong_passwords_lock_a_pair_then_an_address_then_a_name_and_are_forgotten() -> None:
    attempts = Attempts(3, 10)
    assert [attempts.failed("anna", "a", START) for _ in range(3)] == [False, False, True]
    assert attempts.wait_s("anna", "a", START) == 600
    assert attempts.wait_s("anna", "b", START) == attempts.wait_s("bert", "a", START) == 0
    for number in range(9):
        attempts.failed(f"name{number}", "a", START)
    assert attempts.wait_s("bert", "a", START) == 600, "four times as many from one address"
    for number in range(27):
        attempts.failed("anna", f"address{number}", START)
    assert attempts.wait_s("anna", "fresh", START) == 40, "ten times as many for one name: a try now and then"
    later = START + 600 * SECOND
    assert attempts.wait_s("anna", "a", later) == 0
    assert not attempts.failed("anna", "a", later + 1), "counted from the beginning"
    attempts.succeeded("anna", "a")
    assert attempts.wait_s("anna", "a", later + 2) == 0


def test_logins_that_succeed_lock_nobody_out_however_many_there_are() -> None:
    attempts = Attempts(3, 10)
    for number in range(200):
        assert attempts.wait_s("anna", "a", START + number) == 0
        attempts.failed("anna", "a", START + number)
        attempts.succeeded("anna", "a")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 60)), max_size=60))
def test_no_order_of_attempts_gives_more_tries_than_the_limit_in_one_lockout(
    tried: list[tuple[str, str, int]],
) -> None:
    attempts, now_ns = Attempts(3, 10), START
    allowed: dict[tuple[str, str], list[int]] = {}
    for name, address, pause_s in tried:
        now_ns += pause_s * SECOND
        if attempts.wait_s(name, address, now_ns):
            continue
        attempts.failed(name, address, now_ns)
        times = allowed.setdefault((name, address), [])
        times.append(now_ns)
        within = [at for at in times if now_ns - at < 600 * SECOND]
        assert len(within) <= 3 or now_ns - times[-2] > 600 * SECOND


def test_of_logs_the_newest_lines_come_first_over_all_services_and_only_so_many(tmp_path: Path) -> None:
    for service, offset in (("execution", 0), ("risk", 1)):
        lines = [
            json.dumps({"event": f"e{n}", "level": "info" if n % 2 else "error", "at": f"2026-01-01T00:00:{n:02d}Z"})
            for n in range(offset, 60, 2)
        ]
        (tmp_path / f"{service}.log").write_text("\n".join(lines) + "\nnot finished")
    both = ("execution", "risk", "nothing")
    found = shown_lines(tmp_path, LogQuery(services=both, search="event"), 3)
    assert [(line.service, line.event) for line in found] == [("risk", "e59"), ("execution", "e58"), ("risk", "e57")]
    errors = shown_lines(tmp_path, LogQuery(services=both, level="error", search="EVENT"), 100)
    assert {line.level for line in errors} == {"error"}
    assert shown_lines(tmp_path, LogQuery(services=both, search="e1 nowhere"), 100) == []


def test_an_event_is_one_frame_whatever_its_html_holds() -> None:
    assert event("a", "<p>\nx\r\n\n</p>") == b"event: a\ndata: <p>\ndata: x\ndata: </p>\n\n"


def leg(symbol: str, side: str, quantity: str, price: str) -> LegStatus:
    return LegStatus(
        symbol=symbol,
        side=side,  # type: ignore[arg-type]
        quantity=Decimal(quantity),
        filled_quantity=Decimal(quantity),
        closed_quantity=Decimal(0),
        open_price=Decimal(price),
        close_price=None,
    )


def test_a_payoff_is_what_the_legs_are_worth_at_expiry_less_what_was_paid() -> None:
    spread = (leg("BTCUSD-27MAR26-100000-C", "buy", "2", "3000"), leg("BTCUSD-27MAR26-110000-C", "sell", "2", "1000"))
    marks = {"BTCUSD-27MAR26-100000-C": 3_100.0, "BTCUSD-27MAR26-110000-C": 1_050.0}
    drawn = payoff(spread, marks, 100_000.0, START)
    at, end, now = drawn["underlying"], drawn["at_expiry"], drawn["now"]
    assert isinstance(at, list)
    assert isinstance(end, list)
    assert isinstance(now, list)
    assert (end[0], end[-1]) == (-4_000.0, 16_000.0)
    for price, value in zip(at, end, strict=True):
        wanted = 2 * (min(max(price - 100_000, 0), 10_000)) - 4_000
        assert value == pytest.approx(wanted, abs=0.05)
    nearest = min(range(len(at)), key=lambda number: abs(at[number] - 100_000.0))
    assert now[nearest] == pytest.approx(2 * (3_100 - 1_050) - 4_000, abs=200)


def test_a_leg_without_a_mark_has_no_value_today_and_nothing_held_draws_nothing() -> None:
    one = (leg("BTCUSD-27MAR26-100000-C", "buy", "1", "3000"),)
    drawn = payoff(one, {}, 100_000.0, START)
    assert isinstance(drawn["now"], list)
    assert set(drawn["now"]) == {None}
    assert isinstance(drawn["at_expiry"], list)
    assert drawn["at_expiry"][0] == -3_000.0
    closed = msgspec.structs.replace(one[0], closed_quantity=Decimal(1), close_price=Decimal(1))
    with pytest.raises(ValueError, match="nothing is held"):
        payoff((closed,), {}, 100_000.0, START)


def test_live_figures_of_a_trade_need_every_mark() -> None:
    script = Script()
    script.hear(account(), 1)
    script.hear(trade("OPEN", 2))
    script.hear(msgspec.structs.replace(trade("CLOSED", 3, trade_id="t2"), closed_ns=START + 3 * SECOND))
    status = script.core.status(START + 60 * SECOND)
    (open_row,) = trade_rows([each for each in status.trades if not each.is_final], status.account)
    # sold 0.1 at 3250, mark 3125: 12.5 beside 12.50 realised; fees 1.25
    assert (open_row.pnl_usd, open_row.net_usd) == (25.0, 23.75)
    assert open_row.greeks is not None
    assert open_row.greeks.delta == pytest.approx(-0.0312)
    (blind,) = trade_rows([each for each in status.trades if not each.is_final], None)
    assert (blind.pnl_usd, blind.net_usd, blind.greeks) == (None, None, None)
    assert closed_today_usd(status) == Decimal("11.25")
    figures = account_figures(account())
    assert figures.maintenance_share == pytest.approx(1_500 / 100_012.5)
    assert SYMBOL in {leg.leg.symbol for leg in open_row.legs}


async def test_an_open_log_page_reads_a_file_again_only_when_it_changed_and_not_within_three_seconds(
    tmp_path: Path,
) -> None:
    path, query, logs = tmp_path / "risk.log", LogQuery(services=("risk", "execution")), RecentLogs()
    path.write_text('{"event": "first", "level": "info", "at": "2026-01-01T00:00:00Z"}\n')
    first = await logs.lines(tmp_path, query, 200, START)
    assert [line.event for line in first] == ["first"]
    with path.open("a") as file:
        file.write('{"event": "second", "level": "info", "at": "2026-01-01T00:00:01Z"}\n')
    assert await logs.lines(tmp_path, query, 200, START + 2 * SECOND) is first
    second = await logs.lines(tmp_path, query, 200, START + 3 * SECOND)
    assert [line.event for line in second] == ["second", "first"]
    assert await logs.lines(tmp_path, query, 200, START + 60 * SECOND) is second, "nothing was written"
    path.unlink()
    assert await logs.lines(tmp_path, query, 200, START + 120 * SECOND) == []


def test_a_search_by_level_keeps_lines_without_a_level_and_those_that_only_name_a_lower_one(tmp_path: Path) -> None:
    lines = [
        '{"event": "quiet", "level": "info", "at": "2026-01-01T00:00:01Z"}',
        '{"event": "loud", "level": "error", "at": "2026-01-01T00:00:02Z", "was": "info"}',
        '{"event": "says \\"error\\"", "level": "info", "at": "2026-01-01T00:00:03Z"}',
        '{"event":"tight","level":"warning","at":"2026-01-01T00:00:04Z"}',
        'Traceback: no JSON, "info"',
    ]
    (tmp_path / "risk.log").write_text("\n".join(lines) + "\n")
    found = shown_lines(tmp_path, LogQuery(services=("risk",), level="warning"), 100)
    assert [line.event for line in found] == ['Traceback: no JSON, "info"', "tight", "loud"]


def test_strangers_cannot_lock_a_name_where_it_logged_in_before() -> None:
    attempts = Attempts(3, 10)
    attempts.failed("anna", "home", START)
    attempts.succeeded("anna", "home")
    for number in range(40):
        attempts.failed("anna", f"stranger {number}", START)
    assert attempts.wait_s("anna", "elsewhere", START) == 40
    assert attempts.wait_s("anna", "home", START) == 0
    for _ in range(3):
        attempts.failed("anna", "home", START)
    assert attempts.wait_s("anna", "home", START) == 600, "the pair's own lock holds"


def test_where_a_name_logged_in_is_known_after_a_restart_too(tmp_path: Path) -> None:
    store = WebStore(store_path(tmp_path))
    for number, (address, outcome) in enumerate((("home", "done"), ("away", "refused: locked"))):
        at_ns = START + number
        line = AuditLine(
            action_id=f"login-{number}",
            at_ns=at_ns,
            who="anna",
            address=address,
            what="login",
            detail="",
            outcome=outcome,
            ended_ns=at_ns,
        )
        store.begin(line)
    attempts = Attempts(3, 10, store.logins(START - DAY))
    assert store.logins(START + DAY) == (), "an address of long ago is nobody's any more"
    store.close()
    for number in range(40):
        attempts.failed("anna", f"stranger {number}", START)
    assert attempts.wait_s("anna", "home", START) == 0
    assert attempts.wait_s("anna", "away", START) == 40


def test_a_host_with_all_addresses_of_its_network_has_the_tries_of_one() -> None:
    attempts = Attempts(3, 10)
    for number in range(3):
        attempts.failed("anna", f"2001:db8:1:2::{number:x}", START)
    assert attempts.wait_s("anna", "2001:db8:1:2:ffff::1", START) == 600
    assert attempts.wait_s("anna", "2001:db8:1:3::1", START) == 0
    assert network_of("::ffff:192.0.2.7") == network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("fe80::1%eth0") == "fe80::/64"


def test_many_addresses_get_one_try_in_a_while_between_them_and_no_more() -> None:
    attempts, tried = Attempts(3, 10), 0
    for second in range(3_600):
        address = f"stranger {second}"
        if not attempts.wait_s("anna", address, START + second * SECOND):
            attempts.failed("anna", address, START + second * SECOND)
            tried += 1
    assert tried == 30 + (3_600 - 30) // 40


def matter(name: str, severity: Severity, at_s: int, *, over: bool = False, by: str = "") -> Matter:
    at_ns = START + at_s * SECOND
    record = AlertRecord(
        code=name, severity=severity, subject=name, text=name, service="risk", raised_ns=at_ns, resolved=over
    )
    return Matter(
        record=record, first_ns=at_ns, last_ns=at_ns, told_ns=at_ns, count=1, alert_id=name, acknowledged_by=by
    )


def test_what_is_open_comes_before_what_is_over_and_the_worst_that_nobody_sees_to_first() -> None:
    matters = [
        matter("over", "critical", 9, over=True),
        matter("told", "info", 8),
        matter("newer warning", "warning", 7),
        matter("seen to", "critical", 6, by="anna"),
        matter("warning", "warning", 2),
        matter("worst", "critical", 1),
    ]
    order = ["worst", "newer warning", "warning", "seen to", "over", "told"]
    assert [each.alert_id for each in urgent_first(matters)] == order
