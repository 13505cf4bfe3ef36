"""How a structure is cut into chunks, and how far a trade has come with them. Pure arithmetic over the fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from services.execution.covering import opens_before
from services.execution.records import Trade
from shared.messages.smart import ChunkProgress

ChunkPurpose = Literal["open", "close"]


class Share(msgspec.Struct, frozen=True):
    """One leg to be cut: `quantity` in lots of `lot_size`, no part of it below `minimum`. `first`: it goes before the
    others of its chunk, and is never behind them."""

    quantity: Decimal
    lot_size: Decimal
    minimum: Decimal
    first: bool


def cumulative_targets(shares: Sequence[Share], chunk_count: int) -> tuple[tuple[Decimal, ...], ...]:
    """For each chunk, how much of each leg is done when it ends. The last one is the whole of every leg.

    Chunks are whole multiples of the structure in its smallest terms where there are enough of them, so that each
    keeps the ratios of the legs exactly; else each leg is cut by itself and is never a lot or more off its share.
    What does not divide is carried on, the rest of it into the last chunk. There are fewer chunks where a leg would
    get less than its minimum in one. A leg of quantity 0 takes no part.
    """
    whole = tuple(share.quantity for share in shares)
    taking_part = [share for share in shares if share.quantity > 0]
    if not taking_part:
        return (whole,)
    fitting = min(int(share.quantity / max(share.minimum, share.lot_size)) for share in taking_part)
    for count in range(min(chunk_count, fitting), 1, -1):
        targets = (*(_after(shares, chunk, count) for chunk in range(1, count)), whole)
        if _each_is_large_enough(shares, targets):
            return targets
    return (whole,)


def _after(shares: Sequence[Share], chunk: int, count: int) -> tuple[Decimal, ...]:
    lots = [int(share.quantity / share.lot_size) for share in shares]
    units = math.gcd(*lots)
    if units >= count:
        done = [lot // units * (units * chunk // count) for lot in lots]
    else:
        done = [
            -(-lot * chunk // count) if share.first else lot * chunk // count
            for lot, share in zip(lots, shares, strict=True)
        ]
    return tuple(share.lot_size * lot for lot, share in zip(done, shares, strict=True))


def _each_is_large_enough(shares: Sequence[Share], targets: Sequence[tuple[Decimal, ...]]) -> bool:
    before: tuple[Decimal, ...] = tuple(Decimal(0) for _ in shares)
    for after in targets:
        if any(
            share.quantity > 0 and target - earlier < share.minimum
            for share, target, earlier in zip(shares, after, before, strict=True)
        ):
            return False
        before = after
    return True


def chunk_targets(trade: Trade, purpose: ChunkPurpose) -> tuple[tuple[Decimal, ...], ...]:
    """The targets of the trade's opening, or of the close of all that it opened.

    Protective (long) legs go first when opening, short ones when closing. The chunk in which an opening was scaled
    is its last one: its target is the smaller structure.
    """
    params = trade.request.smart
    shares = [
        Share(
            quantity=asked.quantity if purpose == "open" else leg.closable_quantity,
            lot_size=leg.instrument.lot_size,
            minimum=max(leg.instrument.min_quantity, params.min_order_qty),
            first=(leg.side == "buy") == (purpose == "open") and not _waits(trade, index, purpose),
        )
        for index, (leg, asked) in enumerate(zip(trade.legs, trade.request.legs, strict=True))
    ]
    targets = cumulative_targets(shares, params.chunk_count)
    if purpose == "open" and trade.scaled_ns:
        return (*targets[: trade.scaled_chunk], tuple(leg.quantity for leg in trade.legs))
    return targets


def _waits(trade: Trade, index: int, purpose: ChunkPurpose) -> bool:
    return purpose == "open" and bool(opens_before(trade.legs, index))


def chunk_progress(trade: Trade, purpose: ChunkPurpose) -> ChunkProgress | None:
    """How far the trade came with the chunks of its opening or close; None when no smart plan worked that."""
    ended = [chunk for chunk in trade.chunks if chunk.purpose == purpose]
    crossings = sum(key.startswith(f"{purpose}/") for key in trade.crossings)
    working = trade.opening_mode if purpose == "open" else trade.closing_mode
    if not ended and not crossings and (working != "smart" or (purpose == "close" and trade.state != "CLOSING")):
        return None
    return ChunkProgress(
        planned=len(chunk_targets(trade, purpose)),
        completed=sum(chunk.complete for chunk in ended),
        crossings=crossings,
    )
