"""Which updates of orders the core must hear: a quoting strategy changes the price of its orders thousands of times a
second, which says nothing to risk, and to hand over each costs more than to see that."""

from __future__ import annotations

from services.risk.breakers import JUDGED_ORDER_STATES
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.trades import FINAL_ORDER_STATES, OrderUpdate


class OrderNews:
    """Looks at what arrives from execution, in its order, before it is queued for the core.

    An update of an order is no news when the core was handed one of the same order before, of the same execution, as
    sent at the same time and not at its end: it then counts as one at work already, and as sent when it was. What the
    breakers judge is always news. A core that was built anew has heard nothing.
    """

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._core: object = None
        self._epoch: int | None = None
        self._at_work: dict[int, int] = {}
        """When each order was sent, by its id, as the core was told of it last."""

    def is_news(self, item: Inbound | StreamSynced, core: object) -> bool:
        """Whether to hand this on to `core`, the one that runs now."""
        if isinstance(item, StreamSynced):
            return True
        if core is not self._core or item.epoch != self._epoch:
            self._core, self._epoch = core, item.epoch
            self._at_work.clear()
        order = item.message
        if not isinstance(order, OrderUpdate) or order.account_id != self._account_id:
            return True
        number, state = order.client_order_id, order.state
        if state in FINAL_ORDER_STATES:
            self._at_work.pop(number, None)
            return True
        if self._at_work.get(number) == order.created_ns and state not in JUDGED_ORDER_STATES:
            return False
        self._at_work[number] = order.created_ns
        return True
