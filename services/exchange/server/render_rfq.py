"""Requests for quote, quotes and block trades in the venue's field names and wire types: amounts are text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.exchange.config import DealerConfig, ExchangeConfig
from services.exchange.model import Side
from services.exchange.rfq_model import (
    BlockLeg,
    BlockTrade,
    QuoteLeg,
    QuoteState,
    RequestForQuote,
    RequestState,
    RfqQuote,
)
from services.exchange.server.render_market import IV_DECIMALS, PRICE_DECIMALS, display_name, ms, rounded
from services.exchange.server.wire import number_text
from services.exchange.structures import SidedLeg, description_of, name_of, unit_quantity
from services.exchange.switches import Switches

QUOTE_TOKEN, TRADED_AWAY = "USDT", "TRADED_AWAY"
FIRST_DEALER_ID = 9_000_000_001
AMOUNT_DECIMALS, RATIO_DECIMALS = 8, 18


class RfqRenderer:
    """Renders as the switches say. `user_ids` are those of accounts; dealers have their own."""

    def __init__(self, switches: Switches, user_ids: Mapping[str, int], dealers: Sequence[DealerConfig]) -> None:
        self._switches = switches
        self._user_ids = user_ids
        self._dealer_ids = {dealer.name: FIRST_DEALER_ID + index for index, dealer in enumerate(dealers)}

    @classmethod
    def of(cls, config: ExchangeConfig) -> RfqRenderer:
        user_ids = {account.account_id: account.user_id for account in config.accounts}
        return cls(config.switches, user_ids, config.rfq.dealers)

    def id_of(self, number: int) -> str | int:
        """An id as the configuration says: text or integer."""
        return str(number) if self._switches.rfq_ids == "text" else number

    def _maybe(self, number: int | None) -> str | int | None:
        return None if number is None else self.id_of(number)

    # Requests.

    def state_for_maker(self, request: RequestForQuote, *, quoted: bool, traded: bool) -> str:
        """What a maker reads: FILLED where its own quote was accepted, TRADED_AWAY where another's was."""
        away = request.state is RequestState.FILLED and not traded
        told = quoted or self._switches.traded_away == "all"
        return TRADED_AWAY if away and told else request.state.value

    def created(self, request: RequestForQuote) -> dict[str, Any]:
        """The answer of request/create; `qty` is the name of the quantity here alone."""
        return {
            "requestId": self.id_of(request.request_id),
            "createTime": ms(request.created_ns),
            "expiryTime": ms(request.expires_ns),
            "legs": [
                {"instrumentName": leg.symbol, "qty": number_text(leg.quantity), "side": leg.side.name}
                for leg in request.legs
            ],
            "state": request.state.value,
        }

    def request_row(self, request: RequestForQuote, role: str, state: str) -> dict[str, Any]:
        """An item of rfqList."""
        return {
            "requestId": self.id_of(request.request_id),
            "state": state,
            "role": role,
            "createTime": ms(request.created_ns),
            "expiryTime": ms(request.expires_ns),
            "updateTime": ms(request.updated_ns),
            "legs": [
                {"instrumentName": leg.symbol, "side": leg.side.name, "quantity": number_text(leg.quantity)}
                for leg in request.legs
            ],
        }

    def request_push(self, request: RequestForQuote, state: str) -> dict[str, Any]:
        """The whole request; leg prices are the marks at its creation."""
        return {
            "requestId": self.id_of(request.request_id),
            "state": state,
            "createTime": ms(request.created_ns),
            "updateTime": ms(request.updated_ns),
            "expiryTime": ms(request.expires_ns),
            "legs": [
                {
                    "instrumentName": leg.symbol,
                    "side": leg.side.name,
                    "quantity": number_text(leg.quantity),
                    "price": _rounded_text(float(leg.mark), PRICE_DECIMALS),
                    "instrumentType": "OPTION",
                }
                for leg in request.legs
            ],
        }

    # Quotes.

    def quote_row(self, quote: RfqQuote) -> dict[str, Any]:
        """An item of getQuotesReceived and of list-quote."""
        return {
            "quoteId": self.id_of(quote.quote_id),
            "requestId": self.id_of(quote.request_id),
            "userId": self.id_of(self._maker_id(quote)),
            "state": self._quote_state(quote),
            "createTime": ms(quote.created_ns),
            "updateTime": ms(quote.updated_ns),
            "expiryTime": ms(quote.expires_ns),
            "quoteSide": quote.side.name,
            "legs": _quote_legs(quote.legs),
        }

    def quote_push(self, quote: RfqQuote, *, to_maker: bool) -> dict[str, Any]:
        """The same; the maker is not told the side, the taker not who the maker is."""
        row = self.quote_row(quote)
        del row["quoteSide" if to_maker else "userId"]
        return row

    def quote_created(self, quote: RfqQuote) -> dict[str, Any]:
        """The answer of quote/create, with the structure's name and ratios."""
        legs = [SidedLeg(leg.symbol, leg.side, leg.quantity) for leg in quote.legs]
        unit = unit_quantity([leg.quantity for leg in legs])
        as_text = self._switches.quote_create_ids == "text"
        return {
            "quoteId": str(quote.quote_id) if as_text else quote.quote_id,
            "requestId": str(quote.request_id) if as_text else quote.request_id,
            "createTime": ms(quote.created_ns),
            "updateTime": ms(quote.updated_ns),
            "expiryTime": ms(quote.expires_ns),
            "description": description_of(legs, self._switches),
            "strategyName": name_of(legs, self._switches),
            "strategyQuantity": self._scaled(unit, AMOUNT_DECIMALS),
            "strategyPrice": self._scaled(quote.strategy_price, AMOUNT_DECIMALS),
            "quoteSide": quote.side.name,
            "legs": [
                row | {"ratio": self._scaled(leg.quantity / unit, RATIO_DECIMALS)}
                for row, leg in zip(_quote_legs(quote.legs), quote.legs, strict=True)
            ],
        }

    # Block trades.

    def accepted(self, block: BlockTrade) -> dict[str, Any]:
        """The answer of request/accept."""
        return {
            "userId": None,
            "blockTradeId": self.id_of(block.block_id),
            "requestId": self._maybe(block.request_id),
            "quoteId": self.id_of(block.block_id),
            "role": "TAKER",
            "legs": [self._private_leg(block, leg, is_taker=True) for leg in block.legs],
        }

    def private_trade(self, block: BlockTrade, account_id: str) -> dict[str, Any]:
        """An item of the private list of trades, as the account sees it."""
        is_taker = account_id == block.taker_id
        return {
            "userId": self.id_of(self._user_ids[account_id]),
            "blockTradeId": self.id_of(block.block_id),
            "quoteId": self._maybe(block.quote_id),
            "role": "TAKER" if is_taker else "MAKER",
            **self._trade(block, is_taker=is_taker),
            "requestId": self._maybe(block.request_id),
            "legs": [self._private_leg(block, leg, is_taker=is_taker) | {"reduceOnly": None} for leg in block.legs],
        }

    def public_trade(self, block: BlockTrade) -> dict[str, Any]:
        """An item of the public list of trades: sides are the taker's."""
        legs = [self._public_leg(block, leg, is_taker=True) for leg in block.legs]
        return {**self._trade(block, is_taker=True), "requestId": self._maybe(block.request_id), "legs": legs}

    def private_push(self, block: BlockTrade, account_id: str) -> dict[str, Any]:
        """blockTradeDetail: ids are integers here."""
        is_taker = account_id == block.taker_id
        return {
            "blockTradeId": block.block_id,
            "quoteId": block.quote_id,
            "requestId": block.request_id,
            "userId": self._user_ids[account_id],
            "role": "TAKER" if is_taker else "MAKER",
            **self._trade(block, is_taker=is_taker),
            "legs": [self._private_leg(block, leg, is_taker=is_taker) for leg in block.legs],
        }

    def public_push(self, block: BlockTrade) -> dict[str, Any]:
        """blockTradePublic."""
        legs = [self._public_leg(block, leg, is_taker=True) for leg in block.legs]
        return {"requestId": block.request_id, **self._trade(block, is_taker=True), "legs": legs}

    def order_rows(self, block: BlockTrade, account_id: str) -> list[dict[str, Any]]:
        """The items of orderList: one flat leg each; `blocktradeId` and `qty` are the names here alone."""
        is_taker = account_id == block.taker_id
        rows = []
        for leg in block.legs:
            row = self._private_leg(block, leg, is_taker=is_taker)
            symbol, quantity = row.pop("instrumentName"), row.pop("quantity")
            rows.append(
                {
                    "blocktradeId": self.id_of(block.block_id),
                    "requestId": self._maybe(block.request_id),
                    "symbol": symbol,
                    "displayName": display_name(symbol),
                    "role": "TAKER" if is_taker else "MAKER",
                    "qty": quantity,
                    **row,
                }
            )
        return rows

    def _trade(self, block: BlockTrade, *, is_taker: bool) -> dict[str, Any]:
        """What every form of a trade has, from the view of one side."""
        legs = [SidedLeg(leg.symbol, _side(leg, is_taker), leg.quantity) for leg in block.legs]
        side = block.side if is_taker else block.side.opposite
        negated = side is Side.SELL and self._switches.sold_strategy_price == "negated"
        price = -block.strategy_price if negated else block.strategy_price
        return {
            "tradeSide": side.name,
            "strategyName": name_of(legs, self._switches),
            "description": description_of(legs, self._switches),
            "strategyPrice": self._scaled(price, AMOUNT_DECIMALS),
            "strategyQuantity": self._scaled(unit_quantity([leg.quantity for leg in legs]), AMOUNT_DECIMALS),
            "createTime": ms(block.at_ns),
        }

    def _private_leg(self, block: BlockTrade, leg: BlockLeg, *, is_taker: bool) -> dict[str, Any]:
        booking = leg.taker if is_taker else leg.maker
        assert booking is not None, f"block trade {block.block_id} has no maker among the accounts"
        return self._public_leg(block, leg, is_taker=is_taker) | {
            "fee": number_text(booking.fee),
            "profit": number_text(booking.profit),
            "orderId": self.id_of(booking.order_id),
        }

    def _public_leg(self, block: BlockTrade, leg: BlockLeg, *, is_taker: bool) -> dict[str, Any]:
        return {
            "instrumentName": leg.symbol,
            "baseToken": leg.symbol.partition("USD-")[0],
            "quoteToken": QUOTE_TOKEN,
            "side": _side(leg, is_taker).name,
            "price": number_text(leg.price),
            "quantity": number_text(leg.quantity),
            "iv": _rounded_text(leg.iv or 0.0, IV_DECIMALS),
            "markPrice": _rounded_text(leg.mark_price, PRICE_DECIMALS),
            "indexPrice": number_text(leg.index_price),
            "tradeId": self.id_of(leg.trade_id),
            "createTime": ms(block.at_ns),
        }

    def _scaled(self, value: Decimal, decimals: int) -> str:
        fixed = self._switches.rfq_scale == "fixed"
        return number_text(value.quantize(Decimal(1).scaleb(-decimals)) if fixed else value.normalize())

    def _quote_state(self, quote: RfqQuote) -> str:
        expired = quote.state is QuoteState.EXPIRED
        return self._switches.expired_quote_state if expired else quote.state.value

    def _maker_id(self, quote: RfqQuote) -> int:
        if quote.account_id is not None:
            return self._user_ids[quote.account_id]
        # A dealer that the configuration no longer has may still have quotes on disk.
        return self._dealer_ids.get(quote.dealer, FIRST_DEALER_ID - 1)


def _quote_legs(legs: Iterable[QuoteLeg]) -> list[dict[str, Any]]:
    return [
        {
            "instrumentName": leg.symbol,
            "side": leg.side.name,
            "price": number_text(leg.price),
            "quantity": number_text(leg.quantity),
        }
        for leg in legs
    ]


def _side(leg: BlockLeg, is_taker: bool) -> Side:
    return leg.side if is_taker else leg.side.opposite


def _rounded_text(value: float, decimals: int) -> str:
    return number_text(Decimal(repr(rounded(value, decimals))))
