"""A host and its surroundings, spoken to message by message. The journal outlives the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from services.strategy.config import StrategyHostConfig
from services.strategy.core import StrategyHostCore
from services.strategy.loaded import LoadedStrategy, LoadFailure
from shared.messages.account import AccountSnapshot
from shared.messages.base import Message
from shared.messages.control import (
    Gate,
    GrantGiven,
    HaltState,
    ListStrategies,
    RequestGrant,
    StrategyCommand,
    StrategyList,
    StrategyStatus,
)
from shared.messages.steps import (
    Entry,
    Inbound,
    Publish,
    RaiseAlert,
    Reply,
    ReplyReceived,
    Request,
    RequestTimedOut,
    SendRequest,
    StreamSynced,
    Tick,
)
from shared.messages.system import Heartbeat
from shared.messages.trades import CloseTrade, OpenTrade, TradeAccepted, TradeUpdate
from tests.unit.strategy.making import ACCOUNT_ID, NOON, SECOND, account, grant, instruments, listing, snapshot

MessageT = TypeVar("MessageT", bound=Message)
LISTED = instruments()


class Dialogue:
    """`sent`, `alerts` and `statuses` collect what the host did; `now_ns` is its clock, which `ready` brings to the
    time that was given: strategies look again a second after data was missing."""

    def __init__(
        self,
        *strategies: LoadedStrategy,
        config: StrategyHostConfig | None = None,
        failures: Sequence[LoadFailure] = (),
        now_ns: int = NOON,
    ) -> None:
        self.now_ns = now_ns - SECOND
        self.journal: list[Entry] = []
        self.sent: list[SendRequest] = []
        self.alerts: list[RaiseAlert] = []
        self.statuses: dict[str, StrategyStatus] = {}
        self.published = 0
        self.replies: dict[str, Message] = {}
        self.epochs = {"execution": 1}
        self._config = config or StrategyHostConfig()
        self._strategies = strategies
        self._failures = failures
        self.core = self._boot()

    def _boot(self) -> StrategyHostCore:
        core = StrategyHostCore(self._config, self._strategies, account_id=ACCOUNT_ID, failures=self._failures)
        for entry in self.journal:
            core.apply(entry)
        self._perform(core.start(self.now_ns))
        return core

    def restart(self) -> None:
        """Kill the host; a new one has only the journal."""
        self.core = self._boot()

    def put(self, *items: Any) -> None:
        for item in items:
            self._perform(self.core.handle(item, self.now_ns))

    def _perform(self, step: Any) -> None:
        self.journal += step.rows
        for effect in step.effects:
            match effect:
                case SendRequest():
                    self.sent.append(effect)
                case RaiseAlert():
                    self.alerts.append(effect)
                case Publish(message=StrategyStatus() as status):
                    self.published += 1
                    self.statuses[status.strategy] = status
                case Reply(request_id=request_id, message=message):
                    self.replies[request_id] = message
                case _:
                    raise AssertionError(f"unexpected effect {effect}")

    def hear(self, message: Message, publisher: str = "execution", message_id: str = "m") -> None:
        epoch = self.epochs.get(publisher, 1)
        self.put(Inbound("topic", message, message_id, publisher, epoch))

    def beat(self, *services: str, ready: bool = True) -> None:
        for name in services or ("execution", "risk"):
            self.hear(
                Heartbeat(
                    service=name,
                    account_id=ACCOUNT_ID,
                    mode="paper",
                    venue="sim",
                    pid=1,
                    epoch=self.epochs.get(name, 1),
                    started_ns=NOON,
                    beat_ns=self.now_ns,
                    starts=1,
                    ready=ready,
                    detail="reconciling",
                    event_sequences={},
                ),
                name,
            )

    def market(self, **more: Any) -> None:
        self.hear(listing(LISTED), "marketdata")
        self.hear(snapshot(LISTED, self.now_ns, **more), "marketdata")

    def surroundings(self, of: AccountSnapshot | None = None) -> None:
        """Everything fresh: heartbeats, market, account."""
        self.beat()
        self.market()
        self.hear(of or account(self.now_ns), "risk")

    def synced(self) -> None:
        self.put(StreamSynced("execution", self.epochs["execution"]))

    def ready(self) -> None:
        """Execution replayed, everything fresh, and a second for strategies to look again."""
        self.synced()
        self.surroundings()
        self.wait(1)

    def wait(self, seconds: float, *, fresh: bool = True) -> None:
        """Let time pass in steps of half a second; `fresh` keeps the surroundings coming."""
        end_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, self.now_ns + SECOND // 2)
            if fresh:
                self.surroundings()
            self.put(Tick())

    def last(self, kind: type[MessageT]) -> MessageT:
        """The newest request of this kind."""
        return next(effect.message for effect in reversed(self.sent) if isinstance(effect.message, kind))

    def count(self, kind: type[Message]) -> int:
        return sum(isinstance(effect.message, kind) for effect in self.sent)

    def answer(self, message: Message) -> None:
        """Answer the newest request."""
        self.put(ReplyReceived(self.sent[-1].request_id, message, "answer"))

    def time_out(self) -> None:
        """No answer to the newest request."""
        self.put(RequestTimedOut(self.sent[-1].request_id))

    def give_grant(self) -> OpenTrade:
        """Risk grants what was asked; the intent that execution is then sent."""
        asked = self.last(RequestGrant)
        self.answer(GrantGiven(grant=grant(asked.legs, asked.intent_id, self.now_ns)))
        return self.last(OpenTrade)

    def accept(self, trade_id: str) -> None:
        self.answer(TradeAccepted(intent_id=self.last(OpenTrade).intent_id, trade_id=trade_id))

    def halt(self, *halts: Any, account_id: str = ACCOUNT_ID) -> None:
        self.hear(HaltState(account_id=account_id, halt_epoch=len(halts), halts=halts))

    def command(self, action: str, strategy: str = "straddler", request_id: str = "r1") -> Message:
        message = StrategyCommand(action=action, strategy=strategy, requested_by="operator")
        self.put(Request(request_id, message, "cli"))
        return self.replies[request_id]

    def status(self, strategy: str = "straddler") -> StrategyStatus:
        """The status as it is now."""
        self.put(Request("list", ListStrategies(), "cli"))
        answer = self.replies["list"]
        assert isinstance(answer, StrategyList)
        return next(status for status in answer.strategies if status.strategy == strategy)

    def gate(self, name: str, strategy: str = "straddler") -> Gate:
        return next(gate for gate in self.status(strategy).gates if gate.name == name)

    def closes(self) -> list[CloseTrade]:
        return [effect.message for effect in self.sent if isinstance(effect.message, CloseTrade)]

    def opened(self, update: TradeUpdate) -> None:
        self.hear(update)
