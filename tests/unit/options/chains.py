"""Chains of options as arrays, for the tests of this folder."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from shared.options.black76 import BoolArray, FloatArray

TEN_MINUTES_YEARS = 10 / (365 * 24 * 60)


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Columns (n,) in the units of `shared.options.black76`."""

    forward: FloatArray
    strike: FloatArray
    years: FloatArray
    vol: FloatArray
    is_call: BoolArray

    @property
    def inputs(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, BoolArray]:
        return self.forward, self.strike, self.years, self.vol, self.is_call

    def only(self, i: int) -> "Chain":
        """Option `i` as a chain of one."""
        one = slice(i, i + 1)
        return Chain(self.forward[one], self.strike[one], self.years[one], self.vol[one], self.is_call[one])


def random_chain(
    seed: int, count: int, years_min: float = TEN_MINUTES_YEARS, years_max: float = 3.0, vol_max: float = 3.0
) -> Chain:
    """Options up to 6 standard deviations from the money, none further than a factor of 3."""
    rng = np.random.default_rng(seed)
    years = np.exp(rng.uniform(np.log(years_min), np.log(years_max), count))
    vol = np.exp(rng.uniform(np.log(0.05), np.log(vol_max), count))
    forward = np.exp(rng.uniform(np.log(0.01), np.log(200_000), count))
    moneyness = np.clip(vol * np.sqrt(years) * rng.uniform(-6, 6, count), -np.log(3), np.log(3))
    return Chain(forward, forward * np.exp(moneyness), years, vol, rng.random(count) < 0.5)


forwards = st.floats(0.01, 200_000)
moneynesses = st.floats(-1.0, 1.0)
years_left = st.floats(TEN_MINUTES_YEARS, 3.0)
vols = st.floats(0.05, 3.0)
rates = st.floats(-0.05, 0.2)
