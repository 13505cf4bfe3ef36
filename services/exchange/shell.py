"""The simulated exchange as a service: paper keys and configuration in, a bound port out."""

from __future__ import annotations

import asyncio
import socket

import msgspec

from services.exchange.config import AccountConfig, KeyConfig
from services.exchange.metrics import ExchangeMetrics
from services.exchange.server.app import ExchangeServer
from services.exchange.server.auth import Credential
from services.exchange.server.config import ExchangeServiceConfig
from services.exchange.server.venue import JournalRow
from shared.logging import redactor
from shared.secrets import PaperKey, load_paper_keys
from shared.service import ServiceContext, StartRefused
from shared.store import SqliteJournal
from shared.tasks import spawn

HOST = "127.0.0.1"
FIRST_USER_ID = 8_095_151_726
_SPACE_RETRY_S = 5.0


class ExchangeShell:
    """Serves on the loopback address: paper keys are no protection on a network. In a container on its own, closed
    network, by [host] listen."""

    def __init__(self, context: ServiceContext) -> None:
        self.ready = False
        self.detail = ""
        self._context = context
        self._server: ExchangeServer | None = None
        self._listener: socket.socket | None = None
        self._journal: SqliteJournal | None = None

    async def start(self) -> None:
        context = self._context
        if context.desk.venue != "sim":
            raise StartRefused(
                f"the simulated exchange does not run with venue {context.desk.venue}",
                'Set desk.venue = "sim", or do not start it.',
            )
        section = context.section(ExchangeServiceConfig)
        keys = load_paper_keys(context.run_dir)
        for key in keys:
            redactor.add(key.key)
            redactor.add(key.secret)
        config = with_paper_accounts(section, keys)
        self._journal = context.journal(JournalRow)
        self._server = ExchangeServer(
            config,
            credentials_of(config),
            self._journal,
            context.clock.now_ns,
            paper=context.desk.mode == "paper",
            refusals=context.http_refusals,
        )
        self._listener = bind(context.port("exchange"), context.desk.host.listen)
        port = self._listener.getsockname()[1]
        self.detail = f"http://{HOST}:{port}"
        context.log.info("exchange listens", address=self.detail, accounts=len(config.accounts))
        metrics = ExchangeMetrics(context.metrics, self._server)
        context.health["exchange"] = metrics.words
        self.ready = True

    async def run(self) -> None:
        assert self._server is not None, "start comes first"
        assert self._listener is not None, "start comes first"
        keeping = spawn(self._keep_space(), name="space")
        try:
            await self._server.serve(self._listener)
        finally:
            keeping.cancel()

    async def _keep_space(self) -> None:
        """Once a full disk has space again, keep some of it back anew."""
        assert self._journal is not None, "start comes first"
        while True:
            self._journal.check_space()
            await asyncio.sleep(_SPACE_RETRY_S)

    async def stop(self) -> None:
        self.ready = False
        if self._listener is not None:
            self._listener.close()


def bind(port: int, host: str = HOST) -> socket.socket:
    """A listening socket on `host`; port 0 takes any. Raises OSError when the port is taken."""
    # asyncio turns Nagle's delay (40 ms an answer) off only for sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


def with_paper_accounts(section: ExchangeServiceConfig, keys: tuple[PaperKey, ...]) -> ExchangeServiceConfig:
    """The configured accounts, and one for each account the paper keys belong to."""
    accounts = {account.account_id: account for account in section.accounts}
    for number, account_id in enumerate(sorted({key.account_id for key in keys} - accounts.keys())):
        accounts[account_id] = AccountConfig(
            account_id=account_id,
            user_id=FIRST_USER_ID + number,
            initial_balance_usd=section.paper_balance_usd,
            initial_assets=section.paper_assets,
            rights=section.paper_rights,
        )
    for key in keys:
        account = accounts[key.account_id]
        known = KeyConfig(api_key=key.key, api_secret=key.secret, read_only=key.read_only)
        accounts[key.account_id] = msgspec.structs.replace(account, keys=(*account.keys, known))
    return msgspec.structs.replace(section, accounts=tuple(accounts.values()))


def credentials_of(config: ExchangeServiceConfig) -> list[Credential]:
    return [
        Credential(
            api_key=key.api_key,
            secret=key.api_secret,
            account_id=account.account_id,
            user_id=account.user_id,
            read_only=key.read_only,
            market_maker="market_maker" in account.rights,
            rfq_quotes="rfq_quotes" in account.rights,
            mmp="mmp" in account.rights,
        )
        for account in config.accounts
        for key in account.keys
    ]
