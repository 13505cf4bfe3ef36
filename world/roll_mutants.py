"""Mistakes of rolling: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Edit, Mutant, in_execution

_ROLLS = "services/strategy/rolls.py"

ROLL_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "roll_before_the_end",
        "a successor is opened while the trade whose place it takes is still being closed",
        (
            Edit(
                _ROLLS, "        if trade is not None:\n", '        if trade is not None and trade.state == "OPEN":\n'
            ),
            Edit(
                _ROLLS,
                "row, closed = begun.row, begun.closed\n",
                "row, closed = begun.row, begun.closed or self._trades.open_trade(begun.row.trade_id)\n",
            ),
            Edit(_ROLLS, 'if closed.state != "CLOSED":', "if False:"),
            Edit("services/execution/rolling.py", "elif not earlier.is_final:", "elif False:"),
        ),
        scenario="rolling",
    ),
    Mutant(
        "roll_at_any_price",
        "a roll is begun whatever it would cost, and what its close did cost is not deducted from the net limit",
        (
            Edit(
                _ROLLS,
                "return None if closing + opening <= roll.net_limit_usd else _net",
                "return None if True else _net",
            ),
            Edit(_ROLLS, "Decimal(str(row.net_limit_usd)) - cost_usd)", "Decimal(str(row.net_limit_usd)))"),
        ),
        scenario="rolling",
    ),
    Mutant(
        "roll_forgets_futures",
        "what futures cost is no part of the net price of a roll",
        (
            Edit(
                "shared/strategy/rolling.py", "total += price * ", 'total += price * (leg.symbol.count("-") > 1) * '
            ),
            Edit(
                "services/execution/rolling.py",
                "leg.sign * (was - leg.closed_cash)",
                "leg.sign * (was - leg.closed_cash) * leg.instrument.is_option",
            ),
        ),
        scenario="rolling_futures",
    ),
    Mutant(
        "roll_end_unsaid",
        "a roll after whose close nothing may be opened is left undecided",
        (Edit(_ROLLS, 'self._end(slot, begun, "flat", ends)\n            return []', "return []"),),
        scenario="rolling",
    ),
    in_execution(
        "late_fee_missing_in_chain",
        "a chain keeps the P&L that its earlier trades had when they were rolled, whatever fees come later",
        (
            "book.py",
            "            if trade.rolled_to:\n",
            "            if False:\n",
        ),
        scenario="rolling",
    ),
)
