"""voldesk rfq: the structure is read, execution is asked, quotes are shown against the book."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.inquiries import (
    InquiryList,
    ListInquiries,
    QuoteStructure,
    SideQuote,
    SideQuotes,
    StructureQuotes,
)
from shared.messages.trades import LegOrder, Refusal
from tests.unit.voldesk.peers import Peers, Ran

LOW, HIGH = "BTCUSD-26JUN26-100000-C", "BTCUSD-26JUN26-120000-C"
STRUCTURE = ("buy", "0.5", LOW, "sell", "0.5", HIGH)
LEGS = (
    LegOrder(symbol=LOW, side="buy", quantity=Decimal("0.5")),
    LegOrder(symbol=HIGH, side="sell", quantity=Decimal("0.5")),
)
ASKED_NS = 1_783_602_990_000_000_000


def side_quote(quote_id: str, cost: float, improvement: float | None, **changes: object) -> SideQuote:
    base = SideQuote(
        quote_id=quote_id,
        prices=(Decimal(1250), Decimal(600)),
        cost_usd=cost,
        basis="book",
        improvement_usd=improvement,
        improvement_pct=None if improvement is None else improvement / 3.3,
        over_mark_usd=5.0,
        over_mark_pct=0.54,
        expiry_ns=ASKED_NS + 300 * 10**9,
    )
    return msgspec.structs.replace(base, **changes)


ANSWER = StructureQuotes(
    inquiry_id="i1",
    account_id="main",
    request_id="2075207481654804480",
    legs=LEGS,
    requested_by="cli:eva",
    asked_ns=ASKED_NS,
    answered_ns=ASKED_NS + 6 * 10**9,
    sides=(
        SideQuotes(
            action="buy",
            book_cost_usd=330.0,
            mark_cost_usd=320.0,
            shallow=(),
            quotes=(side_quote("17", 325.10000000000002, 4.9), side_quote("18", 331.0, -1.0)),
        ),
        SideQuotes(action="sell", book_cost_usd=None, mark_cost_usd=-320.0, shallow=(HIGH,), quotes=()),
    ),
    unusable=1,
    reason="",
)


def cells(text: str, word: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if word in line]


def test_both_directions_are_shown_against_mark_and_book_with_the_best_quote_first(peers: Peers) -> None:
    peers.answer("execution", lambda _: ANSWER)
    ran = Ran("rfq", "quote", *STRUCTURE)
    assert ran.code == 0, ran.err
    (asked,) = peers.asked
    assert isinstance(asked, QuoteStructure)
    assert (asked.legs, asked.collect_s) == (LEGS, 6.0)
    assert asked.requested_by.startswith("cli")
    assert cells(ran.out, "quote 1") == [
        ["as", "given", "quote", "1", "325.10", "+4.90", "+1.48", "+0.54", "1250", "600", "4m54s"]
    ]
    assert cells(ran.out, "quote 2")[0][4:7] == ["331.00", "-1.00", "-0.30"]
    assert cells(ran.out, "book ")[:2] == [["as", "given", "book", "330.00"], ["opposite", "book", "-"]]
    assert "quotes of makers · paper · account acc1" in ran.out
    assert f"does not hold the size of {HIGH}" in " ".join(ran.out.split())
    assert "1 further quote(s) were for other legs" in ran.out
    assert "nothing was accepted" in ran.out


def test_as_json_it_has_fixed_keys_without_the_noise_of_binary_fractions(peers: Peers) -> None:
    peers.answer("execution", lambda _: ANSWER)
    ran = Ran("rfq", "quote", *STRUCTURE, "--collect", "3", "--json")
    told = json.loads(ran.out)
    assert told["legs"][1] == {"side": "sell", "qty": "0.5", "symbol": HIGH}
    assert (told["request_id"], told["asked_at"]) == ("2075207481654804480", "2026-07-09T13:16:30.000Z")
    straight, turned = told["sides"]
    assert straight["quotes"][0] == {
        "quote_id": "17",
        "cost": 325.1,
        "improvement": 4.9,
        "improvement_pct": 1.484848,
        "basis": "book",
        "over_mark": 5.0,
        "over_mark_pct": 0.54,
        "prices": ["1250", "600"],
        "expires_at": "2026-07-09T13:21:30.000Z",
    }
    assert turned == {
        "direction": "opposite",
        "mark_cost": -320.0,
        "book_cost": None,
        "shallow": [HIGH],
        "quotes": [],
    }
    assert told["unusable_quotes"] == 1


def test_a_share_of_half_the_spread_is_marked_as_such(peers: Peers) -> None:
    near_zero = side_quote("17", 0.5, 4.9, basis="half_spread", improvement_pct=98.0)
    sides = (msgspec.structs.replace(ANSWER.sides[0], quotes=(near_zero,)), ANSWER.sides[1])
    peers.answer("execution", lambda _: msgspec.structs.replace(ANSWER, sides=sides))
    ran = Ran("rfq", "quote", *STRUCTURE)
    assert "½ +98.00" in ran.out
    assert "per cent of half the spread" in ran.out


def test_no_quote_is_told_with_the_reason(peers: Peers) -> None:
    sides = tuple(msgspec.structs.replace(side, quotes=()) for side in ANSWER.sides)
    nothing = msgspec.structs.replace(ANSWER, sides=sides, unusable=0, reason="no maker quoted within 6 s")
    peers.answer("execution", lambda _: nothing)
    ran = Ran("rfq", "quote", *STRUCTURE)
    assert ran.code == 0
    assert "No maker quoted within 6 s." in ran.out
    assert "Cost in USD" not in ran.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("buy", "0.5"), "each three words"),
        (("hold", "0.5", LOW), "'hold' is no side"),
        (("buy", "many", LOW), "'many' is no quantity"),
        (("buy", "0", LOW), "'0' is no quantity"),
        (("buy", "nan", LOW), "'nan' is no quantity"),
        (("buy", "inf", LOW), "'inf' is no quantity"),
    ],
)
def test_a_structure_that_cannot_be_read_is_refused_before_anybody_is_asked(
    peers: Peers, words: tuple[str, ...], told: str
) -> None:
    peers.answer("execution", lambda _: ANSWER)
    ran = Ran("rfq", "quote", *words)
    assert ran.code == 2
    assert told in ran.err
    assert ran.out == ""
    assert not peers.asked


def test_a_structure_may_be_one_word_with_commas_and_in_small_letters(peers: Peers) -> None:
    peers.answer("execution", lambda _: ANSWER)
    Ran("rfq", "quote", f"buy 0.5 {LOW.lower()}, SELL 0.5 {HIGH}")
    (asked,) = peers.asked
    assert isinstance(asked, QuoteStructure)
    assert asked.legs == LEGS


def test_a_refusal_is_one_line_with_its_remedy(peers: Peers) -> None:
    peers.answer("execution", lambda _: Refusal(code="busy", detail="another inquiry collects", remedy="ask again"))
    ran = Ran("rfq", "quote", *STRUCTURE)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "voldesk: execution refused: another inquiry collects (busy); ask again\n"


def test_the_history_has_the_best_of_each_direction_on_one_line(peers: Peers) -> None:
    peers.answer("execution", lambda _: InquiryList(inquiries=(ANSWER, ANSWER)))
    ran = Ran("rfq", "history", "--limit", "2")
    assert peers.asked == [ListInquiries(limit=2)]
    assert cells(ran.out, "+0.5")[0][-5:] == ["2", "325.10", "+4.90", "-", "-"]
    assert len(json.loads(Ran("rfq", "history", "--json").out)) == 2


def test_watching_goes_on_after_a_refusal_and_ends_with_ctrl_c(peers: Peers) -> None:
    told: list[Message] = [ANSWER, Refusal(code="busy", detail="another inquiry collects")]
    peers.answer("execution", lambda _: told.pop(0) if told else ANSWER)
    words = ["rfq", "quote", *STRUCTURE, "--watch", "--every", "1", "--collect", "0.5", "--json"]
    command = [sys.executable, "-c", "from voldesk.main import app; app()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        lines = [json.loads(running.stdout.readline()) for _ in range(2)]
        assert {line["inquiry_id"] for line in lines} == {"i1"}
        assert "another inquiry collects (busy); asked again in 1 s" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.wait(60) == 130
    assert len(peers.asked) >= 3


def test_watching_a_desk_that_is_away_ends_at_once() -> None:
    ran = Ran("rfq", "quote", *STRUCTURE, "--watch")
    assert ran.code == 69
