"""Messages by the library apprise (the extra `notify`): Slack, Discord, e-mail, webhooks and many others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.monitor.channels.courier import SendFailed
from shared.messages.system import Severity

_TYPES: Mapping[Severity, str] = {"critical": "failure", "warning": "warning", "info": "info"}
"""What the library calls it: the colour of a message, and `type` for a program behind a webhook."""

_THREADS = 2
"""For one that hangs beyond the courier's patience, and the next try."""


class NotifySender:
    """One address. The library blocks while it sends, so it does that on threads of its own: a service that hangs
    takes none from the rest of the monitor."""

    def __init__(self, url: str) -> None:
        # here, because the library is an extra
        import apprise

        self._apprise: Any = apprise
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="notify")
        # no attachments, no persistent cache on disk, and no expansion of what looks like markup
        asset = apprise.AppriseAsset(secure_logging=True, interpret_escapes=False, interpret_emojis=False)
        self._notifier = apprise.Apprise(asset=asset)
        if not self._notifier.add(url):
            raise ValueError("no service of the library apprise has an address of this form")
        for server in self._notifier:
            # a text that is too long would be refused at each try, and block what waits behind it
            if server.overflow_mode == apprise.OverflowMode.UPSTREAM:
                server.overflow_mode = apprise.OverflowMode.SPLIT

    async def send(self, text: str, severity: Severity) -> None:
        """Raises SendFailed with what the library says of it."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._send, text, severity)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, text: str, severity: Severity) -> None:
        heading, _, body = text.partition("\n")
        with self._apprise.LogCapture(level=logging.WARNING) as said:
            taken = self._notifier.notify(body=body, title=heading, notify_type=_TYPES[severity])
            words = str(said.getvalue()).strip().splitlines()
        if not taken:
            raise SendFailed(words[-1] if words else "the service did not take it")
