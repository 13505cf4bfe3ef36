"""Mistakes of the cash rule: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Mutant, in_execution

_SCENARIO = "cash_rule"

CASH_MUTANTS: tuple[Mutant, ...] = (
    in_execution(
        "sold_coins_forgotten",
        "what a sale of the cash rule sold counts no more against the cap once it has ended",
        ("cash_book.py", "        return self.filled_quantity * self.average_price\n", "        return ZERO\n"),
        scenario=_SCENARIO,
    ),
    in_execution(
        "kept_coins_sold",
        "the cash rule sells the coins that are to be kept",
        ("cash_rule.py", "max(ZERO, unclaimed - seen.traded - config.keep)", "max(ZERO, unclaimed - seen.traded)"),
        scenario=_SCENARIO,
    ),
    in_execution(
        "restart_forgets_sale",
        "after a restart a sale that was being sent counts as never sent",
        (
            "cash_sales.py",
            'self._move(sale, "UNKNOWN", "execution restarted before an outcome was known")',
            'self._move(sale, "REFUSED", "execution restarted before an outcome was known")',
        ),
        scenario="lost_sales",
    ),
    in_execution(
        "sale_absence_believed_at_once",
        "a sale that no list shows counts as never placed before its request can have expired",
        ("cash_sales.py", "not seen and item.asked_ns > gone_ns:", "not seen:"),
        scenario=_SCENARIO,
    ),
    in_execution(
        "sale_not_written",
        "a sale of the cash rule is sent and not journalled",
        (
            "cash_desk.py",
            "        work.record(row)\n        self._below = 0\n",
            "        work.book.cash.apply(row, work.now_ns)\n        self._below = 0\n",
        ),
        scenario=_SCENARIO,
    ),
    in_execution(
        "sale_fee_forgotten",
        "the fee of a sale is booked as nothing",
        (
            "cash_sales.py",
            "        fee_usd = sum((fee for fee in fees if fee is not None), ZERO) if complete else None\n",
            "        fee_usd = ZERO\n",
        ),
        scenario=_SCENARIO,
    ),
)
