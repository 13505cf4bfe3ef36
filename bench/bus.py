"""The bus beside bare pyzmq on the same event loop: round trips, throughput, and the age of messages at a rate.

    python -m bench.bus [--json] [--quick]

Two processes over ipc, uvloop on both sides. The floor of a round trip is a DEALER and a ROUTER on the loop's file
descriptor that pass the same bytes unread; ours encodes, decodes, keeps deadlines and answers, and can repeat. The
floor of throughput and ages is an XPUB and a SUB that encode and decode the same array into the same classes; ours
numbers, keeps what a late joiner needs, checks for gaps and delivers. A message's age is from before it is encoded
until it is delivered; at a rate, what is due is sent once per millisecond, so 20,000/s are bursts of 20.
Both run in turn, in short pieces. How fast two processes talk differs by a fifth from one pair to the next, ours as
well as the floor's, and stays as it is for as long as they live; so several pairs of each are started one after the
other, and a figure is the median over the pairs of each pair's median over its rounds.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from bench.bus_ends import order, write_config
from bench.harness import Run, bench_main
from bench.rows import Row, Target, ratio_at_least, ratio_at_most, row
from bench.workers import Worker
from shared.messages.figures import check_of
from shared.messages.trades import OrderUpdate

PAIRS = 7
ROUNDS = 5
ROUND_TRIPS = 400
MESSAGES = 20_000
RATES = {100: 100, 2_000: 1_000, 20_000: 5_000}
"""Messages per second, and how many of them a round sends."""

LOOKS = 10_000
SIDES = ("ours", "bare")
BARE_TRIP = "bare pyzmq, same bytes"
BARE_STREAM = "bare pyzmq and msgpack, same bytes"


class Side:
    """A pair of processes, ours or of the floor, and what was measured of it, by what it is: one value per round."""

    def __init__(self, server: Worker, client: Worker) -> None:
        self._server, self._client = server, client
        self.found: dict[str, list[float]] = {}

    def note(self, name: str, value: float) -> None:
        self.found.setdefault(name, []).append(value)

    def trips(self, command: str, count: int) -> None:
        cpu = self._cpu()
        times = self._client.ask(command, count)
        self._note_cpu(command, cpu, count)
        self.percentiles(command, times)

    def stream(self, name: str, count: int, rate: int) -> None:
        cpu = self._cpu()
        self._client.ask("expect", count, bool(rate))
        self._server.tell("publish", count, rate)
        heard: dict[str, Any] = self._client.ask("collect")
        self._server.hear()
        self.note(f"{name} per_s", heard["per_s"])
        self._note_cpu(name, cpu, count)
        if heard["ages_us"]:
            self.percentiles(name, heard["ages_us"])

    def percentiles(self, name: str, times: list[float]) -> None:
        for percent in (50, 99):
            self.note(f"{name} p{percent}", float(np.percentile(times, percent)))

    def _cpu(self) -> tuple[float, float]:
        return self._server.ask("cpu"), self._client.ask("cpu")

    def _note_cpu(self, name: str, before: tuple[float, float], count: int) -> None:
        server, client = ((now - then) / count * 1e6 for now, then in zip(self._cpu(), before, strict=True))
        self.note(f"{name} cpu", server + client)
        self.note(f"{name} server cpu", server)
        self.note(f"{name} client cpu", client)


@contextmanager
def sides() -> Iterator[dict[str, Side]]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="vd-bench-"))
        Path(directory).chmod(0o700)
        write_config(Path(directory))

        def worker(role: str) -> Worker:
            return stack.enter_context(closing(Worker.of_module("bench.bus_ends", role, directory)))

        yield {side: Side(worker(f"{side}-server"), worker(f"{side}-client")) for side in SIDES}


def look_at_decimals_us() -> float:
    """CPU of what the bare loop leaves out for each message that arrives."""
    check, message = check_of(OrderUpdate), order(1)
    assert check is not None, "an order has decimals"
    times = []
    for _ in range(ROUNDS):
        begun = process_time()
        for _ in range(LOOKS):
            check(message, "")
        times.append((process_time() - begun) / LOOKS * 1e6)
    return median(times)


def measure(run: Run) -> list[Row]:
    found: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    for _ in run.rounds(PAIRS, "bus"):
        for side, of_pair in measure_pairs(3 if run.quick else ROUNDS).items():
            for what, value in of_pair.items():
                found[side].setdefault(what, []).append(value)
    return rows_of(found["ours"], found["bare"])


def measure_pairs(rounds: int) -> dict[str, dict[str, float]]:
    """Of a new pair of ours and one of the floor: each figure's median over the rounds, by side and by what it is."""
    with sides() as both:
        for side in both.values():
            side.trips("trips", ROUND_TRIPS)
            side.stream("one way", MESSAGES, 0)
            side.found.clear()
        for _ in range(rounds):
            for side in both.values():
                side.trips("trips", ROUND_TRIPS)
            both["ours"].trips("asks", ROUND_TRIPS)
            for side in both.values():
                side.stream("one way", MESSAGES, 0)
            for rate, count in RATES.items():
                for side in both.values():
                    side.stream(f"{rate}/s", count, rate)
    return {name: {what: median(values) for what, values in side.found.items()} for name, side in both.items()}


def rows_of(ours: dict[str, list[float]], bare: dict[str, list[float]]) -> list[Row]:
    """Of the figures of each pair, by what they are."""

    def beside(
        name: str,
        unit: str,
        what: str,
        floor: str,
        target: Target | None = None,
        floor_what: str = "",
        note: str = "",
    ) -> Row:
        value, floor_value = median(ours[what]), median(bare[floor_what or what])
        return row(name, value, unit, beside=floor, beside_value=floor_value, target=target, note=note)

    def cpu(what: str) -> str:
        our_us, bare_us = (median(side[f"one way {what} cpu"]) for side in (ours, bare))
        return f"{our_us:.1f} µs beside {bare_us:.1f}"

    ends = (
        f"CPU a message: publishing {cpu('server')}, receiving {cpu('client')}, "
        f"of that {look_at_decimals_us():.2f} µs to see that its figures are possible ones"
    )

    pairs = zip(ours["trips p50"], bare["trips p50"], strict=True)
    ratios = sorted(value / floor_value for value, floor_value in pairs)
    spread = f"of {len(ratios)} pairs of processes; within them {ratios[0]:.2f} to {ratios[-1]:.2f}×"

    return [
        beside("bus round trip p50", "µs", "trips p50", BARE_TRIP, ratio_at_most(1.3), note=spread),
        beside("bus round trip p99", "µs", "trips p99", BARE_TRIP),
        beside("bus round trip, CPU of both ends", "µs", "trips cpu", BARE_TRIP),
        beside("bus round trip awaited p50", "µs", "asks p50", BARE_TRIP, None, "trips p50"),
        beside("bus throughput", "messages/s", "one way per_s", BARE_STREAM, ratio_at_least(0.7), note=ends),
        beside("bus message, CPU of both ends", "µs", "one way cpu", BARE_STREAM),
        *(
            beside(f"bus message's age at {rate:,}/s p{percent}", "µs", f"{rate}/s p{percent}", BARE_STREAM)
            for rate in RATES
            for percent in (50, 99)
        ),
    ]


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
