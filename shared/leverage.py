"""The leverage of futures `[execution.leverage]`: execution sets it, risk reckons margin with it."""

from typing import Annotated

from msgspec import Meta

FutureName = Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,12}USD(T?-[0-9]{1,2}[A-Z]{3}[0-9]{2})?$")]
"""A perpetual, `BTCUSD`, or a dated future in any form that `shared.options.instruments` reads."""
Leverage = Annotated[int, Meta(ge=1, le=125)]
LeverageTable = dict[FutureName, Leverage]
