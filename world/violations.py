"""The promises that every run must keep, by name, and what a broken one looks like."""

from __future__ import annotations

from typing import Literal

import msgspec

Invariant = Literal[
    "sent_once",
    "inside_grant",
    "one_trade_per_intent",
    "not_overfilled",
    "closes_reduce_only",
    "protected_short",
    "no_flip",
    "grant_in_time",
    "no_opening_under_halt",
    "risk_heard",
    "looks_first",
    "fresh_prices",
    "close_within_holding",
    "close_within_position",
    "within_limits",
    "no_netting",
    "reason_given",
    "final_look_taken",
    "whole_or_flat",
    "surplus_reduced",
    "deadline_enforced",
    "broken_as_declared",
    "comes_to_rest",
    "orders_resolved",
    "countdown_kept",
    "flat_at_venue",
    "nothing_rests",
    "trades_again",
    "outcome_true",
    "fills_equal",
    "positions_equal",
    "fees_equal",
    "cash_equal",
    "one_outcome",
    "grants_released",
    "refusal_is_final",
    "breakers_hold",
    "guard_steady",
    "transfers_are_no_gain",
    "sale_written",
    "sales_within_bounds",
    "sales_known",
    "minimum_kept",
    "coins_are_own",
    "coins_sold",
    "coins_equal",
    "leverage_asked_once",
    "leverage_true",
    "leverage_known",
    "host_acts_alone",
    "always_hosted",
    "pause_kept",
    "strategies_know",
    "events_arrive",
    "rolled_once",
    "net_limit_kept",
    "chain_sums",
    "roll_ends",
    "fold_is_live",
    "no_core_failed",
]

PROMISES: dict[Invariant, str] = {
    "sent_once": "an order is sent to the venue at most once, and at most one quote accepted on a request",
    "inside_grant": "an opening order and an accepted quote are on the side, symbol and price of a grant",
    "one_trade_per_intent": "an intent opens at most one trade",
    "not_overfilled": "no opening order is for more than its leg lacks, and the venue never fills more of one "
    "than was granted",
    "closes_reduce_only": "every order that does not open is reduce-only, block trades excepted, which cannot be",
    "protected_short": "no short leg, and no perpetual bought beside a put, is open while what protects it is not",
    "no_flip": "no trade closes more of a leg at the venue than it had opened by then",
    "grant_in_time": "no opening order goes out after the deadline of its grant",
    "no_opening_under_halt": "no opening order goes out under a halt, nor on a grant from before one",
    "risk_heard": "no opening order goes out while the risk service is silent",
    "looks_first": "after a start, a stall or a break of the stream nothing is sent before the venue was looked at",
    "fresh_prices": "no opening order is priced on old data",
    "close_within_holding": "closing orders at work never add up to more than the trade holds",
    "close_within_position": "no close takes of the venue's position what other trades hold",
    "within_limits": "no trade is begun past the limits of risk on open trades and on positions",
    "no_netting": "no two trades hold opposite sides of one symbol",
    "reason_given": "no trade changes its state, or tells of it, without a reason",
    "final_look_taken": "an opening is given up only some time after the last of its orders ended",
    "whole_or_flat": "a trade is open with all its legs, in the ratio that was asked for, or kept in part by a "
    "policy that says so",
    "surplus_reduced": "an atomic trade that was filled beyond its size by an order that was given up is reduced to "
    "that, and no further",
    "deadline_enforced": "a trade past its hard deadline is being closed, whatever its host does",
    "broken_as_declared": "what is left of a trade that lost a leg from outside is closed only where that was "
    "declared, or asked for since",
    "comes_to_rest": "once faults stop, every trade reaches a final state and holds nothing",
    "orders_resolved": "once faults stop, the outcome of every order and request for quote becomes known",
    "countdown_kept": "the venue's countdown fires only when execution was away: it is renewed in time while a "
    "strategy quotes, and disarmed when none does",
    "flat_at_venue": "once faults stop, the venue holds nothing of the desk's",
    "nothing_rests": "once faults stop, no order and no request for quote of the desk's rests at the venue",
    "trades_again": "once faults stop, trades are opened and closed, or at least tried at the venue",
    "outcome_true": "an order counts as refused or never placed only if the venue never had it, and as ended only "
    "when it has, with all that was filled",
    "fills_equal": "each order's fills are those of the venue, and the venue filled nothing unknown",
    "positions_equal": "what trades hold adds up to the venue's positions without those of others",
    "fees_equal": "the fees of trades are those of the venue, to the last decimal",
    "cash_equal": "the account's cash is its deposits and transfers, fills, fees, settlements, delivery fees and "
    "funding, to the last decimal, where futures are traded to a billionth of a USD, for the digits of the venue's "
    "average price; the desk's trades explain their part of it, and the funding, to the last decimal",
    "one_outcome": "an intent has one outcome in the journal, and every answer that went out says the same",
    "grants_released": "a grant reserves room while its opening may trade, and no longer",
    "refusal_is_final": "an intent that is told to be refused for good never has a trade",
    "breakers_hold": "while a breaker is open nothing of its subject is granted, and half open one trade at a time",
    "guard_steady": "the margin guard moves once per read, up at a threshold and down below it by the hysteresis, "
    "and from its level no_new_trades on nothing is granted",
    "transfers_are_no_gain": "money paid in or out moves neither drawdown nor the loss of the day",
    "sale_written": "a sale of the cash rule is in the journal before it is sent, and is sent once",
    "sales_within_bounds": "the cash rule sells no more than its cap within 24 hours, nothing below the price that "
    "it decided, and no coin that is kept",
    "sales_known": "once faults stop, it is known of every sale of the cash rule what it sold, for how much, and "
    "what it cost, to the last decimal",
    "minimum_kept": "once faults stop, the account has its minimum of USDT, unless the cap or the coins that may be "
    "sold do not allow it",
    "coins_are_own": "no trade sells more coins of spot than it bought, less what the venue kept of them as its fee",
    "coins_sold": "once faults stop, a trade that has ended has sold all of its coins but too few for an order",
    "coins_equal": "once faults stop, the account's coins are those from before with what trades and the cash rule "
    "bought and sold, the fees taken in coins and what was sold by hand, and each trade's part of them is in its "
    "books, to the last decimal; no trade misses more of them than was sold by hand",
    "leverage_asked_once": "a change of leverage is in the journal before the venue is asked, and it is asked once",
    "leverage_true": "what is told of a change of leverage, made or not, is so at the venue",
    "leverage_known": "once faults stop, it is known and told of every change of leverage what became of it",
    "host_acts_alone": "a strategy host acts for the strategies of its groups alone, and no strategy has two hosts",
    "always_hosted": "while all strategy hosts run, each strategy and each open trade has one",
    "pause_kept": "a strategy that was paused opens nothing before it is resumed, whichever host has it by then",
    "strategies_know": "once faults stop, strategies know which trades are open",
    "events_arrive": "once faults stop, every reader has been handed the newest event of every entity",
    "rolled_once": "a trade that is rolled has one successor, which is begun once the trade has ended",
    "net_limit_kept": "what closing a trade and opening its successor cost together is within the roll's net limit",
    "chain_sums": "the P&L of a chain of rolls is the sum of that of its trades",
    "roll_ends": "a strategy rolls one trade at a time, and once faults stop, every roll has a successor or its end",
    "fold_is_live": "the state of execution is the fold of its journal",
    "no_core_failed": "no core raises on any input",
}


class Violation(msgspec.Struct, frozen=True):
    """One broken promise: which, and what was seen. concerns: ids of trades and orders that are not in the text."""

    invariant: Invariant
    text: str
    concerns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"
