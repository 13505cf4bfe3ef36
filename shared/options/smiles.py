"""An option chain by expiry: smiles, the strikes around the money, and JSON with stable keys."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.messages.market import SpotQuote
from shared.options.chain import F8, ChainView
from shared.options.futures_curve import FuturePoint, futures_curve
from shared.views import iso

STRIKES_AROUND = 6
"""Strikes shown on each side of the money."""

SMILE_DELTA_MIN = 0.02
"""The far wings, where a tick is many volatility points, are not drawn."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_JSON_COLUMNS = {
    "bid": "bid",
    "ask": "ask",
    "bid_size": "bid_size",
    "ask_size": "ask_size",
    "mark": "mark",
    "iv": "mark_iv",
    "bid_iv": "bid_iv",
    "ask_iv": "ask_iv",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
    "open_interest": "open_interest",
    "volume": "volume",
}


class Smile(msgspec.Struct, frozen=True):
    """One expiry of a chain. `calls` and `puts` are rows of the chain by strike; `strikes` ascending."""

    name: str
    expiry_ns: int
    forward: float
    strikes: tuple[float, ...]
    calls: dict[float, int]
    puts: dict[float, int]


def smiles_of(view: ChainView) -> list[Smile]:
    """The expiries of a chain, the nearest first."""
    found = []
    for expiry_ns in np.unique(view.listed.expiries_ns).tolist():
        rows = np.flatnonzero(view.listed.expiries_ns == expiry_ns)
        forwards = view.column("forward")[rows]
        finite = forwards[np.isfinite(forwards)]
        forward = float(np.median(finite)) if finite.size else view.snapshot.index_price
        calls = {float(view.listed.strikes[row]): int(row) for row in rows if view.listed.is_call[row]}
        puts = {float(view.listed.strikes[row]): int(row) for row in rows if not view.listed.is_call[row]}
        strikes = tuple(sorted(calls.keys() | puts.keys()))
        found.append(Smile(expiry_name(expiry_ns), expiry_ns, forward, strikes, calls, puts))
    return found


def expiry_name(expiry_ns: int) -> str:
    """As in symbols, "4DEC26"; with the time of day when it is not the regular 08:00 UTC."""
    at = datetime.fromtimestamp(expiry_ns // 1_000_000_000, UTC)
    name = f"{at.day}{_MONTHS[at.month - 1]}{at:%y}"
    return name if (at.hour, at.minute) == (8, 0) else f"{name} {at:%H:%M}"


def strikes_around(smile: Smile, count: int) -> tuple[float, ...]:
    """The strike nearest to the forward and `count` on each side of it."""
    if not math.isfinite(smile.forward):
        return smile.strikes
    middle = min(range(len(smile.strikes)), key=lambda at: abs(smile.strikes[at] - smile.forward))
    return smile.strikes[max(0, middle - count) : middle + count + 1]


def smile_curve(view: ChainView, smile: Smile) -> tuple[F8, F8]:
    """Strikes, and the volatility of the mark in per cent, both (n,), finite.

    Puts below the forward, calls from it on, without the far wings.
    """
    rows: NDArray[np.intp] = np.array(
        [
            row
            for strike in smile.strikes
            if (row := (smile.puts if strike < smile.forward else smile.calls).get(strike)) is not None
        ],
        dtype=np.intp,
    )
    vols, deltas = view.column("mark_iv")[rows] * 100, view.column("delta")[rows]
    kept = np.isfinite(vols) & np.isfinite(deltas) & (np.abs(deltas) >= SMILE_DELTA_MIN)
    return view.listed.strikes[rows][kept], vols[kept]


def chain_json(view: ChainView, chosen: list[Smile], every: bool) -> dict[str, Any]:
    """The same expiries and strikes as the tables, with every column; None for what is missing."""
    return {
        "underlying": view.snapshot.underlying,
        "index_price": _number(view.snapshot.index_price),
        "received_at": iso(view.snapshot.received_ns),
        "spot": _spot_json(view.snapshot.spot),
        "futures": [_future_json(point) for point in futures_curve(view)],
        "expiries": [
            {
                "expiry": smile.name,
                "expires_at": iso(smile.expiry_ns),
                "forward": _number(smile.forward),
                "options": [
                    _option_json(view, row)
                    for strike in (smile.strikes if every else strikes_around(smile, STRIKES_AROUND))
                    for side in (smile.calls, smile.puts)
                    if (row := side.get(strike)) is not None
                ],
            }
            for smile in chosen
        ],
    }


def _spot_json(quote: SpotQuote | None) -> dict[str, float | str | None] | None:
    if quote is None:
        return None
    prices = {name: _number(getattr(quote, name)) for name in ("bid", "ask", "bid_size", "ask_size", "last")}
    return {**prices, "received_at": iso(quote.received_ns)}


def _future_json(point: FuturePoint) -> dict[str, float | str | None]:
    figures = ("bid", "ask", "mark", "basis_pct", "year_pct", "funding_rate")
    return {
        "symbol": point.symbol,
        "expires_at": None if point.expiry_ns is None else iso(point.expiry_ns),
        **{name: _number(getattr(point, name)) for name in figures},
        "received_at": None if point.received_ns is None else iso(point.received_ns),
    }


def _option_json(view: ChainView, row: int) -> dict[str, Any]:
    instrument = view.instruments[row]
    return {
        "symbol": instrument.symbol,
        "type": instrument.option_type,
        "strike": format(instrument.strike, "f"),
        **{key: _number(float(view.column(column)[row])) for key, column in _JSON_COLUMNS.items()},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
