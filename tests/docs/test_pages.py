"""Every code block of the README, the docs and the examples' pages runs and prints what the page shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT, RUN, Group, blocks_of, groups_of, pages
from tests.docs.runner import commands_of, matches, run_group

GROUPS = [group for page in pages() for group in groups_of(page)]
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_blocks_run(group: Group, tmp_path: Path, drive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run_group(group, tmp_path, drive, monkeypatch)


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_block_is_left_unchecked(page: Path) -> None:
    for block in blocks_of(page):
        known = {"continued", "demo"} | {m for m in block.marks if m.startswith("file=")}
        assert block.language in (*RUN, "text"), f"{page.name}:{block.line}: a block of {block.language or 'nothing'!r}"
        assert block.marks <= known, f"{page.name}:{block.line}: {set(block.marks - known)}"
    assert page.read_text("utf-8").count("\n```") % 2 == 0, "a fence is open"


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for found in _LINK.finditer(page.read_text("utf-8")):
        target = page if not found[1] else page.parent / found[1]
        assert target.exists(), f"{page.name} links to {found[1]}"
        if found[2]:
            assert found[2][1:] in anchors(target), f"{page.name} links to {found[1]}{found[2]}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one\n> echo two\none\n...\n$ echo three\n```\n")
    (block,) = blocks_of(page)
    assert list(commands_of(block)) == [("echo one\necho two", ["one", "..."]), ("echo three", [])]
    assert not matches(["one"], ["two"])
    assert matches(["one", "..."], ["one", "two"])
