"""The venue's error codes that this server answers, and the exception that carries one to the envelope."""

from __future__ import annotations

from typing import Final

from services.exchange.switches import Switches

INTERNAL_ERROR: Final = 500
BAD_SIGNATURE: Final = 4003
INVALID_SIGNATURE: Final = 10562
NO_PERMISSION: Final = 7001
TRY_AGAIN_LATER: Final = 10000
PARAMETER_ILLEGAL: Final = 10004
PARAMETER_ERROR: Final = 10005
METHOD_NOT_SUPPORTED: Final = 10009
PRICE_MISSING: Final = 10530
QUANTITY_MISSING: Final = 10533
NOT_AUTHORISED: Final = 10554
TIMESTAMP_EXPIRED: Final = 10557
UNKNOWN_KEY: Final = 10560
INVALID_TIMESTAMP: Final = 10561
PARAMETER_EMPTY: Final = 10570
PARAMETER_COUNT: Final = 10572
PARAMETER_WRONG: Final = 10573
UNKNOWN_INSTRUMENT: Final = 10574
ORDER_ID_NEEDED: Final = 10575
UNKNOWN_INDEX: Final = 10579
UNKNOWN_ORDER: Final = 10584
URL_PATH: Final = 10591
TOO_MANY_SUBSCRIPTIONS: Final = 10595
TIME_IN_FORCE: Final = 12012

_STATUS: Final[dict[int, int]] = {
    **dict.fromkeys((BAD_SIGNATURE, INVALID_SIGNATURE, TIMESTAMP_EXPIRED, UNKNOWN_KEY, INVALID_TIMESTAMP), 401),
    **dict.fromkeys((NO_PERMISSION, NOT_AUTHORISED), 403),
    **dict.fromkeys((UNKNOWN_INSTRUMENT, UNKNOWN_INDEX, UNKNOWN_ORDER, URL_PATH, 10592), 404),
}

TEXTS: Final[dict[int, str]] = {
    INTERNAL_ERROR: "Internal server error",
    INVALID_SIGNATURE: "Invalid signature",
    BAD_SIGNATURE: "Token authentication failed",
    NO_PERMISSION: "No permission",
    TRY_AGAIN_LATER: "Try again later",
    PARAMETER_ILLEGAL: "Parameter illegal",
    PARAMETER_ERROR: "Parameter error",
    METHOD_NOT_SUPPORTED: "Method not supported",
    PRICE_MISSING: "Price can not be empty",
    QUANTITY_MISSING: "Amount can not be empty",
    NOT_AUTHORISED: "You are not authorized to execute this request",
    TIMESTAMP_EXPIRED: "Timestamp expired",
    UNKNOWN_KEY: "Invalid access key",
    INVALID_TIMESTAMP: "Invalid timestamp",
    PARAMETER_EMPTY: "Parameter {0} can not be empty",
    PARAMETER_COUNT: "Parameter {0} count exceeds the limit",
    PARAMETER_WRONG: "Parameter {0} error",
    UNKNOWN_INSTRUMENT: "Instrument does not exist",
    ORDER_ID_NEEDED: "Either client order id or order id is required",
    UNKNOWN_INDEX: "Index does not exist",
    UNKNOWN_ORDER: "Order does not exist",
    URL_PATH: "Invalid request url path",
    TOO_MANY_SUBSCRIPTIONS: "Subscription count exceeds the limit",
    TIME_IN_FORCE: "Invalid timeInForce, use GTC, IOC or FOK",
}


class ApiError(Exception):
    """A request that the venue refuses: HTTP 200 with a non-zero `code`."""

    def __init__(self, code: int, *arguments: str, text: str | None = None) -> None:
        self.code = code
        self.text = text if text is not None else TEXTS[code].format(*arguments)
        super().__init__(f"{code} {self.text}")


def status_of(error: ApiError) -> int:
    """The HTTP status that suits a failure."""
    return _STATUS.get(error.code, 400)


def as_switched(error: ApiError, switches: Switches) -> ApiError:
    """The same failure with the code that the configuration gives it."""
    codes = {
        UNKNOWN_KEY: switches.unknown_key_code,
        TIMESTAMP_EXPIRED: switches.expired_code,
        PARAMETER_EMPTY: switches.missing_parameter_code,
        PARAMETER_WRONG: switches.wrong_parameter_code,
        UNKNOWN_INSTRUMENT: switches.unknown_option_code,
    }
    return ApiError(codes.get(error.code, error.code), text=error.text)
