"""The story of a trade: each row as a sentence that a trader reads. Orders are named by their client order id."""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.rfq_rows import AcceptRequested, QuotesJudged, RfqMoved, RfqRequested, RfqSighted
from services.execution.rfq_story import rfq_text
from shared.messages.costs import ModeChoice, OpeningCost
from shared.messages.steps import Entry
from shared.messages.trades import StoryLine


def line_of(entry: Entry) -> StoryLine:
    """The line of a row that speaks of a trade."""
    return StoryLine(entry.at_ns, type(entry.row).__struct_config__.tag, _text(entry.row), entry.cause_id)


def _text(row: rows.Row) -> str:
    match row:
        # The rows of orders come first, as they are most of a long story.
        case rows.OrderMoved():
            return _order_moved(row)
        case rows.AmendRequested():
            return f"Order {row.client_order_id} is being moved to {row.price} ({row.why})."
        case rows.OrderRepriced():
            return f"Order {row.client_order_id} rests at {row.price}: {row.reason}."
        case rows.OrderRequested():
            return _order_requested(row)
        case rows.OrderSighted():
            return f"Order {row.client_order_id} is {row.venue_order_id} at the venue, {row.filled_quantity} filled."
        case rows.TradeRequested():
            return _opening(row)
        case rows.TradeAdopted(request=request):
            (leg,) = request.legs
            return (
                f"{row.adopted_by} adopts a position that the venue holds: {leg.side} {leg.quantity} {leg.symbol} at "
                f"{row.entry_price} on average, for {request.strategy}."
            )
        case rows.MarketNoted():
            return _market(row)
        case rows.TradeMoved():
            return f"The trade is {row.state}: {row.reason}."
        case rows.OpeningStopped():
            unwound = " What was filled is unwound." if row.void else ""
            return f"Nothing more is opened: {row.reason}.{unwound}"
        case rows.OpeningScaled():
            shown = ", ".join(str(quantity) for quantity in row.quantities)
            return f"The trade is scaled to {shown}: {row.reason}."
        case rows.LegOverfilled():
            then = "kept, as best effort says" if row.done == "kept" else "to be reduced"
            return f"{row.quantity} more of leg {row.leg_index} was filled than the trade was to hold: it is {then}."
        case rows.ReductionWanted():
            return f"{row.requested_by} wants it reduced to {row.keep}: {row.reason}."
        case rows.AttemptsSkipped():
            return f"{row.count} ids of each kind of closing order are left out, some may be in use: {row.reason}."
        case rows.CloseRequested():
            return f"{row.requested_by} asks to {row.purpose} it: {row.reason}."
        case rows.CloseHurried():
            return f"{row.requested_by} has the close hurried: {row.reason}."
        case rows.CloseJoined():
            return f"{row.requested_by} wants it closed too: {row.reason}."
        case rows.OpeningMeasured(cost=cost):
            return _cost(cost)
        case rows.FellBack():
            what = "opening" if row.purpose == "open" else "close"
            return f"The {what} goes on by {row.mode}: {row.reason}."
        case rows.SpreadCrossed():
            return f"Leg {row.leg_index} crosses the spread in chunk {row.chunk + 1}: {row.reason}."
        case rows.ChunkEnded():
            how = "complete" if row.complete else "not complete"
            what = "opening" if row.purpose == "open" else "close"
            return f"Chunk {row.chunk + 1} of {row.planned} of the {what} is {how}: {row.reason}."
        case rows.StopTriggered():
            return f"Order {row.client_order_id} is triggered, and in the book."
        case rows.RetryDropped():
            return f"Order {row.client_order_id} is not tried again: {row.reason}."
        case rows.CancelAwaited():
            return f"Order {row.client_order_id} is on its way, and cancelled once it has arrived: {row.reason}."
        case rows.AmendFailed():
            return f"Order {row.client_order_id} was not moved: {row.reason}."
        case rows.FillSeen(fill=fill):
            fee = "fee not told yet" if fill.fee_usd is None else f"fee {fill.fee_usd} USD"
            how = "taker" if fill.is_taker else "maker"
            return (
                f"Order {row.client_order_id} trades {fill.quantity} at {fill.price} as {how}, {fee}, "
                f"venue's trade {fill.venue_trade_id}."
            )
        case rows.FeeLearned():
            return f"The venue tells the fee of its trade {row.venue_trade_id}: {row.fee_usd} USD."
        case rows.DifferenceFound(difference=difference):
            return f"The comparison with the venue finds a {difference.kind.replace('_', ' ')}: {difference.detail}."
        case rows.FillAssumed():
            return (
                f"Order {row.client_order_id}: {row.filled_quantity} counts as filled at {row.average_price}, on the "
                "word of the order's state alone, as the venue lists no execution."
            )
        case RfqRequested() | RfqMoved() | QuotesJudged() | AcceptRequested() | RfqSighted():
            return rfq_text(row)
        case _:
            return _outside(row)


def _order_requested(row: rows.OrderRequested) -> str:
    if row.quote_id:
        return (
            f"Order {row.client_order_id} stands for leg {row.leg_index} of quote {row.quote_id}: {row.side} "
            f"{row.quantity} {row.symbol} at {row.price} to {row.purpose} it."
        )
    kind = ", reduce-only" if row.reduce_only else ""
    price = f"at {row.price}"
    if row.trigger_price is not None:
        price = f"{'at the market' if row.at_market else price} once {row.trigger_price} is reached"
    begins = "Found at the venue, order" if row.adopted else "Order"
    again = f" as attempt {row.attempt + 1}" if row.attempt else ""
    return (
        f"{begins} {row.client_order_id}{again}: {row.side} {row.quantity} {row.symbol} {price} to "
        f"{row.purpose} leg {row.leg_index}{kind} ({row.why})."
    )


def _market(row: rows.MarketNoted) -> str:
    """The arrival prices, leg by leg; nothing is told of the deltas between the fills of two legs."""
    if row.moment == "fill":
        return ""
    when = "The intent arrives" if row.moment == "open" else "The close begins"
    quotes = (
        "no fresh market"
        if quote is None
        else f"bid {_or_none(quote.bid)}, ask {_or_none(quote.ask)}, mark {_or_none(quote.mark)}"
        for quote in row.quotes
    )
    legs = "; ".join(f"leg {index} {text}" for index, text in enumerate(quotes))
    return f"{when} at {legs}."


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _opening(row: rows.TradeRequested) -> str:
    """Why and on what terms the trade is opened."""
    request, grant = row.request, row.request.grant
    legs = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in request.legs)
    sentences = [f"Intent {request.intent_id} of {request.strategy} is accepted: {legs}."]
    if request.entry_reasons:
        sentences.append(f"Its gates were open: {'; '.join(request.entry_reasons)}.")
    loss = (
        "without a bound on the loss"
        if grant.max_loss_usd is None
        else f"at most {grant.max_loss_usd:.2f} USD to lose"
    )
    worst = ", ".join(f"{leg.symbol} {leg.worst_price}" for leg in grant.legs)
    sentences.append(f"Risk granted {grant.margin_usd:.2f} USD of margin, {loss}, prices no worse than {worst}.")
    if request.rolled_from:
        sentences.append(f"It takes the place of trade {request.rolled_from}.")
    if request.price_limits:
        limits = ", ".join(
            f"{leg.symbol} {limit}" for leg, limit in zip(request.legs, request.price_limits, strict=True)
        )
        sentences.append(f"Its own limits of prices are {limits}.")
    profile = request.execution_params.profile
    by = f"{row.execution_mode}, profile {profile}" if profile else row.execution_mode
    why = f" ({row.choice.reason})" if row.choice is not None and request.execution_mode == "auto" else ""
    sentences.append(f"It is worked by {by}{why}, {request.policy.replace('_', ' ')}.")
    if row.choice is not None:
        sentences.append(_expectations(row.choice))
    return "\n".join(sentences)


def _expectations(choice: ModeChoice) -> str:
    """What each mode was expected to cost."""
    expected = []
    for cost in choice.costs:
        if cost.infeasible:
            continue
        if cost.total_usd is None or cost.fees_usd is None:
            expected.append(f"{cost.mode} unknown")
        else:
            expected.append(f"{cost.mode} {cost.total_usd:.2f} USD ({cost.fees_usd:.2f} of it fees)")
    return f"Expected to cost beyond the middle of the books: {', '.join(expected)}."


def _cost(cost: OpeningCost) -> str:
    fees = f"{cost.fees_usd:.2f} of it fees" + ("" if cost.fees_complete else ", not all told")
    told = f"The opening by {cost.mode} cost {cost.actual_usd:.2f} USD beyond the middle at arrival ({fees})"
    if cost.over_usd is None or cost.expected_usd is None:
        return f"{told}; no figure was expected."
    more = "more" if cost.over_usd >= 0 else "less"
    return f"{told}: {abs(cost.over_usd):.2f} USD {more} than the {cost.expected_usd:.2f} expected."


def _order_moved(row: rows.OrderMoved) -> str:
    order = f"Order {row.client_order_id}"
    match row.state:
        case "WORKING":
            named = "" if row.venue_order_id is None else f" as {row.venue_order_id}"
            return f"{order} is in the book{named}: {row.reason}."
        case "CANCELLING":
            return f"{order} is being cancelled: {row.reason}."
        case "CANCELLED":
            return f"{order} is cancelled: {row.reason}."
        case "FILLED":
            return f"{order} is done: {row.reason}."
        case "REFUSED":
            return f"The venue refuses order {row.client_order_id}: {row.reason}."
        case "UNKNOWN":
            return f"{order} has an unknown outcome: {row.reason}. It is looked for and not sent again."
        case "NEVER_PLACED":
            return f"{order} never reached the venue: {row.reason}."
        case "EXPIRED":
            return f"{order} ended with its option: {row.reason}."
        case "SENDING":
            return f"{order} is being sent: {row.reason}."


def _outside(row: rows.Row) -> str:
    """What happened to a leg by no order of the trade."""
    match row:
        case rows.LegClosedOutside(venue_trade_id=int() as number):
            return (
                f"A direct flatten closes {row.quantity} of leg {row.leg_index} at {row.price}, fee {row.fee_usd} "
                f"USD, venue's trade {number}."
            )
        case rows.LegClosedOutside():
            priced = "no mark is known" if row.price is None else f"booked at mark {row.price}"
            return f"{row.quantity} of leg {row.leg_index} is gone by no order of ours ({priced}): {row.reason}."
        case rows.CoinsLeft():
            return f"{row.quantity} coins of leg {row.leg_index} are left in the account: {row.reason}."
        case rows.FundingBooked():
            return (
                f"Funding of {row.quantity} of leg {row.leg_index} at a rate of {row.rate}: "
                f"{_word(row.received_usd)} {abs(row.received_usd)} USD."
            )
        case rows.LegSettled():
            flow = f"{_word(row.cash_flow_usd)} {abs(row.cash_flow_usd)} USD"
            return (
                f"The venue settles {row.quantity} of leg {row.leg_index} at {row.settlement_price}: {flow}, "
                f"delivery fee {row.fee_usd} USD."
            )
        case _:
            return type(row).__name__


def _word(cash_flow_usd: Decimal) -> str:
    return "paid" if cash_flow_usd < 0 else "received"
