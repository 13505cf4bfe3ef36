"""Funding of perpetuals: the venue pays or charges the account's net position, and the trades that held it share it.

Every eight hours. The venue names the position that it was charged on and the moment; what each trade held then is
summed from its own fills. A fill of the same moment, or of the seconds before, may have come after the charge: where
that explains the position it did. What nobody's trade held, a position of somebody else, stays unbooked.
"""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.records import ZERO, Trade
from services.execution.workspace import SECOND, Workspace
from shared.messages.venue import FundingPayment, VenueSnapshot

SETTLED_AFTER_NS = 30 * SECOND
"""A payment younger than this waits for the next comparison: a fill of before it may not be told yet."""

_EARLIER_NS = 60 * SECOND
"""So long before the venue tells of a payment it was charged at most."""

_STEP = Decimal("0.00000001")


def book_funding(work: Workspace, snapshot: VenueSnapshot) -> None:
    """Share each payment that is not booked yet among the trades that held the perpetual when it was made."""
    for payment in snapshot.funding:
        if payment.payment_id in work.book.funding or payment.venue_ns > snapshot.asked_ns - SETTLED_AFTER_NS:
            continue
        found = shares(payment, tuple(work.book.trades.values()))
        for row in found:
            work.record(row)
        explained = sum((row.quantity for row in found), ZERO)
        if found and explained != abs(payment.quantity):
            work.alert(
                "funding_unexplained",
                "warning",
                payment.symbol,
                f"funding of {payment.amount_usd} USD was for {payment.quantity} {payment.symbol}; the desk's "
                f"trades held {explained}",
            )


def shares(payment: FundingPayment, trades: tuple[Trade, ...]) -> list[rows.FundingBooked]:
    """One row per trade and leg that held the perpetual at that moment, on the side of the payment."""
    sign = 1 if payment.quantity > 0 else -1
    charged_ns = _charged_ns(payment, trades)
    holders = [
        (trade, index, held)
        for trade in trades
        for index, leg in enumerate(trade.legs)
        if leg.symbol == payment.symbol and leg.sign == sign and (held := leg.held_at(charged_ns)) > 0
    ]
    held_by_all = sum((held for _, _, held in holders), ZERO)
    whole = max(held_by_all, abs(payment.quantity))
    left_usd = payment.amount_usd
    found = []
    for number, (trade, index, held) in enumerate(holders, start=1):
        share_usd = (payment.amount_usd * held / whole).quantize(_STEP)
        if number == len(holders) and held_by_all == whole:
            # the last one takes what is left, so that the shares are the payment to the last decimal
            share_usd = left_usd
        left_usd -= share_usd
        found.append(
            rows.FundingBooked(
                trade_id=trade.trade_id,
                leg_index=index,
                payment_id=payment.payment_id,
                quantity=held,
                rate=payment.rate,
                received_usd=share_usd,
                venue_ns=payment.venue_ns,
            )
        )
    return found


def _charged_ns(payment: FundingPayment, trades: tuple[Trade, ...]) -> int:
    """The last instant up to the payment at which trades held what it was charged on; its own if there is none."""
    legs = [leg for trade in trades for leg in trade.legs if leg.symbol == payment.symbol]
    moves = {moment - 1 for leg in legs for moment, _ in leg.moves if moment <= payment.venue_ns}
    earlier = sorted((each for each in moves if each >= payment.venue_ns - _EARLIER_NS), reverse=True)
    for instant in (payment.venue_ns, *earlier):
        if sum((leg.sign * leg.held_at(instant) for leg in legs), ZERO) == payment.quantity:
            return instant
    return payment.venue_ns
