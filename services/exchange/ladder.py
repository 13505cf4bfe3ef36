"""The market makers' quotes: a pure function of (seed, option, step, liquidity consumed).

Random numbers are hashes of what they are for, so that looking at a book changes nothing, an idle book costs
nothing, and one option computed alone has the same quotes as in the whole chain. Prices are integer ticks and
sizes integer lots here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from services.exchange.config import LadderConfig
from services.exchange.model import F8, I8, Side

U8 = NDArray[np.uint64]

SIZE_DISPERSION = 1.1
SIZE_GROWTH_PER_LEVEL = 0.15
SPACING_OF_HALF_SPREAD = 0.35
WING_DELTA = 0.05
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
_SPREAD, _EMPTY, _SIZE, _INTEREST = range(1, 5)


def mix(values: U8) -> U8:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014) on each element."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U8 = values ^ (values >> np.uint64(31))
    return mixed


def uniform(keys: U8, *counters: int | I8) -> F8:
    """Numbers in (0, 1) that depend on the key and all counters; keys and array counters broadcast."""
    state = keys
    for counter in counters:
        if isinstance(counter, int):
            state = mix(state + np.uint64((counter + 1) * _GOLDEN & _WORD))
        else:
            state = mix(state + (counter.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN))
    result: F8 = ((state >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Tops:
    """Best quotes and shape of the ladders of n options, arrays (n,); ticks 0 and lots 0 mean an empty side."""

    bid_ticks: I8
    ask_ticks: I8
    bid_lots: I8
    ask_lots: I8
    spacing_ticks: I8
    levels: I8
    centrality: F8


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The random part of n options' quotes in one epoch of `requote_steps`, arrays (n,); sizes as factors."""

    spread: F8
    bid_missing: NDArray[np.bool_]
    ask_missing: NDArray[np.bool_]
    bid_size: F8
    ask_size: F8

    def of(self, rows: I8 | slice) -> "Draws":
        """Those of some options."""
        return Draws(
            self.spread[rows],
            self.bid_missing[rows],
            self.ask_missing[rows],
            self.bid_size[rows],
            self.ask_size[rows],
        )


def draw(config: LadderConfig, keys: U8, epoch: int | I8) -> Draws:
    """What the options with these keys draw in `epoch`, or each in its own; sides stay missing for 16 epochs."""
    chance = config.empty_side_probability
    return Draws(
        spread=0.8 + 0.4 * uniform(keys, _SPREAD, epoch),
        bid_missing=uniform(keys, _EMPTY, int(Side.BUY), epoch // 16) < chance,
        ask_missing=uniform(keys, _EMPTY, int(Side.SELL), epoch // 16) < chance,
        bid_size=size_factor(keys, Side.BUY, 0, epoch),
        ask_size=size_factor(keys, Side.SELL, 0, epoch),
    )


def quote_tops(config: LadderConfig, draws: Draws, mark: F8, delta: F8, vega: F8, tick_size: float) -> Tops:
    """Quotes around the marks. `vega` is per volatility point; all arrays (n,).

    The half-spread is at least half a tick and both prices are rounded away from the mark, so no book is crossed.
    """
    wide = np.abs(delta)
    centrality = 2.0 * np.minimum(wide, np.abs(1.0 - wide))
    wings = 1.0 + (config.wing_multiplier - 1.0) * (1.0 - centrality) ** 3
    half = np.maximum(config.half_spread_vol * 100.0 * vega * wings, config.half_spread_min_pct / 100.0 * mark)
    half = np.maximum(half * draws.spread, tick_size / 2.0)
    bid = np.maximum(np.floor((mark - half) / tick_size), 0.0).astype(np.int64)
    ask = np.maximum(np.ceil((mark + half) / tick_size).astype(np.int64), bid + 1)
    in_wing = wide < WING_DELTA
    bid[in_wing & draws.bid_missing] = 0
    ask[in_wing & draws.ask_missing] = 0
    return Tops(
        bid_ticks=bid,
        ask_ticks=ask,
        bid_lots=np.where(bid > 0, level_lots(config, draws.bid_size, 0, centrality), 0),
        ask_lots=np.where(ask > 0, level_lots(config, draws.ask_size, 0, centrality), 0),
        spacing_ticks=np.maximum(np.rint(half * SPACING_OF_HALF_SPREAD / tick_size), 1.0).astype(np.int64),
        levels=np.maximum(np.rint(config.levels * (0.5 + 0.5 * centrality)), 1.0).astype(np.int64),
        centrality=centrality,
    )


def size_factor(keys: U8, side: Side, level: int | I8, epoch: int | I8) -> F8:
    """Log-normal factor on the median size of a level; arrays broadcast."""
    result: F8 = np.exp(SIZE_DISPERSION * ndtri(uniform(keys, _SIZE, int(side), epoch, level)))
    return result


def level_lots(config: LadderConfig, factor: F8, level: int | I8, centrality: F8) -> I8:
    """Sizes in lots, at least 1, growing with the distance from the top; arrays broadcast."""
    median = config.level_lots * (0.3 + 0.7 * centrality) * (1.0 + SIZE_GROWTH_PER_LEVEL * level)
    lots: I8 = np.maximum(np.rint(median * factor), 1.0).astype(np.int64)
    return lots


def open_interest_lots(config: LadderConfig, keys: U8) -> I8:
    """Open interest of others, lots; it does not move."""
    normal = ndtri(uniform(keys, _INTEREST))
    lots: I8 = np.rint(config.level_lots * 2.0 * np.exp(1.5 * normal)).astype(np.int64)
    return lots


def level_factors(config: LadderConfig, key: int, side: Side, epoch: int) -> F8:
    """The random part of the sizes of all levels that one side of one option can have in an epoch, best first."""
    keys = np.array([key], dtype=np.uint64)
    return size_factor(keys, side, np.arange(config.levels, dtype=np.int64), epoch)


def ladder(config: LadderConfig, tops: Tops, row: int, side: Side, factors: F8) -> list[tuple[int, int]]:
    """(ticks, lots) of one side of one option, best first, before consumption; bids end above 0. `factors`: those of
    `level_factors`."""
    top = int((tops.bid_ticks if side is Side.BUY else tops.ask_ticks)[row])
    if top == 0:
        return []
    levels = np.arange(int(tops.levels[row]), dtype=np.int64)
    lots = level_lots(config, factors[: len(levels)], levels, tops.centrality[row : row + 1])
    ticks = top - side.sign * levels * int(tops.spacing_ticks[row])
    return [(price, size) for price, size in zip(ticks.tolist(), lots.tolist(), strict=True) if price > 0]


def consume(levels: list[tuple[int, int]], lots: int) -> list[tuple[int, int]]:
    """The levels that are left when `lots` are missing from the top."""
    for number, (ticks, size) in enumerate(levels):
        if lots < size:
            return [(ticks, size - lots), *levels[number + 1 :]]
        lots -= size
    return []


def still_consumed(lots: int, since_step: int, step: int, replenish_steps: int) -> int:
    """How many of `lots` taken at `since_step` are still missing at `step`: they come back evenly, rounded late."""
    left = max(replenish_steps - (step - since_step), 0)
    return -(-lots * left // replenish_steps)
