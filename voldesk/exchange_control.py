"""The control API of the simulated exchange: move its market, list expiries, make it misbehave. Paper only."""

from __future__ import annotations

import re
from typing import Any

import httpx

from shared.config import DeskConfig
from voldesk.console import EXIT_CONFIG, EXIT_UNREACHABLE, EXIT_USAGE, Failure, progress
from voldesk.preflight import read_ports

_PATIENCE_S = 5.0
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class ExchangeControl:
    """Asks the exchange of one desk. Raises Failure unless the desk's venue is the simulated one (78)."""

    def __init__(self, desk: DeskConfig) -> None:
        if desk.venue != "sim":
            raise Failure(
                f"the desk's venue is {desk.venue}: only the simulated exchange can be moved",
                f'take a desk with [desk] venue = "sim", not {desk.path}',
                EXIT_CONFIG,
            )
        self._host = desk.host.exchange
        self._port = read_ports(desk.run_dir).get("exchange")

    def get(self, path: str) -> Any:
        """Read. Raises Failure (69) when the exchange cannot be reached."""
        return self._ask("GET", path, None)

    def post(self, path: str, *, if_refused: str = "correct the value", **body: Any) -> Any:
        """Change. Raises Failure: not reachable (69), refused (1) with the remedy `if_refused`."""
        return self._ask("POST", path, body, if_refused)

    def delete(self, path: str) -> Any:
        """Remove. Raises Failure as `post`."""
        return self._ask("DELETE", path, None)

    def _ask(self, method: str, path: str, body: Any, if_refused: str = "see `voldesk logs exchange`") -> Any:
        away = "see `voldesk status`, then `voldesk up` or `voldesk restart exchange`"
        if self._port is None:
            raise Failure("the simulated exchange was never started", "start it with `voldesk up`", EXIT_UNREACHABLE)
        try:
            with progress("waiting for the exchange"):
                answer = httpx.request(
                    method, f"http://{self._host}:{self._port}{path}", json=body, timeout=_PATIENCE_S, trust_env=False
                )
            envelope = answer.json()
        except httpx.TimeoutException:
            raise Failure(
                f"the exchange did not answer within {_PATIENCE_S:g} s; what was asked may still take effect",
                "check with `voldesk exchange status` before you repeat it",
                EXIT_UNREACHABLE,
            ) from None
        except httpx.HTTPError:
            raise Failure("the simulated exchange cannot be reached", away, EXIT_UNREACHABLE) from None
        except ValueError:
            raise Failure(f"what answers on port {self._port} is not the exchange", away, EXIT_UNREACHABLE) from None
        if answer.status_code == 404:
            raise Failure(
                "this exchange has no control API, or not this part of it",
                "set [exchange] server.control_api = true and restart it, with the version of this command line",
            )
        if answer.status_code != 200:
            raise Failure(f"the exchange refused: {envelope.get('msg')}", if_refused)
        return envelope["data"]


def base_of(underlying: str) -> str:
    return underlying.removesuffix("USD")


def seconds_of(text: str) -> float:
    """A duration such as 20m, 90s, 1h or 1h30m. Raises Failure (2)."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Failure(f"{text!r} is no duration", "write it as 90s, 20m, 1h or 1h30m", EXIT_USAGE)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
