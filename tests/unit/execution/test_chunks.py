"""How a structure is cut into chunks: sums, ratios, minimums, and what protects first."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.chunks import Share, cumulative_targets

LOT = D("0.01")


def _share(quantity: str | D, *, lot: D = LOT, minimum: D = LOT, first: bool = False) -> Share:
    return Share(quantity=D(quantity), lot_size=lot, minimum=minimum, first=first)


def _parts(targets: tuple[tuple[D, ...], ...]) -> list[list[D]]:
    """The quantity of each leg in each chunk."""
    before = tuple(D(0) for _ in targets[0])
    parts = []
    for after in targets:
        parts.append([target - earlier for target, earlier in zip(after, before, strict=True)])
        before = after
    return parts


@pytest.mark.parametrize(
    ("quantities", "count", "parts"),
    [
        (("0.2", "0.4", "0.2"), 2, [("0.1", "0.2", "0.1"), ("0.1", "0.2", "0.1")]),
        (("0.03", "0.06", "0.03"), 2, [("0.01", "0.02", "0.01"), ("0.02", "0.04", "0.02")]),
        (("1",), 3, [("0.33",), ("0.33",), ("0.34",)]),
        (("0.01", "0.02", "0.01"), 4, [("0.01", "0.02", "0.01")]),
        (("0.1", "0.1"), 1, [("0.1", "0.1")]),
        (("0", "0.04"), 2, [("0", "0.02"), ("0", "0.02")]),
    ],
)
def test_chunks_keep_the_ratios_and_the_rest_is_in_the_last(
    quantities: tuple[str, ...], count: int, parts: list[tuple[str, ...]]
) -> None:
    targets = cumulative_targets([_share(quantity) for quantity in quantities], count)
    assert _parts(targets) == [[D(each) for each in part] for part in parts]


def test_whole_multiples_that_would_be_below_a_minimum_are_not_cut_though_the_quantity_would_do_for_two() -> None:
    shares = [_share("0.09", minimum=D("0.04")), _share("0.12")]
    assert _parts(cumulative_targets(shares, 2)) == [[D("0.09"), D("0.12")]]


def test_a_chunk_below_a_minimum_is_merged_with_its_neighbour() -> None:
    shares = [_share("0.10", minimum=D("0.05")), _share("0.20")]
    assert _parts(cumulative_targets(shares, 4)) == [[D("0.05"), D("0.10")], [D("0.05"), D("0.10")]]
    assert len(cumulative_targets([_share("0.10", minimum=D("0.06"))], 4)) == 1


def test_legs_that_do_not_divide_alike_are_cut_so_that_what_protects_is_never_behind() -> None:
    shares = [_share("0.03", first=True), _share("0.05", first=True), _share("0.08")]
    assert _parts(cumulative_targets(shares, 2)) == [
        [D("0.02"), D("0.03"), D("0.04")],
        [D("0.01"), D("0.02"), D("0.04")],
    ]


SHARES = st.lists(
    st.builds(
        lambda lots, least, lot, first: Share(quantity=lots * lot, lot_size=lot, minimum=least * lot, first=first),
        st.integers(0, 5_000).map(D),
        st.integers(1, 20).map(D),
        st.sampled_from([D("0.01"), D("0.1"), D("0.5")]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(shares=SHARES, count=st.integers(1, 100))
def test_whatever_the_legs_chunks_sum_to_them_in_lots_above_the_minimum_and_in_their_ratios(
    shares: list[Share], count: int
) -> None:
    targets = cumulative_targets(shares, count)
    assert 1 <= len(targets) <= count
    assert list(targets[-1]) == [share.quantity for share in shares]
    planned = len(targets)
    for number, chunk in enumerate(_parts(targets), start=1):
        for share, part, after in zip(shares, chunk, targets[number - 1], strict=True):
            assert part % share.lot_size == 0
            assert share.quantity == 0 or planned == 1 or part >= share.minimum
            fair = share.quantity * number / planned
            if number < planned:
                assert abs(after - fair) < share.lot_size or _is_exact(shares, targets[number - 1])
    for number, after in enumerate(targets[:-1], start=1):
        if not _is_exact(shares, after):
            for share, target in zip(shares, after, strict=True):
                fair = share.quantity * number / planned
                assert target >= fair if share.first else target <= fair


def _is_exact(shares: list[Share], after: tuple[D, ...]) -> bool:
    """Every leg stands at the same fraction of its quantity."""
    fractions = {
        (target * 10_000 / share.quantity) for share, target in zip(shares, after, strict=True) if share.quantity > 0
    }
    return len(fractions) == 1


@given(ratio=st.lists(st.integers(1, 4), min_size=1, max_size=4), units=st.integers(1, 400), count=st.integers(1, 50))
def test_a_structure_with_enough_units_keeps_its_ratio_exactly_in_every_chunk(
    ratio: list[int], units: int, count: int
) -> None:
    targets = cumulative_targets([_share(each * units * LOT) for each in ratio], count)
    if units >= count:
        assert len(targets) == count
        for part in _parts(targets):
            assert len({quantity / each for quantity, each in zip(part, ratio, strict=True)}) == 1
