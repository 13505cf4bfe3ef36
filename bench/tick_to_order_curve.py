"""From an index tick to the order that answers it, with the bus over TCP and CURVE, beside the same over ipc.

    python -m bench.tick_to_order_curve [--json] [--quick] [--orders 70]

The desk and the bare chain of bench.tick_to_order, both once over ipc and once over TCP on loopback with CURVE, in
turns: each round has one desk of each. A line has p50 or p99 of all rounds together; below it each hop. The bare
chain over TCP and CURVE encrypts the same frames, with one key pair and no list to ask.
"""

import argparse
import socket
import sys
from collections.abc import Sequence

import numpy as np
import zmq

from bench.harness import Run, bench_main
from bench.rows import Row, row
from bench.tick_to_order import HOPS, QUICK_ORDERS, WARM_UP, Transport, Way, ways
from shared.config import SERVICE_NAMES

ROUNDS = 3
ORDERS = 70
BARE_SOCKETS = ("ticks", "risk", "execution")


def free_ports(count: int) -> int:
    """The first of so many TCP ports in a row that were free on loopback a moment ago."""
    for first in range(20_000, 32_000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no {count} free ports in a row between 20000 and 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def tcp_and_curve() -> Transport:
    """With keys of its own and ports that are free now."""
    desk_ports = 2 * len(SERVICE_NAMES)
    first = free_ports(desk_ports + len(BARE_SOCKETS))
    return Transport(
        desk=f'[bus]\ntransport = "tcp"\ncurve = true\nbase_port = {first}\n',
        bare_ports={name: first + desk_ports + number for number, name in enumerate(BARE_SOCKETS)},
        bare_curve=zmq.curve_keypair(),
    )


def figures(
    curve: Sequence[Way], ipc: Sequence[Way], bare_curve: Sequence[Way], bare_ipc: Sequence[Way]
) -> list[Row]:
    """The desk's two ways beside each other, hop by hop, and the bare chain's. Each is without its first orders."""
    hops = {
        name: np.array([way.hops_us for way in each])
        for name, each in (("curve", curve), ("ipc", ipc), ("bare curve", bare_curve), ("bare ipc", bare_ipc))
    }

    def figure(
        what: str, percentile: int, ours: str, other: str, beside: str, columns: slice = slice(None), note: str = ""
    ) -> Row:
        value, other_value = (
            round(float(np.percentile(hops[each][:, columns].sum(axis=1), percentile)), 1) for each in (ours, other)
        )
        return row(f"{what}, p{percentile}", value, "µs", beside=beside, beside_value=other_value, note=note)

    note = f"{len(curve)} orders, {len(ipc)} over ipc; bare {len(bare_curve)} and {len(bare_ipc)}"
    over = "tick → order over TCP and CURVE"
    rows = [figure(over, 50, "curve", "ipc", "the same over ipc", note=note)]
    rows += [figure(over, 99, "curve", "ipc", "the same over ipc")]
    rows += [
        figure(f"  {hop}", 50, "curve", "ipc", "the same over ipc", slice(number, number + 1))
        for number, hop in enumerate(HOPS)
    ]
    rows += [figure(over, 50, "curve", "bare curve", "the same hops bare, over TCP and CURVE")]
    rows += [
        figure("bare hops over TCP and CURVE", percentile, "bare curve", "bare ipc", "the same over ipc")
        for percentile in (50, 99)
    ]
    return rows


def measure(run: Run) -> list[Row]:
    wanted = WARM_UP + (QUICK_ORDERS if run.quick else run.arguments.orders)
    taken: dict[str, tuple[list[Way], list[Way]]] = {"curve": ([], []), "ipc": ([], [])}
    for _ in range(1 if run.quick else ROUNDS):
        for name, transport in (("ipc", Transport()), ("curve", tcp_and_curve())):
            for kept, each in zip(taken[name], ways(wanted, transport), strict=True):
                kept += each[WARM_UP:]
    return figures(taken["curve"][0], taken["ipc"][0], taken["curve"][1], taken["ipc"][1])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--orders", type=int, default=ORDERS, help=f"measured orders a round, of {ROUNDS} (default {ORDERS})"
    )


def main() -> int:
    return bench_main(__doc__, measure, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())
