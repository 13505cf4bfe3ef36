"""Judges the record of a run against a real desk by stated rules, and tells it as a table and as a part of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

import msgspec

from soak.causes import Judged, judge, share_on
from soak.memory import FLAT_MB_PER_HOUR, SETTLE_S, WARM_UP_SHARE, ProcessSample, curve, growth
from soak.record import Complaint, Record

HANDLES_MORE = 3
"""So many more file descriptors or threads at the end than after the warm-up are a leak."""

LOOP_PER_MINUTE = 30
"""A log line that is repeated more often than this within a minute is a loop."""

CALM_AFTER_S = 60.0
"""This long after the last fault an error in a log has nothing to do with it."""

RULES = (
    f"Memory: anonymous memory of each service grows by at most {FLAT_MB_PER_HOUR:g} MB an hour. One least-squares "
    f"slope goes through the samples of all its processes, each with its own level, after the first "
    f"{WARM_UP_SHARE:.0%} of the run and the first {SETTLE_S / 60:g} minutes of each process. What execution keeps "
    "of ended trades (three days, by its configuration) is taken off: its journal is folded at the end and weighed.",
    f"Descriptors and threads: the median of the last quarter is at most {HANDLES_MORE} above that of the quarter "
    "after the warm-up.",
    "Alerts: each is explained by trading itself, or by a spell of one of its kind's causes that was on, or over for "
    "no longer than its grace (`EXPLAINED` in `soak/causes.py`).",
    "In the end, faults off and strategies paused: every trade has ended and is flat, each trade's fills are "
    "those of its own orders at the venue, each intent opened one trade, nothing rests at the venue, the trades "
    "explain the cash, a comparison with the venue finds no difference, and no alert is open once a person has "
    "acknowledged those that people end.",
    f"Logs: no error, and no line that is none of ours, later than {CALM_AFTER_S:g} s after a fault; no line more "
    f"often than {LOOP_PER_MINUTE} times in a minute.",
)


class ServiceResult(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `slope_mb_per_hour` is after what is taken off, None where its processes were too short-lived."""

    service: str
    first_mb: float
    last_mb: float
    slope_mb_per_hour: float | None
    taken_off_mb_per_hour: float
    settled_hours: float
    processes: int
    cpu_pct: float
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    curve: str


class AlertResult(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of alert: how often, and by what."""

    code: str
    times: int
    unexplained: int
    causes: dict[str, int]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. failures: every rule that was broken, in words; empty when it passed."""

    version: str
    began: str
    machine: str
    seed: int
    hours: float
    trades: dict[str, int]
    fills: int
    done: dict[str, int]
    faults_on: dict[str, float]
    services: tuple[ServiceResult, ...]
    files_mb: dict[str, tuple[float, float]]
    rows: dict[str, tuple[int, int]]
    alerts: tuple[AlertResult, ...]
    complaints: dict[str, int]
    failures: tuple[str, ...]


def result_of(record: Record) -> Result:
    """Judge a record by `RULES`."""
    judged = judge(record.alerts, record.spells)
    services = tuple(_service(record, name) for name in sorted({each.service for each in record.samples}))
    return Result(
        version=record.version,
        began=record.began,
        machine=record.machine,
        seed=record.seed,
        hours=round(record.seconds / 3_600, 3),
        trades=record.trades,
        fills=record.fills,
        done=record.done,
        faults_on={
            f"with {grace_s:g} s after each": round(share_on(record.spells, record.ended_s, grace_s), 3)
            for grace_s in (0.0, 60.0)
        },
        services=services,
        files_mb={
            group: (record.files[0].sizes_mb.get(group, 0.0), size)
            for group, size in (record.files[-1].sizes_mb if record.files else {}).items()
        },
        rows={
            name: (record.files[0].rows.get(name, 0), count)
            for name, count in (record.files[-1].rows if record.files else {}).items()
        },
        alerts=alert_results(judged),
        complaints=dict(Counter(_words(each) for each in record.complaints).most_common()),
        failures=(*record.broken, *_grown(services), *unexplained(judged), *_logged(record)),
    )


def _service(record: Record, name: str) -> ServiceResult:
    samples = [each for each in record.samples if each.service == name]
    grown = growth(samples, record.ended_s)
    hours = record.ended_s / 3_600
    taken_off = record.final_trades_mb / hours if name == "execution" and hours else 0.0
    slope = grown.slope_mb_per_hour
    return ServiceResult(
        service=name,
        first_mb=samples[0].pss_mb,
        last_mb=samples[-1].pss_mb,
        slope_mb_per_hour=None if slope is None else round(slope - taken_off, 2),
        taken_off_mb_per_hour=round(taken_off, 2),
        settled_hours=round(grown.settled_hours, 2),
        processes=grown.processes,
        cpu_pct=round(_cpu_pct(samples), 1),
        descriptors=_from_to(samples, [each.descriptors for each in samples]),
        threads=_from_to(samples, [each.threads for each in samples]),
        curve=curve(each.pss_mb for each in samples),
    )


def _cpu_pct(samples: Sequence[ProcessSample]) -> float:
    """Of one core, over the processes as long as they were seen."""
    by_process: dict[int, list[ProcessSample]] = {}
    for sample in samples:
        by_process.setdefault(sample.pid, []).append(sample)
    cpu_s = sum(each[-1].cpu_s - each[0].cpu_s for each in by_process.values())
    seen_s = sum(each[-1].at_s - each[0].at_s for each in by_process.values())
    return 100 * cpu_s / seen_s if seen_s else 0.0


def _from_to(samples: Sequence[ProcessSample], figures: Sequence[int]) -> tuple[int, int]:
    """Medians of the quarter after the warm-up and of the last."""
    end_s = samples[-1].at_s
    part_s = end_s * (1 - WARM_UP_SHARE) / 4
    from_s = end_s * WARM_UP_SHARE
    pairs = list(zip(samples, figures, strict=True))
    early = [figure for sample, figure in pairs if from_s <= sample.at_s <= from_s + part_s] or [figures[0]]
    late = [figure for sample, figure in pairs if sample.at_s >= end_s - part_s]
    return round(median(early)), round(median(late))


def alert_results(judged: Iterable[Judged]) -> tuple[AlertResult, ...]:
    """Per kind, the most frequent first."""
    by_code: dict[str, Counter[str]] = {}
    for each in judged:
        by_code.setdefault(each.alert.code, Counter())[each.why] += 1
    return tuple(
        AlertResult(
            code=code,
            times=causes.total(),
            unexplained=causes[""],
            causes={cause: times for cause, times in causes.most_common() if cause},
        )
        for code, causes in sorted(by_code.items(), key=lambda item: -item[1].total())
    )


def _grown(services: Iterable[ServiceResult]) -> Iterator[str]:
    for each in services:
        if each.slope_mb_per_hour is not None and each.slope_mb_per_hour > FLAT_MB_PER_HOUR:
            yield f"{each.service} grows by {each.slope_mb_per_hour:g} MB an hour"
        for what, (early, late) in (("descriptors", each.descriptors), ("threads", each.threads)):
            if late > early + HANDLES_MORE:
                yield f"{each.service} has {late} {what}, {early} after the warm-up"


def unexplained(judged: Iterable[Judged]) -> Iterator[str]:
    """What to say of each alert that nothing explains."""
    for each in judged:
        if not each.why:
            alert = each.alert
            yield f"unexplained at {alert.at_s / 60:.1f} min: {alert.code} of {alert.subject}: {alert.text}"


def _logged(record: Record) -> Iterator[str]:
    per_minute = Counter((int(each.at_s // 60), _words(each)) for each in record.complaints)
    loops = {words for (_, words), times in per_minute.items() if times > LOOP_PER_MINUTE}
    yield from (f"logged in a loop: {words}" for words in sorted(loops))
    calm = (each for each in record.complaints if each.level != "warning" and _is_calm(record, each))
    yield from (f"logged in calm at {each.at_s / 60:.1f} min: {_words(each)}" for each in calm)


def _is_calm(record: Record, told: Complaint) -> bool:
    return not any(spell.began_s - 1 <= told.at_s <= spell.ended_s + CALM_AFTER_S for spell in record.spells)


def _words(told: Complaint) -> str:
    return f"{told.service}: {told.level}: {told.text}"


def section(result: Result) -> str:
    """The result as Markdown, with its JSON at the end."""
    verdict = "every rule held" if not result.failures else f"{len(result.failures)} failures"
    lines = [
        f"{result.hours:g} hours, {result.began}, version {result.version}, seed {result.seed}, {result.machine}: "
        f"**{verdict}**.",
        "",
        *[f"- FAILED: {each}" for each in result.failures],
        *([""] if result.failures else []),
        *[f"{number}. {rule}" for number, rule in enumerate(RULES, 1)],
        "",
        "| service | PSS MB | last | growth, MB/h | settled h | processes | CPU % | descriptors | threads | curve |",
        "|---|---:|---:|---:|---:|---:|---:|---|---|---|",
        *[_service_line(each) for each in result.services],
        "",
        "What was done: " + ", ".join(f"{times} × {what}" for what, times in result.done.items()) + ".",
        "",
        "Share of the run in which a fault was on: "
        + ", ".join(f"{share:.0%} {words}" for words, share in result.faults_on.items())
        + ".",
        "",
        "Trades: "
        + ", ".join(f"{times} {what}" for what, times in sorted(result.trades.items()))
        + f"; {result.fills:,} fills.",
        "",
        *alert_lines(result.alerts),
        "",
        "| log line from warning up | times |",
        "|---|---:|",
        *[f"| {words.replace('|', '/')} | {times} |" for words, times in list(result.complaints.items())[:25]],
        "",
        "| file | MB first | last |",
        "|---|---:|---:|",
        *[
            f"| {group} | {first:.2f} | {last:.2f} |"
            for group, (first, last) in result.files_mb.items()
            if last >= 0.05
        ],
        *[f"| rows of {name}'s journal | {first:,} | {last:,} |" for name, (first, last) in result.rows.items()],
        "",
        "```json",
        msgspec.json.encode(result).decode(),
        "```",
    ]
    return "\n".join(lines)


def alert_lines(alerts: Iterable[AlertResult]) -> list[str]:
    """A table of them, as Markdown."""
    return [
        "| alert | times | unexplained | explained by |",
        "|---|---:|---:|---|",
        *[
            f"| `{each.code}` | {each.times} | {each.unexplained} | "
            + ", ".join(f"{cause} {times}" for cause, times in each.causes.items())
            + " |"
            for each in alerts
        ],
    ]


def _service_line(each: ServiceResult) -> str:
    slope = "too short" if each.slope_mb_per_hour is None else f"{each.slope_mb_per_hour:+.2f}"
    if each.taken_off_mb_per_hour:
        slope += f" (after {each.taken_off_mb_per_hour:.2f} of kept trades)"
    return (
        f"| {each.service} | {each.first_mb:.1f} | {each.last_mb:.1f} | {slope} | {each.settled_hours:g} | "
        f"{each.processes} | {each.cpu_pct:.1f} | {each.descriptors[0]} → {each.descriptors[1]} | "
        f"{each.threads[0]} → {each.threads[1]} | {each.curve} |"
    )
