"""Our Greeks and volatilities against those that a venue printed on a whole chain.

The recorded chain is not part of the repository. VOLDESK_REFERENCE_CHAIN names the file; without it the file is
looked for beside the repository, and where there is none these tests are skipped.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shared.options import parse_option_symbol, years_to_expiry
from shared.options.black76 import FloatArray, greeks
from shared.options.implied_vol import implied_vol
from tests.unit.options.chains import Chain

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT = REPOSITORY.parent / "shared" / "data" / "deribit-eth-options-2021-02-11.csv"


@dataclass(frozen=True, slots=True, eq=False)
class VenueChain:
    chain: Chain
    price_usd: FloatArray
    greeks: dict[str, FloatArray]


@pytest.fixture(scope="module")
def venue() -> VenueChain:
    path = Path(os.environ.get("VOLDESK_REFERENCE_CHAIN", DEFAULT))
    if not path.is_file():
        pytest.skip(f"no recorded venue chain at {path}: set VOLDESK_REFERENCE_CHAIN to the file")
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    options = []
    for record in records:
        base, expiry, strike, option_type = record["instrument_name"].split("-")
        options.append(parse_option_symbol(f"{base}USD-{expiry}-{strike}-{option_type}"))

    def column(name: str) -> FloatArray:
        return np.array([float(record[name]) for record in records])

    years = [
        years_to_expiry(int(record["timestamp"]) * 1_000_000, option.expiry_ns)
        for record, option in zip(records, options, strict=True)
    ]
    forward = column("underlying_price")
    chain = Chain(
        forward,
        np.array([float(option.strike) for option in options]),
        np.array(years),
        column("mark_iv") / 100,
        np.array([option.is_call for option in options]),
    )
    names = ("delta", "gamma", "vega", "theta", "rho")
    return VenueChain(chain, column("mark_price") * forward, {name: column(f"greeks.{name}") for name in names})


def test_our_greeks_are_the_venues_to_the_digits_it_prints(venue: VenueChain) -> None:
    ours = greeks(*venue.chain.inputs)
    days_left = venue.chain.years * 365
    # In the last day the venue shows the decay that is left, and never more than the price.
    theta = np.maximum(ours.theta * np.minimum(days_left, 1.0), -ours.price)
    # The venue's forward is printed some milliseconds apart from its Greeks: the second tolerance is for that.
    for name, values, typical, worst in (
        ("delta", ours.delta, 1e-5, 1e-4),
        ("gamma", ours.gamma, 5.1e-6, 6e-6),
        ("vega", ours.vega, 2e-5, 2e-4),
        ("theta", theta, 5e-4, 5e-2),
        ("rho", ours.rho, 2e-5, 1e-4),
    ):
        error = np.abs(values - venue.greeks[name])
        assert np.quantile(error, 0.9) <= typical, name
        assert error.max() <= worst, name


def test_volatilities_from_the_venues_marks_are_its_own(venue: VenueChain) -> None:
    f, k, t, v, c = venue.chain.inputs
    result = implied_vol(venue.price_usd, f, k, t, c)
    assert result.ok.mean() > 0.9
    vega_per_unit = greeks(*venue.chain.inputs).vega * 100
    error = (np.abs(result.vol - v) * vega_per_unit / f)[result.ok]
    # Marks are printed to 1e-6 coin and, like the Greeks, not at the instant of the forward.
    assert np.median(error) <= 1e-5
    assert np.quantile(error, 0.99) <= 3e-4
