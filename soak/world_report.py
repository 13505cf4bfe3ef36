"""Judges two days in the World by stated rules, and tells it as a part of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from soak.causes import judge, open_matters, share_on, waits_for_a_person
from soak.memory import curve
from soak.report import AlertResult, alert_lines, alert_results, unexplained
from soak.world import WorldRecord, WorldSample

GROWS_PCT = 15.0
GROWS_ELEMENTS = 50
REST_GROWS_MB = 16.0

RULES = (
    "Each core: what it keeps at rest, elements and bytes, is in the last quarter of the run at most "
    f"{GROWS_PCT:g} % (and {GROWS_ELEMENTS} elements) more than in the third, each a mean. Execution keeps ended "
    "trades for one day here, so that from the second day on it forgets as many as come.",
    "The process: what its allocators have given out less what the World keeps for its checks is in the last quarter "
    f"at most {REST_GROWS_MB:g} MB more than in the third.",
    "Promises: all those of the [simulation](simulation.md). Safety is checked once a virtual minute; every two "
    "hours faults stop, strategies pause, all must come to rest within 13 minutes, and the books of desk and venue "
    "are compared to the last decimal. What execution decided is judged row by row every eight hours.",
    "Alerts: as for the real desk; those that only a person ends may stand.",
)


class WorldResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run in the World showed. `failures` is empty when it passed; `grown` are places in cores."""

    version: str
    began: str
    machine: str
    seed: int
    hours: float
    cpu_s: float
    trades: dict[str, int]
    modes: dict[str, int]
    rows: int
    restarts: int
    done: dict[str, int]
    faults_on: dict[str, float]
    samples: tuple[WorldSample, ...]
    alerts: tuple[AlertResult, ...]
    grown: dict[str, tuple[float, float]]
    failures: tuple[str, ...]


def world_result_of(record: WorldRecord) -> WorldResult:
    """Judge a record by `RULES`."""
    judged = judge(record.alerts, record.spells)
    samples = record.samples
    standing = [
        f"still open: {alert.code} of {alert.subject}: {alert.text}"
        for alert in open_matters(record.alerts)
        if not waits_for_a_person(alert)
    ]
    seconds = record.hours * 3_600
    return WorldResult(
        version=record.version,
        began=record.began,
        machine=record.machine,
        seed=record.seed,
        hours=record.hours,
        cpu_s=record.cpu_s,
        trades=record.trades,
        modes=record.modes,
        rows=samples[-1].rows if samples else 0,
        restarts=record.restarts,
        done=record.done,
        faults_on={
            f"with {grace_s:g} s after each": round(share_on(record.spells, seconds, grace_s), 3)
            for grace_s in (0.0, 60.0)
        },
        samples=tuple(msgspec.structs.replace(each, places={}) for each in samples),
        alerts=alert_results(judged),
        grown=grown_places(samples),
        failures=(*record.broken, *_grown(samples), *standing, *unexplained(judged)),
    )


def _quarters(samples: Sequence[WorldSample]) -> tuple[Sequence[WorldSample], Sequence[WorldSample]]:
    """The third and the last; both empty where there are too few samples to compare."""
    quarter = len(samples) // 4
    return (samples[-2 * quarter : -quarter], samples[-quarter:]) if quarter else ((), ())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _grown(samples: Sequence[WorldSample]) -> Iterator[str]:
    third, last = _quarters(samples)
    for name in sorted({name for sample in (*third, *last) for name in sample.keeps}):
        for what, tolerated in (("elements", GROWS_ELEMENTS), ("kilobytes", 10.0)):
            early = _mean([getattr(each.keeps[name], what) for each in third if name in each.keeps])
            late = _mean([getattr(each.keeps[name], what) for each in last if name in each.keeps])
            if late > early * (1 + GROWS_PCT / 100) + tolerated:
                yield f"{name} keeps {late:,.0f} {what} in the last quarter, {early:,.0f} in the third"
    early, late = (_mean([each.given_out_mb - each.records_mb for each in part]) for part in (third, last))
    if late > early + REST_GROWS_MB:
        yield f"the process has {late:.0f} MB beside its records in the last quarter, {early:.0f} in the third"


def grown_places(samples: Sequence[WorldSample]) -> dict[str, tuple[float, float]]:
    """Places in cores that keep more in the last quarter than the rule for a core allows, with both means."""
    third, last = _quarters(samples)
    found = {}
    for place in sorted({place for sample in last for place in sample.places}):
        early = _mean([float(each.places.get(place, 0)) for each in third])
        late = _mean([float(each.places.get(place, 0)) for each in last])
        if late > early * (1 + GROWS_PCT / 100) + GROWS_ELEMENTS:
            found[place] = (round(early, 1), round(late, 1))
    return found


def world_section(result: WorldResult) -> str:
    """The result as Markdown, with its JSON at the end."""
    verdict = "every rule held" if not result.failures else f"{len(result.failures)} failures"
    samples = result.samples
    names = sorted({name for sample in samples for name in sample.keeps})
    third, last = _quarters(samples)
    lines = [
        f"{result.hours:g} virtual hours in {result.cpu_s:,.0f} s of one processor, {result.began}, version "
        f"{result.version}, seed {result.seed}, {result.machine}: **{verdict}**.",
        "",
        *[f"- FAILED: {each}" for each in result.failures],
        *[f"- grown: {place} from {early:g} to {late:g}" for place, (early, late) in result.grown.items()],
        *([""] if result.failures or result.grown else []),
        *[f"{number}. {rule}" for number, rule in enumerate(RULES, 1)],
        "",
        "| core | elements at rest, third quarter | last quarter | kB, third | last | elements over the run |",
        "|---|---:|---:|---:|---:|---|",
        *[
            f"| {name} | "
            + " | ".join(
                f"{_mean([getattr(each.keeps[name], what) for each in part if name in each.keeps]):,.0f}"
                for what in ("elements", "kilobytes")
                for part in (third, last)
            )
            + f" | {curve(each.keeps[name].elements for each in samples if name in each.keeps)} |"
            for name in names
        ],
        "",
        "| process | third quarter | last quarter | over the run |",
        "|---|---:|---:|---|",
        *[
            f"| {words}, MB | {_mean([of(each) for each in third]):.1f} | {_mean([of(each) for each in last]):.1f} | "
            f"{curve(of(each) for each in samples)} |"
            for words, of in _OF_PROCESS
        ],
        "",
        f"{sum(result.trades.values()):,} trades ("
        + ", ".join(f"{times} {what}" for what, times in sorted(result.trades.items()))
        + "); by mode "
        + ", ".join(f"{times} {mode}" for mode, times in sorted(result.modes.items()))
        + f"; {result.rows:,} rows in all journals; {result.restarts} restarts.",
        "",
        "What befell it: " + ", ".join(f"{times} × {what}" for what, times in result.done.items()) + ".",
        "",
        "Share of the time in which a fault was on: "
        + ", ".join(f"{share:.0%} {words}" for words, share in result.faults_on.items())
        + ".",
        "",
        *alert_lines(result.alerts),
        "",
        "```json",
        msgspec.json.encode(result).decode(),
        "```",
    ]
    return "\n".join(lines)


_OF_PROCESS = (
    ("anonymous memory", lambda each: each.rss_mb),
    ("given out by its allocators", lambda each: each.given_out_mb),
    ("of it the World's records for its checks", lambda each: each.records_mb),
    ("the rest", lambda each: each.given_out_mb - each.records_mb),
)
