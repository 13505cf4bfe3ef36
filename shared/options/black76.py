"""Black-76 prices and Greeks of European options on a forward, whole chains at a time.

All inputs are float64 scalars or arrays and broadcast together:

- `forward`: forward price of the underlying at the option's own expiry, USD, > 0.
- `strike`: USD, > 0.
- `years`: time to expiry, act/365 (`symbols.years_to_expiry`), >= 0.
- `vol`: annualised volatility, 0.5 is 50 %, >= 0.
- `is_call`: True for a call, False for a put.
- `rate`: continuously compounded interest rate to discount with, 0.05 is 5 %; 0.0 gives undiscounted values.

Results have the broadcast shape. An element with a NaN, an infinity or a value outside its range gives NaN in
that element only. Inputs whose shapes do not broadcast raise ValueError.

With no time or no volatility left (`years == 0` or `vol == 0`) the price is the discounted intrinsic value, delta
is the step (0 or ±1, ±0.5 at the money, discounted) and the other Greeks are 0.

Source: F. Black, "The pricing of commodity contracts", Journal of Financial Economics 3 (1976). Units of theta,
vega and rho are those in which crypto option venues publish theirs; docs/conventions.md lists them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# At this size the dozen or so temporaries of one block stay in the second-level cache: 3 times the throughput of
# one pass over 100,000 options (bench/options.py).
BLOCK_OPTIONS = 1_024

DAYS_PER_YEAR = 365.0
VOL_POINT = 0.01
RATE_POINT = 0.01
_INVERSE_SQRT_2PI = 0.3989422804014327


@dataclass(frozen=True, slots=True, eq=False)
class Greeks:
    """Values per one unit of underlying, long one option; arrays of the broadcast shape of the inputs.

    price: USD. delta: USD per USD of forward, which is taken to move one for one with spot.
    gamma: delta per USD. vega: USD per volatility point (0.01). theta: USD per calendar day, forward held fixed.
    rho: USD per percentage point of the rate with *spot* held fixed, so that the forward moves with the rate.
    """

    price: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    rho: FloatArray


def price(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    vol: npt.ArrayLike,
    is_call: npt.ArrayLike,
    rate: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Present value in USD per unit of underlying. Inputs, limits and failures: see the module."""
    shape, (f, k, t, v, r), call = flatten_inputs((forward, strike, years, vol, rate), is_call)
    value = np.empty(call.size)
    with np.errstate(all="ignore"):
        for block in blocks(call.size):
            value[block] = _block_price(f[block], k[block], t[block], v[block], call[block], r[block])
    return value.reshape(shape)


def greeks(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    vol: npt.ArrayLike,
    is_call: npt.ArrayLike,
    rate: npt.ArrayLike = 0.0,
) -> Greeks:
    """Price and Greeks together, in the units of `Greeks`. Inputs, limits and failures: see the module."""
    shape, (f, k, t, v, r), call = flatten_inputs((forward, strike, years, vol, rate), is_call)
    result = np.empty((6, call.size))
    with np.errstate(all="ignore"):
        for block in blocks(call.size):
            _block_greeks(f[block], k[block], t[block], v[block], call[block], r[block], result[:, block])
    return Greeks(*(row.reshape(shape) for row in result))


def flatten_inputs(
    floats: tuple[npt.ArrayLike, ...], is_call: npt.ArrayLike
) -> tuple[tuple[int, ...], list[FloatArray], BoolArray]:
    """Broadcast all inputs together: their common shape, then each as float64 (`is_call` as bool) of shape (n,).

    Raises ValueError if the shapes do not broadcast.
    """
    arrays = [np.asarray(value, dtype=np.float64) for value in floats]
    call = np.asarray(is_call, dtype=np.bool_)
    shape = np.broadcast(*arrays, call).shape
    flat = [(a if a.shape == shape else np.broadcast_to(a, shape)).reshape(-1) for a in arrays]
    return shape, flat, (call if call.shape == shape else np.broadcast_to(call, shape)).reshape(-1)


def blocks(count: int) -> Iterator[slice]:
    """Consecutive slices of at most BLOCK_OPTIONS that cover `count` elements."""
    return (slice(start, start + BLOCK_OPTIONS) for start in range(0, count, BLOCK_OPTIONS))


def _block_price(
    f: FloatArray, k: FloatArray, t: FloatArray, v: FloatArray, call: BoolArray, r: FloatArray
) -> FloatArray:
    sign = _call_sign(call)
    deviation = v * np.sqrt(t)
    d1 = np.log(f / k) / deviation + 0.5 * deviation
    value = sign * (f * ndtr(sign * d1) - k * ndtr(sign * (d1 - deviation)))
    if r.any():
        value *= np.exp(-r * t)
    if not _all_regular(f, k, deviation, r):
        limit, invalid = _irregular(f, k, t, v, r)
        value[limit] = _intrinsic(f, k, t, sign, r)[limit]
        value[invalid] = np.nan
    return value


def _block_greeks(
    f: FloatArray,
    k: FloatArray,
    t: FloatArray,
    v: FloatArray,
    call: BoolArray,
    r: FloatArray,
    out: FloatArray,
) -> None:
    """Fill `out` (6, n): price, delta, gamma, vega, theta, rho."""
    value, delta, gamma, vega, theta, rho = out
    sign = _call_sign(call)
    root_t = np.sqrt(t)
    deviation = v * root_t
    d1 = np.log(f / k) / deviation + 0.5 * deviation
    np.multiply(sign, ndtr(sign * d1), out=delta)
    strike_leg = (sign * k) * ndtr(sign * (d1 - deviation))
    density = np.exp(-0.5 * d1 * d1)
    density *= _INVERSE_SQRT_2PI
    if r.any():
        discount = np.exp(-r * t)
        delta *= discount
        strike_leg *= discount
        density *= discount
    np.subtract(f * delta, strike_leg, out=value)
    np.divide(density, f * deviation, out=gamma)
    density *= f
    np.multiply(density, root_t * VOL_POINT, out=vega)
    np.multiply(density, v / root_t, out=theta)
    theta *= -0.5 / DAYS_PER_YEAR
    if r.any():
        theta += r * value / DAYS_PER_YEAR
    np.multiply(strike_leg, t * RATE_POINT, out=rho)
    if not _all_regular(f, k, deviation, r):
        limit, invalid = _irregular(f, k, t, v, r)
        value[limit] = _intrinsic(f, k, t, sign, r)[limit]
        in_the_money_step = np.heaviside(sign * (f - k), 0.5)
        delta[limit] = (sign * np.exp(-r * t) * in_the_money_step)[limit]
        out[2:, limit] = 0.0
        out[:, invalid] = np.nan


def _call_sign(call: BoolArray) -> FloatArray:
    """1.0 for a call, -1.0 for a put: one formula then serves both."""
    return call.astype(np.float64) * 2.0 - 1.0


def _intrinsic(f: FloatArray, k: FloatArray, t: FloatArray, sign: FloatArray, r: FloatArray) -> FloatArray:
    value: FloatArray = np.maximum(sign * (f - k), 0.0) * np.exp(-r * t)
    return value


def _all_regular(f: FloatArray, k: FloatArray, deviation: FloatArray, r: FloatArray) -> bool:
    """True if every element is finite and strictly positive, so that no formula above met a limit.

    Three minima and one sum: NaN and infinity survive into them, and they cost less than a test per element.
    """
    positive = f.min() > 0.0 and k.min() > 0.0 and deviation.min() > 0.0
    return bool(positive and np.isfinite((f + k + deviation + r).sum()))


def _irregular(
    f: FloatArray, k: FloatArray, t: FloatArray, v: FloatArray, r: FloatArray
) -> tuple[BoolArray, BoolArray]:
    """Masks of the elements without time or volatility, and of those outside the range of their input."""
    valid = np.isfinite(f + k + t + v + r) & (f > 0.0) & (k > 0.0) & (t >= 0.0) & (v >= 0.0)
    return valid & (v * np.sqrt(t) == 0.0), ~valid
