"""Mistakes with coins of spot: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Mutant, in_execution

_SCENARIO = "covered_coins"
_BY_HAND = "coins_sold_by_hand"

SPOT_MUTANTS: tuple[Mutant, ...] = (
    in_execution(
        "fee_in_coins_forgotten",
        "a trade sells as many coins as it bought, those too that the venue kept as its fee",
        (
            "records.py",
            "        return self.opened_quantity - self.closed_quantity - self.fee_quantity - self.left_quantity\n",
            "        return self.opened_quantity - self.closed_quantity - self.left_quantity\n",
        ),
        scenario=_SCENARIO,
    ),
    in_execution(
        "coins_of_trades_sold_for_cash",
        "the cash rule sells coins that trades hold",
        ("cash_rule.py", "unclaimed - seen.traded - config.keep", "unclaimed - config.keep"),
        scenario=_SCENARIO,
    ),
    in_execution(
        "lost_sale_of_coins_sent_anew",
        "coins are sold again while nobody knows what became of their first sale",
        (
            "closing.py",
            "        live = work.book.unsettled_of(trade, index)\n",
            "        live = work.book.unsettled_of(trade, index)\n"
            "        if leg.instrument.is_spot:\n"
            '            live = [each for each in live if each.state != "UNKNOWN"]\n',
        ),
        scenario=_SCENARIO,
    ),
    in_execution(
        "coins_before_their_call",
        "coins are sold while the call that was sold against them is open",
        (
            "reduction.py",
            "            covers(leg, other)\n",
            "            covers(leg, other)\n            and not leg.instrument.is_spot\n",
        ),
        scenario=_SCENARIO,
    ),
    in_execution(
        "coins_gone_not_missed",
        "coins that somebody else sold are never missed",
        (
            "positions.py",
            "actual = ours if actual >= ours - unknown_fees[symbol] else snap_quantity(actual, lots[symbol])",
            "actual = ours",
        ),
        scenario=_BY_HAND,
    ),
    in_execution(
        "more_coins_missed_than_gone",
        "where some coins were sold by somebody else, all of them count as gone",
        (
            "positions.py",
            "actual = ours if actual >= ours - unknown_fees[symbol] else snap_quantity(actual, lots[symbol])",
            "actual = ours if actual >= ours - unknown_fees[symbol] else ZERO",
        ),
        scenario=_BY_HAND,
    ),
)
