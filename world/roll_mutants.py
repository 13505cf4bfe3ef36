"""Mistakes of rolling: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Edit, Mutant, in_execution

_HOST = "services/strategy/"

ROLL_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "roll_doubled",
        "a host that was killed in the middle of a roll asks for another successor, and execution opens it",
        (
            Edit(_HOST + "roll_flight.py", "ordinal=begun.ordinal,", "ordinal=begun.ordinal + 1,"),
            Edit("services/execution/rolling.py", "elif earlier.rolled_to:", "elif False:"),
        ),
        scenario="rolling",
    ),
    Mutant(
        "roll_before_the_end",
        "a successor is opened while the trade whose place it takes is still being closed",
        (
            Edit(
                _HOST + "rolls.py",
                "        if trade is not None:\n            self._await_close(slot, begun, trade, now_ns)\n"
                "            return []\n",
                "",
            ),
            Edit(
                _HOST + "rolls.py",
                'if closed is None:\n            return f"execution',
                'if closed is None and False:\n            return f"execution',
            ),
            Edit("services/execution/rolling.py", "elif not earlier.is_final:", "elif False:"),
        ),
        scenario="rolling",
    ),
    in_execution(
        "late_fee_missing_in_chain",
        "a chain keeps the P&L that its earlier trades had when they were rolled, whatever fees come later",
        (
            "rolling.py",
            "return trade.roll.earlier_pnl_usd if earlier is None else chain_pnl_usd(earlier, book)",
            "return trade.roll.earlier_pnl_usd",
        ),
        scenario="rolling",
    ),
    in_execution(
        "roll_past_its_limit",
        "the prices of a successor are bounded by its grant alone",
        (
            "records.py",
            "        if limit is None:\n            return part\n        better",
            "        if True:\n            return part\n        better",
        ),
        scenario="rolling",
    ),
    Mutant(
        "roll_end_unsaid",
        "a roll whose close took too long is left undecided",
        (
            Edit(
                _HOST + "rolls.py",
                'self._end(slot, begun, "flat", f"the close took too long, the trade is {trade.state}")',
                "pass",
            ),
            Edit(_HOST + "rolls.py", 'self._end(slot, begun, "flat", ends)\n            return []', "return []"),
        ),
        scenario="rolling",
    ),
)
