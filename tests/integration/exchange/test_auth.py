"""The reference's signature vectors and the variants of clients in use."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from services.exchange.server.auth import (
    Credential,
    SignedRequest,
    authenticate_request,
    authenticate_socket,
    compact_json,
    prehash_variants,
    sign,
)
from services.exchange.server.errors import ApiError
from services.exchange.server.wire import parse_json_object, parse_pairs

KEY = "DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi="
SECRET = "c0ffee00112233445566778899aabbccddeeff00112233445566778899aabbcc"
NOW_MS = 1_750_000_000_000
TAIL = f"uuid={KEY}&ts={NOW_MS}&x-req-ts-diff=5000"
CREDENTIAL = Credential(api_key=KEY, secret=SECRET, account_id="main", user_id=1, read_only=False)
KEYS = {KEY: CREDENTIAL}

LEGS = (
    '{"legs":[{"instrumentName":"BTCUSD-26JUN26-100000-C","side":"BUY","qty":"0.5"},'
    '{"instrumentName":"BTCUSD-26JUN26-120000-C","side":"SELL","qty":"0.5"}]}'
)
QUOTE = (
    '{"requestId":2075207481654804480,"quoteSide":"SELL","legs":[{"instrumentName":"BTCUSD-26JUN26-100000-C",'
    '"price":"1250.5"},{"instrumentName":"BTCUSD-26JUN26-120000-C","price":"610"}]}'
)
CREATE = (
    '{"symbol":"BTCUSD-26JUN26-100000-C","tradeSide":1,"tradeType":1,"qty":0.5,"price":1250.5,'
    '"timeInForce":"GTC","mmp":false,"stp":null}'
)
HISTORY = "pageSize=20&fromId=2075207494989787138&startTime=1749900000000&endTime=1749999999999"
VECTORS = {
    "V1": ("GET", "/open/user/info/v1", "", "", "992CF8D9DA65FC69F211288E3EB3043D500333CAE36F8673E9441F41AA44246C"),
    "V2": (
        "GET",
        "/open/option/order/history/v1",
        HISTORY,
        "",
        "F9483040AA4CC0C1CFB0607875F21413B547DE05D11F618F43C9EE1EB83EEFCD",
    ),
    "V3": (
        "POST",
        "/open/option/order/create/v1",
        "",
        CREATE,
        "2E2C801F6BBAF5B8E6A96C20412D9316685C193BD218D01940C0634B79E2A166",
    ),
    "V4": (
        "POST",
        "/open/option/blocktrade/request/create/v1",
        "",
        LEGS,
        "EB405A64413E086C75513B3BB23EE90A3FC339656B8672861DEDDAD01A3BFB74",
    ),
    "V5": (
        "POST",
        "/open/option/blocktrade/quote/create/v1",
        "",
        QUOTE,
        "F885F2C57F3FE1A0C1BEC0E44B1BBEA1C092D9841AAF914A884F34CF365C10B3",
    ),
    "V6 form": (
        "POST",
        "/open/option/blocktrade/request/accept/v1",
        "",
        "requestId=2075207481654804480&quoteId=2075207494989787138",
        "8919E4A6B2F49B40E1C7CFC2E4CC65D8C82B564D220F3B7A79D8321DF3D4DA2A",
    ),
    "V7 form": (
        "POST",
        "/open/option/blocktrade/quote/cancel-all/v1",
        "",
        "",
        "2F5E9F2A191560F4446F5E5D8092F8606E677661793944F1E4F684BD7329A1E7",
    ),
    "V8 form": (
        "POST",
        "/open/user/subAccount/fund/transfer/v1",
        "",
        "fromUserId=1695796692726153&toUserId=1695796692779320&currency=USDT&amount=111",
        "093376D1FAED9E340B5A8353B3BA24AA9CD6D1BED1F82351A240BD66E992313B",
    ),
}


def request_of(method: str, path: str, query: str, body: str, *, form: bool = False) -> SignedRequest:
    return SignedRequest(
        method=method,
        path=path,
        query=query,
        query_fields=parse_pairs(query, form=False),
        body_fields=parse_pairs(body, form=True) if form else parse_json_object(body.encode()),
    )


Headers = dict[str, str]


def authenticate(
    request: SignedRequest, signature: str, headers: Headers | None = None, now_ms: int = NOW_MS
) -> Credential:
    given = {"x-cc-apikey": KEY, "ts": str(NOW_MS), "x-req-ts-diff": "5000", "sign": signature}
    return authenticate_request(KEYS, given | (headers or {}), request, now_ms)


def code_of(request: SignedRequest, signature: str, headers: Headers | None = None, now_ms: int = NOW_MS) -> int:
    with pytest.raises(ApiError) as refused:
        authenticate(request, signature, headers, now_ms)
    return refused.value.code


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_of_the_reference_authenticates(name: str) -> None:
    method, path, query, body, signature = VECTORS[name]
    request = request_of(method, path, query, body, form="form" in name)
    assert sign(SECRET, next(prehash_variants(request, TAIL))).decode() == signature
    assert authenticate(request, signature) is CREDENTIAL


def test_blanks_in_a_json_body_do_not_change_what_is_signed() -> None:
    method, path, _, body, signature = VECTORS["V5"]
    spaced = body.replace(":", ": ").replace(",", ", ")
    assert authenticate(request_of(method, path, "", spaced), signature) is CREDENTIAL


def test_parameters_signed_in_the_order_of_the_url_authenticate() -> None:
    request = request_of("GET", "/open/option/order/history/v1", HISTORY, "")
    signature = sign(SECRET, f"GET/open/option/order/history/v1?{HISTORY}&{TAIL}").decode()
    assert authenticate(request, signature) is CREDENTIAL


@pytest.mark.parametrize(
    "signed", ["b=x%2By&a=1", "a=1&b=x%2By", "a=1&b=x+y", "b=x+y&a=1"], ids=["raw", "raw sorted", "sorted", "decoded"]
)
def test_encoded_and_decoded_forms_of_a_query_authenticate(signed: str) -> None:
    request = request_of("GET", "/time", "b=x%2By&a=1", "")
    assert authenticate(request, sign(SECRET, f"GET/time?{signed}&{TAIL}").decode()) is CREDENTIAL


def test_nested_objects_with_sorted_keys_authenticate() -> None:
    request = request_of("POST", "/x", "", '{"legs":[{"b":1,"a":"ü"}]}')
    assert authenticate(request, sign(SECRET, f'POST/x?legs=[{{"a":"ü","b":1}}]&{TAIL}').decode()) is CREDENTIAL


def test_query_and_body_parameters_of_a_post_are_merged() -> None:
    request = request_of("POST", "/x", "symbol=BTCUSD", '{"leverage":5}')
    assert authenticate(request, sign(SECRET, f"POST/x?leverage=5&symbol=BTCUSD&{TAIL}").decode()) is CREDENTIAL


@pytest.mark.parametrize("body", ["", "{}", ' {"a":null} '])
def test_a_post_without_fields_is_signed_without_parameters(body: str) -> None:
    request = request_of("POST", "/x", "", body)
    assert authenticate(request, sign(SECRET, f"POST/x?{TAIL}").decode()) is CREDENTIAL


def test_nulls_vanish_at_every_depth_and_numbers_keep_their_text() -> None:
    fields = parse_json_object('{"a":[{"x":null,"y":0.50,"z":"\\"ü"}],"b":1e3}'.encode())
    assert compact_json(fields) == '{"a":[{"y":0.50,"z":"\\"ü"}],"b":1e3}'


def test_without_a_window_header_five_seconds_are_signed() -> None:
    request = request_of("GET", "/x", "", "")
    signature = sign(SECRET, f"GET/x?{TAIL}").decode()
    headers = {"x-cc-apikey": KEY, "ts": str(NOW_MS), "sign": signature}
    assert authenticate_request(KEYS, headers, request, NOW_MS) is CREDENTIAL


@pytest.mark.parametrize(
    ("now_ms", "code"),
    [(NOW_MS + 5_000, None), (NOW_MS + 5_001, 10557), (NOW_MS - 999, None), (NOW_MS - 1_000, 10557)],
)
def test_the_time_window_ends_at_the_difference_and_begins_one_second_ahead(now_ms: int, code: int | None) -> None:
    method, path, query, body, signature = VECTORS["V1"]
    request = request_of(method, path, query, body)
    if code is None:
        assert authenticate(request, signature, now_ms=now_ms) is CREDENTIAL
    else:
        assert code_of(request, signature, now_ms=now_ms) == code


def test_each_failure_has_its_code() -> None:
    method, path, query, body, signature = VECTORS["V1"]
    request = request_of(method, path, query, body)
    assert code_of(request, signature, {"x-cc-apikey": "nobody"}) == 10560
    assert code_of(request, signature, {"ts": "soon"}) == 10561
    assert code_of(request, signature, {"x-req-ts-diff": "-1"}) == 10561
    assert code_of(request, signature.lower()) == 4003
    assert code_of(request, "") == 4003
    assert code_of(request, "ü") == 4003


def test_secrets_do_not_show_in_the_text_of_a_credential() -> None:
    assert SECRET not in repr(CREDENTIAL)
    assert SECRET not in str(CREDENTIAL)


SOCKET_NEW = "4B8D5A08310839AD2B30E3D32EAA6377EE8ED44CDEDA5EB1CF3066F4F504CB66"
SOCKET_OLD = "35710209B9FDE875C01620BCF4478C21735DDF5595976886E5A817E724098688"


@pytest.mark.parametrize("signature", [SOCKET_NEW, SOCKET_OLD])
@pytest.mark.parametrize("key", [KEY, quote(KEY, safe="")], ids=["raw", "encoded"])
def test_both_socket_texts_with_a_raw_or_encoded_key_authenticate(signature: str, key: str) -> None:
    query = f"code=10&uuid={key}&ts={NOW_MS}&sign={signature}&apiKey={key}"
    assert authenticate_socket(KEYS, query, NOW_MS) is CREDENTIAL


@pytest.mark.parametrize(
    "query",
    [
        "",
        f"ts={NOW_MS}&sign={SOCKET_NEW}&apiKey=nobody",
        f"ts={NOW_MS}&sign={SOCKET_NEW[:-1]}0&apiKey={KEY}",
        f"ts={NOW_MS - 6_000}&sign={SOCKET_NEW}&apiKey={KEY}",
        f"ts=now&sign={SOCKET_NEW}&apiKey={KEY}",
        f"ts={NOW_MS}&sign=ü&apiKey={KEY}",
    ],
)
def test_a_wrong_socket_query_is_refused(query: str) -> None:
    assert authenticate_socket(KEYS, query, NOW_MS) is None
