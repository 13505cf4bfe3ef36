"""The venue's payloads as recorded, and the ways in which it writes the same thing differently."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.messages.venue import VenueFill, VenueOrder, VenueTransfer
from shared.venues.coincall import parse, parse_futures, wire
from shared.venues.coincall.parse import ParseError

ORDER_ID = 2075207494989787138
OURS = 7530219456123456789
CALL = "BTCUSD-26JUN26-100000-C"


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def order_row(**changes: Any) -> bytes:
    row: dict[str, Any] = {
        "orderId": ORDER_ID,
        "clientOrderId": OURS,
        "symbol": CALL,
        "displayName": "BTC-26JUN26-100000-C",
        "qty": 0.5,
        "remainQty": 0.3,
        "fillQty": 0.2,
        "price": 1250.5,
        "avgPrice": 1250,
        "tradeSide": 1,
        "tradeType": 1,
        "createTime": 1783602996000,
        "updateTime": 1783602996739,
        "reduceOnly": 0,
        "fee": 0.01,
        "mmp": False,
        "state": 2,
    }
    return encode({**row, **changes})


PARTIAL_FRAME = (
    b'{"dt":11,"c":20,"d":{"oid":2075207494989787138,"coid":7530219456123456789,"uid":"8095151726",'
    b'"s":"BTCUSD-26JUN26-100000-C","q":"0.5","pr":"1250","fq":"0.2","rq":"0.3","mpr":"1250","mq":"0.2",'
    b'"ap":"1250","si":1,"ty":1,"ct":1783602996000,"ts":1783602996739,"ro":0,"it":0,"os":2,"tif":0}}'
)


def order_frame(**changes: Any) -> bytes:
    frame = msgspec.json.decode(PARTIAL_FRAME)["d"]
    return encode({name: value for name, value in {**frame, **changes}.items() if value != "absent"})


def test_a_single_query_row_becomes_an_order_in_our_words() -> None:
    assert parse.parse_order(order_row()) == VenueOrder(
        venue_order_id=ORDER_ID,
        client_order_id=OURS,
        symbol=CALL,
        side="buy",
        quantity=Decimal("0.5"),
        filled_quantity=Decimal("0.2"),
        price=Decimal("1250.5"),
        average_price=Decimal(1250),
        state="partial",
        reduce_only=False,
        created_ns=1783602996000 * 10**6,
        updated_ns=1783602996739 * 10**6,
    )


def test_numbers_as_strings_and_ids_as_strings_are_the_same_order() -> None:
    as_text = order_row(
        orderId=str(ORDER_ID), clientOrderId=str(OURS), qty="0.50000000", fillQty="0.2", price="1250.5", state="2"
    )
    assert parse.parse_order(as_text) == parse.parse_order(order_row())


def test_ids_beyond_2_to_the_53_keep_every_digit() -> None:
    assert parse.parse_order(order_row(orderId=9007199254740993, clientOrderId=9223372036854775807)) == (
        msgspec.structs.replace(
            parse.parse_order(order_row()), venue_order_id=9007199254740993, client_order_id=9223372036854775807
        )
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (OURS, OURS),
        (str(OURS), OURS),
        (ORDER_ID, None),
        (str(ORDER_ID), None),
        ("abc", None),
        ("", None),
        (None, None),
    ],
)
def test_a_client_id_that_is_absent_foreign_text_or_the_venues_own_is_none(given: Any, expected: int | None) -> None:
    assert parse.parse_order(order_row(clientOrderId=given)).client_order_id == expected


@pytest.mark.parametrize(
    ("code", "filled", "state"),
    [
        (-10, "0", "invalid"),
        (-1, "0", "new"),
        (0, "0", "new"),
        (0, "0.1", "partial"),
        (1, "0.5", "filled"),
        (2, "0.1", "partial"),
        (3, "0", "cancelled"),
        (3, "0.2", "cancelled"),
        (4, "0", "new"),
        (5, "0.2", "partial"),
        (6, "0", "invalid"),
        (10, "0.2", "exercised"),
    ],
)
def test_every_state_of_the_reference_is_mapped(code: int, filled: str, state: str) -> None:
    order = parse.parse_order(order_row(state=code, fillQty=filled))
    assert (order.state, order.filled_quantity) == (state, Decimal(filled))


@pytest.mark.parametrize("changes", [{"state": 77}, {"tradeSide": 3}, {"state": None}, {"qty": None}, {"qty": "NaN"}])
def test_an_order_that_cannot_be_understood_is_an_error_not_a_guess(changes: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        parse.parse_order(order_row(**changes))


def test_an_open_order_has_no_state_and_takes_it_from_its_fills() -> None:
    row = msgspec.json.decode(order_row())
    del row["state"], row["updateTime"]
    assert parse.parse_order(encode(row), open_order=True).state == "partial"
    resting = parse.parse_order(encode({**row, "fillQty": 0, "avgPrice": None}), open_order=True)
    assert (resting.state, resting.average_price, resting.updated_ns) == ("new", None, 1783602996000 * 10**6)


def test_a_pushed_partial_fill_shows_the_accumulated_quantity() -> None:
    order = parse.parse_order_frame(msgspec.json.decode(PARTIAL_FRAME, type=wire.Frame).d)
    assert (order.state, order.filled_quantity, order.client_order_id) == ("partial", Decimal("0.2"), OURS)
    assert order.updated_ns == 1783602996739 * 10**6


def test_a_new_order_is_pushed_without_quantities_filled() -> None:
    order = parse.parse_order_frame(order_frame(os=0, fq="absent", rq="absent", mq="absent", ap="absent"))
    assert (order.state, order.filled_quantity, order.average_price) == ("new", Decimal(0), None)


def test_a_filled_push_with_the_documented_wrong_quantities_counts_as_all_filled() -> None:
    order = parse.parse_order_frame(order_frame(os=1, rq="0.5", fq="0"))
    assert (order.state, order.filled_quantity) == ("filled", Decimal("0.5"))


def test_an_order_made_smaller_than_what_is_filled_keeps_what_is_filled() -> None:
    """It becomes FILLED then (reference, 11.10)."""
    order = parse.parse_order_frame(order_frame(os=1, q="0.1", fq="0.2", rq="0", mq="0.2"))
    assert (order.state, order.filled_quantity) == ("filled", Decimal("0.2"))


@pytest.mark.parametrize("trigger", [None, 0, Decimal("0E-8"), "0"])
def test_an_open_futures_order_without_a_trigger_is_no_stop_however_its_absence_is_written(trigger: Any) -> None:
    row = {
        "id": ORDER_ID,
        "orderId": ORDER_ID,
        "clientOrderId": OURS,
        "symbol": "BTCUSD",
        "qty": 0.5,
        "remainQty": 0.5,
        "fillQty": 0,
        "price": 62000.0,
        "avgPrice": Decimal("0E-8"),
        "initMargin": 310.0,
        "tradeSide": 1,
        "tradeType": 1,
        "createTime": 1783602996000,
        "reduceOnly": 0,
        "leverage": 100,
        "expression": None,
        "triggerPrice": trigger,
        "timeInForce": "GTC",
    }
    order = parse.parse_order(encode(row), open_order=True)
    assert (order.state, order.trigger_price, order.average_price) == ("new", None, None)
    waiting = parse.parse_order(encode({**row, "tradeType": 4, "triggerPrice": 61000.0}), open_order=True)
    assert (waiting.state, waiting.trigger_price) == ("waiting", Decimal(61000))


def test_a_market_order_by_hand_that_has_no_price_does_not_hide_the_others() -> None:
    """A market order must carry none (code 12013), and the venue writes null for what is not there."""
    row = {"orderId": ORDER_ID, "symbol": "BTCUSD", "qty": 0.5, "fillQty": 0.5, "price": None, "avgPrice": 62000.0}
    row |= {"tradeSide": 1, "tradeType": 2, "createTime": 1783602996000, "state": 1, "reduceOnly": 0}
    order = parse.parse_order(encode(row))
    assert (order.state, order.price, order.average_price) == ("filled", Decimal(0), Decimal(62000))
    pushed = parse.parse_order_frame(order_frame(os=1, pr=None, ty=2, fq="0.5", rq="0"))
    assert (pushed.state, pushed.price) == ("filled", Decimal(0))


def test_a_cancelled_push_keeps_what_was_filled_before() -> None:
    order = parse.parse_order_frame(order_frame(os=3, fq="0.2", cq="0.3", rq="absent", mq="absent"))
    assert (order.state, order.filled_quantity) == ("cancelled", Decimal("0.2"))


def test_a_push_with_a_quantity_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ParseError):
        parse.parse_order_frame(order_frame(mq="NaN"))


TRADE = {
    "symbol": CALL,
    "orderId": str(ORDER_ID),
    "clientOrderId": str(OURS),
    "tradeId": "2075207494989787999",
    "orderSide": "2",
    "matchPrice": "1250.5",
    "matchQty": "0.20",
    "matchValue": "250.1",
    "remainQty": "0.3",
    "isTaker": "1",
    "feeRate": "-0.0006",
    "tradeTime": "1783602996739",
}


def test_a_pushed_trade_is_a_fill_without_a_fee() -> None:
    assert parse.parse_trade_frame(encode(TRADE)) == VenueFill(
        venue_trade_id=2075207494989787999,
        venue_order_id=ORDER_ID,
        client_order_id=OURS,
        symbol=CALL,
        side="sell",
        quantity=Decimal("0.2"),
        price=Decimal("1250.5"),
        fee_usd=None,
        is_taker=True,
        venue_ns=1783602996739 * 10**6,
    )


def test_a_fill_of_the_history_has_its_fee_and_is_the_same_trade_as_the_pushed_one() -> None:
    row = {
        "id": 1,
        "optionId": None,
        "symbol": CALL,
        "tradeSide": 2,
        "tradeType": 14,
        "price": 1250.5,
        "qty": 0.2,
        "iv": 0.6,
        "orderId": ORDER_ID,
        "tradeId": 2075207494989787999,
        "fee": 1.0e-4,
        "time": 1783602996739,
        "isTaker": 1,
    }
    fill = parse.parse_fill(encode(row))
    pushed = parse.parse_trade_frame(encode(TRADE))
    told = msgspec.structs.replace(pushed, fee_usd=Decimal("0.0001"), client_order_id=None)
    assert fill == msgspec.structs.replace(told, is_block=True), "trade type 14 is a block trade"
    assert parse.parse_fill(encode({**row, "tradeType": 1})) == told


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("0E-8", "0"),
        ("1.0E-4", "0.0001"),
        ("0.50000000", "0.5"),
        ("1E+3", "1000"),
        ("2095.6", "2095.6"),
        ("-0.10", "-0.1"),
    ],
)
def test_scientific_notation_and_trailing_zeros_become_plain(text: str, plain: str) -> None:
    assert str(parse.exact(Decimal(text))) == plain


def test_money_keeps_the_digits_that_a_double_would_lose() -> None:
    data = b'{"equity":"12345678901234567.123456789","availableMargin":0.1,"imAmount":"0E-8","mmAmount":1.0E-4}'
    account = parse.parse_account(data)
    assert account.equity_usd == Decimal("12345678901234567.123456789")
    assert str(account.available_margin_usd) == "0.1"
    assert (str(account.initial_margin_usd), str(account.maintenance_margin_usd)) == ("0", "0.0001")


def position(**changes: Any) -> dict[str, Any]:
    row = {"symbol": CALL, "tradeSide": 2, "qty": 0.5, "avgPrice": 1000, "markPrice": 1200, "upnl": 5, "delta": -0.2}
    return {**row, **changes}


def test_positions_are_signed_and_their_profit_is_by_mark() -> None:
    rows = [position(), position(tradeSide=1, upnlByMarkPrice="77.5"), position(qty=0), position(markPrice=0)]
    short, long, unmarked = parse.parse_positions(encode(rows))
    assert (short.quantity, short.unrealized_pnl_usd, short.mark) == (Decimal("-0.5"), -100.0, 1200.0)
    assert (long.quantity, long.unrealized_pnl_usd) == (Decimal("0.5"), 77.5)
    assert (unmarked.mark, unmarked.unrealized_pnl_usd) == (None, None)


def test_no_positions_may_be_null_but_one_unreadable_position_fails_them_all() -> None:
    assert parse.parse_positions(b"null") == ()
    with pytest.raises(ParseError, match="tradeSide"):
        parse.parse_positions(encode([position(), {"symbol": CALL}]))


def test_an_exercise_of_a_short_pays_out() -> None:
    row = {
        "symbol": CALL,
        "time": 1783602996000,
        "qty": 0.5,
        "tradeSide": 2,
        "strike": 100000,
        "exercisePrice": 100500.25,
        "openCashFlow": 600,
        "settlementCashFlow": -250.125,
        "netCashFlow": 349.875,
        "fees": 7.5,
    }
    exercise = parse.parse_exercise(encode(row))
    assert exercise.quantity == Decimal("-0.5")
    assert exercise.settlement_cash_flow_usd == Decimal("-250.125")
    assert (exercise.settlement_price, exercise.fee_usd) == (Decimal("100500.25"), Decimal("7.5"))


CONFIG = encode({"optionConfig": {"BTCUSD": {"symbol": "BTCUSD", "limitMaxQty": 1000, "tickSize": "0.1"}}})


def instrument(symbol: str, **changes: Any) -> dict[str, Any]:
    row = {
        "symbolName": symbol,
        "baseCurrency": "BTC",
        "strike": 100000.0,
        "expirationTimestamp": 1782460800000,
        "isActive": True,
        "minQty": 0.01,
        "tickSize": 1,
    }
    return {**row, **changes}


def test_instruments_take_tick_and_lot_from_the_list_and_the_maximum_from_the_configuration() -> None:
    skipped: list[str] = []
    rows = [
        instrument(CALL),
        instrument("BTCUSD-26JUN26-90000-P", isActive=False),
        instrument("BTCUSD-PERP"),
        instrument("BTCUSD-26JUN26-80000-P", tickSize=0),
    ]
    (listed,) = parse.parse_instruments(encode(rows), CONFIG, "BTCUSD", skipped.append)
    assert (listed.symbol, listed.underlying, listed.option_type, listed.strike) == (
        CALL,
        "BTCUSD",
        "C",
        Decimal(100000),
    )
    assert (listed.tick_size, listed.lot_size, listed.max_quantity) == (Decimal(1), Decimal("0.01"), Decimal(1000))
    assert listed.expiry_ns == 1782460800000 * 10**6
    assert listed.expiry_ns - listed.last_trade_ns == 15 * 60 * 10**9
    assert len(skipped) == 2


def test_an_underlying_without_configuration_is_an_error() -> None:
    with pytest.raises(ParseError, match="ETHUSD"):
        parse.parse_instruments(b"[]", CONFIG, "ETHUSD", print)


def test_the_limits_of_one_pair_do_not_depend_on_those_of_another() -> None:
    future = {"tickSize": 0.1, "minQty": 0.001, "limitMaxQty": 1000, "triggerLimit": 20}
    config = encode(
        {
            "optionConfig": {"ODDUSD": {"symbol": "ODDUSD", "limitMaxQty": None}, "BTCUSD": {"limitMaxQty": 1000}},
            "futuresConfig": {"ODDUSD": {"symbol": "ODDUSD", "minQty": None}, "BTCUSD": future},
        }
    )
    (listed,) = parse.parse_instruments(encode([instrument(CALL)]), config, "BTCUSD", print)
    assert listed.max_quantity == Decimal(1000)
    assert parse_futures.parse_specification(config, "BTCUSD").lot_size == Decimal("0.001")
    for read in (
        lambda: parse.parse_instruments(encode([]), config, "ODDUSD", print),
        lambda: parse_futures.parse_specification(config, "ODDUSD"),
    ):
        with pytest.raises(ParseError):
            read()


def test_empty_prices_of_a_chain_are_missing_and_a_bad_option_spoils_only_itself() -> None:
    skipped: list[str] = []
    option = {
        "optionId": 2075207494989787138,
        "symbol": CALL,
        "markPrice": 1250.5,
        "bid": 0,
        "bidSize": 0,
        "ask": "1260",
        "askSize": "0.5",
        "bidIv": 0,
        "askIv": 0.63,
        "markIv": 0.6292,
        "lastPriceIv": 1.797e308,
        "delta": 0.5,
        "gamma": None,
        "openInterest": 12.5,
        "underlyingPrice": 100123.4,
    }
    data = encode(
        [{"strike": 100000, "callOption": option, "putOption": {"symbol": 5}}, {"strike": 1, "callOption": None}]
    )
    push = parse.parse_chain(data, "BTCUSD", 1782460800000 * 10**6, 42, skipped.append)
    (row,) = push.rows
    assert (push.venue_ns, row.ask, row.ask_size, row.mark_iv, row.forward) == (42, 1260.0, 0.5, 0.6292, 100123.4)
    assert all(math.isnan(value) for value in (row.bid, row.bid_size, row.bid_iv, row.gamma, row.vega))
    assert len(skipped) == 1


def test_a_chain_push_is_grouped_by_expiry_and_its_zero_open_interest_is_missing() -> None:
    skipped: list[str] = []
    rows = [
        {
            "s": CALL,
            "mp": "1250",
            "bid": 1240,
            "bs": 2,
            "ask": 0,
            "as": 0,
            "miv": 0.6,
            "up": 1e5,
            "oi": 0,
            "ts": 1000,
        },
        {"s": "BTCUSD-27JUN26-100000-C", "mp": 5, "ts": 1001, "v": "3"},
        {"s": "garbage"},
        17,
    ]
    first, second = parse.parse_chain_frame(encode(rows), 999, skipped.append)
    assert (first.underlying, second.expiry_ns - first.expiry_ns) == ("BTCUSD", 86_400 * 10**9)
    assert first.venue_ns == 1001 * 10**6
    assert (first.rows[0].bid, first.rows[0].bid_size, second.rows[0].volume) == (1240.0, 2.0, 3.0)
    assert math.isnan(first.rows[0].ask_size)
    assert math.isnan(first.rows[0].open_interest)
    assert len(skipped) == 2
    listed_ns = first.expiry_ns + 9 * 3_600 * 10**9
    pushed = parse.parse_chain_frame(encode(rows), 999, skipped.append, {"BTCUSD-26JUN26-100000-C": listed_ns})
    assert [push.expiry_ns for push in pushed] == [listed_ns, second.expiry_ns]


@pytest.mark.parametrize(
    "data",
    [
        {"symbol": "BTCUSD", "indexPrice": 64000.5},
        [{"symbol": "ETHUSD", "indexPrice": 1}, {"symbol": "BTCUSD", "indexPrice": "64000.5"}],
        [{"symbol": "BTCUSD-26JUN26", "indexPrice": None}, {"symbol": "BTCUSD", "indexPrice": 64000.5}],
    ],
)
def test_the_index_is_found_in_an_object_as_in_a_list(data: Any) -> None:
    assert parse.parse_index(encode(data), "BTCUSD", 7).price == 64000.5


@pytest.mark.parametrize("price", [0, -1, "NaN"])
def test_an_index_that_is_not_above_zero_is_an_error(price: Any) -> None:
    with pytest.raises(ParseError):
        parse.parse_index_frame(encode({"s": "BTCUSD", "ip": price, "ts": 1}), None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"code":0,"msg":"success","data":{}}', 0),
        (b'{"code":"0","msg":null,"i18nArgs":null,"data":null}', 0),
        (b'{"code":-40004,"msg":"Invalid symbol."}', -40004),
        (b"<html>bad gateway</html>", None),
        (b"", None),
        (b'{"data":1}', None),
        (b'{"code":0,"msg":"Succ', None),
        (b"\xff\xfe", None),
    ],
)
def test_an_envelope_is_read_loosely_and_anything_else_has_no_code(body: bytes, code: int | None) -> None:
    assert wire.parse_answer(200, body).code == code


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"2075207494989787138", ORDER_ID),
        (b'"2075207494989787138"', ORDER_ID),
        (b"null", None),
        (b'"ok"', None),
        (b"0", None),
    ],
)
def test_an_order_id_is_a_number_or_its_text(data: bytes, number: int | None) -> None:
    assert wire.parse_order_id(data) == number


def transfer_row(**changes: Any) -> bytes:
    row = {
        "transactionRecordId": 77,
        "createTime": "2026-05-02T10:00:00Z",
        "side": "withdraw",
        "coin": "usdt",
        "amount": "20000.50",
        "serviceFee": 1,
        "status": "Completed",
        "type": "external",
    }
    return msgspec.json.encode({**row, **changes})


def test_a_completed_withdrawal_is_money_that_left_and_a_deposit_money_that_came() -> None:
    gone = parse.parse_transfer(transfer_row())
    came = parse.parse_transfer(transfer_row(side="deposit", transactionRecordId="78"))
    assert gone == VenueTransfer(transfer_id="77", coin="USDT", amount=Decimal("-20000.5"))
    assert came == VenueTransfer(transfer_id="78", coin="USDT", amount=Decimal("20000.5"))


@pytest.mark.parametrize("status", ["Processing", "Cancelled", "cancel", "Failed"])
def test_a_transfer_that_is_not_completed_has_moved_nothing(status: str) -> None:
    assert parse.parse_transfer(transfer_row(status=status)) is None


def test_a_transfer_of_unknown_direction_is_refused() -> None:
    with pytest.raises(ParseError, match="transfer 77: side 'sideways'"):
        parse.parse_transfer(transfer_row(side="sideways"))
