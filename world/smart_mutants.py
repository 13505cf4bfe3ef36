"""Mistakes that trading in chunks could make."""

from __future__ import annotations

from world.mutant import Mutant, in_execution

SMART_MUTANTS: tuple[Mutant, ...] = (
    in_execution(
        "chunk_opens_short_first",
        "the short legs of a chunk do not wait for its long ones",
        (
            "smart.py",
            "return opens_before(self.trade.legs, index)",
            "return []",
        ),
    ),
    in_execution(
        "chunk_closes_long_first",
        "the long legs of a chunk are sold before the short ones that they cover",
        (
            "smart.py",
            "if covers(legs[index], other)]",
            "if False]",
        ),
    ),
    in_execution(
        "chunk_order_beside_another",
        "the next order of a leg goes out while the one before may still trade",
        ("chunk_work.py", "if not live and not ending:", "if not ending:"),
    ),
    in_execution(
        "scaled_by_one_leg_only",
        "a leg that is filled in part is taken for whole, and the others keep their size",
        (
            "scaling.py",
            "share = other.quantity * leg.opened_quantity / leg.quantity",
            "share = other.quantity",
        ),
        scenario="partial_chunks",
    ),
)
