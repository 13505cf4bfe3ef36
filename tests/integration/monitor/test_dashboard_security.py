"""What keeps others out of the dashboard, over real HTTP: logins, sessions, forms, headers, searches, paths."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from services.monitor.web.config import WebConfig
from services.monitor.web.guard import is_public
from services.monitor.web.passwords import problem_of
from services.monitor.web.store import WebStore, store_path
from tests.integration.monitor.dashboard import PASSWORD, Dashboard, field_of, log_in

VALUES = {"name": "halt", "trade_id": "t1", "underlying": "BTCUSD", "series": "equity_usd", "secret": "x"}


def routes_of(dashboard: Dashboard) -> list[tuple[str, str]]:
    """(method, path) of every route, its parameters filled in, and of the API's document."""
    found = [("GET", "/openapi.json")]
    for route in dashboard.app.all_routes():
        assert isinstance(route, APIRoute)
        found += [(method, route.path.format(**VALUES)) for method in sorted(route.methods)]
    return found


async def test_no_route_but_the_login_is_answered_without_one(dashboard: Dashboard) -> None:
    dashboard.add_user()
    dashboard.fill()
    routes = routes_of(dashboard)
    assert len(routes) > 40
    opened = set()
    async with dashboard.client() as http:
        for method, path in routes:
            answer = await http.request(method, path)
            if is_public(path):
                opened.add(path)
                continue
            assert answer.status_code in (401, 303), (method, path, answer.status_code)
            assert answer.status_code == 401 or answer.headers["location"].startswith("/login"), (method, path)
            assert "main" not in answer.text, (method, path)
            assert "100,012" not in answer.text, (method, path)
    assert opened == {"/login", "/setup/x", "/healthz"}


async def test_a_wrong_token_or_a_made_up_session_is_worth_nothing(dashboard: Dashboard) -> None:
    async with dashboard.client() as http:
        for headers in (
            {"Authorization": "Bearer vd_wrong"},
            {"Authorization": "Basic YW5uYTpwYXNz"},
            {"Cookie": f"{dashboard.session_cookie}=made-up"},
            {"Cookie": f"{dashboard.session_cookie}=' OR 1=1 --"},
        ):
            assert (await http.get("/api/overview", headers=headers)).status_code == 401, headers


async def test_the_health_check_says_nothing_but_yes_or_no(dashboard: Dashboard) -> None:
    async with dashboard.client() as http:
        assert (await http.get("/healthz")).text == "ok\n"
        dashboard.script.tick(31)
        answer = await http.get("/healthz")
        assert (answer.status_code, answer.text) == (503, "down\n")


async def test_a_session_that_was_there_before_the_login_is_not_the_one_after_it(dashboard: Dashboard) -> None:
    dashboard.add_user()
    async with dashboard.client(cookies={dashboard.session_cookie: "set-by-somebody-else"}) as http:
        before = await http.get("/login")
        assert before.status_code == 200
        answer = await log_in(http, "anna")
        assert answer.status_code == 303
        secret = answer.cookies[dashboard.session_cookie]
        assert secret != "set-by-somebody-else"
    async with dashboard.client(cookies={dashboard.session_cookie: "set-by-somebody-else"}) as other:
        assert (await other.get("/api/overview")).status_code == 401
    async with dashboard.client(cookies={dashboard.session_cookie: secret}) as mine:
        assert (await mine.get("/api/overview")).status_code == 200
        page = await mine.get("/")
        again = await mine.post("/logout", data={"csrf": field_of(page.text, "csrf")})
        assert again.status_code == 303
    async with dashboard.client(cookies={dashboard.session_cookie: secret}) as late:
        assert (await late.get("/api/overview")).status_code == 401


async def test_a_second_login_ends_the_session_of_that_browser(dashboard: Dashboard) -> None:
    http = await dashboard.logged_in()
    async with http:
        first = http.cookies[dashboard.session_cookie]
        # the form of the login is not shown to who is logged in: what is sent is bound to the session instead
        page = await http.get("/")
        fields = {"name": "anna", "password": PASSWORD, "csrf": field_of(page.text, "csrf")}
        answer = await http.post("/login", data=fields)
        assert answer.status_code == 303
        assert http.cookies[dashboard.session_cookie] != first
    async with dashboard.client(cookies={dashboard.session_cookie: first}) as old:
        assert (await old.get("/api/overview")).status_code == 401


async def test_a_session_ends_by_itself_with_its_user_and_with_a_new_password(dashboard: Dashboard) -> None:
    http = await dashboard.logged_in()
    async with http:
        assert (await http.get("/api/overview")).status_code == 200
        dashboard.add_user()
        assert (await http.get("/api/overview")).status_code == 401
    http = await dashboard.logged_in()
    async with http:
        dashboard.now_s += 12 * 3_600 + 1
        assert (await http.get("/api/overview")).status_code == 401
    http = await dashboard.logged_in()
    async with http:
        assert dashboard.store.remove_user("anna")
        assert (await http.get("/api/overview")).status_code == 401


async def test_a_form_without_its_token_or_from_another_site_changes_nothing(dashboard: Dashboard) -> None:
    http = await dashboard.logged_in()
    async with http:
        page = await http.get("/actions/halt")
        good = {
            "csrf": field_of(page.text, "csrf"),
            "action_id": field_of(page.text, "action_id"),
            "level": "no_new_trades",
        }
        for fields, headers in (
            ({**good, "csrf": ""}, {}),
            ({**good, "csrf": "0" * 64}, {}),
            ({key: value for key, value in good.items() if key != "csrf"}, {}),
            (good, {"Origin": "https://evil.example"}),
            (good, {"Origin": "null"}),
            (good, {"Sec-Fetch-Site": "cross-site"}),
        ):
            answer = await http.post("/actions/halt", data=fields, headers=headers)
            assert answer.status_code == 403, (fields, headers)
        json_answer = await http.post(
            "/api/actions/halt", json={"action_id": "x" * 20, "fields": {"level": "no_new_trades"}}
        )
        assert json_answer.status_code == 403
        assert (await http.get("/logout")).status_code == 405
    assert dashboard.asked == []
    assert [line.what for line in dashboard.store.audit(10)] == ["login"]


async def test_the_token_of_one_session_is_no_good_in_another(dashboard: Dashboard) -> None:
    first, second = await dashboard.logged_in(), await dashboard.logged_in(name="bert")
    async with first, second:
        foreign = field_of((await first.get("/")).text, "csrf")
        assert (await second.post("/logout", data={"csrf": foreign})).status_code == 403


async def test_the_login_has_a_form_token_too(dashboard: Dashboard) -> None:
    dashboard.add_user()
    async with dashboard.client() as http:
        answer = await http.post("/login", data={"name": "anna", "password": PASSWORD})
        assert answer.status_code == 403
        assert dashboard.session_cookie not in answer.cookies


async def test_a_password_cannot_be_guessed_by_trying(dashboard: Dashboard) -> None:
    dashboard.add_user()
    dashboard.add_user("bert")
    async with dashboard.client() as http:
        for _ in range(5):
            assert (await log_in(http, "anna", "wrong password")).status_code == 403
        answer = await log_in(http, "anna")
        assert answer.status_code == 429, "the right password must not help either: it would tell that it is right"
        assert "15 minutes" in answer.text
        assert (await log_in(http, "bert")).status_code == 303, "one name that is locked locks no other"
    async with dashboard.client() as http:
        dashboard.now_s += 15 * 60 + 1
        assert (await log_in(http, "anna")).status_code == 303
    assert "refused: locked" in " ".join(line.outcome for line in dashboard.store.audit(20))


async def test_many_names_from_one_address_are_locked_out_as_well(dashboard: Dashboard) -> None:
    dashboard.add_user()
    async with dashboard.client() as http:
        statuses = [(await log_in(http, f"name{number}", "wrong password")).status_code for number in range(20)]
        assert statuses == [403] * 20
        assert (await log_in(http, "anna")).status_code == 429


async def test_a_name_that_exists_is_refused_in_the_same_words_as_one_that_does_not(dashboard: Dashboard) -> None:
    dashboard.add_user()
    async with dashboard.client() as http:
        texts = {
            re.sub(r'value="[^"]*"', "", (await log_in(http, name, "wrong password")).text)
            for name in ("anna", "nobody")
        }
    assert len(texts) == 1


async def test_after_the_login_one_is_never_sent_to_another_site(dashboard: Dashboard) -> None:
    dashboard.add_user()
    for wanted in (
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\tx",
        "/ok\r\nX: y",
    ):
        async with dashboard.client() as http:
            csrf = field_of((await http.get("/login")).text, "csrf")
            fields = {"name": "anna", "password": PASSWORD, "csrf": csrf, "next": wanted}
            answer = await http.post("/login", data=fields)
            assert (answer.status_code, answer.headers["location"]) == (303, "/"), wanted
            assert "x" not in answer.headers


async def test_the_setup_link_works_once_for_a_day_and_only_while_there_is_no_user(dashboard: Dashboard) -> None:
    old = dashboard.store.new_setup(dashboard.now_ns())
    secret = dashboard.store.new_setup(dashboard.now_ns())
    async with dashboard.client() as http:
        assert "voldesk web" in (await http.get("/login")).text
        assert (await http.get(f"/setup/{old}")).status_code == 410
        assert (await http.get("/setup/guess")).status_code == 410
        form = await http.get(f"/setup/{secret}")
        assert form.status_code == 200
        fields = {"name": "anna", "csrf": field_of(form.text, "csrf")}
        for password, again in (("short", "short"), ("aaaaaaaaaaaaaa", "aaaaaaaaaaaaaa"), (PASSWORD, "other")):
            refused = await http.post(f"/setup/{secret}", data={**fields, "password": password, "again": again})
            assert refused.status_code == 400, password
        assert dashboard.store.users() == ()
        done = await http.post(f"/setup/{secret}", data={**fields, "password": PASSWORD, "again": PASSWORD})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert (await http.get("/api/overview")).status_code == 200
    async with dashboard.client() as http:
        assert (await http.get(f"/setup/{secret}")).status_code == 410
        late = dashboard.store.new_setup(dashboard.now_ns())
        assert (await http.get(f"/setup/{late}")).status_code == 410, "there is a user"
    assert dashboard.store.remove_user("anna")
    fresh = dashboard.store.new_setup(dashboard.now_ns())
    assert dashboard.store.is_setup(fresh, dashboard.now_ns())
    assert not dashboard.store.is_setup(fresh, dashboard.now_ns() + 25 * 3_600 * 10**9)


async def test_a_viewer_looks_and_cannot_act(dashboard: Dashboard) -> None:
    dashboard.fill()
    http = await dashboard.logged_in("viewer")
    async with http:
        page = await http.get("/")
        assert page.status_code == 200
        assert "role-viewer" in page.text
        for name in ("halt", "flatten", "close", "pause"):
            assert (await http.get(f"/actions/{name}")).status_code == 403
            fields = {"csrf": field_of(page.text, "csrf"), "action_id": "x" * 20, "trade": "t1", "strategy": "*"}
            assert (await http.post(f"/actions/{name}", data=fields)).status_code == 403
    assert dashboard.asked == []


async def test_a_token_does_what_its_scope_says_and_no_more(dashboard: Dashboard) -> None:
    read, halt = dashboard.token("read", name="r"), dashboard.token("read", "halt", name="h")
    async with dashboard.client() as http:
        body = {"action_id": "a" * 20, "fields": {"level": "no_new_trades", "trade": "t1"}}
        assert (await http.get("/api/overview", headers=read)).status_code == 200
        assert (await http.post("/api/actions/halt", json=body, headers=read)).status_code == 403
        assert (await http.post("/api/actions/close", json=body, headers=halt)).status_code == 403
        assert (await http.post("/api/actions/resume", json=body, headers=halt)).status_code == 403
        assert dashboard.store.remove_token("r")
        assert (await http.get("/api/overview", headers=read)).status_code == 401


async def test_every_answer_forbids_scripts_of_others_frames_and_keeping(dashboard: Dashboard) -> None:
    http = await dashboard.logged_in()
    async with http:
        for path in ("/", "/login", "/api/overview", "/static/desk.js", "/nothing", "/actions/halt"):
            answer = await http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy, path
            assert "frame-ancestors 'none'" in policy, path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["referrer-policy"] == "same-origin", path
            kept = answer.headers["cache-control"]
            assert kept == "no-store" if not path.startswith("/static/") else "immutable" in kept, path
        page = (await http.get("/")).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", page), "inline code or style"
    cookie = next(line for line in http.cookies.jar if line.name == dashboard.session_cookie)
    assert cookie.has_nonstandard_attr("HttpOnly")


async def test_behind_a_trusted_proxy_cookies_are_secure_and_only_it_is_believed(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
    for proxies in ((), ("127.0.0.1",)):
        folder = tmp_path / (proxies[0] if proxies else "none")
        folder.mkdir()
        async with Dashboard(folder, config=WebConfig(trusted_proxies=proxies)) as made, made.client() as http:
            made.add_user()
            csrf = field_of((await http.get("/login", headers=forwarded)).text, "csrf")
            # a secure cookie is not sent back over plain HTTP by a client that keeps to the rules
            form = {"Cookie": "; ".join(f"{each.name}={each.value}" for each in http.cookies.jar)}
            fields = {"name": "anna", "password": PASSWORD, "csrf": csrf}
            answer = await http.post("/login", data=fields, headers={**forwarded, **form})
            assert answer.status_code == 303
            line = next(each for each in answer.headers.get_list("set-cookie") if "_session_" in each)
            assert ("Secure" in line and line.startswith("__Host-")) == bool(proxies)
            assert ("strict-transport-security" in answer.headers) == bool(proxies)
            assert made.store.audit(1)[0].address == ("203.0.113.7" if proxies else "127.0.0.1")


async def test_beyond_loopback_what_did_not_come_by_https_through_the_proxy_is_refused(tmp_path: Path) -> None:
    config = WebConfig(host="0.0.0.0", trusted_proxies=("127.0.0.1",))
    async with Dashboard(tmp_path, config=config) as made, made.client() as http:
        made.add_user()
        for path in ("/", "/login", "/healthz", "/static/desk.js", "/api/overview"):
            assert (await http.get(path)).status_code == 403, path
        assert (await http.post("/login", data={"name": "anna", "password": PASSWORD})).status_code == 403
        assert (await http.get("/api/overview", headers=made.token("read"))).status_code == 403
        proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
        assert (await http.get("/login", headers=proxied)).status_code == 200
    config = WebConfig(host="0.0.0.0", trusted_proxies=("192.0.2.1",))
    (tmp_path / "other").mkdir()
    async with Dashboard(tmp_path / "other", config=config) as made, made.client() as http:
        claimed = {"X-Forwarded-Proto": "https"}
        assert (await http.get("/login", headers=claimed)).status_code == 403, "only the proxy is believed"


async def test_two_desks_on_one_host_do_not_log_each_other_out(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    async with Dashboard(folders[0]) as first, Dashboard(folders[1]) as second, httpx.AsyncClient(timeout=60) as http:
        for desk in (first, second):
            desk.add_user()
            page = await http.get(f"{desk.url}/login")
            fields = {"name": "anna", "password": PASSWORD, "csrf": field_of(page.text, "csrf")}
            assert (await http.post(f"{desk.url}/login", data=fields)).status_code == 303
        for desk in (first, second, first):
            assert (await http.get(f"{desk.url}/api/overview")).status_code == 200


async def test_text_from_outside_is_shown_as_text(dashboard: Dashboard) -> None:
    dashboard.fill()
    http = await dashboard.logged_in()
    async with http:
        page = (await http.get("/")).text
        assert "<b>lost the feed</b>" not in page
        assert "&lt;b&gt;lost the feed&lt;/b&gt;" in page
        trade = (await http.get("/trade", params={"trade": '"><script>x</script>'})).text
        assert "<script>x" not in trade


async def test_a_search_of_the_logs_is_compared_as_it_is_and_shown_as_text(dashboard: Dashboard) -> None:
    folder = dashboard.run_dir / "logs"
    folder.mkdir()
    lines = [
        '{"event": "started", "level": "info", "at": "2026-02-25T06:13:20Z", "detail": "a.*b (x+x+)+y"}',
        '{"event": "<img src=x onerror=alert(1)>", "level": "error", "at": "2026-02-25T06:13:21Z"}',
        "no JSON at all '; DROP TABLE users; --",
    ]
    (folder / "execution").mkdir()
    (folder / "execution" / "execution.jsonl").write_text("\n".join(lines) + "\n")
    http = await dashboard.logged_in()
    async with http:
        page = (await http.get("/logs", params={"search": "onerror"})).text
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page
        for search, count in (
            ("a.*b", 1),
            (".*", 1),
            ("(x+x+)+y", 1),
            ("' OR '1'='1", 0),
            ("'; DROP TABLE users; --", 1),
            ("%00", 0),
            ("\x00", 0),
            ("started info", 1),
        ):
            answer = await http.get("/api/logs", params={"search": search})
            assert answer.status_code == 200, search
            assert len(answer.json()) == count, search
        for name in ("search", "trade", "order", "strategy", "track", "level", "service"):
            shown = (await http.get("/logs", params={name: '"><script>alert(1)</script>'})).text
            assert "<script>alert" not in shown, name
        for name in ("trade", "order", "strategy"):
            for value in (".*", "t1|.*", "../../secret", "%00", "\x00", "(x+x+)+y"):
                answer = await http.get("/api/logs", params={name: value})
                assert (answer.status_code, answer.json()) == (200, []), (name, value)
        assert (await http.get("/api/logs", params={"track": "../secrets"})).status_code == 422
    assert [user.name for user in dashboard.store.users()] == ["anna"]


async def test_no_path_leads_out_of_the_logs_or_the_static_files(dashboard: Dashboard, tmp_path: Path) -> None:
    (tmp_path / "secret.log").write_text("a secret line\n")
    (dashboard.run_dir / "logs").mkdir()
    http = await dashboard.logged_in()
    async with http:
        for name in ("../secret", "../../secret", "..%2fsecret", "/etc/passwd", "execution/../../../secret", "\x00"):
            assert (await http.get("/api/logs", params={"service": name})).status_code == 404, name
            assert "a secret line" not in (await http.get("/logs", params={"service": name})).text, name
    for path in (
        "/static/../config.py",
        "/static/..%2f..%2fconfig.py",
        "/static/%2e%2e/%2e%2e/store.py",
        "/static//etc/passwd",
        "/static/..\\store.py",
        "/static/vendor/../../app.py",
    ):
        answer = await raw_get(dashboard, path)
        assert b" 404 " in answer.split(b"\r\n", 1)[0] or b" 400 " in answer.split(b"\r\n", 1)[0], (
            path,
            answer[:200],
        )
        assert b"import" not in answer


async def raw_get(dashboard: Dashboard, path: str) -> bytes:
    """A request whose path is sent as it is: clients tidy up dots."""
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(dashboard.url).port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_body_that_is_too_large_or_no_form_is_refused(dashboard: Dashboard) -> None:
    async with dashboard.client() as http:
        assert (await http.post("/login", content=b"x" * 70_000)).status_code == 413
        many = "&".join(f"a{number}=1" for number in range(60))
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await http.post("/login", content=many, headers=kind)).status_code == 400
        assert (await http.post("/login", content=b"\xff\xfe=\xff", headers=kind)).status_code == 400


def test_the_file_of_users_is_for_its_owner_and_holds_no_secret(tmp_path: Path) -> None:
    store = WebStore(store_path(tmp_path))
    store.put_user("anna", "operator", "hash", 1)
    secrets = [store.new_setup(1), store.new_session("anna", 1), store.new_token("t", ("read",), 1)]
    store.close()
    assert stat.S_IMODE(store_path(tmp_path).stat().st_mode) == 0o600
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in secrets:
        assert secret.encode() not in content


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "0.0.0.0"}, "tls_certificate"),
        ({"host": "192.0.2.1"}, "other machines"),
        ({"host": "localhost"}, "no IP address"),
        ({"tls_certificate": "a.pem"}, "belong together"),
        ({"trusted_proxies": ("proxy",)}, "no IP address"),
    ],
)
def test_a_way_to_be_open_to_others_without_protection_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WebConfig(**fields)  # type: ignore[arg-type]
    assert WebConfig(host="0.0.0.0", trusted_proxies=("192.0.2.1",)).url(8000) == "http://127.0.0.1:8000/"
    assert WebConfig(host="::1", tls_certificate="a", tls_key="b").url(8000) == "https://[::1]:8000/"


def test_weak_passwords_are_named_as_such() -> None:
    assert problem_of(PASSWORD, "anna") is None
    for weak in ("short", "abababababab", "anna-and-anna", "x" * 300):
        assert problem_of(weak, "anna") is not None
