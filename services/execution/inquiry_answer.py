"""What comes of an inquiry: the request that makers see, and their quotes by direction against book and mark."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from services.execution.inquiries import Inquiry
from services.execution.market import MarketView
from shared.messages.base import Side, opposite
from shared.messages.inquiries import SideQuote, SideQuotes, StructureQuotes
from shared.messages.rfq import RfqLeg, VenueQuote
from shared.messages.trades import LegOrder
from shared.options.comparison import LegMarket, StructureLeg, compare, is_buying, signed_cost, yardstick


def request_legs(legs: tuple[LegOrder, ...]) -> tuple[RfqLeg, ...]:
    """The legs as makers are asked. A structure that only sells is asked for the other way round: makers quote both
    ways, and the venue was seen to want a buyer."""
    turned = all(leg.side == "sell" for leg in legs)
    return tuple(
        RfqLeg(symbol=leg.symbol, side=opposite(leg.side) if turned else leg.side, quantity=leg.quantity)
        for leg in legs
    )


def answer_of(
    inquiry: Inquiry, quotes: list[VenueQuote], market: MarketView, now_ns: int, account_id: str, reason: str
) -> StructureQuotes:
    """The open quotes by direction, each against the book and the marks of this moment."""
    open_quotes = [quote for quote in quotes if quote.state == "open" and quote.expiry_ns > now_ns]
    if not reason and not open_quotes:
        reason = f"no maker quoted within {inquiry.collect_s:g} s"
    sides, unusable = sides_of(inquiry.legs, open_quotes, markets_of(inquiry.legs, market, now_ns))
    return StructureQuotes(
        inquiry_id=inquiry.inquiry_id,
        account_id=account_id,
        request_id=inquiry.request_id,
        legs=inquiry.legs,
        requested_by=inquiry.requested_by,
        asked_ns=inquiry.asked_ns,
        answered_ns=now_ns,
        sides=sides,
        unusable=len(unusable),
        reason=reason,
    )


def sides_of(
    legs: tuple[LegOrder, ...], quotes: list[VenueQuote], markets: Mapping[str, LegMarket]
) -> tuple[tuple[SideQuotes, SideQuotes], list[VenueQuote]]:
    """The quotes by direction, "buy" and "sell", each against the market; and those for other legs or quantities."""
    by_action: dict[Side, list[VenueQuote]] = {"buy": [], "sell": []}
    others: list[VenueQuote] = []
    for quote in quotes:
        action = _action_of(legs, quote)
        (others if action is None else by_action[action]).append(quote)
    structure = [StructureLeg(leg.symbol, leg.side, leg.quantity) for leg in legs]
    buy, sell = (_side(each, structure, by_action[each], markets) for each in by_action)
    return (buy, sell), others


def _action_of(legs: tuple[LegOrder, ...], quote: VenueQuote) -> Side | None:
    """What accepting the quote would do with the structure as it was asked for; None when it does not fit.

    The sides of a quote are the maker's: who sells us every leg that we would buy lets us buy the structure.
    """
    theirs = {leg.symbol: (leg.side, leg.quantity) for leg in quote.legs}
    if len(theirs) != len(quote.legs) or any(leg.price <= 0 for leg in quote.legs):
        return None
    for action in ("buy", "sell"):
        side: Side = "buy" if action == "buy" else "sell"
        ours = {leg.symbol: ("sell" if is_buying(leg.side, side) else "buy", leg.quantity) for leg in legs}
        if ours == theirs:
            return side
    return None


def markets_of(legs: tuple[LegOrder, ...], market: MarketView, now_ns: int) -> dict[str, LegMarket]:
    """The fresh market of each leg that has one."""
    markets = {}
    for leg in legs:
        instrument = market.instrument(leg.symbol)
        if instrument is not None and market.quote(instrument, now_ns) is not None:
            markets[leg.symbol] = market.leg_market(instrument, leg.quantity, now_ns)
    return markets


def _side(
    action: Side, legs: list[StructureLeg], quotes: list[VenueQuote], markets: Mapping[str, LegMarket]
) -> SideQuotes:
    measure = yardstick(legs, action, markets)
    found = []
    for quote in quotes:
        prices: dict[str, Decimal] = {leg.symbol: leg.price for leg in quote.legs}
        compared = compare(signed_cost(legs, action, prices), measure)
        found.append(
            SideQuote(
                quote_id=quote.quote_id,
                prices=tuple(prices[leg.symbol] for leg in legs),
                cost_usd=compared.cost_usd,
                basis=compared.basis,
                improvement_usd=compared.improvement_usd,
                improvement_pct=compared.improvement_pct,
                over_mark_usd=compared.over_mark_usd,
                over_mark_pct=compared.over_mark_pct,
                expiry_ns=quote.expiry_ns,
            )
        )
    return SideQuotes(
        action=action,
        book_cost_usd=measure.book_cost_usd,
        mark_cost_usd=measure.mark_cost_usd,
        shallow=measure.shallow,
        quotes=tuple(sorted(found, key=lambda quote: quote.cost_usd)),
    )
