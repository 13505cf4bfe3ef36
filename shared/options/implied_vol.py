"""Implied volatility: Black-76 inverted element by element, whole chains at a time.

Every option is first turned into its out-of-the-money counterpart of the same time value (put-call parity) and
normalised, after which two numbers are left: the log-moneyness x = -|ln(F/K)| and beta = time value / sqrt(F K).
What is solved for is the total deviation s = vol * sqrt(years):

    b(x, s) = exp(x/2) N(x/s + s/2) - exp(-x/2) N(x/s - s/2) = beta

1. First guess: invert the normal (Bachelier) model by a rational approximation and convert its deviation to the
   lognormal one. It is within 0.1 % for s < 0.5 and within 4 % for s < 2.
2. Two third-order Householder steps, each about error**4. No loop over options, no test for convergence inside.
3. Elements whose last step was still large (deviations beyond about 2, such as 150 % over two years) go on, as a
   smaller array, in steps that are kept inside a shrinking bracket.

The quotient b / (db/ds) is evaluated with the scaled complementary error function, so that it neither cancels nor
underflows in the wings: 10 minutes before expiry is as exact as three years.

Sources: P. Jaeckel, "Let's Be Rational", Wilmott (2015): normalisation, scaled error function, Householder
steps; J. Choi, K. Kim, M. Kwak, "Numerical approximation of the implied volatility under arithmetic Brownian
motion", Applied Mathematical Finance 16 (2009): form of the Bachelier inversion (coefficients fitted here);
P. Hagan et al., "Managing smile risk", Wilmott (2002): normal from lognormal volatility.
"""

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
import numpy.typing as npt

from shared.options.black76 import BoolArray, FloatArray, blocks, call_sign, flatten_inputs
from shared.options.normal import erfcx

# As a share of the forward. At or below it the volatility is decided by rounding and by the tick, not by the market.
MIN_TIME_VALUE = 1e-6
# As a share of the forward: this close to the upper bound a float64 price no longer tells volatilities apart.
MIN_DISTANCE_TO_BOUND = 1e-12

_SQRT_HALF = sqrt(0.5)
_SQRT_HALF_PI = sqrt(pi / 2.0)
_SQRT_2PI = sqrt(2.0 * pi)
_TINY = 1e-300

# Cubic in eta of (Bachelier deviation) / (straddle * sqrt(eta * pi / 2)), largest relative error 1e-3.
_BACHELIER = (0.40287494, 0.75621869, -0.15865718, -0.0013980376)
# Pade approximant of 2 sqrt(2) erfinv(z / sqrt(2 pi)) / z in z**2: at the money it maps normal to lognormal.
_PADE_NUMERATOR, _PADE_DENOMINATOR = -11.0 / 240.0, -7.0 / 80.0

# A step this small (relative) leaves an error of about its fourth power.
_CONVERGED_STEP = 3e-4
_BRACKET_TOP = 40.0
_MAX_BRACKETED_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class IvResult:
    """vol: annualised, 0.5 is 50 %; NaN where there is no value. ok: True where there is one. Broadcast shape."""

    vol: FloatArray
    ok: BoolArray


def implied_vol(
    price: npt.ArrayLike,
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    is_call: npt.ArrayLike,
    rate: npt.ArrayLike = 0.0,
) -> IvResult:
    """The volatility at which Black-76 gives `price`, for inputs that broadcast together.

    `price`: premium per unit of underlying in USD (not in coin), as `black76.price` returns it. `forward` and
    `strike` in USD, > 0. `years`: > 0, act/365. `rate`: continuously compounded, the same as for the price.

    There is a value (`ok`) where the undiscounted time value exceeds MIN_TIME_VALUE of the forward and stays
    below its upper bound min(forward, strike). The price of that volatility then differs from `price` by at most
    1e-10 of the forward; the volatility itself is as exact as float64 prices allow (about 1e-16 of the forward
    divided by vega). Everything else (below intrinsic value, above the bound, hardly any time value, no time left,
    NaN or infinite input) gives NaN and ok False in that element only. Raises ValueError if shapes do not broadcast.
    """
    shape, (p, f, k, t), call, r = flatten_inputs((price, forward, strike, years), is_call, rate)
    vol = np.empty(call.size)
    ok = np.empty(call.size, dtype=np.bool_)
    with np.errstate(all="ignore"):
        for block in blocks(call.size):
            undiscounted = p[block] if r is None else p[block] * np.exp(r[block] * t[block])
            vol[block], ok[block] = _block_implied_vol(undiscounted, f[block], k[block], t[block], call[block])
    return IvResult(vol.reshape(shape), ok.reshape(shape))


def _block_implied_vol(
    undiscounted: FloatArray, f: FloatArray, k: FloatArray, t: FloatArray, call: BoolArray
) -> tuple[FloatArray, BoolArray]:
    distance = f - k
    time_value = call_sign(call)
    time_value *= distance
    np.maximum(time_value, 0.0, out=time_value)
    np.subtract(undiscounted, time_value, out=time_value)
    usable = time_value > MIN_TIME_VALUE * f
    usable &= np.minimum(f, k) - time_value > MIN_DISTANCE_TO_BOUND * f
    usable &= (k > 0.0) & (k < np.inf) & (t > 0.0) & (t < np.inf)

    scale = np.sqrt(f * k)
    beta = time_value / scale
    x = np.log(f / k)
    np.abs(x, out=x)
    np.negative(x, out=x)
    np.abs(distance, out=distance)
    distance /= scale

    deviation = _first_guess(x, beta, distance)
    deviation += _householder(x, beta, deviation)[1]
    step = _householder(x, beta, deviation)[1]
    deviation += step
    np.abs(step, out=step)
    unfinished = usable & ~(step <= _CONVERGED_STEP * deviation)
    if unfinished.any():
        deviation[unfinished] = _bracketed(x[unfinished], beta[unfinished])
    deviation /= np.sqrt(t)
    deviation[~usable] = np.nan
    return deviation, usable


def _first_guess(x: FloatArray, beta: FloatArray, distance: FloatArray) -> FloatArray:
    """Deviation from the normal model whose option is `distance` = |F - K| / sqrt(F K) out of the money.

    Any element may come back meaningless (even NaN or negative): the caller judges by the size of the last step.
    """
    distance = np.maximum(distance, _TINY)
    straddle = 2.0 * beta
    straddle += distance
    eta = np.log1p(distance / beta)
    eta *= straddle
    np.divide(2.0 * distance, eta, out=eta)
    z = eta * _BACHELIER[3]
    for coefficient in (_BACHELIER[2], _BACHELIER[1]):
        z += coefficient
        z *= eta
    z += _BACHELIER[0]
    z *= straddle
    z *= np.sqrt(eta)
    z *= _SQRT_HALF_PI
    z *= np.maximum(-x, _TINY)
    z /= distance
    square = z * z
    z *= 1.0 + _PADE_NUMERATOR * square
    z /= 1.0 + _PADE_DENOMINATOR * square
    return z


def _householder(x: FloatArray, beta: FloatArray, s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At deviation `s`: (b - beta) / b', which has the sign of b - beta, and the third-order step to add to `s`."""
    h = x / s
    half_s = 0.5 * s
    residual = erfcx((half_s + h) * -_SQRT_HALF)
    residual -= erfcx((half_s - h) * _SQRT_HALF)
    residual *= _SQRT_HALF_PI
    inverse_slope = h * h
    h_over_s_squared = inverse_slope / (s * s)
    inverse_slope += half_s * half_s
    inverse_slope *= 0.5
    np.exp(inverse_slope, out=inverse_slope)
    inverse_slope *= _SQRT_2PI
    inverse_slope *= beta
    residual -= inverse_slope
    second = h_over_s_squared * s
    second -= 0.5 * half_s
    third = second * second
    h_over_s_squared *= 3.0
    third -= h_over_s_squared
    third -= 0.25
    third *= residual
    third *= -1.0 / 6.0
    third += second
    third *= residual
    third -= 1.0
    second *= residual
    second *= -0.5
    second += 1.0
    second *= residual
    second /= third
    return residual, second


def _bracketed(x: FloatArray, beta: FloatArray) -> FloatArray:
    """The deviation by Householder steps, replaced by bisection whenever they leave the shrinking bracket."""
    low = np.zeros_like(x)
    high = np.full_like(x, _BRACKET_TOP)
    s = np.sqrt(-2.0 * x) + 0.5
    for _ in range(_MAX_BRACKETED_STEPS):
        residual, step = _householder(x, beta, s)
        high = np.where(residual > 0.0, s, high)
        low = np.where(residual > 0.0, low, s)
        stepped = s + step
        inside = (stepped > low) & (stepped < high)
        following = np.where(inside | (residual == 0.0), stepped, 0.5 * (low + high))
        if np.all(np.abs(following - s) <= 4.0 * np.finfo(np.float64).eps * s):
            return following
        s = following
    return s
