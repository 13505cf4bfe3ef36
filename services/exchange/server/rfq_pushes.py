"""What the channels of requests for quote and block trades say, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from services.exchange.rfq_model import BlockTradeEvent, QuoteEvent, QuoteState, RequestEvent, RequestState, RfqEvent
from services.exchange.server.render_rfq import RfqRenderer

RfqImage = Literal["rfqMaker", "rfqTaker", "rfqQuote", "quoteReceived"]


class Push(msgspec.Struct, frozen=True):
    """One frame's data for one topic: `subject` is an account, or "" for all."""

    data_type: str
    subject: str
    data: dict[str, Any]
    at_ns: int


class RfqPushes:
    """Makers are the accounts with quote access; nobody is a maker towards its own requests."""

    def __init__(self, config: ExchangeConfig) -> None:
        self._render = RfqRenderer.of(config)
        self._makers = [each.account_id for each in config.accounts if "rfq_quotes" in each.rights]

    def of(self, event: RfqEvent) -> Iterator[Push]:
        """The frames of one event, in order."""
        match event:
            case RequestEvent(request=request):
                for maker in self._makers:
                    if maker != request.account_id:
                        state = self._render.state_for_maker(
                            request, quoted=maker in event.quoted, traded=maker == event.maker_id
                        )
                        data = self._render.request_push(request, state)
                        yield Push("rfqMaker", maker, data, request.updated_ns)
                data = self._render.request_push(request, request.state.value)
                yield Push("rfqTaker", request.account_id, data, request.updated_ns)
            case QuoteEvent(quote=quote, taker_id=taker_id):
                if quote.account_id is not None:
                    data = self._render.quote_push(quote, to_maker=True)
                    yield Push("rfqQuote", quote.account_id, data, quote.updated_ns)
                data = self._render.quote_push(quote, to_maker=False)
                yield Push("quoteReceived", taker_id, data, quote.updated_ns)
            case BlockTradeEvent(block=block):
                for account_id in dict.fromkeys((block.taker_id, block.maker_id)):
                    if account_id is not None:
                        data = self._render.private_push(block, account_id)
                        yield Push("blockTradeDetail", account_id, data, block.at_ns)
                yield Push("blockTradePublic", "", self._render.public_push(block), block.at_ns)

    def image(self, core: ExchangeCore, data_type: RfqImage, account_id: str) -> list[dict[str, Any]]:
        """What is open now, as a new follower of the channel may be told."""
        match data_type:
            case "rfqTaker":
                requests = core.rfq.requests(account_id)
            case "rfqMaker":
                requests = core.rfq.requests_of_others(account_id) if account_id in self._makers else []
            case "rfqQuote" | "quoteReceived":
                to_maker = data_type == "rfqQuote"
                quotes = core.rfq.quotes_given(account_id) if to_maker else core.rfq.quotes_received(account_id)
                return [
                    self._render.quote_push(quote, to_maker=to_maker)
                    for quote in quotes
                    if quote.state is QuoteState.OPEN
                ]
        return [
            self._render.request_push(request, request.state.value)
            for request in requests
            if request.state is RequestState.ACTIVE
        ]
