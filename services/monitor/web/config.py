"""The configuration of the dashboard: the `[monitor.web]` section of voldesk.toml."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Annotated

import msgspec

from shared.config import ConfigError


class WebConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may reach the dashboard, and how.

    host: the address it listens on; beyond loopback only with TLS, or behind a proxy that is named.
    tls_certificate, tls_key: PEM files, relative to voldesk.toml; both or neither.
    trusted_proxies: addresses whose X-Forwarded-For and X-Forwarded-Proto are believed; beyond loopback and without
    TLS of its own, what did not come by https through one of them is refused.
    published_on_loopback: it runs in a container whose port is published on a loopback address of the host only, so
    that it may listen beyond loopback without TLS.
    public_url: how people reach it, for the links that are printed; "" is the address it listens on.
    session_hours: a login ends after so long without a request.
    session_days: a login ends after so long in any case.
    login_failures: so many wrong passwords for one name from one address lock that pair for a while.
    lockout_minutes: how long that is.
    viewers_max: pages that are kept up to date at once, over all who look.
    refresh_ms: a page is brought up to date at most this often; halts, trades and alerts are shown at once.
    """

    host: str = "127.0.0.1"
    tls_certificate: str = ""
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = ()
    published_on_loopback: bool = False
    public_url: str = ""
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 12
    session_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7
    login_failures: Annotated[int, msgspec.Meta(ge=2, le=100)] = 5
    lockout_minutes: Annotated[int, msgspec.Meta(ge=1, le=1_440)] = 15
    viewers_max: Annotated[int, msgspec.Meta(ge=1, le=300)] = 60
    refresh_ms: Annotated[int, msgspec.Meta(ge=100, le=10_000)] = 250

    def __post_init__(self) -> None:
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            raise ValueError(f"host {self.host!r} is no IP address, such as 127.0.0.1 or 0.0.0.0") from None
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_address(proxy)
            except ValueError:
                raise ValueError(f"trusted_proxies holds {proxy!r}, which is no IP address") from None
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key belong together: give both, or neither")
        if self.published_on_loopback:
            return
        if not address.is_loopback and not self.tls_certificate and not self.trusted_proxies:
            raise ValueError(
                f"host {self.host} is reached from other machines, and passwords would cross the network in clear: "
                "give tls_certificate and tls_key, or the trusted_proxies that end TLS, or a loopback host"
            )

    @property
    def needs_https(self) -> bool:
        """Whether it is reached from other machines and TLS ends at a proxy: what came past the proxy is refused."""
        return not (self.has_tls or self.published_on_loopback or ipaddress.ip_address(self.host).is_loopback)

    @property
    def has_tls(self) -> bool:
        return bool(self.tls_certificate)

    def url(self, port: int) -> str:
        """Where people find it, with a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/") + "/"
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        shown = f"[{address}]" if address.version == 6 else str(address)
        return f"{'https' if self.has_tls else 'http'}://{shown}:{port}/"

    def tls_files(self, beside: Path) -> tuple[Path, Path] | None:
        """Certificate and key, None without TLS. Raises ConfigError for one that cannot be read, and for a pair that
        no server can use."""
        if not self.has_tls:
            return None
        found = []
        for name, text in (("tls_certificate", self.tls_certificate), ("tls_key", self.tls_key)):
            path = beside.parent / Path(text).expanduser()
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigError(
                    f"{beside}: [monitor.web] {name}: {path}: {error.strerror}", "give a PEM file that can be read"
                ) from None
            found.append(path)
        try:
            # an encrypted key would make the library ask for its password on the terminal
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found[0], found[1], password="")
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{beside}: [monitor.web] tls_certificate {found[0]} and tls_key {found[1]} cannot be used: {error}",
                "give a certificate in PEM form and the key that belongs to it, without a password",
            ) from None
        return found[0], found[1]
