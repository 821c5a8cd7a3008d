"""Every mistake of the modules in `mistakes/` is refused where it stands, in the words of `mistakes.txt`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import DeclarationError
from tests.dsl.mistakes import agents, behind, codecs, expressions, globals, joins, routing, shaping, tables, topics
from tests.golden import assert_golden

HERE = Path(__file__).parent
MISTAKES: dict[str, Callable[[], None]] = {
    name: function
    for module in (topics, codecs, expressions, tables, behind, agents, routing, shaping, joins, globals)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and "# here" in inspect.getsource(function)
}


def caught(make: Callable[[], None]) -> DeclarationError:
    with pytest.raises(DeclarationError) as found:
        make()
    return found.value


def told(error: DeclarationError) -> str:
    """Return what an error says, without what changes from run to run: its place, addresses of objects."""
    assert str(error).endswith(f" (at {error.place})")
    return re.sub(r" at 0x[0-9a-f]+", " at 0x…", str(error).removesuffix(f" (at {error.place})"))


@pytest.mark.parametrize("name", MISTAKES)
def test_the_place_of_a_mistake_is_the_line_of_the_person(name: str) -> None:
    lines, start = inspect.getsourcelines(MISTAKES[name])
    marked = next(start + i for i, line in enumerate(lines) if line.rstrip().endswith("# here"))
    assert caught(MISTAKES[name]).place == f"{inspect.getsourcefile(MISTAKES[name])}:{marked}"


def test_what_each_mistake_is_told() -> None:
    texts = [f"{name}\n    {told(caught(make))}\n" for name, make in MISTAKES.items()]
    assert_golden(HERE / "mistakes.txt", "\n".join(texts))


def test_there_are_no_two_mistakes_with_one_answer() -> None:
    texts = [told(caught(make)) for make in MISTAKES.values()]
    assert len(texts) >= 25
    assert len(set(texts)) == len(texts)
