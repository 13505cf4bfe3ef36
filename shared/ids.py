"""Ids derived from their cause, so that a replay or a restart makes the same ones.

A client order id is 63 bits, laid out from the top so that an order found at the venue names its trade:

| bits | field    | meaning                                                              |
|-----:|----------|----------------------------------------------------------------------|
| 4    | tag      | 0b1101: at or above 2^62, where the venue's own ids (below 2^62) never are |
| 8    | desk     | the desk's number; an id is ours only if tag and desk match            |
| 30   | trade    | trade number, at least the seconds since 2025-01-01 at its creation    |
| 4    | leg      | index of the leg                                                       |
| 3    | purpose  | open, close, unwind, flatten                                           |
| 14   | attempt  | counts the orders of one leg and purpose                               |
"""

from __future__ import annotations

import hashlib
from typing import get_args

import msgspec

from shared.messages.trades import Purpose

_TAG = 0b1101
_TRADE_EPOCH_NS = 1_735_689_600_000_000_000  # 2025-01-01T00:00:00Z
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_HEDGE = ".hedge"
MAX_LEGS = 1 << 4
MAX_ATTEMPTS = 1 << 14


class OrderKey(msgspec.Struct, frozen=True, order=True):
    """What a client order id says."""

    desk: int
    trade_number: int
    leg_index: int
    purpose: Purpose
    attempt: int


def client_order_id(key: OrderKey) -> int:
    """Pack a key into 63 bits. Raises ValueError when a part does not fit."""
    parts = (
        ("desk", key.desk, 8),
        ("trade_number", key.trade_number, 30),
        ("leg_index", key.leg_index, 4),
        ("purpose", _PURPOSES.index(key.purpose), 3),
        ("attempt", key.attempt, 14),
    )
    packed = _TAG
    for name, value, bits in parts:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} {value} does not fit {bits} bits of a client order id")
        packed = packed << bits | value
    return packed


def parse_client_order_id(number: int, desk: int) -> OrderKey | None:
    """The key behind a client order id of this desk; None for anybody else's id."""
    if number < 0 or number >> 59 != _TAG or number >> 51 & 0xFF != desk:
        return None
    purpose = number >> 14 & 0b111
    if purpose >= len(_PURPOSES):
        return None
    return OrderKey(
        desk=desk,
        trade_number=number >> 21 & (1 << 30) - 1,
        leg_index=number >> 17 & 0b1111,
        purpose=_PURPOSES[purpose],
        attempt=number & (1 << 14) - 1,
    )


def trade_number_of_order(client_order_id: int) -> int | None:
    """The number of the trade that a client order id of any desk names; None for an id that is no desk's."""
    if client_order_id < 0 or client_order_id >> 59 != _TAG:
        return None
    return client_order_id >> 21 & (1 << 30) - 1


def next_trade_number(last: int | None, now_ns: int) -> int:
    """A trade number above `last` and not below the seconds since 2025, so that a lost journal reuses none."""
    seconds = max(0, now_ns - _TRADE_EPOCH_NS) // 1_000_000_000
    return seconds if last is None else max(last + 1, seconds)


def trade_number_ns(number: int) -> int:
    """The earliest instant for which `next_trade_number` gives this number."""
    return _TRADE_EPOCH_NS + number * 1_000_000_000


def trade_id(trade_number: int) -> str:
    return f"t{trade_number}"


def trade_number(trade_id: str) -> int:
    """The number in a trade id. Raises ValueError for a text that is no trade id."""
    if not trade_id.startswith("t") or not trade_id[1:].isdigit():
        raise ValueError(f"{trade_id!r} is not a trade id: it looks like t59876543")
    return int(trade_id[1:])


def intent_id(strategy: str, ordinal: int) -> str:
    return f"{strategy}-{ordinal}"


def content_hash(*parts: bytes) -> str:
    """16 hex digits that name a content."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def hedge_name(strategy: str) -> str:
    """Under this name the hedges of a strategy's trades are asked for; no strategy file can have it.

    >>> hedge_name("scalper")
    'scalper.hedge'
    """
    return f"{strategy}{_HEDGE}"


def hedged_name(name: str) -> str:
    """The strategy whose trades are hedged under this name, the other way round of `hedge_name`."""
    return name.removesuffix(_HEDGE)


def is_hedge_name(strategy: str) -> bool:
    """Whether what goes by this name hedges a trade, and is none that a strategy decided on."""
    return strategy.endswith(_HEDGE)
