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
from math import isfinite
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from shared.options.normal import ndtr

_Scalar = TypeVar("_Scalar", bound=np.generic)
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# At this size the dozen or so temporaries of one block (half a megabyte) stay in the second-level cache, and the
# fixed cost of a numpy call is spread thin: measured 1.7 times the throughput of one pass over 100,000 options,
# and 1.4 times that of blocks of 1,024 (bench/options.py).
BLOCK_OPTIONS = 4_096

DAYS_PER_YEAR = 365.0
VOL_POINT = 0.01
RATE_POINT = 0.01
_INVERSE_SQRT_2PI = 0.3989422804014327


class Greeks(msgspec.Struct, frozen=True, eq=False):
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
    shape, (f, k, t, v), call, r = flatten_inputs((forward, strike, years, vol), is_call, rate)
    value = np.empty(call.size)
    with np.errstate(all="ignore"):
        for block in blocks(call.size):
            rates = None if r is None else r[block]
            _block_price(f[block], k[block], t[block], v[block], call[block], rates, value[block])
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
    shape, (f, k, t, v), call, r = flatten_inputs((forward, strike, years, vol), is_call, rate)
    result = np.empty((6, call.size))
    with np.errstate(all="ignore"):
        if 0 < call.size <= BLOCK_OPTIONS:
            _block_greeks(f, k, t, v, call, r, result)
        else:
            for block in blocks(call.size):
                rates = None if r is None else r[block]
                _block_greeks(f[block], k[block], t[block], v[block], call[block], rates, result[:, block])
    return Greeks(*(result.reshape(6, *shape)))


def flatten_inputs(
    floats: tuple[npt.ArrayLike, ...], is_call: npt.ArrayLike, rate: npt.ArrayLike
) -> tuple[tuple[int, ...], list[FloatArray], BoolArray, FloatArray | None]:
    """Broadcast all inputs together: their common shape, then each as float64 (`is_call` as bool) of shape (n,).

    `rate` comes back as None where it is 0 for every element, so that nothing is spent on discounting.
    Raises ValueError if the shapes do not broadcast.
    """
    arrays = [np.asarray(value, dtype=np.float64) for value in floats]
    call = np.asarray(is_call, dtype=np.bool_)
    shape = call.shape
    if len(shape) == 1 and isinstance(rate, float | complex) and not rate and all(a.shape == shape for a in arrays):
        return shape, arrays, call, None
    rates = np.asarray(rate, dtype=np.float64)
    shape = np.broadcast(*arrays, call, rates).shape
    flat_rate = _flat(rates, shape) if rates.any() else None
    return shape, [_flat(array, shape) for array in arrays], _flat(call, shape), flat_rate


def blocks(count: int) -> Iterator[slice]:
    """Consecutive slices of at most BLOCK_OPTIONS that cover `count` elements."""
    return (slice(start, start + BLOCK_OPTIONS) for start in range(0, count, BLOCK_OPTIONS))


def call_sign(is_call: BoolArray) -> FloatArray:
    """1.0 for a call, -1.0 for a put: one formula then serves both."""
    sign = is_call.astype(np.float64)
    sign *= 2.0
    sign -= 1.0
    return sign


def _flat(array: npt.NDArray[_Scalar], shape: tuple[int, ...]) -> npt.NDArray[_Scalar]:
    if array.shape == shape:
        return array.reshape(-1)
    # several times sooner for a chain than a broadcast view that is copied afterwards
    spread = np.empty(shape, array.dtype)
    spread[...] = array
    return spread.reshape(-1)


def _block_price(
    f: FloatArray,
    k: FloatArray,
    t: FloatArray,
    v: FloatArray,
    call: BoolArray,
    r: FloatArray | None,
    out: FloatArray,
) -> None:
    """Fill `out` (n,)."""
    sign = call_sign(call)
    deviation = np.sqrt(t)
    deviation *= v
    d1 = np.log(f / k)
    d1 /= deviation
    d1 += 0.5 * deviation
    np.multiply(f, ndtr(sign * d1), out=out)
    out -= k * ndtr(sign * (d1 - deviation))
    out *= sign
    if r is not None:
        out *= np.exp(-r * t)
    if not _all_regular(f, deviation, d1, r):
        limit, invalid = _irregular(f, k, t, v, r)
        out[limit] = _intrinsic(f, k, t, sign, r)[limit]
        out[invalid] = np.nan


def _block_greeks(
    f: FloatArray,
    k: FloatArray,
    t: FloatArray,
    v: FloatArray,
    call: BoolArray,
    r: FloatArray | None,
    out: FloatArray,
) -> None:
    """Fill `out` (6, n): price, delta, gamma, vega, theta, rho."""
    value, delta, gamma, vega, theta, rho = out
    sign = call_sign(call)
    root_t = np.sqrt(t)
    deviation = v * root_t
    d1 = f / k
    np.log(d1, out=d1)
    d1 /= deviation
    scratch = 0.5 * deviation
    d1 += scratch
    np.multiply(sign, d1, out=scratch)
    ndtr(scratch, out=delta)
    delta *= sign
    strike_leg = d1 - deviation
    strike_leg *= sign
    ndtr(strike_leg, out=strike_leg)
    strike_leg *= sign
    strike_leg *= k
    density = np.multiply(d1, d1, out=scratch)
    density *= -0.5
    np.exp(density, out=density)
    density *= _INVERSE_SQRT_2PI
    if r is not None:
        discount = np.exp(-r * t)
        delta *= discount
        strike_leg *= discount
        density *= discount
    np.multiply(f, delta, out=value)
    value -= strike_leg
    np.multiply(f, deviation, out=gamma)
    np.divide(density, gamma, out=gamma)
    density *= f
    np.multiply(density, root_t, out=vega)
    vega *= VOL_POINT
    np.divide(v, root_t, out=theta)
    theta *= density
    theta *= -0.5 / DAYS_PER_YEAR
    if r is not None:
        theta += r * value / DAYS_PER_YEAR
    np.multiply(strike_leg, t, out=rho)
    rho *= RATE_POINT
    if not _all_regular(f, deviation, d1, r):
        limit, invalid = _irregular(f, k, t, v, r)
        value[limit] = _intrinsic(f, k, t, sign, r)[limit]
        delta[limit] = (sign * np.heaviside(sign * (f - k), 0.5) * _discount(t, r))[limit]
        out[2:, limit] = 0.0
        out[:, invalid] = np.nan


def _discount(t: FloatArray, r: FloatArray | None) -> FloatArray:
    return np.ones_like(t) if r is None else np.exp(-r * t)


def _intrinsic(f: FloatArray, k: FloatArray, t: FloatArray, sign: FloatArray, r: FloatArray | None) -> FloatArray:
    value: FloatArray = np.maximum(sign * (f - k), 0.0) * _discount(t, r)
    return value


def _all_regular(f: FloatArray, deviation: FloatArray, d1: FloatArray, r: FloatArray | None) -> bool:
    """True only if no element met a limit or was invalid: a few reductions instead of a test per element.

    With a positive forward and deviation, d1 is finite only if strike, time and volatility are regular too.
    """
    positive = np.minimum.reduce(np.minimum(f, deviation)) > 0.0
    return bool(positive and isfinite(np.dot(d1, d1)) and (r is None or isfinite(np.add.reduce(r))))


def _irregular(
    f: FloatArray, k: FloatArray, t: FloatArray, v: FloatArray, r: FloatArray | None
) -> tuple[BoolArray, BoolArray]:
    """Masks of the elements without time or volatility, and of those outside the range of their input."""
    finite = np.isfinite(f) & np.isfinite(k) & np.isfinite(t) & np.isfinite(v)
    if r is not None:
        finite &= np.isfinite(r)
    valid = finite & (f > 0.0) & (k > 0.0) & (t >= 0.0) & (v >= 0.0)
    return valid & (v * np.sqrt(t) == 0.0), ~valid
