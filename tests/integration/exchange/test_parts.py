"""Limits, pages, faults, numbers and frames: the pure parts of the server."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.server.channels import Heartbeat, Subscription, Topic, parse_request, subscription_ack
from services.exchange.server.errors import ApiError
from services.exchange.server.faults import Fault, FaultTable
from services.exchange.server.paging import cursor_page, direction_of, numbered_page, page_size_of, time_range_of
from services.exchange.server.ratelimits import Limit, SlidingWindow
from services.exchange.server.spot_channels import parse_spot_request, spot_ack, topic_text
from services.exchange.server.wire import Fields, NumberText, encode, parse_json_object
from services.exchange.switches import Switches

SECOND = 1_000_000_000


def test_a_window_takes_its_number_of_requests_and_frees_them_one_by_one() -> None:
    window = SlidingWindow(Limit(3, 1_000))
    assert [window.allow(at) for at in (0, 1, 2, 3, SECOND - 1)] == [True, True, True, False, False]
    assert window.allow(SECOND)
    assert not window.allow(SECOND)
    assert window.allow(SECOND + 1)


@given(st.lists(st.integers(0, 5 * SECOND), max_size=200).map(sorted))
def test_no_window_of_a_second_ever_holds_more_than_the_limit(times: list[int]) -> None:
    window = SlidingWindow(Limit(4, 1_000))
    taken = [at for at in times if window.allow(at)]
    assert all(later - earlier >= SECOND for earlier, later in zip(taken, taken[4:], strict=False))


@given(
    st.lists(st.integers(1, 500), unique=True, max_size=60).map(sorted),
    st.integers(1, 20),
)
def test_following_the_cursor_gives_every_record_once_newest_first(ids: list[int], size: int) -> None:
    seen: list[int] = []
    from_id: int | None = None
    while True:
        page = cursor_page(ids, lambda each: each, from_id=from_id, page_size=size)
        assert page.has_previous is bool(seen)
        seen += page.items
        if not page.has_next:
            break
        from_id = page.items[-1]
    assert seen == ids[::-1]


@given(st.lists(st.integers(), max_size=60), st.integers(1, 20))
def test_numbered_pages_cover_everything_once_newest_first(items: list[int], size: int) -> None:
    first = numbered_page(items, page=1, page_size=size)
    pages = [numbered_page(items, page=n, page_size=size).items for n in range(1, first.page_total + 1)]
    assert [item for page in pages for item in page] == items[::-1]
    assert first.total == len(items)
    assert numbered_page(items, page=first.page_total + 1, page_size=size).items == []


@pytest.mark.parametrize("value", ["0", "501", "-1", "1.5", "many", "9" * 30])
def test_a_page_size_outside_its_bounds_is_refused(value: str) -> None:
    with pytest.raises(ApiError) as refused:
        page_size_of(Fields({"pageSize": value}), 500)
    assert refused.value.code == 10573
    assert "pageSize" in refused.value.text


def test_a_range_above_ninety_days_or_backwards_is_refused() -> None:
    day = 86_400_000
    assert time_range_of(Fields({}), 100 * day, 99 * day).start_ms == 99 * day
    for start, end in ((0, 91 * day), (2, 1)):
        with pytest.raises(ApiError):
            time_range_of(Fields({"startTime": str(start), "endTime": str(end)}), 100 * day, 99 * day)


def test_a_fault_hits_only_its_prefix_and_only_as_often_as_told() -> None:
    table = FaultTable()
    table.add(Fault(kind="http_500", path_prefix="/open/option/order", count=2), 0)
    assert table.hit_request("/time", 1) == []
    hits = [len(table.hit_request("/open/option/order/create/v1", 1)) for _ in range(3)]
    assert hits == [1, 1, 0]
    assert table.active(1) == []


def test_a_fault_with_a_duration_ends_by_itself() -> None:
    table = FaultTable()
    table.add(Fault(kind="silence", path_prefix="/options", duration_ms=1_000), 0)
    assert table.silences("/options", SECOND - 1)
    assert not table.silences("/futures", 0)
    assert not table.silences("/options", SECOND)


def test_socket_faults_do_not_touch_requests_and_the_reverse() -> None:
    table = FaultTable()
    table.add(Fault(kind="disconnect", count=1), 0)
    table.add(Fault(kind="latency", count=1, latency_ms=5), 0)
    assert [fault.kind for fault in table.hit_request("/options", 0)] == ["latency"]
    assert [fault.kind for fault in table.hit_handshake("/options", 0)] == ["disconnect"]


@pytest.mark.parametrize("text", ["1", "1.0", '"1"', '"1.000"'])
def test_integers_come_as_number_or_text(text: str) -> None:
    assert Fields(parse_json_object(f'{{"orderId":{text}}}'.encode())).integer("orderId") == 1


@pytest.mark.parametrize("text", ["1.5", "true", "[]", "{}", '"x"', "1e400", "9223372036854775808", '"NaN"', "1e-60"])
def test_what_is_no_integer_is_refused_by_name(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        Fields(parse_json_object(f'{{"orderId":{text}}}'.encode())).integer("orderId")
    assert "orderId" in refused.value.text


def test_numbers_of_a_body_keep_their_text_and_ids_their_digits() -> None:
    fields = parse_json_object(b'{"qty":0.50,"orderId":2075207494989787138}')
    assert fields["qty"] == "0.50"
    assert isinstance(fields["qty"], NumberText)
    assert Fields(fields).integer("orderId") == 2075207494989787138


def test_decimals_are_written_as_numbers_with_exactly_their_digits() -> None:
    assert encode({"a": Decimal("0.10"), "b": Decimal(1250), "c": 2075207494989787138}) == (
        b'{"a":0.10,"b":1250,"c":2075207494989787138}'
    )


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b"{", b"\xff", b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40]
)
def test_a_body_that_is_no_moderate_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_json_object(body)


def test_heartbeats_in_three_spellings_are_understood() -> None:
    for text in ('{"action":"heartbeat"}', "{'action':'heartbeat'}", '{"c":11}'):
        assert isinstance(parse_request("options", text), Heartbeat)


@pytest.mark.parametrize("action", ["unSubscribe", "unsubscribe", "UNSUBSCRIBE"])
def test_unsubscribe_in_any_case_is_understood(action: str) -> None:
    request = parse_request("options", json.dumps({"action": action, "dataType": "order"}))
    assert isinstance(request, Subscription)
    assert not request.subscribe


def test_the_acknowledgement_echoes_the_payload_of_symbol_channels_only() -> None:
    payload = {"symbol": "BTCUSD", "end": 1_750_000_000_000}
    request = parse_request("options", json.dumps({"action": "subscribe", "dataType": "tOption", "payload": payload}))
    assert isinstance(request, Subscription)
    assert json.loads(subscription_ack(request)) == {
        "action": "SUBSCRIBE",
        "dataType": "tOption",
        "result": "success",
        "payload": payload,
    }
    private = parse_request("options", '{"action":"subscribe","dataType":"order"}')
    assert isinstance(private, Subscription)
    assert json.loads(subscription_ack(private)) == {"action": "SUBSCRIBE", "dataType": "order", "result": "success"}


@pytest.mark.parametrize(
    "frame",
    [
        {"action": "subscribe"},
        {"action": "subscribe", "dataType": "spotPrice", "payload": {"symbol": "BTCUSD"}},
        {"action": "subscribe", "dataType": "orderBook"},
        {"action": "subscribe", "dataType": "orderBook", "payload": {"symbol": ["x"] * 101}},
        {"action": "subscribe", "dataType": "tOption", "payload": {"symbol": "BTCUSD"}},
        {"action": "dance"},
        {"action": {}},
        {},
    ],
)
def test_a_frame_that_asks_for_nothing_known_is_refused(frame: dict[str, object]) -> None:
    with pytest.raises(ApiError):
        parse_request("options", json.dumps(frame))


@given(st.text(max_size=300))
def test_no_text_frame_raises_anything_but_a_refusal(text: str) -> None:
    with suppress(ApiError):
        assert isinstance(parse_request("options", text), Heartbeat | Subscription)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)
TOPICS = st.text(max_size=20) | st.sampled_from(
    [
        "market.BTCUSDT.mbp.50",
        "market..bbo",
        "market.BTCUSDT.mbp.",
        "market.BTCUSDT.kline.",
        "market.a.b.kline.1min",
        "order",
    ]
)


@given(
    st.text(max_size=100)
    | st.dictionaries(
        st.sampled_from(["sub", "unsub", "id", "ping", "pong", "action", "c"]), JSON_VALUES | TOPICS, max_size=4
    ).map(json.dumps)
)
def test_no_frame_of_spot_raises_anything_but_a_refusal_and_each_topic_is_named_as_it_was_asked_for(
    text: str,
) -> None:
    with suppress(ApiError):
        request = parse_spot_request("spot", text)
        if isinstance(request, Subscription):
            asked = request.payload.get("sub") or request.payload.get("unsub")
            subject = request.symbols[0] if request.symbols else ""
            assert topic_text(Topic(request.channel, subject, 0, request.period)) == asked
            assert spot_ack(request, 1, Switches()) is not None


@given(st.lists(st.integers(1, 10**18), unique=True, max_size=40), st.integers(1, 7))
def test_following_the_cursor_back_gives_the_same_pages_towards_the_newest(ids: list[int], size: int) -> None:
    ids.sort()
    seen: list[int] = []
    from_id = ids[0] if ids else 0
    while from_id and ids[-1] != from_id:
        page = cursor_page(ids, int, from_id=from_id, page_size=size, direction="PREV")
        assert page.items == sorted(page.items, reverse=True)
        assert page.has_previous
        seen += page.items[::-1]
        assert page.has_next == (page.items[0] != ids[-1])
        from_id = page.items[0]
    assert seen == ids[1:]
    assert cursor_page(ids, int, from_id=None, page_size=size, direction="PREV") == cursor_page(
        ids, int, from_id=None, page_size=size
    )


def test_a_direction_that_does_not_exist_is_refused() -> None:
    assert direction_of(Fields({"direction": "prev"})) == "PREV"
    with pytest.raises(ApiError) as refused:
        direction_of(Fields({"direction": "UP"}))
    assert refused.value.code == 10573
