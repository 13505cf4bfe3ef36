"""Rate limits, circuit breaker, liveness and the table of codes: pure, on a clock made of numbers."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messages.venue import (
    AmendAcked,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRefused,
    OutcomeUnknown,
)
from shared.venues.coincall import endpoints, errors
from shared.venues.coincall.limits import LANES, ORDER_GROUPS, CallWindow, CircuitBreaker, Lane, RateLimit, limits_at
from shared.venues.coincall.liveness import Liveness, LivenessLimits, reconnect_delay_s
from shared.venues.coincall.wire import Answer, Lost, NotSent

SECOND = 10**9


def answer(code: int | None, *, status: int = 200, data: bytes = b"null") -> Answer:
    return Answer(status, code, "text", data)


def test_a_window_gives_all_its_calls_at_once_and_the_next_when_the_oldest_has_left() -> None:
    window = CallWindow(RateLimit(3, 2_000), 1.0)
    assert [window.take("close", instant) for instant in (0, 5, 9)] == [0, 0, 0]
    wait_ns = window.take("close", 10)
    assert 10 + wait_ns == window.window_ns >= 2 * SECOND
    assert window.take("close", window.window_ns) == 0
    assert window.take("close", window.window_ns) == 5


def test_order_calls_have_the_stricter_of_the_venues_figures_unless_another_is_given() -> None:
    assert limits_at(None)["place"] == limits_at(15)["place"] == RateLimit(30, 2_000)
    faster = limits_at(60)
    assert {faster[group] for group in ORDER_GROUPS} == {RateLimit(120, 2_000)}
    rest = faster.keys() - ORDER_GROUPS
    assert {group: faster[group] for group in rest} == {group: limits_at(None)[group] for group in rest}


def test_no_call_that_changes_something_at_the_venue_is_ever_repeated() -> None:
    calls = [row for row in vars(endpoints).values() if isinstance(row, endpoints.Endpoint)]
    assert {row.name for row in calls if row.order} == {
        "place",
        "amend",
        "cancel",
        "cancel_all",
        "batch_place",
        "batch_amend",
        "batch_cancel",
        "countdown",
        "rfq_create",
        "rfq_cancel",
        "rfq_accept",
    }
    assert not any(row.repeatable for row in calls if row.order)


@settings(deadline=None, max_examples=200)
@given(
    limit=st.builds(RateLimit, st.integers(1, 30), st.sampled_from([1_000, 2_000])),
    share=st.floats(0.05, 1.0),
    asks=st.lists(st.tuples(st.sampled_from(LANES), st.integers(0, SECOND)), max_size=200),
    throttled_at=st.none() | st.integers(0, 199),
)
def test_no_window_ever_holds_more_calls_than_the_share_of_the_limit(
    limit: RateLimit, share: float, asks: list[tuple[Lane, int]], throttled_at: int | None
) -> None:
    window = CallWindow(limit, share)
    now_ns, made_ns = 0, list[int]()
    for number, (lane, later_ns) in enumerate(asks):
        now_ns += later_ns
        if number == throttled_at:
            window.throttled(now_ns, SECOND)
        wait_ns = window.take(lane, now_ns)
        if wait_ns:
            assert wait_ns > 0
            now_ns += wait_ns
            wait_ns = window.take(lane, now_ns)
        if not wait_ns:
            made_ns.append(now_ns)
    allowed = max(1, int(limit.count * share + 1e-9))
    for at_ns in made_ns:
        inside = sum(at_ns <= other < at_ns + limit.window_ms * 10**6 for other in made_ns)
        assert inside <= allowed <= limit.count


def test_shares_that_add_up_to_one_stay_within_the_limit_together() -> None:
    limit = RateLimit(5, 1_000)
    assert sum(CallWindow(limit, share).count for share in (0.2, 0.4, 0.4)) == 5
    assert sum(CallWindow(limit, share).count for share in (0.3, 0.3, 0.4)) <= 5


def test_a_share_of_less_than_one_call_is_one_call_in_a_longer_window() -> None:
    window = CallWindow(RateLimit(2, 1_000), 0.25)
    assert window.take("close", 0) == 0
    assert window.take("close", 0) == pytest.approx(2 * SECOND, rel=0.05)
    assert window.take("close", 2 * SECOND - 1) > 0


def test_opening_calls_leave_room_for_those_that_reduce_exposure() -> None:
    window = CallWindow(RateLimit(10, 1_000), 1.0)
    taken = 0
    while window.take("open", 0) == 0:
        taken += 1
    assert taken == 8
    assert [window.take("close", 0), window.take("cancel", 0)] == [0, 0]
    assert window.take("cancel", 0) > 0


def test_a_waiting_cancel_goes_before_close_and_close_before_open() -> None:
    window = CallWindow(RateLimit(1, 1_000), 1.0)
    turn_ns = window.window_ns
    assert window.take("open", 0) == 0
    window.join("cancel")
    window.join("close")
    window.join("open")
    assert window.take("open", turn_ns) > 0
    assert window.take("close", turn_ns) > 0
    assert window.take("cancel", turn_ns) == 0
    window.leave("cancel")
    assert window.take("open", 2 * turn_ns) > 0
    assert window.take("close", 2 * turn_ns) == 0
    window.leave("close")
    assert window.take("open", 3 * turn_ns) == 0


def test_a_throttled_group_goes_on_at_an_even_rate_and_holds_back_only_opening_calls() -> None:
    window = CallWindow(RateLimit(10, 1_000), 1.0)
    window.throttled(0, 5 * SECOND)
    step_ns = window.window_ns // 10
    assert window.take("cancel", 0) == pytest.approx(step_ns, abs=10)
    assert [window.take("cancel", turn * (step_ns + 10)) for turn in (1, 2, 3)] == [0, 0, 0]
    assert window.take("cancel", 3 * (step_ns + 10)) > 0
    assert window.take("open", SECOND) == 4 * SECOND
    assert window.take("open", 5 * SECOND) == 0


def test_a_clock_that_stands_still_gives_no_further_call() -> None:
    window = CallWindow(RateLimit(1, 1_000), 1.0)
    assert window.take("close", SECOND) == 0
    assert all(window.take("close", SECOND) > 0 for _ in range(5))


def test_the_circuit_opens_after_five_failures_and_one_probe_closes_it() -> None:
    breaker = CircuitBreaker()
    for _ in range(4):
        breaker.failed(0)
    assert breaker.admit(0)
    breaker.failed(0)
    assert breaker.is_open
    assert not breaker.admit(SECOND - 1)
    assert breaker.admit(SECOND)
    assert not breaker.admit(SECOND), "only one probe may be out"
    breaker.succeeded()
    assert breaker.admit(SECOND)
    assert not breaker.is_open


def test_each_failed_probe_doubles_the_pause_up_to_a_minute() -> None:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(0)
    now_ns, pauses_s = 0, []
    for _ in range(8):
        start_ns = now_ns
        while not breaker.admit(now_ns):
            now_ns += SECOND
        pauses_s.append((now_ns - start_ns) // SECOND)
        breaker.failed(now_ns)
    assert pauses_s == [1, 2, 4, 8, 16, 32, 60, 60]


def test_reads_that_fail_together_in_one_short_outage_do_not_lengthen_the_pause() -> None:
    breaker = CircuitBreaker()
    for _ in range(30):
        breaker.failed(0)
    assert breaker.admit(SECOND)


def test_a_success_starts_the_pauses_again() -> None:
    breaker = CircuitBreaker()
    for now_s in range(0, 100, 10):
        breaker.failed(now_s * SECOND)
        breaker.admit((now_s + 9) * SECOND)
    breaker.succeeded()
    for _ in range(5):
        breaker.failed(200 * SECOND)
    assert breaker.admit(201 * SECOND)


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = CircuitBreaker()
    for _ in range(20):
        breaker.failed(0)
        breaker.succeeded()
    assert not breaker.is_open


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10529, "rejected"),
        (10558, "rejected"),
        (10536, "rejected"),
        (10000, "throttled"),
        (4003, "auth"),
        (10554, "auth"),
    ],
)
def test_a_listed_code_refuses_an_order_for_certain(code: int, kind: str) -> None:
    outcome = errors.place_outcome(1, answer(code))
    assert isinstance(outcome, OrderRefused)
    assert (outcome.kind, outcome.code) == (kind, code)


@pytest.mark.parametrize(
    "result",
    [
        answer(99999),
        answer(-40004),
        answer(10577),
        answer(10584),
        answer(4005),
        answer(10582),
        answer(500),
        answer(10596),
        answer(10529, status=500),
        answer(None, status=502),
        answer(None, status=200),
        answer(None, status=404),
        answer(None, status=301),
        answer(0, data=b"null"),
        answer(0, status=500, data=b"5"),
        Lost("no answer within 3000 ms"),
    ],
)
def test_anything_else_leaves_the_order_unknown(result: Answer | Lost) -> None:
    assert isinstance(errors.place_outcome(1, result), OutcomeUnknown)


def test_an_accepted_order_carries_the_venues_id() -> None:
    assert errors.place_outcome(1, answer(0, data=b'"2075207494989787138"')) == OrderAcked(
        client_order_id=1, venue_order_id=2075207494989787138
    )


def test_what_never_left_this_host_is_refused_and_says_so() -> None:
    placed = errors.place_outcome(1, NotSent("no connection"))
    assert isinstance(placed, OrderRefused)
    assert (placed.kind, placed.code, placed.text) == ("throttled", 0, "not sent: no connection")
    assert errors.cancel_outcome(1, NotSent("x")) == CancelRefused(client_order_id=1, code=0, text="not sent: x")


@pytest.mark.parametrize("code", [10537, 10584, 11101, 11102])
def test_a_cancel_of_an_order_that_is_gone_is_refused(code: int) -> None:
    outcome = errors.cancel_outcome(1, answer(code))
    assert isinstance(outcome, CancelRefused)
    assert outcome.code == code
    assert errors.amend_outcome(1, answer(code)) == AmendRefused(
        client_order_id=1, kind="rejected", code=code, text="text"
    )


def test_an_amendment_is_acknowledged_refused_or_unknown_as_a_placement_is() -> None:
    assert errors.amend_outcome(1, answer(0, data=b'"2075207494989787138"')) == AmendAcked(
        client_order_id=1, venue_order_id=2075207494989787138
    )
    for code in (10529, 10558):
        assert isinstance(errors.amend_outcome(1, answer(code)), AmendRefused)
    never_left = errors.amend_outcome(1, NotSent("no connection"))
    assert isinstance(never_left, AmendRefused)
    assert (never_left.kind, never_left.code, never_left.text) == ("throttled", 0, "not sent: no connection")
    for result in (answer(10582), answer(10584, status=503), answer(0, data=b"null"), Lost("broken")):
        assert isinstance(errors.amend_outcome(1, result), AmendUnknown)


def test_a_cancel_is_acknowledged_or_unknown() -> None:
    assert errors.cancel_outcome(1, answer(0, data=b'"success"')) == CancelAcked(client_order_id=1)
    for result in (answer(10583), answer(10584, status=503), answer(None, status=500), Lost("broken")):
        assert isinstance(errors.cancel_outcome(1, result), OutcomeUnknown)


LIMITS = LivenessLimits()


def test_silence_asks_once_and_an_unanswered_heartbeat_fails() -> None:
    alive = Liveness(LIMITS, 0, {})
    assert not alive.needs_heartbeat(5 * SECOND - 1)
    assert alive.needs_heartbeat(5 * SECOND)
    assert not alive.needs_heartbeat(6 * SECOND)
    assert alive.failure(10 * SECOND - 1) is None
    assert alive.failure(10 * SECOND) == "no answer to a heartbeat"


def test_any_frame_answers_a_heartbeat() -> None:
    alive = Liveness(LIMITS, 0, {})
    assert alive.needs_heartbeat(5 * SECOND)
    alive.heard(6 * SECOND)
    assert alive.failure(10 * SECOND) is None
    assert alive.needs_heartbeat(11 * SECOND)


def test_a_stream_that_froze_while_connected_is_renewed_and_then_given_up() -> None:
    patience: dict[Hashable, int] = {}
    alive = Liveness(LIMITS, 0, patience)
    alive.watch(["a", "b"], 0)
    for second in range(1, 30):
        alive.heard(second * SECOND)
        alive.data("b", second * SECOND)
        renewed = alive.to_renew(second * SECOND)
        assert renewed == (["a"] if second == 15 else [])
        assert alive.failure(second * SECOND) is None
    assert alive.failure(30 * SECOND) == "connected, but a is silent"
    following = Liveness(LIMITS, 0, patience)
    following.watch(["a"], 0)
    assert following.failure(30 * SECOND) is None, "a dead stream gets twice the time before it costs the others"
    assert following.failure(60 * SECOND) is not None
    following.data("a", 60 * SECOND)
    assert patience == {}


def test_a_stream_no_longer_wanted_is_not_missed() -> None:
    alive = Liveness(LIMITS, 0, {})
    alive.watch(["expired"], 0)
    alive.watch([], 10 * SECOND)
    assert alive.to_renew(100 * SECOND) == []
    assert alive.failure(100 * SECOND) is None


def test_reconnects_back_off_to_a_minute_at_their_own_pace() -> None:
    delays = [reconnect_delay_s("account", attempt) for attempt in range(12)]
    for attempt, delay in enumerate(delays):
        assert min(60.0, 2.0**attempt) / 2 <= delay <= min(60.0, 2.0**attempt)
    assert delays == [reconnect_delay_s("account", attempt) for attempt in range(12)]
    assert delays != [reconnect_delay_s("chains", attempt) for attempt in range(12)]
