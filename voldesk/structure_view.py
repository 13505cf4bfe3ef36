"""A structure that is not traded yet, as figures: what it costs, makes and loses on the newest chain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.messages.trades import LegOrder
from shared.options.chain import ChainView
from shared.options.instruments import instrument_kind, underlying_of
from shared.options.payoff import (
    PayoffFigures,
    PayoffLeg,
    payoff_at,
    payoff_figures,
    trading_fee_usd,
)
from shared.options.structures import structure_name
from shared.views import iso

F8 = NDArray[np.float64]
GREEKS = ("delta", "gamma", "vega", "theta")
_POINTS = 121
_WIDTH = 0.15


class LegView(msgspec.Struct, frozen=True, kw_only=True):
    """One leg: prices in USD per unit, iv a fraction, Greeks of one unit held long; None where the chain has none."""

    side: str
    quantity: Decimal
    symbol: str
    mark: float | None
    bid: float | None
    ask: float | None
    iv: float | None
    greeks: Mapping[str, float | None]

    @property
    def signed(self) -> float:
        return float(self.quantity) if self.side == "buy" else -float(self.quantity)

    @property
    def across(self) -> float | None:
        """What the other side of its book shows."""
        return self.ask if self.side == "buy" else self.bid


class StructureView(msgspec.Struct, frozen=True, kw_only=True):
    """USD for the whole structure; None where a figure that it needs is missing.

    premium_mark_usd, premium_book_usd: at marks, and across the books: paid > 0, received < 0. fees_usd: to open it
    as taker. coins_usd: what the coins of spot cost across the book, 0 without such. figures: at marks, before fees;
    None for legs of several underlyings. greeks: Σ signed quantity × Greek. underlying, at_expiry, now: the payoff's
    curve, empty where there are no figures.
    """

    name: str
    index_price: float
    received_ns: int
    legs: tuple[LegView, ...]
    premium_mark_usd: float | None
    premium_book_usd: float | None
    coins_usd: float | None
    fees_usd: float | None
    figures: PayoffFigures | None
    greeks: Mapping[str, float | None]
    underlying: tuple[float, ...] = ()
    at_expiry: tuple[float, ...] = ()
    now: tuple[float, ...] = ()


def structure_view(orders: Sequence[LegOrder], chains: Mapping[str, ChainView], now_ns: int) -> StructureView:
    """The figures of these legs on these chains (by index name). Every leg must be listed."""
    legs = tuple(_leg_view(order, chains[underlying_of(order.symbol)]) for order in orders)
    first = chains[underlying_of(orders[0].symbol)]
    index_price = first.snapshot.index_price
    options = [leg for leg in legs if instrument_kind(leg.symbol) == "option"]
    fees = [
        None
        if leg.mark is None
        else trading_fee_usd(leg.mark, _index(leg.symbol, chains), leg.signed, kind=instrument_kind(leg.symbol))
        for leg in legs
    ]
    priced = _priced(legs, chains)
    curve = _curve(priced, index_price, now_ns) if priced and math.isfinite(index_price) else {}
    return StructureView(
        name=structure_name((leg.symbol, leg.quantity if leg.side == "buy" else -leg.quantity) for leg in legs),
        index_price=index_price,
        received_ns=first.snapshot.received_ns,
        legs=legs,
        premium_mark_usd=_total([None if leg.mark is None else leg.signed * leg.mark for leg in options]),
        premium_book_usd=_total([None if leg.across is None else leg.signed * leg.across for leg in options]),
        coins_usd=_total([_times(leg.signed, leg.across) for leg in legs if instrument_kind(leg.symbol) == "spot"]),
        fees_usd=_total(fees),
        figures=payoff_figures(priced) if priced else None,
        greeks={name: _total([_times(leg.signed, leg.greeks[name]) for leg in legs]) for name in GREEKS},
        **curve,
    )


def structure_json(view: StructureView) -> dict[str, Any]:
    """As a program reads it: null where a figure is missing; `unbounded` names what has no bound."""
    figures = view.figures
    bounds = (
        {} if figures is None else {"max_profit_usd": figures.max_profit_usd, "max_loss_usd": figures.max_loss_usd}
    )
    return {
        "structure": view.name,
        "index_price": _number(view.index_price),
        "received_at": iso(view.received_ns),
        "legs": [
            {
                "side": leg.side,
                "qty": f"{leg.quantity:f}",
                "symbol": leg.symbol,
                "mark": leg.mark,
                "bid": leg.bid,
                "ask": leg.ask,
                "iv": leg.iv,
                **leg.greeks,
            }
            for leg in view.legs
        ],
        "premium_mark_usd": view.premium_mark_usd,
        "premium_book_usd": view.premium_book_usd,
        "coins_usd": view.coins_usd,
        "fees_usd": view.fees_usd,
        "max_profit_usd": _number(bounds.get("max_profit_usd")),
        "max_loss_usd": _number(bounds.get("max_loss_usd")),
        "unbounded": [name for name, value in bounds.items() if math.isinf(value)],
        "is_estimate": None if figures is None else figures.is_estimate,
        "breakevens": [] if figures is None else list(figures.breakevens),
        "greeks": dict(view.greeks),
        "payoff": {"underlying": view.underlying, "at_expiry": view.at_expiry, "now": view.now},
    }


def _leg_view(order: LegOrder, chain: ChainView) -> LegView:
    return LegView(
        side=order.side,
        quantity=order.quantity,
        symbol=order.symbol,
        mark=chain.value(order.symbol, "mark"),
        bid=chain.value(order.symbol, "bid"),
        ask=chain.value(order.symbol, "ask"),
        iv=chain.value(order.symbol, "mark_iv"),
        greeks={name: chain.value(order.symbol, name) for name in GREEKS},
    )


def _priced(legs: Sequence[LegView], chains: Mapping[str, ChainView]) -> list[PayoffLeg]:
    """The legs at their marks; none where a mark is missing, or where they are of several underlyings."""
    priced = []
    if len({underlying_of(leg.symbol) for leg in legs}) > 1:
        return []
    for leg in legs:
        option = chains[underlying_of(leg.symbol)].instrument(leg.symbol)
        if option is None or leg.mark is None:
            return []
        priced.append(
            PayoffLeg(
                is_call=option.option_type == "C",
                strike=float(option.strike),
                expiry_ns=option.expiry_ns,
                quantity=leg.signed,
                price=leg.mark,
                iv=0.0 if not option.is_option else math.nan if leg.iv is None else leg.iv,
                forward_ratio=chains[underlying_of(leg.symbol)].forward_ratio(leg.symbol),
            )
        )
    return priced


def _curve(legs: Sequence[PayoffLeg], index_price: float, now_ns: int) -> dict[str, tuple[float, ...]]:
    low = min([index_price, *(leg.strike for leg in legs if leg.strike)])
    high = max([index_price, *(leg.strike for leg in legs)])
    width = max((high - low) * 0.6, index_price * _WIDTH)
    strikes = np.array([leg.strike for leg in legs])
    at = np.unique(np.concatenate([np.linspace(max(low - width, 1.0), high + width, _POINTS), strikes[strikes > 0]]))
    curves = {"at_expiry": payoff_at(legs, at), "now": payoff_at(legs, at, now_ns)}
    known = {name: tuple(made.round(2).tolist()) for name, made in curves.items() if not np.isnan(made).any()}
    return {"underlying": tuple(at.round(2).tolist()), **known}


def _index(symbol: str, chains: Mapping[str, ChainView]) -> float:
    return chains[underlying_of(symbol)].snapshot.index_price


def _times(quantity: float, value: float | None) -> float | None:
    return None if value is None else quantity * value


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) if len(known) == len(values) else None


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
