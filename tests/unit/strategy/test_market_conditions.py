"""Conditions on candles, past volatility, funding and events: each answers with its reason, or waits and says why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages.conditions import EntryCondition, MarketCondition
from shared.messages.on_demand import PERIOD_NS, FundingRateAnswer, Kline, KlinePeriod, Klines
from shared.strategy import (
    EntryView,
    ExitView,
    Verdict,
    all_of,
    days_to_event,
    ema_cross,
    for_at_least,
    funding_rate,
    iv_level,
    iv_rank,
    max_hold_hours,
    not_,
    price_ema,
    realised_implied_ratio,
    spot_move,
    supertrend,
    time_window,
)
from shared.strategy.candles import SETTLING_NS, Candles
from shared.strategy.evaluate import evaluate_entry, evaluate_exit
from shared.strategy.market_reads import IvHistory, MarketReads, Needs, joined, needs_of
from tests.unit.strategy.making import DAY, HOUR, NOON, SECOND, account, at, chain, leg, trade

MINUTE = 60 * SECOND


def klines(
    closes: Sequence[float | None],
    period: KlinePeriod = "1m",
    *,
    received_ns: int = NOON + SETTLING_NS,
    running: float | None = None,
) -> Klines:
    """Finished candles, the last of which had settled at the receipt, and a running one. None: nothing traded."""
    period_ns = PERIOD_NS[period]
    end_ns = (received_ns - SETTLING_NS) // period_ns * period_ns
    prices = [*closes, running]
    starts = [end_ns - (len(closes) - number) * period_ns for number in range(len(prices))]
    bars = tuple(
        Kline(start_ns=start, open=price, high=price + 5, low=price - 5, close=price, volume=1.0)
        for start, price in zip(starts, prices, strict=True)
        if price is not None
    )
    return Klines(symbol="BTCUSD", period=period, received_ns=received_ns, age_ms=0, klines=bars)


def reads(*given: Klines, **more: Any) -> MarketReads:
    return MarketReads(candles={("BTCUSD", each.period): Candles(each) for each in given}, **more)


def entry(condition: EntryCondition, market: MarketReads = MarketReads(), now_ns: int = NOON) -> Verdict:
    view = EntryView(account=account(now_ns), chains={"BTCUSD": chain(now_ns)}, market=market)
    return evaluate_entry(condition, view, now_ns)


def exit_(condition: MarketCondition, market: MarketReads, now_ns: int = NOON) -> Verdict:
    of = trade(legs=[leg("BTCUSD-12MAR26-105000-C")])
    chains = {"BTCUSD": chain(now_ns)}
    return evaluate_exit(condition, ExitView(trade=of, account=None, chains=chains, market=market), now_ns)


def test_a_move_is_measured_from_the_close_so_long_ago_to_the_newest_price() -> None:
    market = reads(klines([100_000, 100_500, 101_000, 101_500], running=102_000))
    for condition, is_open in (
        (spot_move(1.4, minutes=2), True),
        (spot_move(1.5, minutes=2), False),
        (spot_move(2, minutes=3, direction="up"), True),
        (spot_move(2.1, minutes=3), False),
        (spot_move(1, minutes=2, direction="up"), True),
        (spot_move(1, minutes=2, direction="down"), False),
        (not_(spot_move(1, minutes=2, direction="down")), True),
    ):
        assert entry(condition, market).open is is_open, condition
    verdict = entry(spot_move(1, minutes=2, direction="down"), market)
    # two minutes ago the candle of 100,500 had just ended
    assert verdict.reason == "BTCUSD moved +1.49 % in 2.0 min, wanted down by 1 %"
    assert exit_(spot_move(1.4, minutes=2), market).open


def test_a_fall_is_a_move_down_and_either_way() -> None:
    market = reads(klines([100_000] * 70, running=97_900))
    assert entry(spot_move(2, hours=1, direction="down"), market).open
    assert entry(spot_move(2, hours=1), market).open
    assert not entry(spot_move(2, hours=1, direction="up"), market).open


def test_a_minute_in_which_nothing_traded_is_flat() -> None:
    market = reads(klines([100_000, None, 102_000, None, None, 103_000], running=103_000))
    candles = market.candles["BTCUSD", "1m"]
    assert candles.close.tolist() == [100_000, 100_000, 102_000, 102_000, 102_000, 103_000]
    assert candles.high.tolist() == [100_005, 100_000, 102_005, 102_000, 102_000, 103_005]
    assert candles.traded.tolist() == [True, False, True, False, False, True]
    assert candles.ended_ns == NOON


def test_the_running_candle_and_one_that_ended_after_its_receipt_are_not_finished() -> None:
    received = NOON + 30 * SECOND
    candles = Candles(klines([1.0, 2.0, 3.0], received_ns=received, running=9.0))
    assert (candles.close.tolist(), candles.last, candles.ended_ns) == ([1.0, 2.0, 3.0], 9.0, NOON)
    assert candles.newest_ns == NOON
    at_once = Candles(msgspec.structs.replace(klines([1.0, 2.0]), received_ns=NOON + SETTLING_NS - 1))
    assert (at_once.close.tolist(), at_once.last) == ([1.0], 2.0), "its last trades may be on their way"
    nothing = Candles(klines([]))
    assert (len(nothing), nothing.last, nothing.newest_ns) == (0, None, 0)


def test_of_more_candles_than_were_asked_for_the_newest_count_and_strays_are_left_out() -> None:
    many = klines([float(number) for number in range(1, 2_001)], running=7.0)
    candles = Candles(many)
    assert (len(candles), candles.close[0], candles.close[-1], candles.last) == (1_000, 1_001.0, 2_000.0, 7.0)
    assert candles.ended_ns == NOON
    stray = Kline(start_ns=NOON - 400 * DAY, open=1, high=1, low=1, close=1, volume=1)
    ahead = Kline(start_ns=NOON + DAY, open=9, high=9, low=9, close=9, volume=1)
    few = klines([5.0, 6.0], running=7.0)
    with_strays = Candles(msgspec.structs.replace(few, klines=(stray, *few.klines, ahead)))
    assert (with_strays.close.tolist(), with_strays.last, with_strays.newest_ns) == ([5.0, 6.0], 7.0, NOON)


@given(
    offsets=st.lists(st.integers(-3_000, 20), max_size=40),
    prices=st.lists(st.floats(0, 1e6), min_size=40, max_size=40),
    period=st.sampled_from(list(PERIOD_NS)),
    skew_ns=st.integers(-90 * SECOND, 90 * SECOND),
)
def test_whatever_bars_a_venue_sends_the_finished_ones_are_whole_in_order_and_end_where_they_must(
    offsets: list[int], prices: list[float], period: KlinePeriod, skew_ns: int
) -> None:
    period_ns = PERIOD_NS[period]
    bars = tuple(
        Kline(start_ns=NOON + offset * period_ns, open=price, high=price, low=price, close=price, volume=0.0)
        for offset, price in zip(offsets, prices, strict=False)
    )
    received_ns = NOON + skew_ns
    candles = Candles(Klines(symbol="BTCUSD", period=period, received_ns=received_ns, age_ms=0, klines=bars))
    assert len(candles.high) == len(candles.low) == len(candles.close) == len(candles.traded) <= 1_000
    assert (candles.close > 0).all()
    assert (candles.last is None) == (candles.newest_ns == 0)
    if len(candles):
        assert received_ns - SETTLING_NS - period_ns < candles.ended_ns <= received_ns - SETTLING_NS
        assert candles.traded[0]


def test_without_candles_or_with_old_ones_it_waits_and_says_for_how_long() -> None:
    condition = spot_move(1, minutes=2)
    assert entry(condition) == Verdict.wait("no 1m candles of BTCUSD yet")
    failed = MarketReads(failures={("BTCUSD", "1m"): "venue_away, no answer"})
    assert entry(condition, failed).reason == "waiting: no 1m candles of BTCUSD yet: venue_away, no answer"
    market = reads(klines([100_000] * 5, running=100_000))
    assert not entry(condition, market, NOON + 179 * SECOND).reason.startswith("waiting: no 1m candles")
    old = entry(condition, market, NOON + 183 * SECOND)
    assert old.waiting
    assert old.reason == "waiting: no 1m candles of BTCUSD for 3.0 min"
    few = reads(klines([100_000, 100_000], running=100_000))
    assert entry(condition, few).reason == "waiting: 2 of 3 1m candles of BTCUSD are known"


def test_candles_that_the_venue_stopped_writing_do_not_pass_as_a_calm_market() -> None:
    """Read a second ago, and the last of them half an hour old."""
    stopped = klines([100_000] * 60, received_ns=NOON - 30 * MINUTE + SETTLING_NS)
    market = reads(Klines(symbol="BTCUSD", period="1m", received_ns=NOON, age_ms=0, klines=stopped.klines))
    verdict = entry(not_(spot_move(1, minutes=10)), market)
    assert verdict.waiting
    assert verdict.reason == "waiting: the newest of the 1m candles of BTCUSD ended 30.0 min ago"


def test_candles_with_too_many_holes_do_not_decide() -> None:
    closes: list[float | None] = [100_000.0] + [None] * 6 + [100_000.0] * 4
    verdict = entry(spot_move(1, minutes=10), reads(klines(closes, running=100_000)))
    assert verdict == Verdict.wait("only 5 of the last 11 1m candles of BTCUSD traded")


def test_a_close_is_compared_with_its_average_of_finished_candles() -> None:
    market = reads(klines([100_000] * 39 + [103_000], "1h", running=90_000))
    assert entry(price_ema(10), market).open
    assert not entry(price_ema(10, "below"), market).open
    # EMA = 100,000 + 2 / 11 * 3,000 = 100,545.45; the close is 2.44 % above it
    assert entry(price_ema(10, buffer_pct=2.4), market).open
    verdict = entry(price_ema(10, buffer_pct=2.5), market)
    assert not verdict.open
    assert verdict.reason == ("BTCUSD closed a 1h candle at 103000.00, EMA(10) 100545.45, wanted above by 2.5 %")


def test_averages_that_cross_are_so_for_as_many_candles_as_they_are() -> None:
    falling = [100_000 - 100.0 * number for number in range(60)]
    market = reads(klines([*falling, 99_000, 104_000, 104_100], "15m", running=104_000))
    assert entry(ema_cross(3, 15, candle="15m"), market).open
    assert not entry(ema_cross(3, 15, "below", candle="15m"), market).open
    fresh = entry(ema_cross(3, 15, candle="15m", within_bars=3), market)
    assert fresh.open
    assert fresh.reason.endswith("wanted above for at most 3: it is so for 3 candles")
    assert not entry(ema_cross(3, 15, candle="15m", within_bars=2), market).open
    ever = reads(klines(falling, "15m", running=94_000))
    assert "at least" in entry(ema_cross(3, 10, "below", candle="15m", within_bars=2), ever).reason


def test_a_supertrend_says_which_way_and_where_its_line_is() -> None:
    rising = [100_000 + 200.0 * number for number in range(45)]
    market = reads(klines(rising, "1h", running=108_000))
    verdict = entry(supertrend(10, 3), market)
    assert verdict.open
    # ranges of 205 each (200 up and 5 of wick): the line is 3 * 205 below the middle of the last candle
    assert verdict.reason == "1h SuperTrend(10, 3) of BTCUSD is up, line 108185.00, close 108800.00, wanted up"
    assert not entry(supertrend(10, 3, "down"), market).open
    assert exit_(supertrend(10, 3, "down"), reads(klines(rising[::-1], "1h", running=99_000))).open


def test_realised_is_divided_by_implied() -> None:
    """Hourly moves of 0.5 % are 46.8 % a year; the chain is made at 50 %."""
    closes = [float(price) for price in 100_000 * np.exp(0.005 * (np.arange(721) % 2))]
    market = reads(klines(closes, "1h", running=100_000))
    verdict = entry(realised_implied_ratio(max_ratio=1), market)
    assert verdict.open
    assert verdict.reason == ("BTCUSD realised 46.8 % over 30 days, implied 50.0 %: ratio 0.94, wanted at most 1")
    assert not entry(realised_implied_ratio(min_ratio=1), market).open
    without_chain = EntryView(account=None, chains={}, market=market)
    assert evaluate_entry(realised_implied_ratio(max_ratio=1), without_chain, NOON).waiting


def history(vols: Sequence[float], every_ns: int = HOUR) -> MarketReads:
    at_ns = np.array([NOON - (len(vols) - 1 - number) * every_ns for number in range(len(vols))], dtype=np.int64)
    return MarketReads(ivs={("BTCUSD", 30.0): IvHistory(at_ns=at_ns, vols=np.array(vols))})


def test_a_rank_is_where_the_volatility_stands_between_the_lowest_and_the_highest() -> None:
    """Now it is 50 %; the samples are three of 40 to one of 60 %, over two days."""
    market = history([0.40, 0.40, 0.40, 0.60] * 12)
    verdict = entry(iv_rank(min_pct=50, lookback_days=2), market)
    assert verdict.open
    assert verdict.reason == (
        "iv of BTCUSD in 30 days is 50.0 %, rank 50 of 48 samples from 40.0 to 60.0 % over 47.0 h, wanted at least 50"
    )
    assert not entry(iv_rank(min_pct=51, lookback_days=2), market).open
    assert entry(iv_rank(75, 75, measure="percentile", lookback_days=2), market).open
    # only the last day counts
    low_before = history([0.10] * 24 + [0.40, 0.60] * 12)
    assert entry(iv_rank(50, 50.001, lookback_days=23.5 / 24), low_before).open


def test_a_volatility_beyond_all_samples_ranks_at_the_end() -> None:
    assert entry(iv_rank(100, lookback_days=1), history([0.30, 0.40] * 13)).open
    assert entry(iv_rank(None, 0, lookback_days=1), history([0.60, 0.70] * 13)).open


@pytest.mark.parametrize(
    ("market", "reason"),
    [
        (MarketReads(), "no iv samples of BTCUSD in 30 days yet, 48.0 h are needed"),
        (history([0.4, 0.5] * 12), "iv samples of BTCUSD in 30 days reach back 23.0 h of 48.0 h"),
        (history([0.4, 0.5] * 10, every_ns=150 * MINUTE), "only 20 iv samples of BTCUSD in 30 days in 47.5 h"),
        (history([0.5] * 48), "the 48 iv samples of BTCUSD in 30 days are all 50.0 %"),
    ],
)
def test_too_short_or_thin_a_history_ranks_nothing(market: MarketReads, reason: str) -> None:
    assert entry(iv_rank(50, lookback_days=2), market) == Verdict.wait(reason)


def test_with_less_history_accepted_it_need_not_reach_back_all_the_way() -> None:
    market = history([0.4, 0.6] * 12)
    assert entry(iv_rank(50, lookback_days=30, history_min_days=1), market).open
    assert entry(iv_rank(50, lookback_days=30, history_min_days=2), market).waiting


def funded(rate: float, received_ns: int = NOON) -> MarketReads:
    told = FundingRateAnswer(
        symbol="BTCUSD", rate=rate, next_funding_ns=NOON + 4 * HOUR, received_ns=received_ns, age_ms=0
    )
    return MarketReads(funding={"BTCUSD": told})


def test_funding_is_judged_in_per_cent_and_by_its_sign() -> None:
    assert entry(funding_rate(min_pct=0.01), funded(0.00012)).open
    assert not entry(funding_rate(min_pct=0.02), funded(0.00012)).open
    assert entry(funding_rate(max_pct=-0.005), funded(-0.0001)).open
    verdict = entry(funding_rate(-0.01, 0.01), funded(0.00012))
    assert not verdict.open
    assert verdict.reason == "funding of BTCUSD is 0.0120 %, wanted -0.01 to 0.01 %"
    assert entry(funding_rate(0.01)) == Verdict.wait("no funding rate of BTCUSD yet")
    old = entry(funding_rate(0.01), funded(0.1, NOON - 4 * MINUTE))
    assert old == Verdict.wait("no funding rate of BTCUSD for 4.0 min")


def test_the_next_event_must_be_so_many_days_ahead() -> None:
    events = [dt.datetime(2026, 3, 18, 18, tzinfo=dt.UTC), dt.datetime(2026, 3, 6, 12, tzinfo=dt.UTC)]
    assert entry(days_to_event(events, min_days=2)).open
    assert not entry(days_to_event(events, min_days=2), now_ns=NOON + 1).open
    assert entry(days_to_event(events, max_days=2)).open
    verdict = entry(days_to_event(events, 3, 10))
    assert not verdict.open
    assert verdict.reason == "the next event is in 2.00 days, wanted 3 to 10"
    after_the_first = at("2026-03-06T12:00")
    assert entry(days_to_event(events, 12, 13), now_ns=after_the_first).open
    passed = entry(days_to_event(events, min_days=0), now_ns=NOON + 15 * DAY)
    assert not passed.open
    assert passed.reason == "no event is ahead"


def test_a_level_of_volatility_closes_too() -> None:
    assert exit_(iv_level(49, 51), MarketReads()).open
    assert not exit_(iv_level(min_pct=51), MarketReads()).open


def test_what_conditions_need_is_found_within_others_and_the_most_of_it_is_read() -> None:
    needs = needs_of(
        [
            all_of(spot_move(1, minutes=30), not_(spot_move(1, hours=2))),
            for_at_least(ema_cross(5, 20, candle="4h", within_bars=4), seconds=60),
            supertrend(10, 3, candle="4h", underlying="ETH"),
            iv_rank(50, days=7),
            funding_rate(0.01, underlying="ETH"),
            realised_implied_ratio(max_ratio=1, days=30),
            time_window(0, 24),
            max_hold_hours(1),
        ]
    )
    assert needs == Needs(
        candles={("BTCUSD", "1m"): 121, ("BTCUSD", "4h"): 84, ("ETHUSD", "4h"): 41, ("BTCUSD", "1h"): 721},
        ivs=frozenset({("BTCUSD", 7.0)}),
        funding=frozenset({"ETHUSD"}),
    )
    assert joined([needs, needs_of([spot_move(1, hours=4)])]).candles["BTCUSD", "1m"] == 241
    assert not needs_of([time_window(0, 24)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spot_move(1), "exactly one of minutes= and hours="),
        (lambda: spot_move(1, minutes=1, hours=1), "exactly one of minutes= and hours="),
        (lambda: spot_move(1, minutes=0.5), "at least 1"),
        (
            lambda: spot_move(1, minutes=5, direction="sideways"),
            "direction 'sideways' must be one of up, down, either",
        ),  # type: ignore[arg-type]
        (lambda: spot_move(1, hours=24_100), "998 can be read"),
        (lambda: price_ema(0), "bars 0 must be a whole number"),
        (lambda: price_ema(10, candle="2h"), "candle '2h' must be one of 1m, 5m"),  # type: ignore[arg-type]
        (lambda: price_ema(250), "judged on 1000 candles of 1h, and 998 can be read"),
        (lambda: ema_cross(26, 12), "fast_bars 26 must be less than slow_bars 12"),
        (lambda: supertrend(10, 0), "multiplier 0 must be above 0"),
        (lambda: iv_rank(lookback_days=30), "needs a lower bound"),
        (lambda: iv_rank(50, lookback_days=400), "at most 366"),
        (lambda: iv_rank(50, history_min_days=31), "at most 30"),
        (lambda: realised_implied_ratio(max_ratio=1, days=0.1), "at least 0.25"),
        (lambda: funding_rate(), "needs a lower bound"),
        (lambda: days_to_event([], 1), "events must be a list"),
        (lambda: days_to_event([dt.datetime(2026, 3, 4)], 1), "time zone"),  # noqa: DTZ001
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
