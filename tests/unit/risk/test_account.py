"""The account's snapshot, its Greeks, and halts on drawdown and daily loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.config import RiskConfig
from services.risk.inputs import AccountPolled, AccountPollFailed, TransferSeen
from services.risk.rows import CapitalMoved, RiskRow
from shared.messages.account import AccountSnapshot
from shared.messages.control import HaltsAnswered, RaiseHalt
from shared.messages.risk import ResetBreaker
from shared.messages.steps import (
    Publish,
    RaiseAlert,
    ReplyReceived,
    Request,
    RequestTimedOut,
    SendRequest,
    Step,
    Tick,
)
from shared.messages.trades import HaltLevel, Refusal
from tests.unit.risk.desk import (
    CALL_110,
    LISTED,
    PUT_90,
    SECOND,
    START,
    STRIKES,
    Script,
    account,
    ask,
    chain,
    halt_state,
    limits,
    polled,
    position,
)

DAY_S = 86_400
TO_MIDNIGHT_S = DAY_S - (START // SECOND) % DAY_S


def published(step: Step) -> AccountSnapshot:
    (found,) = [
        effect for effect in step.effects if isinstance(effect, Publish) and effect.topic == "risk.main.account"
    ]
    assert isinstance(found.message, AccountSnapshot)
    return found.message


def halts(step: Step) -> list[SendRequest]:
    return [effect for effect in step.effects if isinstance(effect, SendRequest)]


def alerts(step: Step) -> list[tuple[str, bool]]:
    raised = [effect for effect in step.effects if isinstance(effect, RaiseAlert)]
    assert [effect.code for effect in raised if effect.resolved != (effect.severity == "info")] == []
    return [(effect.code, effect.resolved) for effect in raised]


def test_a_position_carries_our_greeks_times_its_signed_quantity_beside_the_venues() -> None:
    script = Script().market()
    held = msgspec.structs.replace(position(CALL_110, "-2"), delta=-0.7)
    snapshot = published(script.poll(positions=(held, position(PUT_90, "0"))))
    (shown,) = snapshot.positions
    unit = chain(START)
    assert unit.underlying == shown.underlying == "BTCUSD"
    option = script.core._market.option(CALL_110)
    assert option is not None
    assert shown.greeks is not None
    assert shown.greeks.delta == pytest.approx(-2 * option.delta)
    assert shown.greeks.vega < 0 < shown.greeks.theta
    assert snapshot.greeks == {"BTCUSD": shown.greeks}
    assert shown.venue_delta == -0.7
    assert snapshot.greeks_complete


def test_a_position_without_fresh_greeks_is_told_apart_from_one_of_zero() -> None:
    script = Script().market()
    snapshot = published(script.poll(positions=(position(CALL_110, "1"), position("ETHUSD-27MAR26-3000-C", "1"))))
    assert not snapshot.greeks_complete
    assert [shown.greeks is None for shown in snapshot.positions] == [False, True]
    assert snapshot.positions[1].underlying == "ETHUSD"
    stale = published(script.poll(6, positions=(position(CALL_110, "1"),)))
    assert stale.positions[0].greeks is None
    assert stale.greeks["BTCUSD"].delta == 0.0
    assert not stale.greeks_complete


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from([option.symbol for option in LISTED.instruments]),
        st.integers(-500, 500).filter(bool),
        min_size=1,
        max_size=2 * len(STRIKES),
    )
)
def test_sums_of_greeks_are_the_sums_over_the_positions(held: dict[str, int]) -> None:
    script = Script().market()
    positions = tuple(position(symbol, str(Decimal(lots) / 100)) for symbol, lots in held.items())
    snapshot = published(script.poll(positions=positions))
    for name in ("delta", "gamma", "vega", "theta", "rho"):
        one_by_one = sum(
            lots / 100 * script.core._market.greeks("BTCUSD", [symbol], START)[_ROW[name], 0]
            for symbol, lots in held.items()
        )
        assert getattr(snapshot.greeks["BTCUSD"], name) == pytest.approx(one_by_one, abs=1e-9)


_ROW = {name: row for row, name in enumerate(("delta", "gamma", "vega", "theta", "rho"))}


def test_an_answer_that_was_overtaken_is_dropped() -> None:
    script = Script().market()
    script.poll(2, account("90000"))
    assert script.on(polled(START, account("1")), 3).effects == []
    assert script.core.account is not None
    assert script.core.account.equity_usd == 90_000


def test_the_peak_needs_two_reads_and_survives_a_restart() -> None:
    script = Script().market()
    script.poll(0, account("100000"))
    assert published(script.poll(1, account("500000"))).peak_equity_usd == 500_000
    assert published(script.poll(2, account("100000"))).peak_equity_usd == 100_000
    script.poll(3, account("110000"))
    script.poll(4, account("120000"))
    script.restart()
    assert published(script.poll(5, account("100000"))).peak_equity_usd == 110_000


def test_the_first_figure_after_a_restart_raises_no_peak() -> None:
    script = Script().market()
    script.poll(0, account("100000"))
    script.restart()
    script.poll(1, account("200000"))
    assert published(script.poll(2, account("100000"))).peak_equity_usd == 100_000


def test_a_day_begins_with_a_figure_that_a_second_read_confirms() -> None:
    script = Script(limits(max_drawdown_pct=100, max_daily_loss_pct=10)).market()
    script.poll(0, account("100000"))
    script.poll(TO_MIDNIGHT_S + 1, account("1"))
    script.poll(TO_MIDNIGHT_S + 2, account("100000"))
    assert script.core.day_start_equity_usd == 100_000
    script.poll(TO_MIDNIGHT_S + 3, account("99000"))
    assert script.core.day_start_equity_usd == 99_000


def test_a_slowly_rising_account_does_not_write_a_row_per_read() -> None:
    script = Script().market()
    for second in range(100):
        script.poll(second, account(str(100_000 + second)))
    assert len(script.rows) < 20


def lose(script: Script, equity: str, at_s: float = 1.0) -> Step:
    script.poll(at_s, account(equity))
    return script.poll(at_s + 1, account(equity))


def test_a_drawdown_halts_once_and_is_refused_from_then_on() -> None:
    script = Script(limits(max_daily_loss_pct=100)).ready()
    step = lose(script, "70000")
    (request,) = halts(step)
    assert request.service == "execution"
    assert isinstance(request.message, RaiseHalt)
    assert (request.message.level, request.message.requested_by) == ("no_new_trades", "risk")
    assert alerts(step) == [("drawdown", False)]
    assert halts(script.poll(4, account("70000"))) == []
    refused = script.refused(ask(), 4)
    assert (refused.code, refused.limit) == ("drawdown", 30)


def test_one_wrong_figure_does_not_halt() -> None:
    script = Script().ready()
    assert halts(script.poll(1, account("0"))) == []
    assert halts(script.poll(2, account("100000"))) == []
    assert halts(script.poll(3, account("0"))) == []


def test_the_loss_of_the_day_halts_and_the_next_day_begins_anew() -> None:
    script = Script(limits(max_drawdown_pct=99)).ready()
    (request,) = halts(lose(script, "85000"))
    assert "daily_loss" in request.request_id
    script.market(3)
    assert script.refused(ask(), 3).code == "daily_loss"
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(1))), 3)
    step = script.poll(TO_MIDNIGHT_S + 1, account("85000"))
    assert alerts(step) == [("daily_loss", True)]
    script.market(TO_MIDNIGHT_S + 1)
    script.granted(ask(valid_until_ns=START + 2 * DAY_S * SECOND), TO_MIDNIGHT_S + 1)


def test_the_start_of_the_day_survives_a_restart() -> None:
    script = Script(limits(max_drawdown_pct=99)).ready()
    script.restart(1)
    assert [request.request_id for request in halts(lose(script, "85000"))]


def test_a_halt_is_asked_for_until_execution_has_answered() -> None:
    script = Script().ready()
    (request,) = [request for request in halts(lose(script, "60000")) if "drawdown" in request.request_id]
    assert script.core.next_deadline_ns() is None
    script.on(RequestTimedOut(request.request_id), 5)
    assert script.core.next_deadline_ns() == START + 6 * SECOND
    assert halts(script.on(Tick(), 5.9)) == []
    assert halts(script.on(Tick(), 6)) == [request]
    assert script.core.next_deadline_ns() is None
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(1, "no_new_trades"))), 7)
    script.on(RequestTimedOut(request.request_id), 8)
    assert script.core.next_deadline_ns() is None


def test_an_unanswered_halt_is_asked_for_again_after_a_restart_and_an_answered_one_is_not() -> None:
    script = Script(limits(max_daily_loss_pct=100)).ready()
    (request,) = halts(lose(script, "60000"))
    assert halts(script.restart(5)) == [request]
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(1))), 6)
    assert halts(script.restart(7)) == []
    assert halts(lose(script, "60000", 8)) == []


def test_a_refused_halt_alarms_and_is_asked_for_under_a_new_id() -> None:
    script = Script(limits(max_daily_loss_pct=100)).ready()
    (request,) = halts(lose(script, "60000"))
    step = script.on(ReplyReceived(request.request_id, Refusal(code="x", detail="no disk")), 5)
    (alert,) = step.effects
    assert "execution refused to halt: no disk" in alert.text
    (again,) = halts(script.on(Tick(), 6))
    assert again.request_id == f"{request.request_id}-1"
    assert again.message == request.message


def test_a_breach_ends_well_inside_its_limit_and_a_new_one_halts_again() -> None:
    script = Script(limits(max_daily_loss_pct=100)).ready()
    (first,) = halts(lose(script, "69000"))
    script.on(ReplyReceived(first.request_id, HaltsAnswered(state=halt_state(1))), 3)
    assert alerts(script.poll(4, account("71000"))) == []
    assert halts(lose(script, "69000", 5)) == []
    assert alerts(script.poll(8, account("80000"))) == [("drawdown", True)]
    (second,) = halts(lose(script, "69000", 9))
    assert second.request_id != first.request_id


def drawn_down(config: RiskConfig, equity: str) -> tuple[Script, SendRequest]:
    """A halt for a fall to `equity` is in force at 4 s, which risk has heard."""
    script = Script(config).ready()
    (request,) = halts(lose(script, equity))
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(1, "flatten"))), 3)
    script.hear(halt_state(1, "flatten"), 4, "execution")
    return script, request


FLATTENS = limits(max_drawdown_pct=25, max_daily_loss_pct=100, breach_halt_level="flatten")


def test_a_limit_whose_halt_was_lifted_inside_it_halts_again_when_it_is_reached_again() -> None:
    script, first = drawn_down(FLATTENS, "75000")
    lose(script, "76500", 5)
    script.hear(halt_state(1), 8, "execution")
    assert alerts(script.poll(9, account("76500"))) == [("drawdown", True)]
    assert halts(lose(script, "75500", 12)) == []
    (second,) = halts(lose(script, "74000", 15))
    assert second.request_id != first.request_id
    assert isinstance(second.message, RaiseHalt)
    assert second.message.level == "flatten"


def test_a_limit_whose_halt_was_lifted_while_broken_halts_again_when_it_gets_worse_and_over_a_restart() -> None:
    script, first = drawn_down(FLATTENS, "74000")
    script.hear(halt_state(1), 5, "execution")
    assert alerts(script.poll(6, account("74000"))) == [("drawdown", True)]
    assert halts(lose(script, "73000", 7)) == []
    script.restart(10)
    script.ready(10, figures=account("73000"))
    script.hear(halt_state(1), 10, "execution")
    assert halts(lose(script, "72000", 11)) == []
    lasting = [script.poll(at_s, account("71000")) for at_s in (14, 15)]
    (second,) = halts(lasting[1])
    assert second.request_id != first.request_id
    assert alerts(lasting[1]) == [("drawdown", False)]


def test_a_halt_that_is_in_force_and_one_that_execution_has_not_told_of_yet_are_not_lifted() -> None:
    script = Script(FLATTENS).ready()
    (request,) = halts(lose(script, "74000"))
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(7, "flatten"))), 3)
    # what was told before the halt may come after the answer to it
    script.hear(halt_state(6), 4, "execution")
    assert alerts(lose(script, "74000", 5)) == []
    script.hear(halt_state(7, "flatten"), 8, "execution")
    assert alerts(lose(script, "74000", 9)) == []


@pytest.mark.parametrize("level", ["no_new_trades", "flatten"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_limits_halt_that_executions_journal_lost_is_asked_for_again_at_the_same_figure(
    level: HaltLevel, restarted: bool
) -> None:
    config = msgspec.structs.replace(FLATTENS, breach_halt_level=level)
    script = Script(config).ready()
    (first,) = halts(lose(script, "74000"))
    script.on(ReplyReceived(first.request_id, HaltsAnswered(state=halt_state(7, level, raised_by="risk"))), 3)
    script.hear(halt_state(7, level, raised_by="risk"), 3, "execution")
    if restarted:
        script.restart(4)
        script.ready(4, figures=account("74000"))
    script.hear(halt_state(4_001, "no_new_trades", raised_by="journal"), 5, "execution")
    (second,) = halts(script.poll(6, account("74000")))
    assert isinstance(second.message, RaiseHalt)
    assert (second.message.level, second.request_id != first.request_id) == (level, True)
    both = msgspec.structs.replace(
        halt_state(4_002, "no_new_trades", raised_by="journal"),
        halts=(
            *halt_state(0, "no_new_trades", raised_by="journal").halts,
            *halt_state(0, level, raised_by="risk").halts,
        ),
    )
    script.on(ReplyReceived(second.request_id, HaltsAnswered(state=both)), 7)
    script.hear(both, 7, "execution")
    assert halts(lose(script, "74000", 8)) == []
    script.hear(halt_state(4_002), 12, "execution")
    assert alerts(script.poll(13, account("74000"))) == [("drawdown", True)]
    assert halts(lose(script, "73900", 14)) == []


def test_a_limits_halt_that_an_older_copy_of_executions_journal_does_not_know_is_asked_for_again() -> None:
    script = Script(FLATTENS).ready()
    (first,) = halts(lose(script, "74000"))
    script.on(ReplyReceived(first.request_id, HaltsAnswered(state=halt_state(7, "flatten", raised_by="risk"))), 3)
    script.hear(halt_state(6), 4, "execution")
    asked = [halts(script.poll(5 + number, account("74000"))) for number in range(25)]
    (second,) = [request for each in asked for request in each]
    assert second.request_id != first.request_id


def test_a_loss_that_a_person_accepts_is_the_new_mark_and_is_written_down() -> None:
    script, _ = drawn_down(FLATTENS, "74000")
    script.hear(halt_state(1), 5, "execution")
    lose(script, "74000", 6)
    assert script.refused(ask(), 9).code == "drawdown"
    script.on(Request("r", ResetBreaker(name="drawdown", subject="", requested_by="cli:ann"), "cli"), 9)
    assert published(lose(script, "74000", 10)).peak_equity_usd == 74_000
    script.market(13)
    script.granted(ask("s-2"), 13)
    script.restart(14)
    script.ready(14, figures=account("74000"))
    assert published(lose(script, "74000", 15)).peak_equity_usd == 74_000
    assert "cli:ann" in str(script.rows)
    script.hear(halt_state(1), 18, "execution")
    (again,) = halts(lose(script, "55000", 19))
    assert isinstance(again.message, RaiseHalt)
    assert "25.68 %" in again.message.reason


def test_an_account_tells_when_it_was_asked_for_beside_when_it_was_received() -> None:
    script = Script().ready()
    slow = msgspec.structs.replace(polled(START + 3 * SECOND), asked_ns=START + SECOND)
    shown = published(script.on(slow, 3.0))
    assert (shown.asked_ns, shown.received_ns) == (START + SECOND, START + 3 * SECOND)


def test_an_account_whose_transfers_cannot_be_read_is_shown_and_its_margin_watched_but_no_loss_judged() -> None:
    script = Script(limits(max_drawdown_pct=25, max_daily_loss_pct=100)).ready()
    figures = msgspec.structs.replace(account("60000"), maintenance_margin_usd=Decimal(59_000))
    told = []
    for second in range(1, 91):
        at_ns = START + second * SECOND
        read = AccountPolled(
            asked_ns=at_ns, received_ns=at_ns, account=figures, positions=(), transfers_problem="down: HTTP 500"
        )
        script.market(second)
        step = script.on(read, second)
        assert [request for request in halts(step) if "drawdown" in request.request_id] == []
        told += [(second, e.code, e.severity) for e in step.effects if isinstance(e, RaiseAlert)]
    assert published(step).equity_usd == 60_000
    assert ("margin_level", "critical") in [each[1:] for each in told]
    assert [each for each in told if each[1] == "account_unreachable"] == [
        (11, "account_unreachable", "warning"),
        (61, "account_unreachable", "critical"),
    ]
    assert script.refused(ask(), 90).code == "stale_account"
    assert halts(lose(script, "60000", 91)) != []


def test_answers_to_questions_of_others_change_nothing() -> None:
    script = Script().ready()
    assert script.on(RequestTimedOut("somebody else's")).effects == []


def test_deposits_and_withdrawals_are_neither_gain_nor_loss() -> None:
    script = Script().ready()
    script.on(TransferSeen(transfer_id="w1", amount_usd=Decimal(-50_000)), 1)
    script.on(TransferSeen(transfer_id="w1", amount_usd=Decimal(-50_000)), 1)
    assert halts(lose(script, "50000")) == []
    script.restart(5)
    snapshot = published(script.poll(6, account("50000")))
    assert snapshot.peak_equity_usd == 50_000


def test_a_withdrawal_and_a_deposit_leave_a_fall_in_per_cent_as_it_was() -> None:
    """By the amount alone 10 % would become 25 % by a withdrawal, and 24 % half of it by a deposit."""
    script = Script(limits(max_drawdown_pct=25, max_daily_loss_pct=100)).ready()
    lose(script, "90000")
    script.on(TransferSeen(transfer_id="w", amount_usd=Decimal(-60_000)), 4)
    step = lose(script, "30000", 5)
    assert halts(step) == []
    assert published(step).peak_equity_usd == Decimal("33333.33")
    script.on(TransferSeen(transfer_id="d", amount_usd=Decimal(70_000)), 8)
    step = lose(script, "100000", 9)
    assert halts(step) == []
    assert published(step).peak_equity_usd == Decimal("111111.10")
    (request,) = halts(lose(script, "83000", 12))
    assert request.message.reason == "drawdown 25.30 % has reached the limit of 25 %"


def test_what_was_paid_while_nobody_read_moves_the_marks_by_what_the_first_read_says() -> None:
    script = Script(limits(max_drawdown_pct=25, max_daily_loss_pct=100)).ready()
    script.restart(1)
    assert script.on(TransferSeen(transfer_id="w", amount_usd=Decimal(-50_000)), 2).rows == []
    assert script.on(TransferSeen(transfer_id="w", amount_usd=Decimal(-50_000)), 2).rows == []
    step = lose(script, "45000", 3)
    # 95,000 of the peak of 100,000 before the withdrawal
    assert published(step).peak_equity_usd == Decimal("47368.42")
    assert len([entry for entry in script.rows if isinstance(entry.row, CapitalMoved)]) == 1


def test_only_the_newest_transfers_are_remembered() -> None:
    script = Script().ready()
    for number in range(1_001):
        script.on(TransferSeen(transfer_id=str(number), amount_usd=Decimal(1)))
    assert script.on(TransferSeen(transfer_id="1000", amount_usd=Decimal(1))).rows == []
    assert script.on(TransferSeen(transfer_id="0", amount_usd=Decimal(1))).rows != []


def test_an_account_that_cannot_be_read_is_alarmed_once_and_its_return_told() -> None:
    script = Script().ready()
    told = [alerts(script.on(AccountPollFailed("HTTP 500"), at_s)) for at_s in (1, 5, 11, 12, 13)]
    assert told == [[], [], [("account_unreachable", False)], [], []]
    assert alerts(script.poll(14)) == [("account_unreachable", True)]
    assert alerts(script.poll(15)) == []


def test_every_row_survives_the_journals_encoding() -> None:
    script = Script(limits(max_daily_loss_pct=100)).ready()
    script.granted(ask())
    (request,) = halts(lose(script, "60000"))
    script.on(ReplyReceived(request.request_id, HaltsAnswered(state=halt_state(1))), 4)
    script.on(TransferSeen(transfer_id="w", amount_usd=Decimal("0.5")), 4)
    script.poll(5, account("100000"))
    rows: list[Any] = [entry.row for entry in script.rows]
    assert {type(row).__name__ for row in rows} == {
        "TradingDayStarted",
        "PeakEquityRaised",
        "GrantIssued",
        "BreachFound",
        "BreachHalted",
        "BreachEnded",
        "CapitalMoved",
    }
    assert [msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=RiskRow) for row in rows] == rows


def test_a_quantity_limit_that_is_no_quantity_is_refused_by_name() -> None:
    for value in ("0", "-1", "NaN"):
        with pytest.raises(msgspec.ValidationError, match="max_order_quantity"):
            msgspec.convert({"max_order_quantity": value}, RiskConfig)


def test_a_clock_off_by_a_minute_is_alarmed_once_with_the_remedy_and_its_end_told() -> None:
    script = Script().ready()

    def with_offset(seconds: float, at_s: int) -> list[RaiseAlert]:
        reading = msgspec.structs.replace(polled(START + at_s * SECOND), clock_offset_ns=int(seconds * SECOND))
        return [effect for effect in script.on(reading, at_s).effects if isinstance(effect, RaiseAlert)]

    (alert,) = with_offset(60, 1)
    assert (alert.code, alert.severity, alert.resolved) == ("clock_off", "critical", False)
    assert alert.text.startswith("the clock of this host is -60.0 s off the venue's: synchronise it (NTP)")
    assert with_offset(59, 2) == with_offset(0.8, 3) == []
    (over,) = with_offset(0.1, 4)
    assert over.resolved
    assert with_offset(-0.9, 5) == []
    assert with_offset(-1.5, 6)[0].text.startswith("the clock of this host is +1.5 s off")
