"""A worker that all tests of this folder ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.workers import WorkerProcess
from tests.deploy.scraped import TOKEN, Scrape, fill, scrape


@pytest.fixture(scope="session")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """What `/metrics` of a running worker said."""
    folder = tmp_path_factory.mktemp("scraped")
    (folder / "token").write_text(TOKEN)
    asyncio.run(fill(folder / "data"))
    app = str(Path(__file__).with_name("rides.py"))
    worker = WorkerProcess(folder, "-A", app, "--data", "data", "--web-token-file", "token")
    try:
        yield scrape(worker)
    finally:
        worker.close()
