"""The part of Grafana's dashboard model that the dashboards use, written from its documentation; nothing else is
taken."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]
Unit = Literal["none", "short", "currencyUSD", "percentunit", "s", "bytes", "ops"]
Colour = Literal["green", "orange", "red"]


class _Strict(Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class DataSource(_Strict):
    type: Literal["prometheus"]
    uid: Literal["voldesk"]


class Place(_Strict):
    x: Annotated[int, Meta(ge=0, le=23)]
    y: Annotated[int, Meta(ge=0)]
    w: Annotated[int, Meta(ge=1, le=24)]
    h: Annotated[int, Meta(ge=1)]


class Step(_Strict):
    color: Colour
    value: float | None


class Thresholds(_Strict):
    mode: Literal["absolute"]
    steps: Annotated[list[Step], Meta(min_length=1)]


class Word(_Strict):
    text: Text
    color: Colour


class Mapping(_Strict):
    type: Literal["value"]
    options: dict[str, Word]


class ColourMode(_Strict):
    mode: Literal["thresholds", "palette-classic"]


class Defaults(_Strict):
    unit: Unit
    color: ColourMode
    thresholds: Thresholds
    mappings: list[Mapping]
    custom: dict[str, Any] = {}
    min: float | None = None
    max: float | None = None


class Fields(_Strict):
    defaults: Defaults
    overrides: list[Any]


class Target(_Strict):
    refId: Annotated[str, Meta(pattern="^[A-Z]$")]
    datasource: DataSource
    expr: Text
    legendFormat: Text
    editorMode: Literal["code"]
    range: bool
    instant: bool
    format: Literal["heatmap", "time_series"] = "time_series"


class Panel(_Strict):
    id: Annotated[int, Meta(ge=1)]
    type: Literal["timeseries", "stat", "bargauge", "state-timeline", "heatmap"]
    title: Text
    description: str
    datasource: DataSource
    gridPos: Place
    fieldConfig: Fields
    options: dict[str, Any]
    targets: Annotated[list[Target], Meta(min_length=1)]


class VariableQuery(_Strict):
    query: Text
    refId: Text


class Current(_Strict):
    text: str
    value: str


class Variable(_Strict):
    type: Literal["query"]
    name: Text
    label: Text
    datasource: DataSource
    definition: Text
    query: VariableQuery
    refresh: Literal[1, 2]
    sort: int
    multi: bool
    includeAll: bool
    allValue: str
    current: Current


class Variables(_Strict, rename={"rows": "list"}):
    rows: list[Variable]


class Annotations(_Strict, rename={"rows": "list"}):
    rows: list[Any]


class Link(_Strict):
    type: Literal["dashboards"]
    title: Text
    tags: list[str]
    asDropdown: bool
    includeVars: bool
    keepTime: bool


class TimeRange(_Strict, rename={"begin": "from"}):
    begin: str
    to: str


class Dashboard(_Strict):
    uid: Annotated[str, Meta(pattern="^voldesk-[a-z]+$", max_length=40)]
    title: Annotated[str, Meta(pattern="^voldesk · ")]
    tags: list[str]
    schemaVersion: Literal[39]
    version: int
    editable: bool
    graphTooltip: Literal[0, 1, 2]
    refresh: str
    time: TimeRange
    timezone: Literal["utc"]
    templating: Variables
    annotations: Annotations
    links: list[Link]
    panels: Annotated[list[Panel], Meta(min_length=1)]
