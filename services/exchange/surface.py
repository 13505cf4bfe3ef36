"""The volatility surface: SSVI, free of static arbitrage for every level and expiry.

Total variance at log-moneyness k = ln(strike / forward), with theta the total variance at the money:

    w(k) = theta / 2 * (1 + rho * phi * k + sqrt((phi * k + rho)^2 + 1 - rho^2))
    phi = eta / sqrt(theta * (1 + theta))

With this phi there is no butterfly and no calendar arbitrage if eta * (1 + |rho|) <= 2 (checked by the
configuration) and theta never falls with time (an integral of positive variances here).
Source: Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14 (2014), section 4.
"""

import numpy as np

from services.exchange.config import SurfaceConfig
from services.exchange.model import F8

# Options are priced to the last instant; below this there is no time value left to speak of.
MIN_YEARS = 1e-7


def forward(config: SurfaceConfig, index: float | F8, years: F8) -> F8:
    """Forward price per expiry, USD, shape of `years`; `index` may be one per element."""
    result: F8 = index * np.exp(config.basis * (1.0 - np.exp(-years / config.basis_years)))
    return result


def atm_total_variance(config: SurfaceConfig, level: float | F8, years: F8) -> F8:
    """Variance at the money to each expiry: integral of an instantaneous variance that reverts to `long_vol`^2."""
    short, long = config.short_vol**2, config.long_vol**2
    speed = config.reversion_per_year
    result: F8 = level**2 * (long * years + (short - long) * -np.expm1(-speed * years) / speed)
    return result


def total_variance(config: SurfaceConfig, log_moneyness: F8, theta: F8) -> F8:
    """w(k), shapes broadcast; `theta` > 0."""
    phi = config.smile / np.sqrt(theta * (1.0 + theta))
    scaled = phi * log_moneyness
    root = np.sqrt((scaled + config.skew) ** 2 + 1.0 - config.skew**2)
    result: F8 = theta / 2.0 * (1.0 + config.skew * scaled + root)
    return result


def vol(config: SurfaceConfig, level: float | F8, log_moneyness: F8, years: F8) -> F8:
    """Annualised Black volatility, a fraction, shapes broadcast; `years` below MIN_YEARS count as MIN_YEARS."""
    years = np.maximum(years, MIN_YEARS)
    theta = atm_total_variance(config, level, years)
    result: F8 = np.sqrt(total_variance(config, log_moneyness, theta) / years)
    return result
