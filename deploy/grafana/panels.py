"""Panels of Grafana's dashboard model (schema version 39), one function for each kind of them.

A query's legend names labels as `{{label}}`; `$where` in it stands for the variables at the top of a dashboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "voldesk"}
WHERE = 'mode=~"$mode", account=~"$account"'
COLUMNS = 24

Panel = dict[str, Any]
Query = tuple[str, str]
"""PromQL and the legend of its series."""


def lines(title: str, unit: str, *queries: Query, about: str = "", stacked: bool = False, width: int = 12) -> Panel:
    """Series over time."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, unit, queries, about, width, 8, options=options, custom=custom)


def figure(title: str, unit: str, query: Query, *bounds: tuple[float, str], about: str = "", width: int = 4) -> Panel:
    """The newest value in large digits. `bounds`: from which value on which colour; green below."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    }
    return _panel("stat", title, unit, (query,), about, width, 4, options=options, bounds=bounds)


def bars(title: str, unit: str, query: Query, *bounds: tuple[float, str], about: str = "", width: int = 12) -> Panel:
    """A bar for each series, of a share whose whole is 1."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "color",
    }
    return _panel(
        "bargauge", title, unit, (query,), about, width, 8, options=options, bounds=bounds, span={"min": 0, "max": 1}
    )


def timeline(title: str, query: Query, words: dict[str, tuple[str, str]], about: str = "", width: int = 12) -> Panel:
    """States over time. `words`: what a value means, and its colour."""
    options = {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    mapped = {value: {"text": text, "color": colour} for value, (text, colour) in words.items()}
    return _panel(
        "state-timeline", title, "none", (query,), about, width, 8, options=options, mappings=mapped, custom={}
    )


def heat(title: str, query: str, about: str = "", width: int = 12) -> Panel:
    """How durations are spread over time; `query` keeps the label `le`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    panel = _panel("heatmap", title, "short", ((query, "{{le}}"),), about, width, 8, options=options)
    panel["targets"][0]["format"] = "heatmap"
    return panel


def quantiles(title: str, metric: str, selector: str, by: str = "", about: str = "", width: int = 12) -> Panel:
    """Median and 99 of 100 of a histogram of durations over the last minutes."""
    rate = f"sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{{{WHERE}{selector}}}[$__rate_interval]))"
    label = f" {{{{{by}}}}}" if by else ""
    return lines(
        title,
        "s",
        (f"histogram_quantile(0.5, {rate})", f"p50{label}"),
        (f"histogram_quantile(0.99, {rate})", f"p99{label}"),
        about=about,
        width=width,
    )


def dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """A dashboard with its panels laid out from left to right and from top to bottom, in the order given."""
    x = y = height = 0
    placed = []
    for number, panel in enumerate(panels, start=1):
        place = panel["gridPos"]
        if x + place["w"] > COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append({**panel, "id": number, "gridPos": {**place, "x": x, "y": y}})
        x, height = x + place["w"], max(height, place["h"])
    return {
        "uid": f"voldesk-{name}",
        "title": title,
        "tags": ["voldesk"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_variable("mode"), _variable("account")]},
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "voldesk",
                "tags": ["voldesk"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": placed,
    }


def _variable(label: str) -> dict[str, Any]:
    query = f"label_values(voldesk_ready, {label})"
    return {
        "type": "query",
        "name": label,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(
    kind: str,
    title: str,
    unit: str,
    queries: Sequence[Query],
    about: str,
    width: int,
    height: int,
    *,
    options: dict[str, Any],
    custom: dict[str, Any] | None = None,
    bounds: Sequence[tuple[float, str]] = (),
    mappings: dict[str, dict[str, str]] | None = None,
    span: dict[str, float] | None = None,
) -> Panel:
    steps = [{"color": "green", "value": None}, *({"color": colour, "value": value} for value, colour in bounds)]
    defaults: dict[str, Any] = {
        "unit": unit,
        "color": {"mode": "thresholds" if bounds or mappings else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [{"type": "value", "options": mappings}] if mappings else [],
        **(span or {}),
    }
    if custom is not None:
        defaults["custom"] = custom
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": query.replace("$where", WHERE),
                "legendFormat": legend,
                "editorMode": "code",
                "range": True,
                "instant": False,
            }
            for number, (query, legend) in enumerate(queries)
        ],
    }
