"""Figures over time in buckets: each keeps the first, last, smallest and largest of what fell into it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

_NS = 1_000_000_000


class Level(msgspec.Struct, frozen=True):
    """Buckets of one width, kept for so long. Buckets begin at whole multiples of the width since 1970-01-01 UTC."""

    width_s: int
    kept_s: int

    def start_ns(self, at_ns: int) -> int:
        """The beginning of the bucket of an instant."""
        return at_ns - at_ns % (self.width_s * _NS)


class Sample(msgspec.Struct, frozen=True):
    """Figures at one instant, by the name of their series. A figure that is not known is left out."""

    at_ns: int
    values: Mapping[str, float]


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """What one series was in one bucket. first_ns, last_ns: of the first and the last sample that is in it."""

    start_ns: int
    first_ns: int
    last_ns: int
    first: float
    last: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, start_ns: int, at_ns: int, value: float) -> Bucket:
        return cls(
            start_ns=start_ns, first_ns=at_ns, last_ns=at_ns, first=value, last=value, low=value, high=value, count=1
        )

    def joined(self, other: Bucket) -> Bucket:
        """Both as one, whichever is earlier. The start is that of this one."""
        early, late = (self, other) if self.first_ns <= other.first_ns else (other, self)
        newest = late if late.last_ns >= early.last_ns else early
        return Bucket(
            start_ns=self.start_ns,
            first_ns=early.first_ns,
            last_ns=newest.last_ns,
            first=early.first,
            last=newest.last,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            count=self.count + other.count,
        )


Key = tuple[int, str, int]
"""Width of the level in seconds, name of the series, start of the bucket in ns."""


def fold(samples: Iterable[Sample], levels: Sequence[Level]) -> dict[Key, Bucket]:
    """The buckets of all levels that these samples fall into, by their key."""
    buckets: dict[Key, Bucket] = {}
    for sample in samples:
        for level in levels:
            start_ns = level.start_ns(sample.at_ns)
            for name, value in sample.values.items():
                key = (level.width_s, name, start_ns)
                one = Bucket.of(start_ns, sample.at_ns, value)
                buckets[key] = buckets[key].joined(one) if key in buckets else one
    return buckets


def level_for(levels: Sequence[Level], age_s: float, span_s: float, count_max: int) -> Level:
    """The finest level that still has what is `age_s` old and covers the span in at most `count_max` buckets; where
    none does both, the finest that reaches so far back, else the widest."""
    reaching = [level for level in levels if level.kept_s >= age_s] or [levels[-1]]
    return next((level for level in reaching if span_s / level.width_s <= count_max), reaching[-1])


def thinned(buckets: Sequence[Bucket], count_max: int) -> list[Bucket]:
    """At most about `count_max` buckets over the same span, neighbours joined. First, last, extremes are kept."""
    if len(buckets) <= count_max:
        return list(buckets)
    span_ns = buckets[-1].start_ns - buckets[0].start_ns + 1
    width_ns = -(-span_ns // count_max)
    joined: list[Bucket] = []
    for bucket in buckets:
        start_ns = bucket.start_ns - bucket.start_ns % width_ns
        if joined and joined[-1].start_ns == start_ns:
            joined[-1] = joined[-1].joined(bucket)
        else:
            joined.append(msgspec.structs.replace(bucket, start_ns=start_ns))
    return joined


def with_gaps(buckets: Sequence[Bucket], gap_ns: int) -> list[Bucket | None]:
    """The buckets with None wherever nothing was sampled for longer than `gap_ns`, so that no line is drawn there."""
    result: list[Bucket | None] = []
    for number, bucket in enumerate(buckets):
        if number and bucket.first_ns - buckets[number - 1].last_ns > gap_ns:
            result.append(None)
        result.append(bucket)
    return result


def columns(series: Mapping[str, Sequence[Bucket | None]]) -> dict[str, list[float | None]]:
    """Several series over one axis: "at_s", whole seconds of the last sample of each bucket, and a column per name,
    None where it has no bucket. A gap is one instant at which every column is None."""
    cells: dict[int, dict[str, float | None]] = {}
    for name, buckets in series.items():
        at_s = 0
        for bucket in buckets:
            at_s = at_s + 1 if bucket is None else bucket.last_ns // _NS
            cells.setdefault(at_s, {})[name] = None if bucket is None else bucket.last
    at = sorted(cells)
    return {"at_s": list(at), **{name: [cells[at_s].get(name) for at_s in at] for name in series}}


def bucket_columns(buckets: Sequence[Bucket | None]) -> dict[str, list[float | None]]:
    """Columns "at_s", "first", "last", "low", "high"; a gap has a time and nothing else."""
    at_s: list[float | None] = []
    previous_s = 0
    for bucket in buckets:
        previous_s = previous_s + 1 if bucket is None else bucket.last_ns // _NS
        at_s.append(previous_s)
    figures: dict[str, list[float | None]] = {
        name: [None if bucket is None else getattr(bucket, name) for bucket in buckets]
        for name in ("first", "last", "low", "high")
    }
    return {"at_s": at_s, **figures}
