"""The vectors of the venue reference, section 3.4, and what they do not cover."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from shared.venues.coincall import build, sign
from shared.venues.coincall.sign import Value

KEY = "DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi="
SECRET = "c0ffee00112233445566778899aabbccddeeff00112233445566778899aabbcc"
TS = 1_750_000_000_000
TAIL = f"uuid={KEY}&ts={TS}&x-req-ts-diff=5000"

CALL_100K, CALL_120K = "BTCUSD-26JUN26-100000-C", "BTCUSD-26JUN26-120000-C"
ORDER: dict[str, Value] = {
    "symbol": CALL_100K,
    "tradeSide": 1,
    "tradeType": 1,
    "qty": Decimal("0.5"),
    "price": Decimal("1250.5"),
    "timeInForce": "GTC",
    "mmp": False,
    "stp": None,
}
RFQ_LEGS: list[Value] = [
    {"instrumentName": CALL_100K, "side": "BUY", "qty": "0.5"},
    {"instrumentName": CALL_120K, "side": "SELL", "qty": "0.5"},
]
QUOTE: dict[str, Value] = {
    "requestId": 2075207481654804480,
    "quoteSide": "SELL",
    "legs": [
        {"instrumentName": CALL_100K, "price": "1250.5"},
        {"instrumentName": CALL_120K, "price": "610"},
    ],
}
TRANSFER: dict[str, Value] = {
    "fromUserId": 1695796692726153,
    "toUserId": 1695796692779320,
    "currency": "USDT",
    "amount": 111,
}
HISTORY: dict[str, Value] = {
    "pageSize": 20,
    "fromId": 2075207494989787138,
    "startTime": 1749900000000,
    "endTime": 1749999999999,
}
ACCEPT: dict[str, Value] = {"requestId": 2075207481654804480, "quoteId": 2075207494989787138}
RFQ = "/open/option/blocktrade"
VECTORS: list[tuple[str, str, dict[str, Value], str, str]] = [
    ("GET", "/open/user/info/v1", {}, "", "992CF8D9DA65FC69F211288E3EB3043D500333CAE36F8673E9441F41AA44246C"),
    (
        "GET",
        "/open/option/order/history/v1",
        HISTORY,
        "endTime=1749999999999&fromId=2075207494989787138&pageSize=20&startTime=1749900000000&",
        "F9483040AA4CC0C1CFB0607875F21413B547DE05D11F618F43C9EE1EB83EEFCD",
    ),
    (
        "POST",
        "/open/option/order/create/v1",
        ORDER,
        f"mmp=false&price=1250.5&qty=0.5&symbol={CALL_100K}&timeInForce=GTC&tradeSide=1&tradeType=1&",
        "2E2C801F6BBAF5B8E6A96C20412D9316685C193BD218D01940C0634B79E2A166",
    ),
    (
        "POST",
        f"{RFQ}/request/create/v1",
        {"legs": RFQ_LEGS},
        f'legs=[{{"instrumentName":"{CALL_100K}","side":"BUY","qty":"0.5"}},'
        f'{{"instrumentName":"{CALL_120K}","side":"SELL","qty":"0.5"}}]&',
        "EB405A64413E086C75513B3BB23EE90A3FC339656B8672861DEDDAD01A3BFB74",
    ),
    (
        "POST",
        f"{RFQ}/quote/create/v1",
        QUOTE,
        f'legs=[{{"instrumentName":"{CALL_100K}","price":"1250.5"}},'
        f'{{"instrumentName":"{CALL_120K}","price":"610"}}]&quoteSide=SELL&requestId=2075207481654804480&',
        "F885F2C57F3FE1A0C1BEC0E44B1BBEA1C092D9841AAF914A884F34CF365C10B3",
    ),
    (
        "POST",
        f"{RFQ}/request/accept/v1",
        ACCEPT,
        "quoteId=2075207494989787138&requestId=2075207481654804480&",
        "8919E4A6B2F49B40E1C7CFC2E4CC65D8C82B564D220F3B7A79D8321DF3D4DA2A",
    ),
    (
        "POST",
        f"{RFQ}/quote/cancel-all/v1",
        {},
        "",
        "2F5E9F2A191560F4446F5E5D8092F8606E677661793944F1E4F684BD7329A1E7",
    ),
    (
        "POST",
        "/open/user/subAccount/fund/transfer/v1",
        TRANSFER,
        "amount=111&currency=USDT&fromUserId=1695796692726153&toUserId=1695796692779320&",
        "093376D1FAED9E340B5A8353B3BA24AA9CD6D1BED1F82351A240BD66E992313B",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "params", "signed_params", "expected"), VECTORS, ids=[f"V{n}" for n in range(1, 9)]
)
def test_the_reference_vectors_are_reproduced(
    method: str, path: str, params: dict[str, Value], signed_params: str, expected: str
) -> None:
    text = sign.prehash(method, path, params, KEY, TS)
    assert text == f"{method}{path}?{signed_params}{TAIL}"
    assert sign.signature(SECRET, text) == expected


def test_v9_the_socket_login_uses_the_new_text() -> None:
    text = sign.stream_login_text(KEY, TS)
    assert text == f"GET/users/self/verify?apiKey={KEY}&ts={TS}"
    assert sign.signature(SECRET, text) == "4B8D5A08310839AD2B30E3D32EAA6377EE8ED44CDEDA5EB1CF3066F4F504CB66"


def test_v9_the_old_login_text_gives_the_old_signature() -> None:
    text = f"GET/users/self/verify?uuid={KEY}&ts={TS}"
    assert sign.signature(SECRET, text) == "35710209B9FDE875C01620BCF4478C21735DDF5595976886E5A817E724098688"


def test_the_key_stays_raw_in_the_address_of_a_socket() -> None:
    url = sign.stream_url("wss://host/options", KEY, SECRET, TS)
    assert url.startswith(f"wss://host/options?code=10&uuid={KEY}&ts={TS}&sign=")
    assert url.endswith(f"&apiKey={KEY}")


@pytest.mark.parametrize(
    ("number", "text"), [("1E+3", "1000"), ("0.00010", "0.00010"), ("1E-7", "0.0000001"), ("0E-8", "0.00000000")]
)
def test_decimals_are_signed_and_sent_in_plain_notation(number: str, text: str) -> None:
    params: dict[str, Value] = {"qty": Decimal(number)}
    assert f"?qty={text}&uuid" in sign.prehash("POST", "/p", params, KEY, TS)
    assert sign.json_body(params) == f'{{"qty":{text}}}'.encode()


def test_nulls_vanish_at_every_depth_and_text_is_not_escaped() -> None:
    params: dict[str, Value] = {"a": {"x": None, "y": [None, True, "ä"]}, "b": None}
    assert sign.json_body(params).decode() == '{"a":{"y":[null,true,"ä"]}}'
    assert (
        sign.prehash("POST", "/p", params, "k", 1) == 'POST/p?a={"y":[null,true,"ä"]}&uuid=k&ts=1&x-req-ts-diff=5000'
    )


def test_a_query_is_percent_encoded_although_the_signed_text_is_not() -> None:
    params: dict[str, Value] = {"text": "a b+c"}
    assert sign.query_text(params) == "text=a%20b%2Bc"
    assert "text=a b+c&" in sign.prehash("GET", "/p", params, KEY, TS)


def test_a_channel_frame_carries_its_payload_as_numbers_and_texts() -> None:
    frame = build.subscribe("tOption", {"symbol": "BTCUSD", "end": 1_750_000_000_000})
    assert msgspec.json.decode(frame) == {
        "action": "subscribe",
        "dataType": "tOption",
        "payload": {"symbol": "BTCUSD", "end": 1_750_000_000_000},
    }
    assert msgspec.json.decode(build.subscribe("order", undo=True)) == {"action": "unSubscribe", "dataType": "order"}
