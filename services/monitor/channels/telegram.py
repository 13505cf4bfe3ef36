"""Messages to a Telegram chat, by the Bot API and the library python-telegram-bot (the extra `telegram`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.monitor.channels.courier import SendFailed
from shared.messages.system import Severity

_TIMEOUT_S = 10.0


class TelegramSender:
    """One chat. Texts are plain: nothing in them is markup."""

    def __init__(self, token: str, base_url: str, chat_id: int) -> None:
        # here, because the library is an extra
        from telegram import Bot
        from telegram.request import HTTPXRequest

        self._request = HTTPXRequest(
            connection_pool_size=4,
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
            write_timeout=_TIMEOUT_S,
            pool_timeout=_TIMEOUT_S,
        )
        self._bot = Bot(token, base_url=base_url, request=self._request)
        self._chat_id = chat_id

    async def send(self, text: str, severity: Severity) -> None:
        """Raises SendFailed; the chat's own limits say when to come again."""
        from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter, TelegramError

        try:
            await self._bot.send_message(chat_id=self._chat_id, text=text)
        except RetryAfter as error:
            raise SendFailed("too many messages", retry_after_s=seconds_of(error.retry_after)) from None
        except InvalidToken:
            raise SendFailed("the bot's token is refused: check VOLDESK_TELEGRAM_TOKEN", is_final=True) from None
        except ChatMigrated as error:
            reason = f"the group is a supergroup now: its chat_id is {error.new_chat_id}"
            raise SendFailed(reason, is_final=True) from None
        except (Forbidden, BadRequest) as error:
            reason = f"chat {self._chat_id}: {error}; has it written to the bot first?"
            raise SendFailed(reason, is_final=True) from None
        except TelegramError as error:
            raise SendFailed(f"{type(error).__name__}: {error}") from None

    async def close(self) -> None:
        await self._request.shutdown()


def seconds_of(duration: Any) -> float:
    """A duration of the library, which gives seconds or a timedelta as its settings are."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
