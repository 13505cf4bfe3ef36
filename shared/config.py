"""The desk's configuration: one TOML file, checked before anything starts.

A mistake is one line: file, key, what is allowed, and what to do.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from shared.config_mistakes import read_mistake
from shared.errors import StartRefused
from shared.messages.system import Mode
from shared.messages.topics import BUS_SERVICES
from shared.strategy_groups import GroupsUnreadable, read_groups
from shared.strategy_hosts import DEFAULT_HOST, StrategyHosts, kind_of, read_hosts

VenueName = Literal["sim", "beta", "production"]
SectionT = TypeVar("SectionT")

_MODES: dict[VenueName, Mode] = {"sim": "paper", "beta": "beta", "production": "LIVE"}
SERVICE_NAMES = ("marketdata", "risk", "execution", "strategy", "monitor", "exchange", "recorder")
"""Every service; each may have a section of its name."""

PORT_NAMES = ("exchange", "web", *(f"metrics-{service}" for service in SERVICE_NAMES))
"""What listens on TCP: the simulated exchange, the status page, and each service's metrics. Each group of strategies
has metrics-strategy-GROUP beside them."""

_Port = Annotated[int, Meta(ge=0, le=65_535)]


class ConfigError(StartRefused):
    """The configuration cannot be used. The text is one line and names file, key, what is allowed and the remedy."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class DeskSection(_Section, frozen=True, kw_only=True):
    """[desk]: who this desk is.

    name: letters, digits, - and _; names the run directory. number: 0 to 255, is in every client order id, so that
    desks on one account know their own orders. account_id: is in every message and topic. venue: sim is the
    simulated exchange, production is real money; the environment variable TRADING_ENVIRONMENT overrides it.
    underlyings: index symbols. futures: whether perpetuals and dated futures are traded beside options, and orders
    and positions of the account in them are looked at: their delta counts, and what no trade explains is reported.
    spot: whether the spot pairs of the underlyings ("BTCUSDT") are followed (book, last price, trades) and traded.
    run_dir: relative to the file, "" = run/<name>; VOLDESK_RUN_DIR overrides it.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "main"
    number: Annotated[int, Meta(ge=0, le=255)] = 1
    account_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "main"
    venue: VenueName
    underlyings: Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Z0-9]{3,12}$")], ...], Meta(min_length=1)]
    futures: bool = False
    spot: bool = False
    run_dir: str = ""


class HostSection(_Section, frozen=True, kw_only=True):
    """[host]: what the processes run under, and where they are reached.

    supervisor: supervisord, which `voldesk up` starts; or containers, where it is started and restarted from outside.
    listen: the address on which metrics and the simulated exchange listen; other than loopback only in a container,
    whose networks are closed. exchange: where services find the simulated exchange. metrics: where Prometheus finds
    a service, "{service}" stands for its name.
    """

    supervisor: Literal["supervisord", "containers"] = "supervisord"
    listen: str = "127.0.0.1"
    exchange: str = "127.0.0.1"
    metrics: str = "127.0.0.1"


class BusSection(_Section, frozen=True, kw_only=True):
    """[bus]: the sockets between the processes.

    transport: ipc in the run directory, or tcp. host: where tcp binds; peer_host: where the others are found,
    "{service}" in it stands for a service's name, "" = host; base_port: the first of its ports, two per service.
    curve: over tcp, encrypt and take those only whose key is on the list (`voldesk keys`); without it tcp is refused
    beyond loopback. keys_dir: where the keys are, relative to the run directory, "" = keys.
    max_message_bytes: larger messages are dropped and counted. publish_queue: messages kept for one slow reader
    before it loses some; event_queue and state_queue: the same on the reader's side. resend_ms: how soon an
    unanswered request is repeated, with the same id. answers_kept: answers remembered for repeated requests.
    events_kept: newest messages remembered per event topic, one per entity.
    """

    transport: Literal["ipc", "tcp"] = "ipc"
    host: str = "127.0.0.1"
    peer_host: str = ""
    base_port: Annotated[int, Meta(ge=1_024, le=65_500)] = 15_550
    curve: bool = False
    keys_dir: str = ""
    max_message_bytes: Annotated[int, Meta(ge=65_536, le=1 << 30)] = 16 * 1024 * 1024
    publish_queue: Annotated[int, Meta(ge=1, le=1_000_000)] = 2_000
    event_queue: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    state_queue: Annotated[int, Meta(ge=1, le=100_000)] = 200
    resend_ms: Annotated[int, Meta(ge=10, le=60_000)] = 300
    answers_kept: Annotated[int, Meta(ge=16, le=1_000_000)] = 4_096
    events_kept: Annotated[int, Meta(ge=16, le=10_000_000)] = 10_000


class LoggingSection(_Section, frozen=True, kw_only=True):
    """[logging]. level: lines below it are not written. output: files under logs/ of the run directory, stdout, or
    auto: files under `voldesk up`, stdout for a service that is started by hand or in a container. format: of stdout,
    json for machines, text for people, auto = text on a terminal. file_mb: a file that would grow longer is rotated;
    files_kept: so many of each remain, the newest included. health_interval_s: each service writes a line about its
    health this often."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    output: Literal["auto", "files", "stdout"] = "auto"
    format: Literal["auto", "json", "text"] = "auto"
    file_mb: Annotated[int, Meta(ge=1, le=1_000)] = 10
    files_kept: Annotated[int, Meta(ge=2, le=100)] = 5
    health_interval_s: Annotated[int, Meta(ge=1, le=86_400)] = 300


class JournalSection(_Section, frozen=True, kw_only=True):
    """[journal]. synchronous: FULL survives a power cut; NORMAL is faster and may lose the last rows to one.
    reserve_mb: disk space kept back per journal, so that closes can be written on a full disk.
    snapshot_rows: after so many rows execution's journal gets a snapshot, so that a restart replays no more than
    about these; 0 makes none."""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    reserve_mb: Annotated[int, Meta(ge=1, le=4_096)] = 16
    snapshot_rows: Annotated[int, Meta(ge=0, le=10_000_000)] = 20_000


class _TradingDay(_Section, frozen=True, kw_only=True):
    """What others than the strategy hosts need of [strategy]."""

    day_boundary_minute: Annotated[int, Meta(ge=0, le=1_439)] = 0


class DeskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration. `path` is the file; the sections of the services are read by `section`.

    strategy_hosts: those that the desk runs; configured_hosts: those that the file has now, applied by `voldesk up`.
    """

    path: Path
    name: str
    number: int
    account_id: str
    venue: VenueName
    underlyings: tuple[str, ...]
    futures: bool
    spot: bool
    run_dir: Path
    host: HostSection
    bus: BusSection
    logging: LoggingSection
    journal: JournalSection
    ports: dict[str, int]
    strategy_hosts: StrategyHosts
    configured_hosts: StrategyHosts
    raw: dict[str, dict[str, Any]]

    @property
    def spot_pairs(self) -> tuple[str, ...]:
        """Symbols of the pairs of spot against USDT that the desk looks at and trades."""
        return tuple(f"{name}T" for name in self.underlyings) if self.spot else ()

    @property
    def mode(self) -> Mode:
        """What people are shown: paper, beta or LIVE."""
        return _MODES[self.venue]

    @property
    def day_boundary_minute(self) -> int:
        """The minute of the UTC day at which the trading day begins: one of [strategy]. Raises ConfigError."""
        section = self.raw.get(DEFAULT_HOST, {})
        known = {key: section[key] for key in _TradingDay.__struct_fields__ if key in section}
        return _convert(self.path, DEFAULT_HOST, known, _TradingDay).day_boundary_minute

    @property
    def enabled_strategies(self) -> tuple[str, ...]:
        """The names that [strategy] enables, whatever else it says. Raises ConfigError."""
        return self.value("strategy.enabled", tuple[str, ...], ())

    def as_configured(self) -> DeskConfig:
        """The desk as it runs once the configured strategy hosts are applied."""
        return msgspec.structs.replace(self, strategy_hosts=self.configured_hosts)

    @property
    def services(self) -> tuple[str, ...]:
        """The services of this desk in the order in which they start: the simulated exchange on paper, and a host for
        each group of strategies beside the default one."""
        hosts = self.strategy_hosts.services
        named = (each for name in BUS_SERVICES for each in (hosts if name == DEFAULT_HOST else (name,)))
        return (*(("exchange",) if self.venue == "sim" else ()), *named)

    def section(self, name: str, kind: type[SectionT]) -> SectionT:
        """The section `[name]` as `kind`, defaults filled in; strategy hosts share one. Raises ConfigError."""
        name = kind_of(name)
        for field, inner in _tables_of(kind):
            self.table(f"{name}.{field}", inner)
        return _convert(self.path, name, self.raw.get(name, {}), kind)

    def value(self, name: str, kind: type[SectionT], absent: object = None) -> SectionT:
        """What another service's section has under `name` "section.key", as `kind`; what is not there is `absent`,
        None: an empty table. Raises ConfigError."""
        section, key = name.split(".")
        return _convert(self.path, name, self.raw.get(section, {}).get(key, {} if absent is None else absent), kind)

    def table(self, name: str, kind: type[SectionT]) -> dict[str, SectionT]:
        """The sections `[section.key.NAME]` for `name` "section.key", by NAME. Raises ConfigError naming the one."""
        section, key = name.split(".")
        raw = self.raw.get(section, {}).get(key, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"{self.path}: {name} must be sections", f"write each as [{name}.NAME], its keys below")
        return {each: _convert(self.path, f"{name}.{each}", fields, kind) for each, fields in raw.items()}


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file named by VOLDESK_CONFIG, else voldesk.toml in the working directory."""
    return Path(environment.get("VOLDESK_CONFIG") or "voldesk.toml").expanduser().absolute()


def load_config(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> DeskConfig:
    """Read and check the file. Raises ConfigError. The services' own sections are checked by `section`.

    VOLDESK_OVERLAY names a second file, whose keys take the place of the first one's: what is so in containers.
    """
    path = config_path(environment) if path is None else Path(path).expanduser().absolute()
    raw = _read(path)
    if overlay := environment.get("VOLDESK_OVERLAY"):
        raw = _laid_over(raw, _read(Path(overlay)))
    known = ("desk", "host", "bus", "logging", "journal", "ports", *SERVICE_NAMES)
    for name, section in raw.items():
        if name not in known:
            raise ConfigError(f"{path}: unknown section [{name}]", did_you_mean(name, known))
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: {name} must be a section", f"write it as [{name}] with its keys below")
    override = environment.get("TRADING_ENVIRONMENT")
    desk_raw = dict(raw.get("desk", {}))
    if override:
        if override not in get_args(VenueName):
            raise ConfigError(
                f"TRADING_ENVIRONMENT={override} in the environment is no venue", "use sim, beta or production"
            )
        desk_raw["venue"] = override
    desk = _convert(path, "desk", desk_raw, DeskSection)
    bus = _convert(path, "bus", raw.get("bus", {}), BusSection)
    host = _convert(path, "host", raw.get("host", {}), HostSection)
    if host.supervisor != "containers" and not host.listen.startswith("127."):
        raise ConfigError(
            f"{path}: [host] listen {host.listen} is open to other machines, and metrics have no login",
            'use "127.0.0.1"; other addresses are for containers on networks of their own',
        )
    try:
        configured = read_hosts(raw.get(DEFAULT_HOST, {}))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", "correct the value") from None
    folder = environment.get("VOLDESK_RUN_DIR") or desk.run_dir or f"run/{desk.name}"
    run_dir = (path.parent / Path(folder).expanduser()).absolute()
    try:
        running = read_groups(run_dir)
    except GroupsUnreadable as error:
        raise ConfigError(str(error), "delete the file, then `voldesk up`, which writes it anew") from None
    if running is not None:
        configured = configured.after(running)
    hosts = configured if running is None else running
    ports = _convert(path, "ports", raw.get("ports", {}), dict[str, _Port])
    metrics = (f"metrics-{service}" for service in (*configured.services, *hosts.services))
    port_names = dict.fromkeys((*PORT_NAMES, *metrics))
    for name in ports:
        if name not in port_names:
            raise ConfigError(f"{path}: [ports] has no {name}", did_you_mean(name, port_names))
    return DeskConfig(
        path=path,
        name=desk.name,
        number=desk.number,
        account_id=desk.account_id,
        venue=desk.venue,
        underlyings=desk.underlyings,
        futures=desk.futures,
        spot=desk.spot,
        run_dir=run_dir,
        host=host,
        bus=bus,
        logging=_convert(path, "logging", raw.get("logging", {}), LoggingSection),
        journal=_convert(path, "journal", raw.get("journal", {}), JournalSection),
        ports={name: ports.get(name, 0) for name in port_names},
        strategy_hosts=hosts,
        configured_hosts=configured,
        raw={name: raw.get(name, {}) for name in SERVICE_NAMES},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file", "run in the desk's directory, or set VOLDESK_CONFIG to the file's path"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", "correct that line") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text", "save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "make it a readable file") from None


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        merged[name] = _laid_over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _convert(path: Path, name: str, raw: Any, kind: type[SectionT]) -> SectionT:
    if isinstance(raw, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for key in raw:
            if key not in kind.__struct_encode_fields__:
                raise ConfigError(
                    f"{path}: [{name}] has no key {key}", did_you_mean(key, kind.__struct_encode_fields__)
                )
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.ValidationError, ValueError, ArithmeticError) as error:
        mistake = read_mistake(error, raw, kind)
        said = f"{path}: [{name}]{mistake.text}"
        if mistake.unknown:
            raise ConfigError(
                f"{said} has no key {mistake.unknown}", did_you_mean(mistake.unknown, _fields_of(kind))
            ) from None
        raise ConfigError(said, mistake.remedy) from None


def _tables_of(kind: Any) -> list[tuple[str, type[msgspec.Struct]]]:
    """The fields of a struct that are tables of sections by name, with the struct of one section."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return []
    fields = [(field.name, get_args(field.type)) for field in msgspec.structs.fields(kind)]
    return [
        (name, arguments[1])
        for name, arguments in fields
        if len(arguments) == 2 and isinstance(arguments[1], type) and issubclass(arguments[1], msgspec.Struct)
    ]


def _fields_of(kind: Any) -> list[str]:
    """The names of the fields of a struct and of the structs inside it."""
    seen: dict[Any, None] = {}

    def walk(part: Any) -> None:
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            if part in seen:
                return
            seen[part] = None
            for field in msgspec.structs.fields(part):
                walk(field.type)
        for argument in get_args(part):
            walk(argument)

    walk(kind)
    return [name for struct in seen for name in struct.__struct_encode_fields__]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that is none of those known: the nearest one, or all of them."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"use one of: {', '.join(names)}"
