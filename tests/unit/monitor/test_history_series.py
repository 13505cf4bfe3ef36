"""Sampling and downsampling: what buckets keep, which of them are read, and where a plot is broken."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.history.config import HistoryConfig
from services.monitor.history.sampling import sample_of
from services.monitor.history.series import Bucket, Level, Sample, columns, fold, level_for, thinned, with_gaps
from tests.unit.monitor.desk import SECOND, START, account

LEVELS = HistoryConfig().levels
BEGIN = START - START % (900 * SECOND)

samples = st.lists(
    st.tuples(st.integers(0, 5_000), st.floats(-1e6, 1e6)), min_size=1, max_size=60, unique_by=lambda each: each[0]
)


def test_every_level_keeps_first_last_and_extremes_of_what_fell_into_its_bucket() -> None:
    values = [5.0, 9.0, 1.0, 4.0]
    taken = [Sample(BEGIN + number * 20 * SECOND, {"equity_usd": value}) for number, value in enumerate(values)]
    buckets = fold(taken, LEVELS)
    minute = buckets[60, "equity_usd", BEGIN]
    assert (minute.first, minute.last, minute.low, minute.high, minute.count) == (5.0, 1.0, 1.0, 9.0, 3)
    quarter = buckets[900, "equity_usd", BEGIN]
    assert (quarter.first, quarter.last, quarter.low, quarter.high, quarter.count) == (5.0, 4.0, 1.0, 9.0, 4)
    assert [key[2] for key in buckets if key[0] == 10] == [BEGIN + number * 20 * SECOND for number in range(4)]


@given(samples, st.integers(0, 60))
def test_buckets_written_in_parts_are_those_of_all_samples_at_once(drawn: list[tuple[int, float]], cut: int) -> None:
    taken = [Sample(BEGIN + at * SECOND, {"x": value}) for at, value in sorted(drawn)]
    whole = fold(taken, LEVELS)
    joined = fold(taken[:cut], LEVELS)
    for key, bucket in fold(taken[cut:], LEVELS).items():
        joined[key] = joined[key].joined(bucket) if key in joined else bucket
    assert joined == whole


@given(samples, st.integers(1, 40))
def test_a_thinned_series_keeps_its_ends_its_extremes_and_its_count(
    drawn: list[tuple[int, float]], count_max: int
) -> None:
    taken = [Sample(BEGIN + at * SECOND, {"x": value}) for at, value in sorted(drawn)]
    buckets = list(fold(taken, LEVELS[:1]).values())
    thin = thinned(buckets, count_max)
    assert len(thin) <= max(count_max + 1, 1)
    assert (thin[0].first, thin[-1].last) == (taken[0].values["x"], taken[-1].values["x"])
    assert min(each.low for each in thin) == min(value for _, value in drawn)
    assert max(each.high for each in thin) == max(value for _, value in drawn)
    assert sum(each.count for each in thin) == len(drawn)


def test_the_finest_level_that_reaches_back_is_read() -> None:
    day = 86_400.0
    assert level_for(LEVELS, 3_600, 3_600, 4_800).width_s == 10
    assert level_for(LEVELS, 2 * day, 2 * day, 4_800).width_s == 60
    assert level_for(LEVELS, 60 * day, 60 * day, 4_800).width_s == 900
    assert level_for(LEVELS, 3_600, 3_600, 100).width_s == 60, "the finest has more than is wanted"
    assert level_for(LEVELS, 5_000 * day, 5_000 * day, 100).width_s == 900, "nothing reaches so far"


def test_a_time_without_samples_is_a_gap_and_not_a_line() -> None:
    def at(second: int) -> Bucket:
        return Bucket.of(BEGIN + second * SECOND, BEGIN + second * SECOND, float(second))

    found = with_gaps([at(0), at(10), at(700), at(710)], 300 * SECOND)
    assert [None if each is None else each.last for each in found] == [0.0, 10.0, None, 700.0, 710.0]
    drawn = columns({"x": found, "y": [at(0), at(10)]})
    second = BEGIN // SECOND
    assert drawn["at_s"] == [second, second + 10, second + 11, second + 700, second + 710]
    assert drawn["x"] == [0.0, 10.0, None, 700.0, 710.0]
    assert drawn["y"] == [0.0, 10.0, None, None, None]


def test_greeks_are_left_out_while_a_position_lacks_them() -> None:
    partly = account()
    names = sample_of(partly).values
    assert names["equity_usd"] == 100_012.5
    assert not {"delta.BTCUSD", "delta_usd", "vega_usd"} & names.keys()
    known = tuple(msgspec.structs.replace(each, index_price=90_000.0) for each in partly.positions if each.greeks)
    whole = msgspec.structs.replace(
        partly, positions=known, greeks_complete=True, balances={"USDT": Decimal("99000.5")}
    )
    values = sample_of(whole).values
    assert values["delta.BTCUSD"] == -0.0312
    assert math.isclose(values["delta_usd"], -0.0312 * 90_000)
    assert math.isclose(values["gamma_usd"], -0.000002 * 90_000**2 / 100)
    assert (values["vega_usd"], values["theta_usd"]) == (-11.2, 7.5)
    assert (values["index.BTCUSD"], values["holding.USDT"]) == (90_000.0, 99_000.5)


def test_without_an_index_there_is_no_delta_in_usd_rather_than_a_wrong_one() -> None:
    held = tuple(each for each in account().positions if each.greeks)
    values = sample_of(msgspec.structs.replace(account(), positions=held)).values
    assert "delta_usd" not in values
    assert values["vega_usd"] == -11.2


def test_retention_that_would_lose_the_wider_buckets_first_is_refused() -> None:
    with pytest.raises(ValueError, match="must not fall"):
        HistoryConfig(fine_days=40)
    with pytest.raises(ValueError, match="divide 60"):
        HistoryConfig(sample_s=7)
    assert HistoryConfig(sample_s=5).levels[0] == Level(5, 86_400)
