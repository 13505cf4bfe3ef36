"""What stands before every route: security headers, who is asking, and whether a change is really asked for by them.

Nothing is open unless it is in PUBLIC: a route that is added is behind the login without doing anything for it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.monitor.web.store import Role, User, WebStore

PUBLIC = ("/login", "/setup", "/healthz", "/static/")
"""Paths, or beginnings of paths with a slash at the end, that are answered without a login."""

_BODY_MAX = 64 * 1024
_FIELDS_MAX = 50
_SAFE = ("GET", "HEAD", "OPTIONS")
_SESSION, _FORM = "voldesk_session", "voldesk_form"

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NOT_KEPT = (b"cache-control", b"no-store")


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. secret: the session's, "" for a program with a token."""

    name: str
    role: Role
    may_halt: bool
    secret: str = ""

    @property
    def may_operate(self) -> bool:
        return self.role == "operator"


def csrf_of(store: WebStore, secret: str) -> str:
    """What a form must carry: bound to the cookie of who asks, and to this desk."""
    return hmac.new(store.form_key, secret.encode(), hashlib.sha256).hexdigest()


def visitor_of(user: User, secret: str) -> Visitor:
    is_operator = user.role == "operator"
    return Visitor(name=user.name, role=user.role, may_halt=is_operator, secret=secret)


class Guard:
    """The outermost part of the application.

    Hands on, in `scope["state"]`: `visitor` (None on a public path without a login), `address` of the client, `form`
    (the fields of a posted form), `cookies` (what the browser holds), `csrf` for the forms of the answer, and
    `still_allowed()`, which says for an answer that goes on whether the login or token is good still.

    cookie_mark: ends the names of the cookies. needs_https: refuse whatever did not come by https.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: WebStore,
        now_ns: Callable[[], int],
        *,
        cookie_mark: str,
        needs_https: bool,
    ) -> None:
        self._app = app
        self._store = store
        self._now_ns = now_ns
        self._cookie_mark = cookie_mark
        self._needs_https = needs_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        is_secure = scope["scheme"] == "https"
        respond = _sender(send, is_secure=is_secure, path=scope["path"])
        if self._needs_https and not is_secure:
            await _refuse(scope, 403, "come by https, through the proxy of this desk")(scope, receive, respond)
            return
        cookies = _Cookies(Headers(scope=scope).get("cookie", ""), is_secure, self._cookie_mark)
        answer = await self._check(scope, receive, cookies)
        if isinstance(answer, Response):
            await answer(scope, receive, respond)
        else:
            await self._app(scope, answer, cookies.setter(respond))

    async def _check(self, scope: Scope, receive: Receive, cookies: _Cookies) -> Response | Receive:
        """An answer that ends it here, or what the application reads the body from."""
        headers = Headers(scope=scope)
        visitor = self._visitor(headers, cookies)
        state: dict[str, Any] = scope.setdefault("state", {})
        client = scope.get("client")
        state.update(
            visitor=visitor,
            address=client[0] if client else "",
            form={},
            cookies=cookies,
            csrf=csrf_of(self._store, cookies.value),
            still_allowed=lambda: self._visitor(headers, cookies) is not None,
        )
        if visitor is None and not is_public(scope["path"]):
            return _please_log_in(scope, headers)
        if scope["method"] in _SAFE:
            return receive
        body = await _read(receive)
        if body is None:
            return _refuse(scope, 413, "the request is too large")
        if headers.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded":
            try:
                state["form"] = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX))
            except ValueError:
                return _refuse(scope, 400, "the form cannot be read")
        if visitor is None or visitor.secret:
            # a cookie goes along with whatever page makes the browser ask; a token does not
            given = headers.get("x-csrf-token") or state["form"].get("csrf", "")
            genuine = hmac.compare_digest(given.encode(), state["csrf"].encode()) and cookies.value
            if not genuine or not _is_own_origin(headers):
                return _refuse(scope, 403, "this form is out of date: load the page again, and repeat")
        return _again(body, receive)

    def _visitor(self, headers: Headers, cookies: _Cookies) -> Visitor | None:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            token = self._store.token(secret.strip())
            if token is None:
                return None
            role: Role = "operator" if "operate" in token.scopes else "viewer"
            may_halt = role == "operator" or "halt" in token.scopes
            return Visitor(name=f"token:{token.name}", role=role, may_halt=may_halt)
        if not cookies.session:
            return None
        user = self._store.session(cookies.session, self._now_ns())
        if user is None:
            cookies.session = ""
            return None
        return visitor_of(user, cookies.session)


class _Cookies:
    """The two cookies of the dashboard. `session` and `form` can be set; what changed is sent with the answer.

    Under TLS their names begin with __Host-, so that no other host of the domain can set them. They end with the mark
    of the desk, so that two desks on one host do not take each other's.
    """

    def __init__(self, header: str, is_secure: bool, mark: str) -> None:
        self._is_secure = is_secure
        self._prefix = "__Host-" if is_secure else ""
        self._mark = mark
        given: SimpleCookie = SimpleCookie()
        try:
            given.load(header)
        except CookieError:
            given.clear()
        found = {name: given[full].value for name in (_SESSION, _FORM) if (full := self._full(name)) in given}
        self.session = self._session = found.get(_SESSION, "")
        self.form = self._form = found.get(_FORM, "")

    @property
    def value(self) -> str:
        """What forms are bound to: the session, before a login the form's cookie."""
        return self.session or self.form

    def need_form(self) -> str:
        """Have a cookie to bind a form to, before anybody logged in."""
        if not self.form:
            self.form = secrets.token_urlsafe(24)
        return self.form

    def setter(self, send: Send) -> Send:
        async def with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                changed = [(_SESSION, self.session, self._session), (_FORM, self.form, self._form)]
                lines = [self._line(name, value) for name, value, before in changed if value != before]
                message = {**message, "headers": [*message["headers"], *((b"set-cookie", line) for line in lines)]}
            await send(message)

        return with_cookies

    def _full(self, name: str) -> str:
        return f"{self._prefix}{name}_{self._mark}"

    def _line(self, name: str, value: str) -> bytes:
        parts = [f"{self._full(name)}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        parts += ["Secure"] if self._is_secure else []
        parts += [] if value else ["Max-Age=0"]
        return "; ".join(parts).encode()


def is_public(path: str) -> bool:
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in PUBLIC) or path.startswith(
        "/setup/"
    )


def _sender(send: Send, *, is_secure: bool, path: str) -> Send:
    extra = [*_HEADERS, *([_HSTS] if is_secure else []), *([] if path.startswith("/static/") else [_NOT_KEPT])]

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return with_headers


def _please_log_in(scope: Scope, headers: Headers) -> Response:
    path = scope["path"]
    if path.startswith(("/api/", "/events/", "/data/")) or path == "/openapi.json" or "authorization" in headers:
        return JSONResponse(
            {"detail": "log in, or send a token: Authorization: Bearer ..."}, 401, {"www-authenticate": "Bearer"}
        )
    if headers.get("hx-request"):
        return Response(status_code=401, headers={"hx-redirect": "/login"})
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = path + (f"?{query}" if query else "")
    where = "/login" if path == "/" or scope["method"] != "GET" else f"/login?next={quote(wanted, safe='')}"
    return RedirectResponse(where, 303)


def _refuse(scope: Scope, status: int, reason: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"detail": reason}, status)
    return PlainTextResponse(reason + "\n", status)


def _is_own_origin(headers: Headers) -> bool:
    """Browsers say which page a form comes from; where one says nothing, the form's own token must do."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None for one that is too large, or a client that went away."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += bytes(message.get("body", b""))
        if len(body) > _BODY_MAX:
            return None
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more for who reads it inside; then whatever comes, such as that the client went away."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
