"""Makes the senders of the configured channels, and says what is missing for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec

from services.monitor.channels.courier import Sender, Unusable
from services.monitor.config import MonitorConfig
from shared.config import DeskConfig
from shared.errors import StartRefused
from shared.logging import redactor
from shared.secrets import load_secret

TOKEN_NAME = "VOLDESK_TELEGRAM_TOKEN"
_TOKEN_CHARACTERS = 8
_EXTRAS = {"telegram": "telegram", "notify": "apprise"}
"""The library behind each kind of channel; the extra has the name of the kind."""


def url_name(channel: str) -> str:
    """The name of the secret with the address of a channel: VOLDESK_NOTIFY_URL_TEAM."""
    return "VOLDESK_NOTIFY_URL_" + "".join(each if each.isalnum() else "_" for each in channel.upper())


def missing_extra(via: str) -> str:
    """What to install for this kind of channel, "" when it is there."""
    if find_spec(_EXTRAS[via]) is not None:
        return ""
    containers = f"in containers: add {via} to VOLDESK_EXTRAS in .env, then `docker compose build`"
    return f"make install-{via} (the extra `{via}`); {containers}"


def wants_telegram(config: MonitorConfig) -> bool:
    """Whether anything is configured that needs the bot."""
    return bool(config.telegram.users) or any(each.via == "telegram" for each in config.channels.values())


def check_extras(desk: DeskConfig, config: MonitorConfig) -> None:
    """See that every channel has its library. Raises StartRefused with what to install, for the first without."""
    needed = {channel.via: f"[monitor.channels.{name}]" for name, channel in config.channels.items()}
    if config.telegram.users:
        needed.setdefault("telegram", "[monitor.telegram]")
    for via, who in needed.items():
        if remedy := missing_extra(via):
            raise StartRefused(f"{desk.path}: {who} needs a library that is not installed", remedy)


def check_secrets(desk: DeskConfig, config: MonitorConfig) -> None:
    """See that every channel has its secret where the monitor finds it. Raises SecretError for the first without.

    One that is only in this process's environment does not count: supervisord's environment holds no secrets.
    """
    if wants_telegram(config):
        load_secret(desk, "monitor", TOKEN_NAME, "the bot's token", environment={})
    for name, channel in config.channels.items():
        if channel.via == "notify":
            load_secret(desk, "monitor", url_name(name), f"the address of channel {name}", environment={})


def make_senders(desk: DeskConfig, config: MonitorConfig) -> Mapping[str, Sender]:
    """A sender for each channel; one that cannot work says so at each message and is in nobody's way."""
    return {name: _make_sender(desk, config, name) for name in config.channels}


def bot_token(desk: DeskConfig) -> str:
    """The token, kept out of every log line from here on. Raises SecretError."""
    token = load_secret(desk, "monitor", TOKEN_NAME, "the bot's token")
    redactor.add(token)
    # what follows the bot's number is the secret, also where it is named alone
    redactor.add(token.partition(":")[2])
    return token


def secret_parts(url: str) -> list[str]:
    """What in an address may be a password or a token, which the library might name alone: long parts, no hosts."""
    parts = re.split(r"[/:@?&=]+", url)
    return [part for part in parts if len(part) >= _TOKEN_CHARACTERS and "." not in part]


def _make_sender(desk: DeskConfig, config: MonitorConfig, name: str) -> Sender:
    channel = config.channels[name]
    if remedy := missing_extra(channel.via):
        return Unusable(f"its library is not installed; {remedy}")
    try:
        if channel.via == "telegram":
            from services.monitor.channels.telegram import TelegramSender

            assert channel.chat_id is not None, "the configuration requires it"
            return TelegramSender(bot_token(desk), config.telegram.base_url, channel.chat_id)
        from services.monitor.channels.notify import NotifySender

        url = load_secret(desk, "monitor", url_name(name), f"the address of channel {name}")
        for secret in (url, *secret_parts(url)):
            redactor.add(secret)
        return NotifySender(url)
    except StartRefused as error:
        return Unusable(f"{error.reason}; {error.remedy}")
    except Exception as error:
        return Unusable(redactor.clean(f"{type(error).__name__}: {error}"))
