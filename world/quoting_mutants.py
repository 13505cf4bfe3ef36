"""Mistakes that a desk could make with the orders of a strategy that quotes, and with the venue's countdown."""

from __future__ import annotations

from collections.abc import Sequence

from world.mutant import Mutant
from world.mutant import in_execution as _in_execution

QUOTING_MUTANTS: Sequence[Mutant] = (
    _in_execution(
        "filled_orders_forgotten",
        "orders of a quoting trade that ended long ago are forgotten, whether they filled or not",
        (
            "purging.py",
            "{number for number in trade.unfilled if book.orders[number].state_ns < before_ns}",
            "{\n            number\n            for number in trade.order_ids\n"
            "            if number not in trade.live and book.orders[number].state_ns < before_ns\n        }",
        ),
        ("purging.py", "        del trade.unfilled[number]\n", "        trade.unfilled.pop(number, None)\n"),
        scenario="countdowns",
    ),
    _in_execution(
        "forgotten_without_a_row",
        "orders of a quoting trade are forgotten, and the journal does not say so",
        (
            "workspace.py",
            "            forgets_before_ns=self._forgets_before(trade),\n"
            "            trigger_price=trigger_price,\n"
            "            at_market=at_market,\n"
            "        )\n        self.record(row)\n",
            "            trigger_price=trigger_price,\n"
            "            at_market=at_market,\n"
            "        )\n        self.record(row)\n"
            "        if before_ns := self._forgets_before(trade):\n"
            "            from services.execution.purging import forget_unfilled\n\n"
            "            forget_unfilled(self.book, trade, before_ns, self.now_ns)\n",
        ),
        scenario="countdowns",
    ),
    _in_execution(
        "countdown_not_renewed",
        "the venue's countdown is armed once and never renewed",
        (
            "countdowns.py",
            "countdown.set_ns + countdown_ms * MS // _RENEWALS",
            "countdown.set_ns + 86_400 * SECOND",
        ),
        scenario="countdowns",
    ),
    _in_execution(
        "countdown_left_armed",
        "when nothing quotes any more the venue's countdown is left armed",
        (
            "countdowns.py",
            "        if not wanted and countdown.is_armed is False:\n",
            "        if not wanted:\n",
        ),
        scenario="countdowns",
    ),
)
