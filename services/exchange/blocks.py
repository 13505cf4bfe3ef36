"""Block trades: what was agreed becomes orders, fills and fees of both sides, in one piece or not at all."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.exchange.accounts import ZERO, ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.fees import block_fee, block_rate
from services.exchange.model import (
    MarketTrade,
    Order,
    OrderState,
    OrderType,
    Rejection,
    SelfTradePrevention,
    Side,
)
from services.exchange.rfq_model import BlockLeg, BlockTrade, LegBooking
from services.exchange.rows import BlockTraded
from services.exchange.structures import SidedLeg, net_price
from services.exchange.transaction import LegFee, Transaction
from services.exchange.valuation import Valuation


class Deal(NamedTuple):
    """What is to be traded: the taker's legs and prices, and its side of the structure. Without a `maker_id` a dealer
    is the maker; `request_id` is None where two accounts agreed between themselves."""

    block_id: int
    request_id: int | None
    taker_id: str
    maker_id: str | None
    legs: Sequence[SidedLeg]
    prices: Sequence[Decimal]
    side: Side


class Blocks:
    """Checks and carries out; every change goes through the transaction that is passed in."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation) -> None:
        self._config = config
        self._state = state
        self._valuation = valuation

    def refusal(
        self, account_id: str, legs: Sequence[SidedLeg], prices: Sequence[Decimal], side: Side, *, is_taker: bool
    ) -> Rejection | None:
        """Why an account may not trade these legs, with its own sides and `side` its side of the structure."""
        moves: dict[str, Decimal] = {}
        cash = ZERO
        for leg, price in zip(legs, prices, strict=True):
            moves[leg.symbol] = moves.get(leg.symbol, ZERO) + leg.side.sign * leg.quantity
            cash -= leg.side.sign * leg.quantity * price + self._fee(leg, price, side, is_taker=is_taker).amount
        for symbol, quantity in moves.items():
            market = self._valuation.market_of(symbol)
            assert market is not None, symbol
            before, most = self._state.position(account_id, symbol), market.config.max_position_quantity
            after = abs(before + quantity)
            if after > most and after > abs(before):
                return Rejection(10534, f"the trade would lead to a position of {after} in {symbol}: at most {most}")
        available = self._valuation.summary(account_id).available
        left = self._valuation.available_after(account_id, moves, cash)
        if left < 0 and left < available:
            needed = available - left
            return Rejection(
                10529, f"insufficient available balance: the trade needs {needed:.2f}, available {available:.2f}"
            )
        return None

    def execute(self, deal: Deal, transaction: Transaction) -> BlockTrade:
        """Trade every leg at its price."""
        block = BlockTrade(
            block_id=deal.block_id,
            request_id=deal.request_id,
            taker_id=deal.taker_id,
            maker_id=deal.maker_id,
            side=deal.side,
            strategy_price=net_price(deal.legs, deal.prices, deal.side),
            legs=tuple(
                self._trade_leg(deal, leg, price, transaction)
                for leg, price in zip(deal.legs, deal.prices, strict=True)
            ),
            at_ns=transaction.now_ns,
        )
        transaction.commit(BlockTraded(block=block, at_ns=transaction.now_ns))
        transaction.prune_reduce_only()
        return block

    def _trade_leg(self, deal: Deal, leg: SidedLeg, price: Decimal, transaction: Transaction) -> BlockLeg:
        orders = [self._order(deal.taker_id, leg, price, transaction.next_id(), transaction.now_ns)]
        fees = [self._fee(leg, price, deal.side, is_taker=True)]
        if deal.maker_id is not None:
            mirrored = leg._replace(side=leg.side.opposite)
            orders.append(self._order(deal.maker_id, mirrored, price, orders[0].order_id + 1, transaction.now_ns))
            fees.append(self._fee(mirrored, price, deal.side.opposite, is_taker=False))
        # Neither order is in the fold yet: the trade's id follows theirs.
        trade_id = orders[-1].order_id + 1
        trade = MarketTrade(trade_id, leg.symbol, leg.side, price, leg.quantity, transaction.now_ns)
        booked = transaction.trade_block(orders, trade, fees)
        bookings = [LegBooking(fill.order_id, fill.fee, profit) for fill, profit in booked]
        fill = booked[0][0]
        return BlockLeg(
            symbol=leg.symbol,
            side=leg.side,
            quantity=leg.quantity,
            price=price,
            iv=fill.iv,
            mark_price=fill.mark_price,
            index_price=fill.index_price,
            trade_id=trade_id,
            taker=bookings[0],
            maker=bookings[1] if deal.maker_id is not None else None,
        )

    def _fee(self, leg: SidedLeg, price: Decimal, structure_side: Side, *, is_taker: bool) -> LegFee:
        """Of a leg as its account sees it: charged where its side is the structure's, or everywhere."""
        fees = self._config.fees
        if self._config.switches.block_fee_legs == "trade_side" and leg.side is not structure_side:
            return LegFee(ZERO, ZERO)
        market = self._valuation.market_of(leg.symbol)
        assert market is not None, leg.symbol
        amount = block_fee(fees, leg.quantity, price, market.index_price, is_taker=is_taker)
        return LegFee(amount, block_rate(fees, is_taker=is_taker))

    def _order(self, account_id: str, leg: SidedLeg, price: Decimal, order_id: int, now_ns: int) -> Order:
        own_id = self._config.switches.report_client_order_id == "order_id"
        return Order(
            order_id=order_id,
            client_order_id=order_id if own_id else None,
            account_id=account_id,
            symbol=leg.symbol,
            side=leg.side,
            order_type=OrderType.BLOCK_TRADE,
            time_in_force="GTC",
            quantity=leg.quantity,
            price=price,
            reduce_only=False,
            stp=SelfTradePrevention.DEFAULT,
            mmp=False,
            state=OrderState.NEW,
            filled=ZERO,
            filled_value=ZERO,
            fee=ZERO,
            realised_pnl=ZERO,
            priority=order_id,
            created_ns=now_ns,
            updated_ns=now_ns,
        )
