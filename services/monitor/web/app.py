"""The web application of the monitor: login, pages, events, actions, data, health. Everything is behind `Guard`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from services.monitor.web.actions import ACTIONS, Action, BadRequest, Performer, is_allowed, must_type
from services.monitor.web.api import add_api
from services.monitor.web.attempts import Attempts
from services.monitor.web.data import add_data
from services.monitor.web.desk import WebDesk
from services.monitor.web.events import Live
from services.monitor.web.guard import Guard, Visitor, csrf_of
from services.monitor.web.history_api import add_history
from services.monitor.web.pages import PAGE_OF, PAGES, Page
from services.monitor.web.passwords import hash_password, matches_in_thread, problem_of
from services.monitor.web.pnl import add_pnl_api
from services.monitor.web.rendering import STATIC, Renderer
from services.monitor.web.store import AuditLine, check_name
from shared.bus import Bus

_QUERY_MAX = 300
_KNOWN_NS = 90 * 86_400_000_000_000
"""An address from which somebody logged in so lately is one of theirs."""

_KEPT = "public, max-age=31536000, immutable"


class WebApp:
    """The routes. `live` is told when something changed; `asgi` is what a server runs."""

    def __init__(self, desk: WebDesk, bus: Bus, on_error: Callable[[str, Exception], None]) -> None:
        self._desk = desk
        self._renderer = Renderer(desk, on_error)
        known = desk.store.logins(desk.now_ns() - _KNOWN_NS)
        self._attempts = Attempts(desk.config.login_failures, desk.config.lockout_minutes, known)
        self.live = Live(desk.config.refresh_ms, desk.config.viewers_max, on_error)
        self._performer = Performer(desk, bus)
        self._on_error = on_error
        app = self.routes = FastAPI(title="voldesk", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
        app.mount("/static", _Static(directory=STATIC))
        self._add_login(app)
        self._add_pages(app)
        self._add_actions(app)
        add_data(app, desk)
        add_history(app, desk)
        add_pnl_api(app, desk)
        add_api(app, desk, self._performer, self.live.changed)
        app.add_exception_handler(Exception, self._failed)
        self.asgi = Guard(
            app,
            desk.store,
            desk.now_ns,
            cookie_mark=desk.cookie_mark,
            needs_https=desk.config.needs_https,
        )

    def all_routes(self) -> list[APIRoute]:
        """Every route but the files under /static/ and the API's document."""
        return [route for route in self.routes.routes if isinstance(route, APIRoute)]

    async def _failed(self, _: Request, error: Exception) -> Response:
        """Our own mistake is logged and answered; nothing of it is shown."""
        self._on_error("request", error)
        return Response("this cannot be shown; the log of monitor says why\n", 500, media_type="text/plain")

    # Login

    def _add_login(self, app: FastAPI) -> None:
        app.add_api_route("/login", self._login_form, methods=["GET"], include_in_schema=False)
        app.add_api_route("/login", self._login, methods=["POST"], include_in_schema=False)
        app.add_api_route("/logout", self._logout, methods=["POST"], include_in_schema=False)
        app.add_api_route("/setup/{secret}", self._setup_form, methods=["GET"], include_in_schema=False)
        app.add_api_route("/setup/{secret}", self._setup, methods=["POST"], include_in_schema=False)
        app.add_api_route("/healthz", self._health, methods=["GET"], include_in_schema=False)

    async def _health(self) -> Response:
        down = any(view.is_down for view in self._desk.status().services)
        return Response("down\n" if down else "ok\n", 503 if down else 200, media_type="text/plain")

    async def _login_form(self, request: Request, next: str = "/") -> Response:
        if request.state.visitor is not None:
            return RedirectResponse(_own_path(next), 303)
        return self._show_login(request, next=next)

    def _show_login(self, request: Request, status: int = 200, **shown: str) -> Response:
        context = {"title": "Log in", "problem": "", "next": "/", "name": "", **shown}
        return self._form(request, "login.html", {**context, "no_user": not self._desk.store.users()}, status)

    async def _login(self, request: Request) -> Response:
        form = request.state.form
        name, password, wanted = form.get("name", "").strip()[:40], form.get("password", ""), form.get("next", "/")
        now_ns, address = self._desk.now_ns(), request.state.address
        if wait_s := self._attempts.wait_s(name, address, now_ns):
            minutes = -(-wait_s // 60)
            problem = f"too many wrong passwords: try again in {minutes} minute{'' if minutes == 1 else 's'}"
            return self._show_login(request, 429, problem=problem, next=wanted, name=name)
        user = self._desk.store.user(name)
        # counted before it is looked at, so that many at once do not get more tries than one after the other
        locked = self._attempts.failed(name, address, now_ns)
        if not await matches_in_thread(None if user is None else user.password, password) or user is None:
            if locked:
                self._note(request, name, "login", "refused: locked after too many wrong passwords")
            problem = "name or password is wrong"
            return self._show_login(request, 403, problem=problem, next=wanted, name=name)
        self._attempts.succeeded(name, address)
        return self._enter(request, name, wanted)

    def _enter(self, request: Request, name: str, wanted: str) -> Response:
        """Begin a session under a secret of its own: what the browser held before is worth nothing now."""
        cookies = request.state.cookies
        if cookies.session:
            self._desk.store.end_session(cookies.session)
        cookies.session = self._desk.store.new_session(name, self._desk.now_ns())
        cookies.form = ""
        self._note(request, name, "login", "done")
        return RedirectResponse(_own_path(wanted), 303)

    async def _logout(self, request: Request) -> Response:
        cookies = request.state.cookies
        if cookies.session:
            self._desk.store.end_session(cookies.session)
            cookies.session = ""
        return RedirectResponse("/login", 303)

    async def _setup_form(self, request: Request, secret: str) -> Response:
        return self._show_setup(request, secret)

    def _show_setup(self, request: Request, secret: str, status: int = 200, **shown: str) -> Response:
        valid = self._desk.store.is_setup(secret, self._desk.now_ns())
        context = {"title": "The first user", "problem": "", "name": "", **shown, "valid": valid}
        return self._form(request, "setup.html", context, status if valid else 410)

    async def _setup(self, request: Request, secret: str) -> Response:
        form, now_ns = request.state.form, self._desk.now_ns()
        name, password = form.get("name", "").strip(), form.get("password", "")
        if not self._desk.store.is_setup(secret, now_ns):
            return self._show_setup(request, secret)
        try:
            check_name(name)
        except ValueError as error:
            return self._show_setup(request, secret, 400, problem=str(error), name=name)
        problem = problem_of(password, name)
        if problem is None and password != form.get("again", ""):
            problem = "the two passwords are not the same"
        if problem is not None:
            return self._show_setup(request, secret, 400, problem=problem, name=name)
        hashed = await asyncio.to_thread(hash_password, password)
        if not self._desk.store.is_setup(secret, now_ns):
            return self._show_setup(request, secret)
        self._desk.store.put_user(name, "operator", hashed, now_ns)
        self._note(request, name, "set up", "the first user was made")
        return self._enter(request, name, "/")

    def _note(self, request: Request, who: str, what: str, outcome: str) -> None:
        """A line of the audit that is over as it begins."""
        now_ns = self._desk.now_ns()
        line = AuditLine(
            action_id=secrets.token_urlsafe(16),
            at_ns=now_ns,
            who=who,
            address=request.state.address,
            what=what,
            detail="",
            outcome=outcome,
            ended_ns=now_ns,
        )
        self._desk.store.begin(line)

    def _form(self, request: Request, template: str, context: Mapping[str, Any], status: int = 200) -> Response:
        """A form before anybody logged in: it is bound to a cookie of its own."""
        cookies = request.state.cookies
        cookies.need_form()
        csrf = csrf_of(self._desk.store, cookies.value)
        html = self._renderer.draw(template, {**context, "csrf": csrf, "visitor": None})
        return HTMLResponse(html, status)

    # Pages

    def _add_pages(self, app: FastAPI) -> None:
        for page in PAGES:
            path = "/" if page.name == "overview" else f"/{page.name}"
            app.add_api_route(path, self._page(page), methods=["GET"], include_in_schema=False, name=page.name)
        app.add_api_route("/events/{name}", self._events, methods=["GET"], include_in_schema=False)

    def _page(self, page: Page) -> Callable[[Request], Any]:
        async def show(request: Request) -> Response:
            query = _query_of(page, request)
            context = {
                "title": page.title if page.in_menu else f"{page.title} {query.get(page.params[0], '')}".strip(),
                "page": page,
                "pages": PAGES,
                "query": urlencode(query),
                "sections": await self._renderer.sections(page, query),
                "visitor": request.state.visitor,
                "csrf": request.state.csrf,
            }
            return HTMLResponse(self._renderer.draw("page.html", context))

        return show

    async def _events(self, request: Request, name: str) -> Response:
        page = PAGE_OF.get(name)
        if page is None:
            raise HTTPException(404, "there is no such page")
        query = _query_of(page, request)

        async def render() -> dict[str, str]:
            return await self._renderer.sections(page, query, live_only=True)

        if self.live.is_full:
            return JSONResponse({"detail": "too many pages are kept up to date"}, 503, {"retry-after": "10"})
        stream = self.live.stream((name, *sorted(query.items())), render, request.state.still_allowed)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    # Actions

    def _add_actions(self, app: FastAPI) -> None:
        app.add_api_route("/actions/{name}", self._confirm, methods=["GET"], include_in_schema=False)
        app.add_api_route("/actions/{name}", self._act, methods=["POST"], include_in_schema=False)

    def _action(self, request: Request, name: str) -> Action:
        action = ACTIONS.get(name)
        if action is None:
            raise HTTPException(404, "there is no such action")
        if not is_allowed(action, request.state.visitor):
            raise HTTPException(403, "your role may look, not act")
        return action

    async def _confirm(self, request: Request, name: str) -> Response:
        action = self._action(request, name)
        fields = {key: value[:_QUERY_MAX] for key, value in request.query_params.items()}
        return self._ask(request, action, fields, secrets.token_urlsafe(24))

    def _ask(
        self, request: Request, action: Action, fields: Mapping[str, str], action_id: str, problem: str = ""
    ) -> Response:
        asked = [
            {"name": each.name, "label": each.label, "value": each.value, "choices": each.choices}
            | {"required": each.required}
            for each in action.asks(self._desk, fields)
        ]
        if must_type(action, self._desk):
            label = f"Type the account's name, {self._desk.header.account_id}, to confirm"
            asked.append({"name": "typed", "label": label, "value": "", "choices": (), "required": True})
        context = {
            "action": action.name,
            "action_id": action_id,
            "question": action.question(fields),
            "about": action.about(self._desk, fields),
            "verb": action.verb,
            "dangerous": action.dangerous,
            "fields": {need: fields.get(need, "") for need in action.needs},
            "asked": asked,
            "problem": problem,
        }
        return self._dialog(request, action, context, 400 if problem else 200)

    async def _act(self, request: Request, name: str) -> Response:
        action, form = self._action(request, name), request.state.form
        action_id = form.get("action_id", "")
        visitor: Visitor = request.state.visitor
        try:
            outcome = await self._performer.perform(action, form, action_id, visitor.name, request.state.address)
        except BadRequest as error:
            return self._ask(request, action, form, action_id, str(error))
        self.live.changed(urgent=True)
        return self._dialog(request, action, {"outcome": outcome})

    def _dialog(self, request: Request, action: Action, context: Mapping[str, Any], status: int = 200) -> Response:
        """In the page's dialog where a script asks, else as a page of its own."""
        is_part = request.headers.get("hx-request") is not None
        whole = {"heading": action.title, "title": action.title, "back": action.back, "outcome": None, **context}
        whole |= {"csrf": request.state.csrf, "visitor": request.state.visitor}
        html = self._renderer.draw("dialog.html" if is_part else "action.html", whole)
        return HTMLResponse(html, 200 if is_part else status)


class _Static(StaticFiles):
    """Files that never change under their address, which has their hash in it."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = _KEPT
        return response


def _query_of(page: Page, request: Request) -> dict[str, str]:
    return {name: request.query_params[name][:_QUERY_MAX] for name in page.params if name in request.query_params}


def _own_path(wanted: str) -> str:
    """A path of ours; anything that could lead elsewhere becomes the first page."""
    parts = urlsplit(wanted)
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return wanted if is_own and "\\" not in wanted and wanted.isprintable() else "/"
