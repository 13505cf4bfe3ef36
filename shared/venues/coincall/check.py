"""Whether a key can do what a service needs, asked once at its start."""

from __future__ import annotations

from typing import Protocol

from shared.venues.ports import KeyInfo, VenueError

MAX_CLOCK_OFFSET_NS = 1_000_000_000
_CLOCK_READINGS = 3

_REMEDIES: dict[int, tuple[str, str]] = {
    2015: ("the venue does not know this user", "create a new API key and store it for this service"),
    2016: ("the venue does not know this API key", "check the stored key for missing or extra characters"),
    2017: ("the venue has no secret for this API key", "create a new API key and store both its parts"),
    4003: ("the venue refuses the signature", "store the secret that was shown together with this API key"),
    7001: ("the key has no permission", "give the key the Read-Only right, and the Trade right for execution"),
    10006: ("the venue refuses the signature", "store the secret that was shown together with this API key"),
    10008: ("this host's IP address is not allowed", "add the address of this host to the key's IP list"),
    10551: ("this host's IP address is not in the key's whitelist", "add the address of this host to the list"),
    10554: ("the key is not authorised for this", "give the key the Read-Only right, and Trade for execution"),
    10555: ("the key is frozen", "ask the venue's support why, or create a new key"),
    10556: (
        "the key belongs to the other environment",
        "use a beta key with the beta venue and a production key with the production venue",
    ),
    10557: ("the venue calls our timestamp expired", "synchronise the clock of this host (NTP)"),
    10560: ("the venue does not know this API key", "check the stored key for missing or extra characters"),
    10561: ("the venue calls our timestamp invalid", "synchronise the clock of this host (NTP)"),
    10562: ("the venue refuses the signature", "store the secret that was shown together with this API key"),
}


class KeyCheckFailed(Exception):
    """The service must not start as it is configured. `remedy` says what the operator has to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}: {remedy}")
        self.reason = reason
        self.remedy = remedy


class KeyedGateway(Protocol):
    """The part of a gateway that the check asks."""

    async def server_time_offset_ns(self) -> int: ...

    async def key_info(self) -> KeyInfo: ...


async def check_key(gateway: KeyedGateway, need_trading: bool) -> tuple[str, ...]:
    """Check clock, key, environment and right. Returns warnings for the log, none if all is as it should be.

    Raises KeyCheckFailed for what only the operator can change, and VenueError (kinds down, throttled, unknown) when
    the venue cannot be asked now: try again later.
    """
    offset_ns = min([await gateway.server_time_offset_ns() for _ in range(_CLOCK_READINGS)], key=abs)
    if abs(offset_ns) > MAX_CLOCK_OFFSET_NS:
        raise KeyCheckFailed(
            f"the clock of this host is {-offset_ns / 1e9:+.1f} s off the venue's",
            "synchronise it (NTP): signatures are corrected by the offset, the ages of data are not",
        )
    try:
        info = await gateway.key_info()
    except VenueError as error:
        if error.kind not in ("auth", "rejected") and error.code not in _REMEDIES:
            raise
        reason, remedy = _REMEDIES.get(
            error.code or 0, (f"the venue refuses the key: {error}", "check key and secret of this service")
        )
        raise KeyCheckFailed(f"{reason} (code {error.code})", remedy) from error
    if need_trading and info.read_only:
        raise KeyCheckFailed(
            "the key is read-only but this service places orders", "create a key with the Trade right and store it"
        )
    if not need_trading and not info.read_only:
        return ("the key may trade although this service only reads: give it a read-only key",)
    return ()
