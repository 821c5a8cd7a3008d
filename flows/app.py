"""The app as people use it: the language's App, and the test driver on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dsl

if TYPE_CHECKING:
    from flows.testing import Driver


class App(dsl.App):
    __doc__ = dsl.App.__doc__

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run the command line for this app: the last line of a module that is a program of its own.

        `if __name__ == "__main__": app.main()` makes `python flow.py worker` the same as `flows -A flow.py worker`.
        `arguments` are those of the program where none are given. Ends the program.
        """
        from flows.cli import main
        from flows.discovery import app_at_hand

        with app_at_hand(self):
            main(arguments, prog_name="flows")

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
