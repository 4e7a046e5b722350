"""The order book of the simulated broker: orders are placed, and none is ever filled. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_NEEDED = (
    "variety", "tradingsymbol", "symboltoken", "transactiontype", "exchange", "ordertype", "producttype", "duration",
    "quantity",
)  # fmt: skip
_CHANGEABLE = ("ordertype", "producttype", "duration", "price", "quantity", "triggerprice")
_UNSAID = {
    "price": "0", "triggerprice": "0", "squareoff": "0", "stoploss": "0", "trailingstoploss": "0",
    "disclosedquantity": "0", "ordertag": "",
}  # fmt: skip


class OrderError(ValueError):
    """An order that is refused; the message is what the broker says, ``code`` its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OrderBook:
    """Orders of a day by number, as the broker's book shows them."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, object]] = {}

    def place(self, request: Mapping[str, object], *, when: str) -> dict[str, str]:
        """Place an order; ``when`` is the time that it gets. Raises OrderError."""
        if missing := [name for name in _NEEDED if not request.get(name)]:
            raise OrderError("AB4000", f"{', '.join(missing)} must be given")
        number = f"SIM{len(self._orders) + 1:09}"
        fields = {name.lower(): str(value) for name, value in request.items()}
        self._orders[number] = {
            **_UNSAID, **fields, "orderid": number, "uniqueorderid": f"{number}-0", "status": "open",
            "orderstatus": "open", "text": "SIMULATED", "updatetime": when, "exchtime": when,
            "averageprice": 0.0, "filledshares": "0", "unfilledshares": fields["quantity"], "cancelsize": "0",
        }  # fmt: skip
        return _answer(self._orders[number])

    def modify(self, request: Mapping[str, object], *, when: str) -> dict[str, str]:
        """Change an open order. Raises OrderError."""
        order = self._open(request)
        changed = {name: str(request[name]) for name in _CHANGEABLE if request.get(name) is not None}
        order.update(changed, updatetime=when, unfilledshares=changed.get("quantity", order["unfilledshares"]))
        return _answer(order)

    def cancel(self, request: Mapping[str, object], *, when: str) -> dict[str, str]:
        """Cancel an open order. Raises OrderError."""
        order = self._open(request)
        left = order["unfilledshares"]
        order.update(status="cancelled", orderstatus="cancelled", updatetime=when, cancelsize=left, unfilledshares="0")
        return _answer(order)

    def rows(self) -> list[dict[str, object]]:
        """List all orders, the oldest first."""
        return [dict(order) for order in self._orders.values()]

    def row(self, unique: str) -> dict[str, object] | None:
        """Give the order with this number or unique number."""
        return next((dict(o) for o in self._orders.values() if unique in (o["orderid"], o["uniqueorderid"])), None)

    def _open(self, request: Mapping[str, object]) -> dict[str, object]:
        order = self._orders.get(str(request.get("orderid")))
        if order is None:
            raise OrderError("AB1013", "Order not found")
        if order["status"] != "open":
            raise OrderError("AB1014", "Order is not open")
        return order


def _answer(order: Mapping[str, object]) -> dict[str, str]:
    names = {"script": "tradingsymbol", "orderid": "orderid", "uniqueorderid": "uniqueorderid"}
    return {name: str(order[field]) for name, field in names.items()}
