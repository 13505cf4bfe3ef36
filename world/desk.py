"""The whole desk in one process: every core, the bus between them and the venue, on one virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from services.execution import effects
from services.execution.book import Book
from services.execution.cash_effects import FindSale, FindStrays, ReadCash, SellSpot, WithdrawSale
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.effects import (
    AcceptQuote,
    AmendBatch,
    AmendOrder,
    CancelBatch,
    CancelOrder,
    CancelRfq,
    CreateRfq,
    FetchQuotes,
    FetchSnapshot,
    PlaceBatch,
    PlaceOrder,
    QueryBlockTrades,
    QueryOrder,
    QueryOrders,
    QueryRfqs,
    ReadLeverage,
    SetCountdown,
    SetLeverage,
)
from services.execution.rows import OrderMoved
from services.execution.subscriptions import subscriptions as execution_subscriptions
from services.marketdata.config import MarketdataConfig
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import InstrumentsLoaded, ReadVenue, ReloadInstruments
from services.monitor.config import MonitorConfig
from services.monitor.core import MonitorCore
from services.monitor.effects import AlertRecord, AlertsRestored, AppendAlert
from services.monitor.subscriptions import prefixes_of
from services.risk import rows as risk_rows
from services.risk.config import RiskConfig
from services.risk.core import RiskCore
from services.risk.inputs import AccountPolled, AccountPollFailed, TransferSeen
from services.risk.subscriptions import subscriptions as risk_subscriptions
from services.strategy import rows as strategy_rows
from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy
from services.strategy.subscriptions import SUBSCRIPTIONS
from shared.messages.base import Message
from shared.messages.contracts import ContractOrder
from shared.messages.control import StrategyCommand, StrategyCommandDone
from shared.messages.steps import Entry, Publish, RaiseAlert, Reply, SendRequest
from shared.messages.system import Alert, Severity
from shared.messages.topics import topic_of
from shared.messages.trades import FINAL_ORDER_STATES
from shared.messages.venue import StreamUp
from shared.runner import Core
from shared.strategy import StrategyConfig
from shared.strategy_hosts import StrategyHosts, is_host, kind_of
from world.audit import Witness
from world.bus import WorldBus
from world.cash_audit import sending_violations
from world.engine import Engine
from world.faults import MS, SECOND, Faults
from world.guard_audit import AccountRead
from world.host_audit import Deeds
from world.hosts import Tenants
from world.leverage import asked_by, change_violations
from world.limits import WIDE
from world.machine import Machine
from world.node import Keeping, Node
from world.venue import Venue
from world.violations import Violation

ACCOUNT_ID = "sim"
DESK_NUMBER = 7
GRANT_KEY = b"the world's grant key, known to risk and execution"

_MAY_GO_UNWRITTEN: dict[str, Callable[[Any], bool]] = {
    "execution": effects.may_go_unwritten,
    "risk": risk_rows.may_go_unwritten,
    "strategy": strategy_rows.may_go_unwritten,
}


class Desk:
    """Five services, one account at one simulated exchange. Nothing runs until `engine` does.

    tells_alerts: alerts of services reach the monitor, whose alert log, `alert_log` with the time of each record,
    outlives its process. Without, nobody hears of them, and no frame is spent on them.
    """

    def __init__(
        self,
        engine: Engine,
        faults: Faults,
        strategies: Iterable[StrategyConfig | LoadedStrategy],
        exchange_config: ExchangeConfig,
        execution_config: ExecutionConfig | None = None,
        *,
        risk_config: RiskConfig | None = None,
        host_config: StrategyHostConfig | None = None,
        tells_alerts: bool = False,
        futures: bool = False,
        spot: bool = False,
        hosts: StrategyHosts = StrategyHosts(),
    ) -> None:
        self.engine = engine
        self.machine = Machine(engine)
        self.faults = faults
        self.alerts: list[tuple[int, str, RaiseAlert]] = []
        self.alert_log: list[tuple[int, AlertRecord]] = []
        self._tells_alerts = tells_alerts
        self._bases = tuple(base.base for base in exchange_config.bases)
        underlyings = tuple(f"{base}USD" for base in self._bases)
        self._subscriptions: dict[str, dict[str, tuple[str, ...]]] = {
            "marketdata": {},
            "risk": risk_subscriptions(underlyings),
            "execution": execution_subscriptions(underlyings, hosts.services),
            **dict.fromkeys(hosts.services, SUBSCRIPTIONS),
            "monitor": {
                service: prefixes_of(service) for service in ("marketdata", "risk", "execution", *hosts.services)
            },
        }
        self.execution_config = execution_config or ExecutionConfig()
        self.risk_config = risk_config or WIDE
        exchange = ExchangeCore(exchange_config, engine.now_ns)
        self.venue = Venue(engine, faults, exchange, exchange_config, ACCOUNT_ID, futures=futures, spot=spot)
        self.bus = WorldBus(engine, faults, ACCOUNT_ID)
        self._disconnect: Callable[[], None] = lambda: None
        self._frozen_until_ns = 0
        self._regrouping_until_ns = 0
        self._repeats = False
        self._pushes: list[Any] = []
        loaded = tuple(
            each if isinstance(each, LoadedStrategy) else LoadedStrategy.from_config(each) for each in strategies
        )
        self.tenants = Tenants(loaded, hosts, ACCOUNT_ID)
        host_config = host_config or StrategyHostConfig()
        cores: dict[str, Callable[[], Core]] = {
            "marketdata": lambda: MarketdataCore(MarketdataConfig()),
            "risk": lambda: RiskCore(self.risk_config, account_id=ACCOUNT_ID, grant_key=GRANT_KEY),
            "execution": self._execution_core,
            **{name: partial(self.tenants.core, name, host_config) for name in hosts.services},
            "monitor": self._monitor_core,
        }
        self.nodes = {name: self._node(name, make_core) for name, make_core in cores.items()}
        self.tenants.nodes = {name: self.nodes[name] for name in hosts.services}
        for name, node in self.tenants.nodes.items():
            node.prepare = partial(self._take_strategies, node)
            node.on_end = partial(self.tenants.release, name)
        self.witness = Witness()
        self.nodes["execution"].on_start = self.witness.on_start
        self.nodes["execution"].on_batch = self.witness.on_batch
        self.nodes["execution"].on_commit = self._compare_outcomes
        self.untrue: list[Violation] = []
        self.deeds = Deeds()
        """Of strategy hosts, as execution wrote them."""

        self.venue.tell_sale = self._judge_sale
        self.account_reads: dict[int, AccountRead] = {}
        """By when each read of the account was received."""

        for node in self.nodes.values():
            engine.after(engine.between_ns(0, SECOND), node.start)
        engine.every(SECOND, self._feed_market)
        engine.every(2 * SECOND, self._poll_account)

    @property
    def book(self) -> Book:
        """Execution's durable state, live when it runs, else the fold of its journal."""
        node = self.nodes["execution"]
        book: Book = node.core.book if node.alive else self.fold()
        return book

    def fold(self) -> Book:
        """The fold of execution's journal."""
        core = self._execution_core()
        for entry in self.nodes["execution"].journal.entries:
            core.apply(entry)
        book: Book = core.book
        return book

    def _execution_core(self) -> ExecutionCore:
        return ExecutionCore(
            self.execution_config, account_id=ACCOUNT_ID, desk_number=DESK_NUMBER, grant_key=GRANT_KEY
        )

    def _monitor_core(self) -> MonitorCore:
        config = MonitorConfig()
        core = MonitorCore(config, account_id=ACCOUNT_ID)
        remembered = tuple(record for _, record in self.alert_log[-config.keep_alerts :])
        core.handle(AlertsRestored(remembered), self.engine.now_ns)
        return core

    def _node(self, name: str, make_core: Callable[[], Core]) -> Node:
        def perform(effect: Any, cause_id: str) -> None:
            self._perform(node, effect, cause_id)

        def boot() -> None:
            self.bus.boot(node, self._subscriptions[name])
            if name == "execution":
                self._disconnect()
                epoch = node.epoch
                self._disconnect = self.venue.stream.connect(lambda item: node.put(item, epoch))
            if name == "marketdata":
                node.put(StreamUp())
                for base in self._bases:
                    self._load_instruments(base)

        node = Node(
            name,
            self.engine,
            self.machine,
            self.faults,
            make_core,
            perform,
            boot,
            _MAY_GO_UNWRITTEN.get(kind_of(name)),
            Keeping(Book, lambda core: core.book) if name == "execution" else None,
        )
        node.on_refold = lambda: self.bus.resync(node)
        self.bus.add(node)
        return node

    def _perform(self, node: Node, effect: Any, cause_id: str) -> None:
        epoch = node.epoch

        def back(item: Any) -> None:
            node.put(item, epoch)

        match effect:
            case Publish(topic=topic, message=message):
                self.bus.publish(node, topic, message, effect.cause_id or cause_id)
            case Reply():
                self.bus.reply(node, effect)
            case SendRequest():
                if is_host(node.name):
                    self.untrue += self.deeds.violations(node.name, effect.message, self.tenants.hosts)
                self.bus.request(node, effect)
            case RaiseAlert():
                self.alerts.append((self.engine.now_ns, node.name, effect))
                if self._tells_alerts:
                    self._publish_alert(node, effect, cause_id)
            case AppendAlert(record=record):
                self.alert_log.append((self.engine.now_ns, record))
            case PlaceOrder(order=order):
                self.venue.place(order, back)
            case AmendOrder(change=change):
                self.venue.amend(change, back)
            case CancelOrder(order=order):
                self.venue.cancel(order, back)
            case PlaceBatch(orders=orders):
                for order in orders:
                    self.venue.place(order, back)
            case AmendBatch(changes=changes):
                for change in changes:
                    self.venue.amend(change, back)
            case CancelBatch(orders=refs):
                for ref in refs:
                    self.venue.cancel(ref, back)
            case SetCountdown(underlying=underlying, countdown_ms=countdown_ms):
                self.venue.set_countdown(underlying, countdown_ms, back)
            case QueryOrder(client_order_id=number, alone=alone):
                self.venue.reads.query(number, node.now_ns, back, alone=alone)
            case QueryOrders(orders=refs, since_ns=since_ns):
                self.venue.reads.list_orders(refs, since_ns, node.now_ns, back)
            case FetchSnapshot(trigger=trigger, since_ns=since_ns, funding_of=symbols):
                self.venue.reads.snapshot(
                    trigger,
                    since_ns,
                    node.now_ns,
                    back,
                    symbols,
                    effect.funding_since_ns,
                    deliveries=effect.deliveries,
                    coins_of=effect.coins_of,
                )
            case CreateRfq() | AcceptQuote() | CancelRfq() | FetchQuotes() | QueryRfqs() | QueryBlockTrades():
                self.venue.rfqs.perform(effect, node.now_ns, back)
            case SellSpot() | WithdrawSale() | FindSale() | FindStrays() | ReadCash():
                self.venue.cash.perform(effect, node.now_ns, back)
            case SetLeverage():
                row = asked_by(effect, self._written())
                self.untrue += change_violations(effect, row, self.venue.leverage)
                self.venue.leverage.change(effect, "" if row is None else row.request_id, back)
            case ReadLeverage():
                self.venue.leverage.read(effect, node.now_ns, back)
            case ReadVenue(key=key):
                self.venue.reads.market(key, back)
            case ReloadInstruments(underlying=underlying):
                self._load_instruments(underlying.removesuffix("USD"))
            case _:
                # Metrics have no place here, and no channel is configured.
                pass

    def _publish_alert(self, node: Node, raised: RaiseAlert, cause_id: str) -> None:
        """As a service does it."""
        alert = Alert(
            code=raised.code,
            severity=cast(Severity, raised.severity),
            subject=raised.subject,
            text=raised.text,
            service=node.name,
            account_id=ACCOUNT_ID,
            mode="paper",
            raised_ns=node.now_ns,
            resolved=raised.resolved,
            stage=raised.stage,
        )
        self.bus.publish(node, topic_of("sys.{service}.alert", service=node.name), alert, cause_id)

    def suffer(self, faults: Faults) -> None:
        """Let these faults be in force from now on."""
        self.faults = self.venue.faults = faults
        self.bus.heal(faults)
        for node in self.nodes.values():
            node.heal(faults)

    def heal(self) -> None:
        """Stop all faults, and put the clock right."""
        self.suffer(Faults.none())
        self.venue.recover()
        self._frozen_until_ns = 0
        self.machine.set_clock(0)

    def _compare_outcomes(self, entries: Sequence[Entry]) -> None:
        """What execution writes of the end of an order is true at that moment."""
        self.untrue += self.deeds.written(entries, self.engine.now_ns)
        orders = self.nodes["execution"].core.book.orders
        for entry in entries:
            row = entry.row
            if not isinstance(row, OrderMoved) or row.state not in FINAL_ORDER_STATES:
                continue
            order = orders.get(row.client_order_id)
            real = self.venue.products.order(row.client_order_id)
            if order is None or real is None:
                continue
            known = max(order.sighted_quantity, order.filled_quantity)
            if real.state.is_open or real.filled > known:
                state = "open" if real.state.is_open else "ended"
                text = f"order {row.client_order_id} counted as {row.state} with {known} filled"
                self.untrue.append(Violation("outcome_true", f"{text}, the venue had it {state} with {real.filled}"))

    def _judge_sale(self, order: ContractOrder) -> None:
        """What is sold was written before."""
        self.untrue += sending_violations(order, self._written(), self.venue.sent[order.client_order_id])

    def _written(self) -> tuple[Entry, ...]:
        """What execution's journal has, and what it had before it was torn."""
        journal = self.nodes["execution"].journal
        return (*journal.lost_rows, *journal.entries)

    def operate_at(self, when_ns: int, service: str, message: Message, request_id: str) -> list[Message]:
        """Send an operator's request at a moment; its answer is appended to the result when it comes."""
        answers: list[Message] = []
        self.engine.at(when_ns, lambda: self.bus.ask(service, message, request_id, answers.append))
        return answers

    def steer(self, order: StrategyCommand, request_id: str) -> None:
        """Somebody pauses or resumes a strategy, or all of them, at the hosts that have them now."""
        hosts = self.tenants.hosts
        services = hosts.services if order.strategy == "*" else (hosts.of(order.strategy),)

        def told(answer: Message) -> None:
            if isinstance(answer, StrategyCommandDone):
                self.deeds.told(order, self.engine.now_ns)

        for service in services:
            self.bus.ask(service, order, f"{request_id}-{service}", told)

    def regroup(self, groups: dict[str, tuple[str, ...]], *, fails: bool = False) -> None:
        """As `voldesk up` does it with other groups configured: stop the hosts that are concerned, write what runs,
        start the monitor and them again. Where it `fails` nothing is written. One at a time."""
        engine, before = self.engine, self.tenants.hosts
        if engine.now_ns < self._regrouping_until_ns:
            return
        self._regrouping_until_ns = engine.now_ns + 5 * SECOND
        wanted = StrategyHosts(groups).after(before)
        concerned = [self.nodes[name] for name in sorted(wanted.moved(before))]
        for node in concerned:
            node.hold()

        def written() -> None:
            if not fails:
                self.tenants.hosts = wanted
            self.nodes["monitor"].crash()
            for node in concerned:
                engine.after(engine.between_ns(0, SECOND), node.release)

        engine.after(engine.between_ns(100 * MS, 3 * SECOND), written)

    def _take_strategies(self, node: Node) -> None:
        may_die = len(self.tenants.nodes) > 1 and self.faults.crash_per_drain > 0
        dies = may_die and self.engine.chance(0.3)
        self.tenants.take(node.name, self.engine.now_ns, dies=dies)

    def _load_instruments(self, base: str) -> None:
        node = self.nodes["marketdata"]
        epoch = node.epoch
        market = self.venue.market
        *dated, perpetual = market.futures(base) if self.venue.products.futures else (None,)
        loaded = InstrumentsLoaded(
            underlying=f"{base}USD",
            instruments=market.instruments(base),
            perpetual=perpetual,
            spot=market.pair(base) if self.venue.products.spot else None,
            futures=tuple(each for each in dated if each is not None),
        )
        self.engine.after(self.engine.between_ns(MS, 50 * MS), lambda: node.put(loaded, epoch))

    def freeze_market(self, duration_ns: int, *, repeats: bool) -> None:
        """No market data arrive for so long, or the last ones again and again."""
        self._frozen_until_ns = self.engine.now_ns + duration_ns
        self._repeats = repeats

    def _feed_market(self) -> None:
        node = self.nodes["marketdata"]
        if not node.alive or self.venue.is_away:
            return
        if self.engine.now_ns >= self._frozen_until_ns:
            self._pushes = []
            for base in self._bases:
                if self.venue.products.futures:
                    self._pushes += self.venue.market.futures_pushes(base)
                else:
                    self._pushes.append(self.venue.market.index_push(base))
                if self.venue.products.spot:
                    self._pushes.append(self.venue.market.pair_push(base))
                self._pushes += self.venue.market.chain_pushes(base)
        elif not self._repeats:
            return
        for push in self._pushes:
            node.put(push)

    def _poll_account(self) -> None:
        node = self.nodes["risk"]
        if not node.alive:
            return
        if self.venue.is_away or self.engine.chance(self.faults.read_fails):
            node.put(AccountPollFailed("down: connection reset"))
            return
        epoch, asked_ns = node.epoch, node.now_ns

        def answer() -> None:
            # As risk's reader does it: what was paid in or out is told before an account that contains it.
            transfers = self.venue.exchange.transfers(ACCOUNT_ID)
            for transfer in transfers:
                node.put(TransferSeen(transfer_id=str(transfer.transfer_id), amount_usd=transfer.amount), epoch)
            account = self.venue.account()
            paid_usd = sum((one.amount for one in transfers), Decimal(0))
            self.account_reads[node.now_ns] = AccountRead(account.equity_usd, paid_usd, len(transfers))
            polled = AccountPolled(
                asked_ns=asked_ns,
                received_ns=node.now_ns,
                account=account,
                positions=self.venue.positions(),
            )
            node.put(polled, epoch)

        self.engine.after(self.engine.between_ns(MS, self.faults.venue_delay_max_ms * MS), answer)
