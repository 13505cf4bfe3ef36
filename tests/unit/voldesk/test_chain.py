"""The option chain as table, plot and JSON, heard from a real publisher."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest

from shared.messages.base import Message
from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.options.chain import list_id_of, pack_columns
from tests.unit.dated_futures import chain_with_futures, with_futures
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.plot import Curve, plot

HOUR_NS = 3_600_000_000_000
NEAR_NS = 1_796_371_200_000_000_000  # 2026-12-04 08:00 UTC
ODD_NS = NEAR_NS + 3 * HOUR_NS + 20 * HOUR_NS // 60
FORWARD = 100_100.0


def listed() -> tuple[Instrument, ...]:
    return tuple(
        Instrument(
            symbol=f"BTCUSD-{name}-{strike}-{kind}",
            underlying="BTCUSD",
            option_type=kind,  # type: ignore[arg-type]
            strike=Decimal(strike),
            expiry_ns=expiry_ns,
            last_trade_ns=expiry_ns,
            tick_size=Decimal("0.1"),
            lot_size=Decimal("0.01"),
            min_quantity=Decimal("0.01"),
            max_quantity=Decimal(100),
        )
        for name, expiry_ns in (("4DEC26", NEAR_NS), ("4DEC26", ODD_NS), ("11DEC26", NEAR_NS + 168 * HOUR_NS))
        for strike in (range(80_500, 120_500, 1_000) if expiry_ns == ODD_NS else range(80_000, 121_000, 1_000))
        for kind in ("C", "P")
    )


def serving(peers: Peers, listing: InstrumentList, chain: ChainSnapshot) -> Peers:
    def silent(message: Message) -> None:
        return None

    peers.answer("marketdata", silent)
    peers.publish("marketdata", "md.BTCUSD.instruments", listing)
    peers.publish("marketdata", "md.BTCUSD.chain", chain, every_s=0.05)
    return peers


@pytest.fixture
def market(peers: Peers) -> Peers:
    """A marketdata that publishes one chain again and again."""
    instruments = listed()
    strikes = np.array([float(row.strike) for row in instruments])
    mark = 20_000.0 - np.abs(strikes - FORWARD) / 2
    bid = mark - 5
    bid[strikes == 100_000] = np.nan
    is_call = np.array([row.option_type == "C" for row in instruments])
    delta = np.clip(0.5 - (strikes - FORWARD) / 40_000, 0.005, 0.995)
    columns = {
        "bid": bid,
        "ask": mark + 5,
        "mark": mark,
        "mark_iv": 0.5 + ((strikes - FORWARD) / 40_000) ** 2,
        "delta": np.where(is_call, delta, delta - 1),
        "open_interest": np.full(len(strikes), 12_345.0),
        "forward": np.full(len(strikes), FORWARD),
    }
    list_id = list_id_of(instruments)
    chain = ChainSnapshot(
        underlying="BTCUSD",
        list_id=list_id,
        venue_ns=1,
        received_ns=NEAR_NS - 24 * HOUR_NS,
        index_price=100_000.25,
        index_received_ns=1,
        matrix=pack_columns(columns, len(instruments)),
    )

    return serving(peers, InstrumentList(underlying="BTCUSD", list_id=list_id, instruments=instruments), chain)


def test_the_next_two_expiries_are_shown_around_the_money_within_80_columns(market: Peers) -> None:
    ran = Ran("chain", "btc")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("BTCUSD · index 100,000.25 · data ")
    assert any(line.startswith("4DEC26 · expires in") for line in lines)
    assert any(line.startswith("4DEC26 11:20 · expires in") for line in lines)
    assert "further expiries: 11DEC26" in ran.out
    table = [line for line in lines if " 100000 " in line]
    calls = ["-", "19955", "19950", "50.0", "0.50", "12k"]
    assert table[0].split() == [*calls, "100000", "-", "19955", "19950", "50.0", "-0.50", "12k"]
    assert " 94000 " in ran.out
    assert " 93000 " not in ran.out
    shown = [line for line in lines if not line.startswith(("further expiries", "BTCUSD"))]
    assert max(len(line.rstrip()) for line in shown) <= 80
    assert "\x1b" not in ran.out


QUARTER, UNQUOTED = "BTCUSD-25DEC26", "BTCUSD-26MAR27"


@pytest.fixture
def market_of_futures(peers: Peers) -> Peers:
    """The same options with the perpetual, a future that is quoted and one that is not."""
    plain = InstrumentList(underlying="BTCUSD", list_id="", instruments=listed())
    futures = with_futures(plain, QUARTER, UNQUOTED)
    columns = {"forward": np.full(len(plain.instruments), FORWARD)}
    chain = ChainSnapshot(
        underlying="BTCUSD",
        list_id=futures.list_id,
        venue_ns=1,
        received_ns=NEAR_NS - 24 * HOUR_NS,
        index_price=100_000.0,
        index_received_ns=1,
        matrix=pack_columns(columns, len(plain.instruments)),
    )
    return serving(peers, futures, chain_with_futures(chain, futures, {QUARTER: 102_200.0}, 100_050.0))


def test_futures_are_shown_with_their_basis_and_what_it_is_in_a_year(market_of_futures: Peers) -> None:
    ran = Ran("chain", "btc", "--no-smile")
    assert ran.code == 0
    lines = ran.out[ran.out.index("futures · basis") :].splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if not line.startswith("further expiries"))
    rows = {row[0]: row[1:] for line in lines if (row := line.split())}
    # 2.2 % in 22 days, as the chain is of 3 December; 0.01 % three times a day
    assert rows["25DEC26"][:5] == ["102195.0", "102205.0", "102200.0", "2.20", "36.50"]
    assert rows["perpetual"][:5] == ["100045.0", "100055.0", "100050.0", "0.05", "10.95"]
    assert rows["26MAR27"] == ["-"] * 6
    told = json.loads(Ran("chain", "btc", "--json").out)["futures"]
    assert [each["symbol"] for each in told] == ["BTCUSD", QUARTER, UNQUOTED]
    assert (told[0]["funding_rate"], told[0]["expires_at"]) == (0.0001, None)
    assert told[1]["year_pct"] == pytest.approx(36.5)
    assert (told[1]["expires_at"], told[2]["mark"]) == ("2026-12-25T08:00:00.000Z", None)


def test_all_strikes_of_a_named_expiry_are_shown_with_all(market: Peers) -> None:
    ran = Ran("chain", "BTCUSD", "--expiry", "2026-12-11", "--all", "--no-smile")
    assert ran.code == 0
    assert all(f" {strike} " in ran.out for strike in range(80_000, 121_000, 1_000))
    assert "11DEC26 · expires in" in ran.out
    assert "4DEC26 · expires in" not in ran.out
    assert "volatility" not in ran.out


def test_a_missing_value_is_null_in_json_and_the_rest_has_its_number(market: Peers) -> None:
    ran = Ran("chain", "BTCUSD", "--expiry", "11dec26", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert (told["underlying"], told["index_price"]) == ("BTCUSD", 100_000.25)
    (expiry,) = told["expiries"]
    assert (expiry["expiry"], expiry["expires_at"]) == ("11DEC26", "2026-12-11T08:00:00.000Z")
    call = next(row for row in expiry["options"] if row["strike"] == "100000" and row["type"] == "C")
    assert (call["bid"], call["ask"], call["iv"]) == (None, 19_955.0, pytest.approx(0.5, abs=1e-4))


def test_an_expiry_that_is_not_listed_is_refused_with_those_that_are(market: Peers) -> None:
    ran = Ran("chain", "BTCUSD", "--expiry", "5DEC26")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == ("voldesk: no listed expiry is '5DEC26'; use one of: 4DEC26, 4DEC26 11:20, 11DEC26\n")


def test_curves_of_a_plot_are_told_apart_without_colour_and_keep_to_its_width() -> None:
    x = np.linspace(0.0, 100.0, 21)
    lines = [line.plain.rstrip() for line in plot([Curve("up", x, x), Curve("down", x, 100 - x)], 60, 11)]
    assert max(map(len, lines)) <= 60
    assert lines[0].startswith("100 ┤x")
    assert lines[0].endswith("o")
    assert lines[10].startswith("  0 ┤o")
    assert lines[-1].split() == ["o", "up", "x", "down"]
    assert lines[-2].split() == ["0", "25", "50", "75", "100"]


def test_the_axis_has_round_numbers_around_the_curve() -> None:
    x = np.linspace(0.0, 1.0, 30)
    lines = [line.plain for line in plot([Curve("smile", x, 51.3 + 16.1 * (x - 0.5) ** 2)], 60, 15)]
    labels = [line.split(" ┤")[0].strip() for line in lines if "┤" in line]
    assert labels == ["58", "57", "56", "55", "54", "53", "52", "51"]


def test_a_flat_curve_and_none_at_all_can_be_drawn() -> None:
    flat = np.full(5, 3.0)
    assert plot([], 60) == []
    assert plot([Curve("none", np.array([]), np.array([]))], 60) == []
    assert any("o" in line.plain for line in plot([Curve("flat", np.arange(5.0), flat)], 60))
