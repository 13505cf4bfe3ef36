"""The configuration of market data: the `[marketdata]` section of voldesk.toml."""

from __future__ import annotations

from typing import Annotated

import msgspec


class MarketdataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Periods and tolerances of the feed.

    publish_interval_ms: a chain snapshot per underlying this often.
    publish_index_move_pct: a snapshot goes out early when the index has moved this far since the last one.
    publish_min_interval_ms: early snapshots are never closer together than this.
    immediate: a snapshot goes out with every index price and every push of an expiry, for benches. Each costs copying
    the matrix, all Greeks and one encoding (`python -m bench.marketdata`), and every subscriber one decoding and what
    it does on a chain: about ten times a second per underlying and once more per expiry each second, instead of once.
    comparison_interval_ms: our implied volatilities and Greeks beside the venue's go out this often.
    expiry_age_max_ms: an expiry that was received longer ago is shown as missing.
    index_age_max_ms: an index price that was received longer ago is shown as missing.
    own_greeks: publish Greeks computed here from the venue's mark volatility and forward in place of its own.
    reload_min_interval_ms: instruments are not asked for again sooner because of an unlisted symbol.
    instruments_interval_ms: instruments are read this often anyway, and just after 08:00 UTC.
    poll_silence_ms: an expiry or index that the stream has not brought for so long is read by REST.
    stream_silence_max_ms: an expiry or index that comes by REST alone for so long is told as a stale stream.
    open_interest_interval_ms: open interest of every expiry is read by REST this often: the stream's is 0. What was
    read three intervals ago is shown as missing.
    books_max: order books kept at once, over all consumers.
    book_silence_ms: a book that the stream has not brought for so long is read by REST. One that has changed there
    while its stream stays silent is frozen: alarmed, subscribed again, and read on meanwhile.
    book_age_max_ms: a book that was neither pushed nor read for so long is emptied.
    cache_entries_max: answers to reads on request kept for at most 30 s, the least recently used forgotten first.
    rate_budget_share: share of those per-user rate limits of the venue that several services use; with the shares of
    the other two at most 1.
    """

    publish_interval_ms: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 1_000
    publish_index_move_pct: Annotated[float, msgspec.Meta(gt=0, le=100)] = 0.1
    publish_min_interval_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 250
    immediate: bool = False
    comparison_interval_ms: Annotated[int, msgspec.Meta(ge=100, le=600_000)] = 5_000
    expiry_age_max_ms: Annotated[int, msgspec.Meta(ge=500)] = 15_000
    index_age_max_ms: Annotated[int, msgspec.Meta(ge=500)] = 10_000
    own_greeks: bool = True
    reload_min_interval_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 30_000
    instruments_interval_ms: Annotated[int, msgspec.Meta(ge=10_000)] = 60_000
    poll_silence_ms: Annotated[int, msgspec.Meta(ge=500)] = 3_000
    stream_silence_max_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 90_000
    open_interest_interval_ms: Annotated[int, msgspec.Meta(ge=5_000, le=3_600_000)] = 60_000
    books_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = 32
    book_silence_ms: Annotated[int, msgspec.Meta(ge=500)] = 5_000
    book_age_max_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 15_000
    cache_entries_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    rate_budget_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
