"""The app as people use it: the language's App, and the test driver on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dsl

if TYPE_CHECKING:
    from flows.testing import Driver


class App(dsl.App):
    __doc__ = dsl.App.__doc__

    def test(self, *, now: float | None = None) -> Driver:
        """Return a driver that runs this app's real pipeline in memory, on a manual clock that starts at `now`.

        >>> app = App("shop")
        >>> orders = app.topic("orders", value=dict)
        >>> seen = app.table("seen", value=int, default=int)
        >>> @app.agent(orders)
        ... async def count(stream):
        ...     async for order in stream:
        ...         seen[order["id"]] += 1
        >>> with app.test() as t:
        ...     t.send(orders, {"id": "a"})
        ...     t.table(seen).rows()
        [{'key': 'a', 'value': 1}]
        """
        from flows.testing import Driver  # brings the whole engine, which the command line need not wait for

        return Driver(self, now=now)
