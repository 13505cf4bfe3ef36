"""What must hold of coins of spot that trades buy and sell: they are kept apart from the account's own."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from services.exchange import model as ex
from services.execution.book import Book
from shared.ids import parse_client_order_id, trade_id
from shared.options.instruments import base_of
from world.venue import Venue
from world.violations import Violation

ZERO = Decimal(0)


def coins_of_trades(venue: Venue, desk_number: int) -> dict[tuple[str, int], Decimal]:
    """By trade and leg, what it bought of coins, less what it sold of them and what the venue kept as its fee."""
    held: dict[tuple[str, int], Decimal] = {}
    for fill in venue.cash.fills_of_trades():
        key = parse_client_order_id(fill.client_order_id or 0, desk_number)
        assert key is not None, fill
        place = (trade_id(key.trade_number), key.leg_index)
        held[place] = held.get(place, ZERO) + received(fill)
    return held


def received(fill: ex.Fill) -> Decimal:
    """What an execution of spot brought in coins, below 0 for those that were sold."""
    fee = ZERO if fill.fee_coin == "USDT" else fill.fee
    return fill.side.sign * fill.quantity - fee


def coin_violations(venue: Venue, desk_number: int) -> Iterator[Violation]:
    """At any moment: a trade sold more coins than it had, which were the account's or another trade's."""
    for (name, leg_index), held in coins_of_trades(venue, desk_number).items():
        if held < 0:
            yield Violation("coins_are_own", f"{name} leg {leg_index} sold {-held} coins more than it had")


def coins_at_rest(venue: Venue, book: Book, desk_number: int) -> Iterator[Violation]:
    """Of trades that have ended: coins that could have been sold; and coins of the account that nothing explains."""
    outside: dict[str, Decimal] = {}
    for (name, leg_index), of_fills in coins_of_trades(venue, desk_number).items():
        trade = book.trades.get(name)
        if trade is None:
            yield Violation("coins_sold", f"{name} has {of_fills} coins at the venue and is in no journal")
            continue
        leg = trade.legs[leg_index]
        outside[leg.symbol] = outside.get(leg.symbol, ZERO) + leg.outside_quantity
        held = of_fills - leg.outside_quantity
        if trade.is_final and held >= leg.instrument.min_quantity:
            yield Violation("coins_sold", f"{name} is {trade.state} and did not sell {held} {leg.symbol}")
        booked = leg.held_quantity + leg.fee_quantity + leg.left_quantity - leg.fee_coins
        if held != booked:
            text = f"{name} leg {leg_index}: {booked} {leg.symbol} by its books, {held} at the venue"
            yield Violation("coins_equal", text)
    own = venue.config.accounts[0].initial_assets
    for symbol, quantity in outside.items():
        sold = venue.cash.sold_foreign(symbol)
        most = max(ZERO, sold - own.get(base_of(symbol), ZERO))
        if quantity > most:
            text = f"trades miss {quantity} {symbol}; of {sold} that somebody else sold, {most} were theirs"
            yield Violation("coins_equal", text)
    fills = [*venue.cash.fills_of_trades(), *venue.cash.fills()]
    for coin in sorted({base_of(fill.symbol) for fill in fills} | own.keys()):
        there = own.get(coin, ZERO)
        moved = sum((received(fill) for fill in fills if base_of(fill.symbol) == coin), ZERO)
        if venue.cash.coins(coin) != there + moved:
            text = f"the account has {venue.cash.coins(coin)} {coin}, {there} from before and {moved} traded"
            yield Violation("coins_equal", text)
