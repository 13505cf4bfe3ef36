"""Pages as HTML: the templates, and the sections of a page drawn by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.monitor.web.desk import WebDesk
from services.monitor.web.pages import Page
from services.monitor.web.texts import FILTERS
from shared.messages.trades import OrderUpdate
from shared.views import order_name, order_price_text

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
_MISSING = '<p class="notice bad">This part cannot be shown; the log of monitor says why.</p>'
_ORDER_ID = re.compile(r"\d{15,}")


class Renderer:
    """Draws with every text from outside escaped; a name that a template misspells is an error, not a blank."""

    def __init__(self, desk: WebDesk, on_error: Callable[[str, Exception], None]) -> None:
        self._desk = desk
        self._on_error = on_error
        self._known = {"header": desk.header, "version": static_version()}

    async def sections(self, page: Page, query: Mapping[str, str], *, live_only: bool = False) -> dict[str, str]:
        """The sections of a page by name, those that are kept up to date only if `live_only`."""
        context = {"page_name": page.name, **await page.gather(self._desk, query)}
        names = [name for name in page.sections if not (live_only and name in page.fixed)]
        return {name: self._section(name, context) for name in names}

    def _section(self, name: str, context: Mapping[str, Any]) -> str:
        """One that cannot be drawn takes none of the others with it."""
        try:
            return self.draw(f"sections/{name}.html", context)
        except Exception as error:
            self._on_error(f"section {name}", error)
            return _MISSING

    def draw(self, template: str, context: Mapping[str, Any]) -> str:
        return _templates().get_template(template).render({**self._known, "now_ns": self._desk.now_ns(), **context})


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(FILTERS, named=_with_short_names, order_name=_order_name, order_price=_order_price)
    macros = templates.get_template("macros.html").module
    templates.globals.update({name: getattr(macros, name) for name in vars(macros) if not name.startswith("_")})
    return templates


@lru_cache(maxsize=1)
def static_version() -> str:
    """Changes when a file under static/ does, so that browsers may keep these for long."""
    digest = sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _with_short_names(text: str, names: Mapping[str, str]) -> str:
    """The line with each client order id of the trade written as in the table of its orders."""
    return _ORDER_ID.sub(lambda found: names.get(found[0], found[0]), text)


def _order_name(order: OrderUpdate) -> str:
    return order_name(order)


def _order_price(order: OrderUpdate) -> str:
    return order_price_text(order)
