"""`voldesk tca` and the quality of a trade, with real peers on the bus; the sums behind them."""

from __future__ import annotations

import json
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from shared.clock import Clock
from shared.messages.quality import LegQuality, ListQuality, PhaseQuality, QualityList
from shared.tca import percentile, summarise
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import CALL, OPENED_NS, STORY

HOUR_NS = 3_600_000_000_000


def phase(**changes: Any) -> PhaseQuality:
    base = PhaseQuality(
        trade_id="t1",
        strategy="demo_strangle",
        mode="limit",
        phase="open",
        began_ns=OPENED_NS,
        filled_usd=D(1_010),
        premium_usd=D(1_000),
        slippage_usd=D(10),
        slippage_bp=100.0,
        improvement_usd=D(5),
        orders=2,
        chunks=0,
        time_to_fill_s=4.0,
        maker_share=0.5,
        fees_usd=D("0.75"),
        naked_s=2.0,
        naked_delta_s=0.25,
    )
    return msgspec.structs.replace(base, **changes)


LEG = LegQuality(
    symbol=CALL,
    side="buy",
    quantity=D("0.1"),
    average_price=D("1122.8"),
    arrival_mid=1120.5,
    decision_price=1119.0,
    slippage_usd=D("0.23"),
    slippage_bp=20.5,
    improvement_usd=D("0.4"),
    orders=2,
    time_to_fill_s=4.0,
    maker_share=0.0,
    fees_usd=D("0.75"),
)


def test_averages_are_per_trade_and_basis_points_are_weighted_by_premium() -> None:
    (row,) = summarise(
        [phase(), phase(slippage_usd=D(-40), premium_usd=D(9_000), improvement_usd=D(15), time_to_fill_s=8.0)],
        "strategy",
    )
    assert (row.group, row.phase, row.trades, row.measured) == ("demo_strangle", "open", 2, 2)
    assert (row.slippage_usd, row.improvement_usd, row.fees_usd) == (D(-15), D(10), D("1.50"))
    assert row.slippage_bp == pytest.approx(-30.0)
    assert (row.fill_p50_s, row.fill_p90_s, row.orders) == (4.0, 8.0, 2.0)
    assert (row.naked_s, row.naked_delta_s) == (4.0, 0.5)


def test_an_unknown_arrival_price_is_counted_and_left_out_of_the_averages() -> None:
    unknown = phase(slippage_usd=None, premium_usd=None, slippage_bp=None, improvement_usd=None)
    (row,) = summarise([phase(), unknown], "mode")
    assert (row.group, row.trades, row.measured, row.slippage_usd) == ("limit", 2, 1, D(10))
    (alone,) = summarise([unknown], "mode")
    assert (alone.slippage_usd, alone.slippage_bp, alone.improvement_usd) == (None, None, None)
    assert alone.fees_usd == D("0.75")


def test_openings_and_closes_are_apart_and_groups_are_in_order() -> None:
    later = phase(began_ns=OPENED_NS + 2 * HOUR_NS)
    rows = summarise([later, phase(phase="close"), phase()], "hour")
    assert [(row.group, row.phase) for row in rows] == [("14:00", "open"), ("14:00", "close"), ("16:00", "open")]


def test_the_makers_share_is_weighted_by_what_was_traded() -> None:
    (row,) = summarise(
        [
            phase(maker_share=1.0, filled_usd=D(300)),
            phase(maker_share=0.0, filled_usd=D(100)),
            phase(maker_share=None),
        ],
        "strategy",
    )
    assert row.maker_share == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.9, 3.0), ([1.0, 2.0], 0.5, 1.0), ([float(n) for n in range(1, 11)], 0.9, 9.0)],
)
def test_a_percentile_is_a_value_that_occurred(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_the_table_counts_trades_marks_few_and_says_what_is_not_known(peers: Peers) -> None:
    unknown = phase(slippage_usd=None, premium_usd=None, slippage_bp=None, improvement_usd=None)
    peers.answer("execution", lambda _: QualityList(phases=(phase(), unknown), kept_since_ns=0))
    ran = Ran("tca")
    assert ran.code == 0
    for expected in (
        "execution cost by strategy, 7 days",
        "2*",
        "100.0",
        "fewer than 10 trades",
        "1 without a known mid",
    ):
        assert expected in ran.out
    (asked,) = peers.asked
    assert isinstance(asked, ListQuality)
    assert abs(Clock().now_ns() - 7 * 24 * HOUR_NS - asked.since_ns) < HOUR_NS


def test_names_and_figures_stay_whole_on_a_terminal_of_80_characters(peers: Peers) -> None:
    close = phase(phase="close", slippage_usd=D("-12.34"), slippage_bp=1234.5, time_to_fill_s=10.047)
    peers.answer("execution", lambda _: QualityList(phases=(phase(), close), kept_since_ns=0))
    lines = Ran("tca").out.splitlines()
    assert max(map(len, lines[:4])) <= 80
    assert " ".join(lines[2].split()) == "demo_strangle open 1* 10.00 100.0 5.00 4.00s 4.00s 50% 0.75 0.25"
    assert " ".join(lines[3].split()) == "demo_strangle close 1* -12.34 -123.4 5.00 10s 10s 50% 0.75 0.25"

    quality = (phase(legs=(LEG,)), msgspec.structs.replace(close, legs=(msgspec.structs.replace(LEG, side="sell"),)))
    peers.answer("execution", lambda _: msgspec.structs.replace(STORY, quality=quality))
    told = Ran("trade", "t59495869").out
    assert f"close sell {CALL} " in told
    for line in ("mode limit limit", "slippage, USD 10.00 -12.34", "orders 2 2", "time to fill 4.000s 10.047s"):
        assert line.split() in [row.split() for row in told.splitlines()]


WIDE_FIGURES = (
    ("open", "buy", CALL, "1119", "1120.5", "1122.8", "0.23", "20.5"),
    ("open", "buy", CALL, "0.40", "2", "4.000s", "0%", "0.75"),
    ("close", "sell", CALL, "-", "100120.5", "100122.875", "-1,230.23", "-1122.5"),
    ("close", "sell", CALL, "-12.40", "12", "9.000s", "100%", "10.75"),
)
NARROW_FIGURES = (
    ("decision", "price", "1119", "-"),
    ("mid", "at", "arrival", "1120.5", "100120.5"),
    ("average", "1122.8", "100122.875"),
    ("slippage,", "USD", "0.23", "-1,230.23"),
    ("bp", "of", "premium", "20.5", "-1122.5"),
    ("improved,", "USD", "0.40", "-12.40"),
    ("orders", "2", "12"),
    ("time", "to", "fill", "4.000s", "9.000s"),
    ("maker", "share", "0%", "100%"),
    ("fees,", "USD", "0.75", "10.75"),
)


@pytest.mark.parametrize(("columns", "expected"), [(120, WIDE_FIGURES), (80, NARROW_FIGURES), (44, NARROW_FIGURES)])
def test_every_figure_of_a_leg_is_whole_however_wide_the_terminal(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, columns: int, expected: tuple[tuple[str, ...], ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    reduced = msgspec.structs.replace(
        LEG,
        side="sell",
        decision_price=None,
        arrival_mid=100_120.5,
        average_price=D("100122.875"),
        slippage_usd=D("-1230.23"),
        slippage_bp=-1122.5,
        improvement_usd=D("-12.4"),
        orders=12,
        time_to_fill_s=9.0,
        maker_share=1.0,
        fees_usd=D("10.75"),
    )
    quality = (phase(legs=(LEG,)), phase(phase="close", legs=(reduced,)))
    peers.answer("execution", lambda _: msgspec.structs.replace(STORY, quality=quality))
    lines = Ran("trade", "t59495869").out.splitlines()
    shown = [tuple(line.split()) for line in lines]
    for line in expected:
        assert line in shown
    begin = next(
        index for index, line in enumerate(lines) if line.startswith(("prices of the legs", "execution of "))
    )
    tables = [line for line in lines[begin:] if " · " not in line]
    assert max(map(len, tables)) <= columns


def test_a_column_of_names_is_not_cut_on_a_terminal_that_is_too_narrow_for_the_table(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    peers.answer("execution", lambda _: QualityList(phases=(phase(),), kept_since_ns=0))
    assert "demo_strangle " in Ran("tca").out


def test_as_json_it_has_the_fixed_keys(peers: Peers) -> None:
    peers.answer("execution", lambda _: QualityList(phases=(phase(),), kept_since_ns=OPENED_NS * 2))
    shown = json.loads(Ran("tca", "--by", "mode", "--json").out)
    assert shown["by"] == "mode"
    assert shown["groups"] == [
        {
            "group": "limit",
            "phase": "open",
            "trades": 1,
            "measured": 1,
            "slippage_usd": "10",
            "slippage_bp": 100.0,
            "improvement_usd": "5",
            "fill_p50_s": 4.0,
            "fill_p90_s": 4.0,
            "maker_share": 0.5,
            "fees_usd": "0.75",
            "orders_per_trade": 2.0,
            "naked_s": 2.0,
            "naked_delta_s": 0.25,
        }
    ]


def test_nothing_executed_is_said_and_not_shown_as_zero(peers: Peers) -> None:
    peers.answer("execution", lambda _: QualityList(phases=(), kept_since_ns=0))
    assert "nothing was executed in the last 3 days" in Ran("tca", "--days", "3").out


def test_a_trade_shows_its_legs_and_the_whole_with_slippage_and_time(peers: Peers) -> None:
    story = msgspec.structs.replace(STORY, quality=(phase(legs=(LEG,)),))
    peers.answer("execution", lambda _: story)
    words = " ".join(Ran("trade", "t59495869").out.split())
    for expected in (
        "execution of the legs",
        f"open buy {CALL} 1119 1120.5 1122.8 0.23 20.5",
        f"open buy {CALL} 0.40 2 4.000s 0% 0.75",
        "execution as a whole",
        "maker share 50% fees, USD 0.75",
    ):
        assert expected in words
    told = json.loads(Ran("trade", "t59495869", "--json").out)
    assert told["quality"][0]["legs"][0]["decision_price"] == 1119.0
    assert told["quality"][0]["slippage_usd"] == "10"
