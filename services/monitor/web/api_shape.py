"""What every shape of the JSON API is: decimals as text, times in ISO-8601 UTC, None = not known."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    model_config = ConfigDict(extra="allow")
