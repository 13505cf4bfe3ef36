"""The figures of one look at the desk, by the names of their series. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from services.monitor.history.series import Sample
from shared.messages.account import AccountSnapshot, PositionGreeks


class SeriesKind(msgspec.Struct, frozen=True):
    """What a series, or each of a family of them, holds. `per`: "" for one of the desk, else what its name ends in,
    as in delta.BTCUSD."""

    name: str
    unit: str
    about: str
    per: str = ""


SAMPLED: tuple[SeriesKind, ...] = (
    SeriesKind("equity_usd", "USD", "equity of the account"),
    SeriesKind("unrealized_pnl_usd", "USD", "what is held on mark, by the venue"),
    SeriesKind("available_margin_usd", "USD", "margin that is free"),
    SeriesKind("initial_margin_usd", "USD", "initial margin in use"),
    SeriesKind("maintenance_margin_usd", "USD", "maintenance margin"),
    SeriesKind("delta_usd", "USD", "Σ delta × index: USD per move of 100 % of all underlyings"),
    SeriesKind("gamma_usd", "USD", "Σ gamma × index² / 100: change of delta_usd per 1 %"),
    SeriesKind("vega_usd", "USD", "per volatility point, all underlyings"),
    SeriesKind("theta_usd", "USD", "per calendar day, all underlyings"),
    SeriesKind("delta", "coins", "of one underlying", "underlying"),
    SeriesKind("gamma", "coins per USD", "of one underlying", "underlying"),
    SeriesKind("vega", "USD", "per volatility point, of one underlying", "underlying"),
    SeriesKind("theta", "USD", "per calendar day, of one underlying", "underlying"),
    SeriesKind("index", "USD", "index price of an underlying that is held", "underlying"),
    SeriesKind("holding", "units of it", "cash balance of one asset", "asset"),
)
"""What is sampled. The names are those of docs/conventions.md."""

LEDGER: tuple[SeriesKind, ...] = (
    SeriesKind("realized_pnl_usd", "USD", "realised so far, before fees, by the journal"),
    SeriesKind("fees_usd", "USD", "fees so far, paid > 0, by the journal"),
    SeriesKind("funding_usd", "USD", "funding so far, paid > 0, by the journal"),
)
"""What needs no sampling: execution's journal has every change of it."""


def kind_of(name: str) -> SeriesKind | None:
    """What a series of this name holds; None for a name of another version."""
    family, _, member = name.partition(".")
    return next(
        (kind for kind in (*SAMPLED, *LEDGER) if kind.name == family and bool(kind.per) == bool(member)), None
    )


def sample_of(account: AccountSnapshot) -> Sample:
    """The figures of one snapshot, at the instant at which it was received. Greeks of the desk and of an underlying
    are left out while a position of it lacks them: a sum without it would look like a smaller risk."""
    values = {
        "equity_usd": float(account.equity_usd),
        "unrealized_pnl_usd": float(account.unrealized_pnl_usd),
        "available_margin_usd": float(account.available_margin_usd),
        "initial_margin_usd": float(account.initial_margin_usd),
        "maintenance_margin_usd": float(account.maintenance_margin_usd),
    }
    values |= {f"holding.{asset}": float(amount) for asset, amount in account.balances.items()}
    incomplete = {position.underlying for position in account.positions if position.greeks is None}
    index = {
        position.underlying: position.index_price
        for position in account.positions
        if position.index_price is not None
    }
    values |= {f"index.{underlying}": price for underlying, price in index.items()}
    for underlying, sums in account.greeks.items():
        if underlying not in incomplete:
            values |= {f"{name}.{underlying}": getattr(sums, name) for name in ("delta", "gamma", "vega", "theta")}
    if not incomplete:
        values |= _of_desk(account.greeks.items(), index)
    return Sample(account.received_ns, {name: value for name, value in values.items() if math.isfinite(value)})


def _of_desk(greeks: Iterable[tuple[str, PositionGreeks]], index: dict[str, float]) -> dict[str, float]:
    sums = list(greeks)
    values = {
        "vega_usd": sum(each.vega for _, each in sums),
        "theta_usd": sum(each.theta for _, each in sums),
    }
    if all(underlying in index for underlying, _ in sums):
        values["delta_usd"] = sum(each.delta * index[name] for name, each in sums)
        values["gamma_usd"] = sum(each.gamma * index[name] ** 2 / 100 for name, each in sums)
    return values
