"""Block trades by code: one account offers legs at prices, whoever is told the code takes the other role, once."""

from services.exchange.accounts import ExchangeState
from services.exchange.blocks import Blocks, Deal
from services.exchange.checks import price_refusal, quantity_refusal
from services.exchange.config import ExchangeConfig
from services.exchange.model import Rejection
from services.exchange.rfq_model import BlockOffer, BlockResult, BlockTradeEvent, OfferLeg, OfferResult, Role
from services.exchange.rows import BlockOffered
from services.exchange.settlement import SUSPENDED_BEFORE_EXPIRY_NS
from services.exchange.structures import SidedLeg, structure_side
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation

NS_PER_MS = 1_000_000


class BlockCodes:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation, blocks: Blocks) -> None:
        self._config = config
        self._state = state
        self._valuation = valuation
        self._blocks = blocks

    def offer(self, account_id: str, role: Role, legs: tuple[OfferLeg, ...], transaction: Transaction) -> OfferResult:
        """Offer a trade; the account's margin is looked at when it is accepted."""
        rejection = self._legs_refusal(legs, transaction.now_ns)
        if rejection is not None:
            return rejection
        own = [offer for offer in self._state.rfq.offers.values() if offer.account_id == account_id]
        if len(own) >= self._config.rfq.active_requests_max:
            return Rejection(10552, f"operation failed: {len(own)} codes are not used yet, let them expire")
        offer = BlockOffer(
            offer_id=transaction.next_id(),
            account_id=account_id,
            role=role,
            legs=legs,
            created_ns=transaction.now_ns,
            expires_ns=transaction.now_ns + self._config.rfq.code_life_ms * NS_PER_MS,
        )
        transaction.commit(BlockOffered(offer=offer, at_ns=transaction.now_ns))
        return offer

    def accept(self, account_id: str, role: Role, offer_id: int, transaction: Transaction) -> BlockResult:
        """Trade what was offered, all legs or nothing."""
        offer = self._state.rfq.offers.get(offer_id)
        if offer is None or offer.expires_ns <= transaction.now_ns:
            return Rejection(10592, "the key does not exist: it is unknown, was used or has expired")
        if offer.role == role:
            return Rejection(10571, f"parameter role does not match: who offered it is the {role.lower()} already")
        if offer.account_id == account_id and not self._config.switches.block_with_oneself:
            return Rejection(10001, "the key is your own: a block trade needs two accounts")
        rejection = self._legs_refusal(offer.legs, transaction.now_ns)
        if rejection is not None:
            return rejection
        takes = role == "TAKER"
        legs = [SidedLeg(leg.symbol, leg.side.opposite if takes else leg.side, leg.quantity) for leg in offer.legs]
        deal = Deal(
            block_id=offer_id,
            request_id=None,
            taker_id=account_id if takes else offer.account_id,
            maker_id=offer.account_id if takes else account_id,
            legs=legs,
            prices=[leg.price for leg in offer.legs],
            side=structure_side(leg.side for leg in legs),
        )
        rejection = self._blocks.refusal(deal.taker_id, legs, deal.prices, deal.side, is_taker=True)
        if rejection is None and deal.maker_id is not None:
            mirrored = [leg._replace(side=leg.side.opposite) for leg in legs]
            rejection = self._blocks.refusal(deal.maker_id, mirrored, deal.prices, deal.side.opposite, is_taker=False)
        if rejection is not None:
            return rejection
        block = self._blocks.execute(deal, transaction)
        transaction.events.append(BlockTradeEvent(block))
        return block

    def _legs_refusal(self, legs: tuple[OfferLeg, ...], now_ns: int) -> Rejection | None:
        """The first thing that is wrong with the legs of an offer."""
        if not legs:
            return Rejection(10570, "parameter orderList can not be empty: a block trade has at least one leg")
        if len(legs) > self._config.switches.rfq_legs_max:
            return Rejection(10572, "parameter orderList count exceeds the limit")
        if len({leg.symbol for leg in legs}) < len(legs):
            return Rejection(10573, "parameter orderList error: an option may stand in one leg only")
        for leg in legs:
            found = self._valuation.option(leg.symbol)
            if found is None:
                return Rejection(10574, f"instrument {leg.symbol} does not exist: use a listed symbolName")
            market, option, _ = found
            if now_ns >= option.expiry_ns - SUSPENDED_BEFORE_EXPIRY_NS:
                text = f"trading in {leg.symbol} is suspended in the 15 minutes before its expiry"
                return Rejection(self._config.switches.suspended_code, text)
            rejection = quantity_refusal(option, leg.quantity, market.config.max_order_quantity)
            rejection = rejection or price_refusal(option, leg.price)
            if rejection is not None:
                return rejection
        return None
