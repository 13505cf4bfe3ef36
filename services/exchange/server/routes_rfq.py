"""Requests for quote: the calls of takers and of makers, and the lists of block trades."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from services.exchange.model import Side
from services.exchange.rfq_model import (
    BlockTrade,
    CreateQuote,
    CreateRequest,
    LegPriced,
    LegWanted,
    QuoteState,
    RequestForQuote,
    RequestState,
    RfqQuote,
)
from services.exchange.server.api import Call, Endpoint
from services.exchange.server.errors import PARAMETER_EMPTY, PARAMETER_WRONG, QUANTITY_MISSING, URL_PATH, ApiError
from services.exchange.server.paging import DAY_MS, CursorPage, cursor_page, direction_of, page_size_of, time_range_of
from services.exchange.server.render_rfq import RfqRenderer
from services.exchange.server.wire import Fields

WINDOW_MS = 3 * DAY_MS
LEG_PAGE_MAX, TRADE_PAGE_MAX = 499, 49


def _render(call: Call) -> RfqRenderer:
    return RfqRenderer.of(call.venue.config)


def _legs(call: Call) -> list[Fields]:
    legs = call.body.get("legs")
    if not isinstance(legs, list) or not legs:
        raise ApiError(PARAMETER_EMPTY, "legs")
    if not all(isinstance(leg, dict) for leg in legs):
        raise ApiError(PARAMETER_WRONG, "legs")
    return [Fields(leg) for leg in legs]


def _side(text: str | None, name: str) -> Side:
    try:
        return Side[(text or "").upper()]
    except KeyError as error:
        raise ApiError(PARAMETER_WRONG, name) from error


# Takers.


def create_request(call: Call) -> Any:
    legs = tuple(
        LegWanted(leg.need_text("instrumentName"), _side(leg.need_text("side"), "side"), _quantity(leg))
        for leg in _legs(call)
    )
    command = CreateRequest(legs=legs, dealers_silent=call.dealers_silent, dealers_late_ms=call.dealers_late_ms)
    request = call.venue.execute(lambda core, now_ns: core.rfq.create(call.account_id, command, now_ns))
    return _render(call).created(request)


def _quantity(leg: Fields) -> Decimal:
    quantity = leg.decimal("qty")
    if quantity is None:
        raise ApiError(QUANTITY_MISSING)
    return quantity


def cancel_request(call: Call) -> Any:
    request_id = call.fields.need_integer("requestId")
    call.venue.execute(lambda core, now_ns: core.rfq.cancel(call.account_id, request_id, now_ns))
    return True


def quotes_received(call: Call) -> Any:
    quotes = call.core.rfq.quotes_received(call.account_id, call.fields.integer("requestId"))
    render = _render(call)
    return [render.quote_row(quote) for quote in quotes]


def accept(call: Call) -> Any:
    request_id, quote_id = call.fields.need_integer("requestId"), call.fields.need_integer("quoteId")
    block = call.venue.execute(lambda core, now_ns: core.rfq.accept(call.account_id, request_id, quote_id, now_ns))
    return _render(call).accepted(block)


# Both sides.


def rfq_list(call: Call) -> Any:
    """Own requests as TAKER, those of others as MAKER; accounts without quote access see no list, or their own."""
    is_maker = call.signer.rfq_quotes
    if not is_maker and call.venue.config.switches.rfq_list_without_access == "http_404":
        raise ApiError(URL_PATH)
    role = _word(call, "role", ("TAKER", "MAKER"))
    wanted = _word(call, "state", ("OPEN", "CLOSED"))
    request_id = call.fields.integer("requestId")
    span = time_range_of(call.fields, call.now_ms, call.now_ms - WINDOW_MS)
    render, rows = _render(call), []
    listed: list[tuple[RequestForQuote, str, str]] = []
    if role != "MAKER":
        listed += [(each, "TAKER", each.state.value) for each in call.core.rfq.requests(call.account_id)]
    if role != "TAKER" and is_maker:
        listed += [(each, "MAKER", _maker_state(call, each)) for each in _requests_of_others(call)]
    for request, as_role, state in sorted(listed, key=lambda row: row[0].request_id, reverse=True):
        is_open = request.state is RequestState.ACTIVE
        if wanted is not None and is_open is not (wanted == "OPEN"):
            continue
        created_ms = request.created_ns // 1_000_000
        if request_id is None and not span.start_ms <= created_ms <= span.end_ms:
            continue
        if request_id in (None, request.request_id):
            rows.append(render.request_row(request, as_role, state))
    return {"userId": render.id_of(call.signer.user_id), "rfqList": rows}


def _requests_of_others(call: Call) -> Sequence[RequestForQuote]:
    return call.core.rfq.requests_of_others(call.account_id)


def _maker_state(call: Call, request: RequestForQuote) -> str:
    own = [quote for quote in call.core.rfq.quotes_on(request.request_id) if quote.account_id == call.account_id]
    traded = any(quote.state is QuoteState.FILLED for quote in own)
    return _render(call).state_for_maker(request, quoted=bool(own), traded=traded)


def _word(call: Call, name: str, words: tuple[str, ...]) -> str | None:
    text = call.fields.text(name)
    if text is None:
        return None
    if text.upper() not in words:
        raise ApiError(PARAMETER_WRONG, name)
    return text.upper()


# Makers.


def create_quote(call: Call) -> Any:
    side = _side(call.fields.text("quoteSide") or "SELL", "quoteSide")
    command = CreateQuote(call.fields.need_integer("requestId"), side, tuple(_priced(leg) for leg in _legs(call)))
    quote = call.venue.execute(lambda core, now_ns: core.rfq.create_quote(call.account_id, command, now_ns))
    return _render(call).quote_created(quote)


def _priced(leg: Fields) -> LegPriced:
    price, side = leg.decimal("price"), leg.text("side")
    if price is None:
        raise ApiError(PARAMETER_EMPTY, "price")
    return LegPriced(
        symbol=leg.need_text("instrumentName"),
        price=price,
        side=None if side is None else _side(side, "side"),
        quantity=leg.decimal("quantity"),
    )


def cancel_quote(call: Call) -> Any:
    quote_id = call.fields.need_integer("quoteId")
    call.venue.execute(lambda core, now_ns: core.rfq.cancel_quote(call.account_id, quote_id, now_ns))
    return {"quoteId": _render(call).id_of(quote_id)}


def cancel_all_quotes(call: Call) -> Any:
    call.venue.run(lambda core, now_ns: core.rfq.cancel_quotes(call.account_id, now_ns))


def list_quotes(call: Call) -> Any:
    """The maker's own quotes, newest first, created in at most three days."""
    span = time_range_of(call.fields, call.now_ms, call.now_ms - WINDOW_MS)
    if span.end_ms - span.start_ms > WINDOW_MS:
        raise ApiError(PARAMETER_WRONG, "startTime")
    wanted = _word(call, "state", ("OPEN", "CLOSED"))
    quote_id, request_id = call.fields.integer("quoteId"), call.fields.integer("requestId")
    symbols = call.fields.text("symbol")
    indices = None if symbols is None else {text.strip() for text in symbols.split(",")}

    def is_listed(quote: RfqQuote) -> bool:
        is_open = quote.state is QuoteState.OPEN
        return (
            quote_id in (None, quote.quote_id)
            and request_id in (None, quote.request_id)
            and (wanted is None or is_open is (wanted == "OPEN"))
            and (indices is None or quote.legs[0].symbol.partition("-")[0] in indices)
            and span.start_ms <= quote.created_ns // 1_000_000 <= span.end_ms
        )

    render = _render(call)
    return [
        render.quote_row(each) for each in reversed(call.core.rfq.quotes_given(call.account_id)) if is_listed(each)
    ]


# Block trades.


def _page(call: Call, blocks: Sequence[BlockTrade], size_max: int, filter_name: str) -> CursorPage[BlockTrade]:
    """Block trades by `blocktradeId` and currency or index, newest first."""
    size = page_size_of(call.fields, size_max)
    block_id, wanted = call.fields.integer("blocktradeId"), call.fields.text(filter_name)
    if wanted is not None and filter_name == "currency":
        wanted = f"{wanted}USD"
    chosen = [
        block
        for block in blocks
        if block_id in (None, block.block_id)
        and (wanted is None or block.legs[0].symbol.partition("-")[0] == wanted.upper())
    ]
    from_id, direction = call.fields.integer("fromId"), direction_of(call.fields)
    return cursor_page(chosen, lambda block: block.block_id, from_id=from_id, page_size=size, direction=direction)


def order_list(call: Call) -> Any:
    """Legs of the account's block trades. A page has whole trades, as its cursor names trades: `pageSize` of them."""
    page = _page(call, call.core.rfq.blocks(call.account_id), LEG_PAGE_MAX, "currency")
    render = _render(call)
    rows = [row for block in page.items for row in render.order_rows(block, call.account_id)]
    return {"list": rows, "hasNext": page.has_next, "hasPrev": page.has_previous}


def private_trades(call: Call) -> Any:
    page = _page(call, call.core.rfq.blocks(call.account_id), TRADE_PAGE_MAX, "symbol")
    render = _render(call)
    rows = [render.private_trade(block, call.account_id) for block in page.items]
    return {"list": rows, "hasNext": page.has_next, "hasPrev": page.has_previous}


def public_trades(call: Call) -> Any:
    page = _page(call, call.core.rfq.blocks(), TRADE_PAGE_MAX, "symbol")
    render = _render(call)
    rows = [render.public_trade(block) for block in page.items]
    return {"list": rows, "hasNext": page.has_next, "hasPrev": page.has_previous}


def rfq_endpoints() -> list[Endpoint]:
    root = "/open/option/blocktrade"
    return [
        Endpoint("POST", f"{root}/request/create/v1", "trade", "rfq", create_request),
        Endpoint("POST", f"{root}/request/cancel/v1", "trade", "rfq", cancel_request, "ids"),
        Endpoint("GET", f"{root}/request/getQuotesReceived/v1", "read", "rfq", quotes_received),
        Endpoint("POST", f"{root}/request/accept/v1", "trade", "rfq", accept, "ids"),
        Endpoint("GET", f"{root}/rfqList/v1", "read", "rfq", rfq_list),
        Endpoint("POST", f"{root}/quote/create/v1", "rfq_quotes", "rfq_quotes", create_quote),
        Endpoint("POST", f"{root}/quote/cancel/v1", "rfq_quotes", "rfq_quotes", cancel_quote, "ids"),
        Endpoint("POST", f"{root}/quote/cancel-all/v1", "rfq_quotes", "cancel_rfq_quotes", cancel_all_quotes, "form"),
        Endpoint("GET", f"{root}/list-quote/v1", "rfq_quotes", "rfq", list_quotes),
        Endpoint("GET", f"{root}/orderList/v1", "read", "rfq", order_list),
        Endpoint("GET", f"{root}/trade-detail/private/v1", "read", "rfq", private_trades),
        Endpoint("GET", f"{root}/trade-detail/public/v1", "read", "rfq", public_trades),
    ]
