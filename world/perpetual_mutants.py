"""Mistakes with perpetuals and dated futures: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Mutant, in_execution

PERPETUAL_MUTANTS: tuple[Mutant, ...] = (
    in_execution(
        "future_sold_before_the_short_one",
        "a long future is sold while it covers a short one of another expiry",
        (
            "covering.py",
            '"sell" and one.option_type == two.option_type',
            '"sell" and one.option_type == two.option_type and two.is_option',
        ),
        scenario="dated_futures",
    ),
    in_execution(
        "hedge_outlives_its_trade",
        "a hedge is left open when the trade that it hedges has ended",
        ("halts.py", "        self._unhedge(trade)\n", ""),
        scenario="hedged",
    ),
    in_execution(
        "perpetual_before_its_put",
        "a perpetual is bought before the put that bounds its loss",
        ("covering.py", " or covers(other, leg))", ")"),
        scenario="perpetuals",
    ),
    in_execution(
        "put_sold_before_its_perpetual",
        "a put is sold while it bounds the loss of a perpetual",
        (
            "reduction.py",
            "            covers(leg, other)\n",
            "            covers(leg, other)\n            and not other.instrument.is_perpetual\n",
        ),
        scenario="perpetuals",
    ),
    in_execution(
        "close_beside_its_stop",
        "a trade is closed while the stop order that protects it rests on",
        (
            "closing.py",
            "        if live:\n            # One was given up",
            "        if live := [each for each in live if not each.is_protective]:\n            # One was given up",
        ),
        ("closing.py", "if order.is_protective and trade.close is None:", "if order.is_protective:"),
        scenario="stopped",
    ),
    in_execution(
        "funding_received_is_paid",
        "funding that was received is booked as paid",
        (
            "trade_fold.py",
            "book.trades[row.trade_id].funding_usd -= row.received_usd",
            "book.trades[row.trade_id].funding_usd += row.received_usd",
        ),
        scenario="perpetuals",
    ),
    in_execution(
        "funding_by_what_is_held_now",
        "funding is shared by what trades hold when it is read",
        ("funding.py", "(held := leg.held_at(charged_ns)) > 0", "(held := leg.held_quantity) > 0"),
        scenario="perpetuals",
    ),
    in_execution(
        "funding_booked_twice",
        "a payment that is booked already is booked again with the next look at the venue",
        ("funding.py", "payment.payment_id in work.book.funding or ", ""),
        scenario="perpetuals",
    ),
    in_execution(
        "lost_leverage_counts_as_refused",
        "a change of leverage that timed out counts as not made",
        (
            "leverage.py",
            "            case LeverageUnknown():\n",
            "            case LeverageUnknown(symbol=symbol):\n"
            '                self._end(symbol, Refusal(code="leverage_unchanged", detail="no answer", remedy=""))\n',
        ),
        scenario="leveraged",
    ),
    in_execution(
        "leverage_looked_at_too_soon",
        "a change of leverage that timed out counts as not made before its request can have expired",
        ("leverage.py", "            elif seen.asked_ns >= counts_ns:\n", "            else:\n"),
        ("leverage.py", "            else:\n                reading.due_ns = counts_ns\n", ""),
        scenario="leveraged",
    ),
    in_execution(
        "leverage_forgotten_at_start",
        "after a restart nobody looks what became of a change of leverage",
        (
            "leverage.py",
            "            self._unknown_ns[request_id] = self._work.now_ns\n            self._readings",
            "            self._readings",
        ),
        scenario="leveraged",
    ),
)
