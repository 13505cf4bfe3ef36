"""The path of one index and of its level of volatility: a pure function of (seed, base, step).

The index is a geometric Brownian motion with compound-Poisson jumps (Merton 1976); the level of volatility is the
exponential of an Ornstein-Uhlenbeck process whose shocks are correlated with the index. Random numbers are counter
based: steps come in chunks, each drawn from a Philox generator whose counter is the chunk's number, so that any
step can be had without the history of calls. A day's gap costs about a hundred chunks.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import numpy as np

from services.exchange.config import BaseConfig
from services.exchange.model import F8, I8

CHUNK_STEPS = 4_096
KEPT_CHUNKS = 8
NS_PER_YEAR = 365 * 86_400 * 1_000_000_000
LEVEL_LIMIT = math.log(4.0)

Shocks = Sequence[tuple[int, float]]
NO_SHOCKS: Shocks = ()


def stream_key(seed: int, *names: str) -> int:
    """A 64-bit key of a stream of random numbers, derived from what the stream is for."""
    text = "/".join((str(seed), *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class IndexPath:
    """Index and volatility level of one base at any step >= 0; step 0 has the initial price and level 1."""

    def __init__(
        self,
        config: BaseConfig,
        seed: int,
        step_ns: int,
        shocks: Mapping[str, Shocks],
        level_shocks: Mapping[str, Shocks] = MappingProxyType({}),
    ) -> None:
        """`shocks[base]` are (step, factor) of operators' jumps of the index, `level_shocks[base]` of the level of
        volatility; both are read at every call so that new ones count."""
        self._config = config
        self._key = stream_key(seed, config.base, "index")
        self._step_years = step_ns / NS_PER_YEAR
        self._shocks = shocks
        self._level_shocks = level_shocks
        self._starts: list[tuple[float, float]] = [(math.log(config.index.initial_price), 0.0)]
        self._chunks: dict[int, tuple[F8, F8]] = {}

    def price(self, step: int) -> float:
        """The published index at `step`, USD, rounded to its decimals."""
        number, offset = divmod(step, CHUNK_STEPS)
        log_price = float(self._chunk(number)[0][offset])
        for since, factor in self._shocks.get(self._config.base, NO_SHOCKS):
            if since <= step:
                log_price += math.log(factor)
        return round(math.exp(log_price), self._config.index.price_decimals)

    def exact_price(self, step: int) -> Decimal:
        """`price` as a Decimal."""
        return self._exact(self.price(step))

    def level(self, step: int) -> float:
        """Factor on all volatilities of the surface at `step`: within a factor of 4 of 1, times operators' jumps."""
        number, offset = divmod(step, CHUNK_STEPS)
        level = math.exp(min(max(float(self._chunk(number)[1][offset]), -LEVEL_LIMIT), LEVEL_LIMIT))
        for since, factor in self._level_shocks.get(self._config.base, NO_SHOCKS):
            if since <= step:
                level *= factor
        return level

    def at_steps(self, steps: I8) -> tuple[F8, F8]:
        """`price` and `level` at many steps, arrays of the shape of `steps`."""
        numbers, offsets = steps // CHUNK_STEPS, steps % CHUNK_STEPS
        logs: F8 = np.empty(steps.shape)
        levels: F8 = np.empty(steps.shape)
        for number in np.unique(numbers).tolist():
            chunk, at = self._chunk(number), numbers == number
            logs[at], levels[at] = chunk[0][offsets[at]], chunk[1][offsets[at]]
        self._add_shocks(logs, steps)
        prices: F8 = np.asarray(np.round(np.exp(logs), self._config.index.price_decimals), dtype=np.float64)
        factors: F8 = np.exp(np.clip(levels, -LEVEL_LIMIT, LEVEL_LIMIT))
        for since, factor in self._level_shocks.get(self._config.base, NO_SHOCKS):
            factors[steps >= since] *= factor
        return prices, factors

    @property
    def moves(self) -> int:
        """How many jumps operators have made; what was drawn ahead of one no longer holds."""
        base = self._config.base
        return len(self._shocks.get(base, NO_SHOCKS)) + len(self._level_shocks.get(base, NO_SHOCKS))

    def chunk_opens(self, steps: I8) -> F8:
        """Log of the price at the start of the chunk of each step, without drawing chunks that are past."""
        numbers = steps // CHUNK_STEPS
        while len(self._starts) <= int(numbers.max(initial=0)):
            self._draw(len(self._starts) - 1)
        logs: F8 = np.array([self._starts[number][0] for number in numbers.tolist()])
        self._add_shocks(logs, steps)
        return logs

    def _add_shocks(self, logs: F8, steps: I8) -> None:
        for since, factor in self._shocks.get(self._config.base, NO_SHOCKS):
            logs[steps >= since] += math.log(factor)

    def mean_price(self, first_step: int, end_step: int) -> Decimal:
        """Arithmetic mean of the published index over [first_step, end_step), steps below 0 left out.

        Raises ValueError if no step is left.
        """
        first_step = max(first_step, 0)
        if end_step <= first_step:
            raise ValueError(f"no step of the index in [{first_step}, {end_step})")
        logs = np.concatenate(
            [
                self._chunk(number)[0][
                    max(first_step - number * CHUNK_STEPS, 0) : max(end_step - number * CHUNK_STEPS, 0)
                ]
                for number in range(first_step // CHUNK_STEPS, (end_step - 1) // CHUNK_STEPS + 1)
            ]
        )
        for since, factor in self._shocks.get(self._config.base, NO_SHOCKS):
            logs[max(since - first_step, 0) :] += math.log(factor)
        prices = np.round(np.exp(logs), self._config.index.price_decimals)
        return self._exact(round(math.fsum(prices) / len(prices), self._config.index.price_decimals))

    def _exact(self, price: float) -> Decimal:
        return Decimal(format(price, f".{self._config.index.price_decimals}f"))

    def _chunk(self, number: int) -> tuple[F8, F8]:
        """Log price and log level of the steps of one chunk, arrays (CHUNK_STEPS,)."""
        chunk = self._chunks.get(number)
        if chunk is not None:
            return chunk
        while len(self._starts) <= number:
            self._draw(len(self._starts) - 1)
        return self._draw(number)

    def _draw(self, number: int) -> tuple[F8, F8]:
        """Draw one chunk whose start is known; keeps it and the start of the next one."""
        index, surface = self._config.index, self._config.surface
        generator = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, number, 0]))
        normals = generator.standard_normal((2, CHUNK_STEPS))
        moves = index.vol * math.sqrt(self._step_years) * normals[0]
        moves += (index.drift - index.vol**2 / 2) * self._step_years
        jumps = int(generator.poisson(index.jumps_per_day * 365 * self._step_years * CHUNK_STEPS))
        np.add.at(moves, generator.integers(0, CHUNK_STEPS, jumps), index.jump_vol * generator.standard_normal(jumps))
        correlation = surface.spot_correlation
        shocks = correlation * normals[0] + math.sqrt(1 - correlation**2) * normals[1]
        shocks *= surface.vol_of_vol * math.sqrt(self._step_years)
        if number == 0:
            moves[0] = shocks[0] = 0.0
        decay = math.log(2.0) / (surface.level_half_life_hours / 8_760) * self._step_years
        fade = np.exp(-decay * np.arange(1, CHUNK_STEPS + 1))
        start_price, start_level = self._starts[number]
        chunk = (start_price + np.cumsum(moves), fade * (start_level + np.cumsum(shocks / fade)))
        if len(self._starts) == number + 1:
            self._starts.append((float(chunk[0][-1]), float(chunk[1][-1])))
        self._chunks[number] = chunk
        if len(self._chunks) > KEPT_CHUNKS:
            del self._chunks[next(iter(self._chunks))]
        return chunk
