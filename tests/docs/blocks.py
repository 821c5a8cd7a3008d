"""Code blocks of Markdown pages. What stands behind the language says how a block runs:

* ```` ```python ````: in a module of its own, with a temporary working folder; with `>>>`, as a doctest.
* ```` ```console ````: `$ command`, and below it what it prints, where that is given; `...` stands for any lines.
* ```` ```toml ````: read as a `pyproject.toml`, whose settings must be right.
* `file=flow.py`: the block is also written to the working folder, one that continues another at the end of the file.
* `continued`: in the module and folder of the block before.
* `demo`: the commands of the demo, which have a test of their own.

`text` is for drawings. No other languages may stand there, so that nothing is left unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("python", "console", "toml")
_FENCE = re.compile(r"^```(\w*)(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of content, from 1."""

    page: Path
    line: int
    language: str
    marks: frozenset[str]
    text: str

    @property
    def file(self) -> str | None:
        """The name under which the block is written to the working folder."""
        return next((m.removeprefix("file=") for m in self.marks if m.startswith("file=")), None)


@dataclass
class Group:
    """Blocks that share a module and a folder."""

    blocks: list[Block] = field(default_factory=list)

    @property
    def name(self) -> str:
        """`docs/time.md:12`: where the first block stands."""
        return f"{self.blocks[0].page.relative_to(ROOT).as_posix()}:{self.blocks[0].line}"


def pages() -> list[Path]:
    """Return all pages a reader may copy code from."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    source = page.read_text("utf-8")
    for found in _FENCE.finditer(source):
        line = source.count("\n", 0, found.start()) + 2
        yield Block(page, line, found[1], frozenset(found[2].split()), found[3])


def groups_of(page: Path) -> list[Group]:
    """Return the blocks that run, each with those that continue it."""
    groups: list[Group] = []
    for block in blocks_of(page):
        if block.language not in RUN or "demo" in block.marks:
            continue
        if "continued" not in block.marks:
            groups.append(Group())
        groups[-1].blocks.append(block)
    return groups
