"""Mistakes that a desk could make, as changes of its source: the simulation must find each of them."""

from __future__ import annotations

from collections.abc import Sequence

from world.cash_mutants import CASH_MUTANTS
from world.guard_mutants import GUARD_MUTANTS
from world.host_mutants import HOST_MUTANTS
from world.market_mutants import MARKET_MUTANTS
from world.mutant import Edit, Mutant
from world.mutant import in_execution as _in_execution
from world.perpetual_mutants import PERPETUAL_MUTANTS
from world.quoting_mutants import QUOTING_MUTANTS
from world.rfq_mutants import RFQ_MUTANTS
from world.roll_mutants import ROLL_MUTANTS
from world.smart_mutants import SMART_MUTANTS
from world.spot_mutants import SPOT_MUTANTS

_RESEND = """self._facts.move(order, "UNKNOWN", item.reason)
                from services.execution.effects import PlaceOrder
                from shared.messages.venue import NewOrder

                again = NewOrder(
                    client_order_id=order.client_order_id,
                    symbol=order.symbol,
                    side=order.side,
                    quantity=order.quantity,
                    price=order.price,
                    reduce_only=order.reduce_only,
                )
                self._work.send(PlaceOrder(again))"""

_OUTCOME_UNKNOWN = 'self._facts.move(order, "UNKNOWN", item.reason)'

_ORDERS: tuple[Mutant, ...] = (
    _in_execution(
        "resend_on_timeout", "an order that timed out is sent again", ("core.py", _OUTCOME_UNKNOWN, _RESEND)
    ),
    _in_execution(
        "unknown_is_refused",
        "an order that timed out counts as refused",
        ("core.py", _OUTCOME_UNKNOWN, 'self._facts.move(order, "REFUSED", item.reason)'),
    ),
    _in_execution(
        "absence_believed_at_once",
        "an order that no list shows counts as never placed before its request can have expired",
        ("evidence.py", "if asked_ns >= self._absence_counts_ns(order):", "if True:"),
    ),
    _in_execution(
        "lists_believed",
        "an order that the venue's lists lack counts as never placed without a query of its own",
        (
            "evidence.py",
            "                query.unlisted_ns, query.next_ns = listing.asked_ns, self._work.now_ns\n",
            "                self._absent(order, query, listing.asked_ns)\n",
        ),
        scenario="lost_batches",
    ),
    _in_execution(
        "restart_forgets_sending",
        "after a restart, what was being sent counts as never sent",
        (
            "core.py",
            'self._facts.move(order, "UNKNOWN", "execution restarted before an outcome was known")',
            'self._facts.move(order, "REFUSED", "execution restarted before an outcome was known")',
        ),
    ),
    _in_execution(
        "cancel_believed",
        "an acknowledged cancel counts as done before the order is seen to be gone",
        (
            "core.py",
            'case OutcomeUnknown() | CancelRefused() if order.state == "CANCELLING":',
            'case CancelAcked() if order.state == "CANCELLING":\n'
            '                self._facts.move(order, "CANCELLED", "acknowledged")\n'
            '            case OutcomeUnknown() | CancelRefused() if order.state == "CANCELLING":',
        ),
        scenario="late_cancels",
    ),
    _in_execution(
        "cancel_time_out_believed",
        "a cancel that timed out counts as done",
        (
            "core.py",
            'case OutcomeUnknown() | CancelRefused() if order.state == "CANCELLING":',
            'case OutcomeUnknown() if order.state == "CANCELLING":\n'
            '                self._facts.move(order, "CANCELLED", item.reason)\n'
            '            case OutcomeUnknown() | CancelRefused() if order.state == "CANCELLING":',
        ),
    ),
    Mutant(
        "effect_before_commit",
        "orders go out before the rows that decided them are written",
        (
            Edit(
                "shared/runner.py",
                "        self._commit([entry for _, step in done for entry in step.rows])\n        for",
                "        for",
            ),
            Edit(
                "shared/runner.py",
                "                    self._perform(effect, cause_id)\n",
                "                    self._perform(effect, cause_id)\n"
                "        self._commit([entry for _, step in done for entry in step.rows])\n",
            ),
        ),
    ),
    _in_execution(
        "row_not_written",
        "a change of the state of an order is applied and not journalled",
        (
            "workspace.py",
            "        self.step.rows.append(entry)\n",
            "        if not isinstance(row, rows.OrderMoved):\n            self.step.rows.append(entry)\n",
        ),
    ),
    _in_execution(
        "missed_fills_not_taken",
        "the comparison with the venue looks at orders and not at fills",
        (
            "reconcile.py",
            "differences = self._orders(snapshot) + self._fills(snapshot)",
            "differences = self._orders(snapshot)",
        ),
    ),
    _in_execution(
        "fill_counted_twice",
        "a fill that is reported twice counts twice",
        ("facts.py", "known = book.fills.get(fill.venue_trade_id)", "known = None"),
        (
            "order_fold.py",
            'assert fill.venue_trade_id not in book.fills, f"fill {fill.venue_trade_id} counted twice"',
            "pass",
        ),
    ),
    _in_execution(
        "fee_dropped",
        "a fee that comes after its fill is not booked",
        (
            "order_fold.py",
            "        _pay_fee(book, book.orders[fill.client_order_id], row.fee_usd, row.fee_coins)\n",
            "",
        ),
    ),
    _in_execution(
        "settlement_booked_twice",
        "the cash of a settlement is booked twice",
        (
            "trade_fold.py",
            "leg.closed_cash += leg.sign * row.cash_flow_usd",
            "leg.closed_cash += 2 * leg.sign * row.cash_flow_usd",
        ),
        scenario="expiring",
    ),
    _in_execution(
        "delivery_fee_dropped",
        "the fee of a delivery is not booked",
        ("trade_fold.py", "            trade.fees_usd += row.fee_usd\n", "            pass\n"),
        scenario="expiring",
    ),
)

_OPENING: tuple[Mutant, ...] = (
    _in_execution(
        "no_final_look",
        "an opening is given up without waiting for a late fill",
        ("plan.py", "if work.now_ns < look_ns:", "if False:"),
    ),
    _in_execution(
        "short_leg_first",
        "short legs do not wait for the long ones",
        ("limit.py", "if not all(done[other] for other in opens_before(trade.legs, index)):", "if False:"),
    ),
    _in_execution(
        "replaced_before_gone",
        "the next order of a leg does not wait until the one before is gone",
        ("limit.py", "        if live:\n            return\n        if done[index]", "        if done[index]"),
    ),
    _in_execution(
        "partial_fill_forgotten",
        "the next order of a leg is for all of it, whatever was filled",
        (
            "limit.py",
            "remaining = min(leg.quantity, trade.granted(leg).max_quantity) - leg.opened_quantity",
            "remaining = min(leg.quantity, trade.granted(leg).max_quantity)",
        ),
    ),
    _in_execution(
        "grant_deadline_ignored",
        "an opening goes on after the deadline of its grant",
        ("limit.py", "if work.now_ns >= deadline_ns:", "if False:"),
        scenario="short_grants",
    ),
    _in_execution(
        "worst_price_ignored",
        "an opening is priced past what was granted",
        (
            "pricing.py",
            "    price = snap_within(wanted, bound, side, instrument)\n"
            '    return f"no tick of {instrument.symbol} is within {bound}" if price is None else price\n'
            "\n\ndef closing_bound",
            "    price = snap_within(wanted, None, side, instrument)\n"
            '    return f"no tick of {instrument.symbol}" if price is None else price\n'
            "\n\ndef closing_bound",
        ),
        scenario="narrow_collar",
    ),
    _in_execution(
        "atomic_kept_in_part",
        "an atomic opening that failed is kept as far as it got",
        ("lifecycle.py", 'elif trade.request.policy == "best_effort":', "elif True:"),
    ),
    _in_execution(
        "grant_not_released",
        "the room of a grant is never given back",
        ("views.py", 'return any(order.purpose == "open" for order in book.unsettled_of(trade))', "return True"),
    ),
    _in_execution(
        "halt_epoch_ignored",
        "a grant from before a halt is good after it",
        ("checks.py", "if intent.grant.halt_epoch != book.halt_epoch:", "if False:"),
        ("halts.py", "elif trade.request.grant.halt_epoch != book.halt_epoch:", "elif False:"),
        scenario="fleeting_halts",
    ),
    _in_execution(
        "halt_lets_openings_end",
        "an opening that a halt meets goes on",
        (
            "halts.py",
            "        if book.halts:\n            halt = book.halts[-1]\n",
            "        if False:\n            halt = book.halts[-1]\n",
        ),
        ("halts.py", "elif trade.request.grant.halt_epoch != book.halt_epoch:", "elif False:"),
    ),
    _in_execution(
        "silent_risk_ignored",
        "a grant is good although the risk service is silent",
        ("halts.py", "elif self.risk_is_silent:", "elif False:"),
        (
            "checks.py",
            "if view.guards.risk_is_silent or intent.grant.issued_ns < view.guards.risk_back_ns:",
            "if False:",
        ),
    ),
    _in_execution(
        "old_prices_used",
        "the age of a chain does not matter",
        (
            "market.py",
            "        view = self._chains.get(instrument.underlying)\n"
            "        if view is None or abs(now_ns - view.snapshot.received_ns) > self._tolerance_ns:\n"
            "            return None\n"
            "        if abs(now_ns - view.received_ns(instrument.symbol)) > self._tolerance_ns:\n",
            "        view = self._chains.get(instrument.underlying)\n        if view is None:\n",
        ),
        scenario="frozen_prices",
    ),
    _in_execution(
        "would_net_ignored",
        "a leg is opened against one that another trade holds",
        (
            "checks.py",
            "if other.symbol == leg.symbol and other.side != leg.side and _claims(trade, index, view.work):",
            "if False:",
        ),
    ),
    _in_execution(
        "intent_opens_twice",
        "an intent that comes again opens another trade",
        ("requests.py", "outcome = book.intents.get(intent.intent_id)", "outcome = None"),
        ("requests.py", "if intent.ordinal <= highest:", "if False:"),
    ),
    _in_execution(
        "request_done_twice",
        "a request that comes again is done again",
        (
            "requests.py",
            "        if known is not None:\n            self._work.send",
            "        if False:\n            self._work.send",
        ),
    ),
)

_CLOSING: tuple[Mutant, ...] = (
    _in_execution(
        "reduce_only_forgotten",
        "closing orders are not reduce-only",
        ("workspace.py", 'reduce_only=purpose != "open" and not quote_id,', "reduce_only=False,"),
    ),
    _in_execution(
        "size_from_net_position",
        "a close is as large as the position of all trades",
        (
            "reduction.py",
            "        quantity = held if wanted is None else min(wanted, held)\n"
            "        cap = self.positions.cap(trade, leg)",
            "        quantity = abs(work.book.net_quantity(leg.symbol))\n        cap = None",
        ),
    ),
    _in_execution(
        "close_not_capped_by_claims",
        "a close takes of the venue's position what other trades hold",
        ("positions.py", "return max(ZERO, held - claimed)", "return max(ZERO, held)"),
        scenario="hand_closes",
    ),
    _in_execution(
        "protective_leg_sold_first",
        "a long leg is sold while it covers an open short one",
        ("reduction.py", "            covers(leg, other)\n", "            False\n"),
    ),
    _in_execution(
        "closes_twice_at_once",
        "a closing order does not wait until the one before is gone",
        (
            "closing.py",
            "                self._resting(trade, leg, order, ending, advice)\n            return",
            "                self._resting(trade, leg, order, ending, advice)",
        ),
    ),
    _in_execution(
        "one_look_is_enough",
        "a position that disagrees once is believed",
        (
            "positions.py",
            "if suspect is None or (suspect.expected, suspect.actual) != (ours, actual):",
            "if suspect is None:\n            suspect = _Suspect(ours, actual, 0)\n        if False:",
        ),
        scenario="stale_positions",
    ),
    _in_execution(
        "gap_of_positions_believed",
        "a position that two looks in a row do not show is booked as closed, whatever else says that it is there",
        ("positions.py", "if missing > 0 and asked_ns < believed_ns and", "if False and"),
        scenario="position_gaps",
    ),
    _in_execution(
        "positions_need_no_quiet",
        "positions are compared although orders may have traded since",
        (
            "positions.py",
            "            return False\n        return asked_ns > work.last_traded_ns",
            "            return True\n        return True or asked_ns > work.last_traded_ns",
        ),
        scenario="stale_positions",
    ),
    _in_execution(
        "broken_trade_not_held",
        "the rest of a trade that lost a leg is closed whatever was declared",
        ("broken.py", "return trade.request.if_broken or config.if_broken", "return config.if_broken"),
        scenario="broken_structures",
    ),
    _in_execution(
        "deadline_not_enforced",
        "the hard deadline of a trade passes without a close",
        ("halts.py", "            if self._work.now_ns >= deadline_ns:", "            if False:"),
    ),
    _in_execution(
        "unwritten_rows_forgotten",
        "after a process that could not write its rows, nothing is halted and ids are used again",
        ("halts.py", "        if space.unwritten:", "        if False:"),
        ("core.py", "            if item.unwritten:", "            if False:"),
        scenario="lost_rows",
    ),
    _in_execution(
        "late_fill_ignored",
        "a fill that comes after a trade has ended does not open it again",
        ("lifecycle.py", "            self._reopen_if_held(trade)\n", ""),
        scenario="expired_requests",
    ),
    _in_execution(
        "surplus_not_reduced",
        "what an atomic opening holds too much stays",
        ("lifecycle.py", "            self._surplus.tend(trade, advice)\n", ""),
        scenario="overfilled_openings",
    ),
    _in_execution(
        "all_taken_for_surplus",
        "where an opening holds too much, all that it holds is closed",
        ("surplus.py", "trade, advice, leg.surplus_quantity)", "trade, advice, leg.held_quantity)"),
        scenario="overfilled_openings",
    ),
    _in_execution(
        "surplus_reduced_twice_at_once",
        "the next order that reduces what is too much does not wait until the one before is gone",
        ("surplus.py", "if not live and leg.surplus_quantity > 0:", "if leg.surplus_quantity > 0:"),
        ("surplus.py", "        if not self._is_confirmed(trade, index, advice):\n            return\n", ""),
        scenario="overfilled_openings",
    ),
    _in_execution(
        "reconnect_believed",
        "after a break of the private stream nothing is compared",
        ("core.py", 'self._schedule.distrust("stream_up")', "pass"),
        (
            "comparisons.py",
            '        self.want("regular", work.now_ns + config.reconcile_interval_ms * MS)',
            "        pass",
        ),
    ),
)

_BUS: tuple[Mutant, ...] = (
    Mutant(
        "gap_ignored",
        "a reader goes on over a gap in the sequence of events",
        (
            Edit("shared/bus/sequences.py", "if held.sequence > last + 1:", "if False:"),
            Edit(
                "shared/bus/sequences.py",
                "            if sequence > last and topic.startswith(self._prefixes) and self._has_room(topic):\n"
                "                self.gaps += 1",
                "            if False:\n                self.gaps += 1",
            ),
        ),
        scenario="lossy_bus",
    ),
    Mutant(
        "replay_from_wrong_sequence",
        "a replay begins after what was missed",
        (
            Edit(
                "shared/bus/sequences.py",
                "self._wants.append(Want(topic, from_sequence, self._generation))",
                "self._wants.append(Want(topic, from_sequence + 1, self._generation))",
            ),
        ),
        scenario="lossy_bus",
    ),
    Mutant(
        "room_spent_twice",
        "risk does not count grants that are outstanding",
        (
            Edit(
                "services/risk/reservations.py",
                "return trade.grant_open or asked_ns < trade.released_ns + self._account_lag_ns",
                "return False",
            ),
            Edit(
                "services/risk/reservations.py",
                "if now_ns < self._free_ns(grant):\n                yield grant",
                "if False:\n                yield grant",
            ),
        ),
    ),
)

MUTANTS: Sequence[Mutant] = (
    *_ORDERS,
    *_OPENING,
    *_CLOSING,
    *_BUS,
    *GUARD_MUTANTS,
    *QUOTING_MUTANTS,
    *RFQ_MUTANTS,
    *MARKET_MUTANTS,
    *CASH_MUTANTS,
    *HOST_MUTANTS,
    *PERPETUAL_MUTANTS,
    *ROLL_MUTANTS,
    *SMART_MUTANTS,
    *SPOT_MUTANTS,
)
