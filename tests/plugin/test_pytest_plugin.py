"""The fixture `drive`, as another project's tests would use it: pytest run on files in a folder of its own."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

SHOP = """
    import flows

    app = flows.App("shop")
    orders = app.topic("orders", value=dict)
    seen = app.table("seen", value=int, default=int)

    @app.agent(orders)
    async def count(stream):
        async for order in stream:
            seen[order["id"]] += 1
"""
SETTINGS = """
    [pytest]
    asyncio_mode = auto
    asyncio_default_fixture_loop_scope = function
    filterwarnings = error
"""


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    """Run a test file beside the module `shop`, with the plugin loaded by name, whatever is installed."""
    pytester.makeini(SETTINGS)
    pytester.makepyfile(shop=SHOP)
    pytester.makepyfile(tests)
    return pytester.runpytest_subprocess("-p", "no:flows", "-p", "flows.pytest_plugin", "-p", "no:cacheprovider")


def test_pytest_finds_the_plugin_by_itself() -> None:
    found = {e.name: e.value for e in entry_points(group="pytest11")}
    assert found.get("flows") == "flows.pytest_plugin", "install the package anew: pip install -e ."


def test_tests_drive_apps(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from shop import app, orders, seen

        def test_orders_are_counted(drive):
            t = drive(app)
            t.send(orders, {"id": "a"})
            t.send(orders, {"id": "a"})
            assert t.table(seen).rows() == [{"key": "a", "value": 2}]

        async def test_in_a_coroutine_too(drive):
            t = drive(app)
            t.send(orders, {"id": "a"})
            assert t.table(seen).get("a") == 1

        def test_two_at_once_stand_alone(drive):
            one, other = drive(app), drive(app)
            one.send(orders, {"id": "a"})
            assert (len(one.table(seen)), len(other.table(seen))) == (1, 0)

        def test_the_clock_begins_where_it_is_told_to(drive):
            assert drive(app, now=1000.0).clock.now() == 1000.0
        """,
    )
    result.assert_outcomes(passed=4)


def test_drivers_are_closed_when_the_test_ends_however_it_ends(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from shop import app
        from flows.testing import Driver

        events = []

        @pytest.fixture(autouse=True)
        def watch(monkeypatch):
            close = Driver.__exit__
            monkeypatch.setattr(Driver, "__exit__", lambda self, *error: (events.append("closed"), close(self, *error)))

        def test_that_fails(drive):
            drive(app), drive(app)
            events.append("failed")
            assert False, "as meant"

        def test_after():
            assert events == ["failed", "closed", "closed"]
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: as meant*"])
