"""Commands that an app declares, and modules that are programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

MODULE = """\
import click
import flows

app = flows.App("shop")
orders = app.topic("orders", value=dict)


@app.agent(orders)
async def price(stream):
    async for order in stream:
        yield order["n"] * 2


@app.command()
@click.argument("n", type=int)
@click.option("--times", default=1, help="How often.")
async def place_order(n, times):
    '''Place an order.'''
    for _ in range(times):
        await orders.send({"n": n})
    click.echo(f"placed {n} x {times}")


@app.command("hello")
def greet():
    click.echo("hello")


if __name__ == "__main__":
    app.main()
"""


@pytest.fixture
def shop(folder: Path) -> Path:
    (folder / "shop.py").write_text(MODULE)
    return folder


def test_a_command_sends(shop: Path, run: Run) -> None:
    found = run("-A", "shop", "place-order", "7", "--times", "2")
    assert (found.exit_code, found.output) == (0, "placed 7 x 2\n")
    assert run("tail", "orders", "--no-follow", "--from-beginning", "--json").output.count('"n":7') == 2


def test_commands_are_found_without_naming_the_app(shop: Path, run: Run) -> None:
    assert run("hello").output == "hello\n"
    helped = run("place-order", "--help").output
    assert "Place an order." in helped
    assert "--times" in helped
    assert "--broker" in helped
    assert run("place-order", "x").exit_code == 2
    assert "No such command 'helo'" in run("helo").output


def test_the_app_may_be_named_before_any_command(shop: Path, run: Run) -> None:
    assert run("-A", "shop.py", "topology").output.startswith("app shop\n")


def test_a_module_may_be_a_program(shop: Path) -> None:
    def program(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "shop.py", *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    assert program("hello") == "hello\n"
    assert program("topology").startswith("app shop\n")
    program("place-order", "3")
    program("worker", "--drain", "--web-port", "-1")
    assert "orders" in program("topics")
