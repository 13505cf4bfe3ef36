"""Averages, trends and realised volatility against figures that other programs computed from the same bars."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.strategy.indicators import average_true_range, ema, realised_volatility, supertrend, true_range

# fmt: off
HIGH = np.array([
    100370.5, 100157.0, 99437.5, 98836.5, 97693.0, 96648.0, 96318.0, 96819.0, 97419.0, 97422.0, 97159.5, 96512.5,
    96473.0, 96560.0, 96920.0, 98424.0, 98418.5, 98767.0, 98960.5, 99721.0, 99686.5, 99642.5, 99815.0, 99824.0,
    99866.0, 98749.5, 99532.5, 99612.0, 100000.5, 100252.5, 100947.0, 100782.0, 101394.5, 101457.5, 101212.5,
    101313.0, 101182.5, 100361.5, 100573.0, 99657.0,
])
LOW = np.array([
    99855.5, 99020.5, 98176.5, 97294.0, 96151.5, 95573.5, 95582.5, 95851.5, 96252.0, 96720.0, 96200.5, 95825.5,
    95815.0, 95851.0, 95783.5, 96534.5, 97992.0, 98067.5, 98474.0, 98352.5, 99243.5, 99176.0, 99026.5, 99112.0,
    98314.5, 98617.5, 98670.0, 98689.0, 98882.5, 99453.0, 99922.5, 100505.5, 100460.5, 100583.5, 100628.5, 100903.5,
    99559.5, 99514.5, 99513.0, 99411.0,
])
CLOSE = np.array([
    99986.0, 99172.0, 98478.0, 97480.0, 96522.0, 95668.0, 95958.0, 96528.0, 97266.0, 96948.0, 96310.0, 95992.0,
    96284.0, 96016.0, 96860.0, 98184.0, 98204.0, 98608.0, 98564.0, 99640.0, 99452.0, 99536.0, 99370.0, 99572.0,
    98622.0, 98712.0, 99330.0, 98884.0, 99654.0, 99936.0, 100650.0, 100636.0, 101318.0, 100768.0, 101154.0, 100980.0,
    99846.0, 100192.0, 99642.0, 99540.0,
])
# By pandas-ta-classic: ema(5), atr(7), supertrend(7, 2).
EMA_5 = [100518.44158367522, 100601.62772245015, 100785.75181496677, 100850.50120997785, 100515.66747331858,
         100407.77831554573, 100152.5188770305, 99948.34591802034]
ATR_7 = [1179.857142857143, 1178.0204081632655, 1110.0174927113706, 1088.4435651811748, 1031.0944844410071]
ATR_7_LAST = [859.6885257181997, 888.3044506155998, 796.5466719562284]
SUPERTREND_LINE_FROM_15 = [
    95280.729424, 96198.946649, 96497.704270, 96932.925089, 97116.328648, 97692.353127, 97756.552680, 97778.866583,
    97857.242785, 97857.242785, 97857.242785, 97857.242785, 97857.242785, 97857.242785, 98137.364050, 98671.704900,
    99053.568486, 99297.630131, 99373.754398, 99373.754398, 99638.375680, 99638.375680, 99638.375680, 99638.375680,
    101127.093344,
]
# fmt: on
UP_BARS_BY_TALIPP = range(15, 39)
"""It is down before and after."""


def test_an_ema_is_that_of_a_charting_library() -> None:
    averages = ema(CLOSE, 5)
    assert len(averages) == len(CLOSE) - 4
    assert averages[-8:] == pytest.approx(EMA_5, rel=1e-12)


def test_an_ema_is_the_weighted_sum_that_its_definition_unrolls_to() -> None:
    bars, weight = 9, 2 / 10
    after = CLOSE[bars:]
    weights = weight * (1 - weight) ** np.arange(len(after) - 1, -1, -1)
    unrolled = CLOSE[:bars].mean() * (1 - weight) ** len(after) + float((weights * after).sum())
    assert ema(CLOSE, bars)[-1] == pytest.approx(unrolled, rel=1e-13)
    assert ema(CLOSE, len(CLOSE)).tolist() == [CLOSE.mean()]
    assert ema(np.full(50, 7.0), 10).tolist() == [7.0] * 41


def test_the_average_true_range_is_that_of_a_charting_library() -> None:
    averages = average_true_range(HIGH, LOW, CLOSE, 7)
    assert averages[:5] == pytest.approx(ATR_7, rel=1e-12)
    assert averages[-3:] == pytest.approx(ATR_7_LAST, rel=1e-12)


def test_a_true_range_spans_the_gap_from_the_close_before() -> None:
    up = true_range(np.array([10.0, 20.0]), np.array([9.0, 19.0]), np.array([9.5, 19.5]))
    down = true_range(np.array([20.0, 10.0]), np.array([19.0, 9.0]), np.array([19.5, 9.5]))
    assert (up.tolist(), down.tolist()) == ([10.5], [10.5])


def test_a_supertrend_turns_where_charting_libraries_turn_and_its_line_is_theirs() -> None:
    trend = supertrend(HIGH, LOW, CLOSE, 7, 2.0)
    assert len(trend.line) == len(trend.is_up) == len(CLOSE) - 7
    assert (np.flatnonzero(trend.is_up) + 7).tolist() == list(UP_BARS_BY_TALIPP)
    assert trend.line[15 - 7 :] == pytest.approx(SUPERTREND_LINE_FROM_15, abs=1e-6)


def test_what_is_mirrored_trends_the_other_way() -> None:
    """But for the first bars, which are called down whatever they are."""
    plain = supertrend(HIGH, LOW, CLOSE, 7, 2.0)
    mirrored = supertrend(-LOW, -HIGH, -CLOSE, 7, 2.0)
    assert (plain.is_up[8:] == ~mirrored.is_up[8:]).all()
    assert plain.line[8:] == pytest.approx(-mirrored.line[8:])


def test_realised_volatility_is_that_of_the_definition() -> None:
    # by pandas: sqrt((ln(close / close.shift()) ** 2).mean() * 8760)
    assert realised_volatility(CLOSE, 8_760) == pytest.approx(0.5847842017244854, rel=1e-12)
    # a price that is multiplied by e^±0.01 every hour
    steps = np.exp(0.01 * (np.arange(25) % 2)) * 50_000
    assert realised_volatility(steps, 8_760) == pytest.approx(0.01 * math.sqrt(8_760), rel=1e-12)
    assert realised_volatility(np.full(10, 5.0), 365) == 0


@pytest.mark.parametrize("closes", [[], [1.0], [1.0, 0.0], [1.0, math.nan]])
def test_closes_that_say_nothing_are_refused(closes: list[float]) -> None:
    with pytest.raises(ValueError, match="two closes or more"):
        realised_volatility(np.array(closes), 365)


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="41 bars need as many values, 40 were given"):
        ema(CLOSE, 41)
    with pytest.raises(ValueError, match="40 bars need as many values, 39 were given"):
        supertrend(HIGH, LOW, CLOSE, 40, 3)
