"""Where everything stands when a chaos run has failed: what is committed, what readers see, what the workers say."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.kafka.chaos.flow import FLOW_ID, done, events
from tests.kafka.chaos.workers import Worker

_SECONDS = 20.0


async def places(bootstrap: str, workers: Iterable[Worker]) -> list[str]:
    """Return lines that tell where the group, the outputs and the workers are, as far as they answer."""
    lines = [await _try(_committed(bootstrap)), await _try(_outputs(bootstrap))]
    return lines + [f"{w.name}: {await _try(asyncio.to_thread(_status, w))}" for w in workers]


async def _try(work: Any) -> str:
    try:
        async with asyncio.timeout(_SECONDS):
            return str(await work)
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        return f"no answer ({type(error).__name__}: {error})"


async def _committed(bootstrap: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(FLOW_ID)
    finally:
        await admin.close()
    ends = await _ends(bootstrap, events.name, events.node.partitions, "read_committed")
    inputs = [f"{tp.partition}: {offsets[tp].offset if tp in offsets else '-'} of {end}" for tp, end in ends.items()]
    others = [f"{tp.topic}/{tp.partition}: {o.offset}" for tp, o in sorted(offsets.items()) if tp.topic != events.name]
    return f"committed of {events.name}: {', '.join(inputs)}; of others: {', '.join(others)}"


async def _outputs(bootstrap: str) -> str:
    stable, written = [
        await _ends(bootstrap, done.name, done.node.partitions, f"read_{how}committed") for how in ("", "un")
    ]
    return f"{done.name}: " + ", ".join(
        f"{tp.partition}: {end} of {written[tp]} committed" for tp, end in stable.items()
    )


async def _ends(bootstrap: str, topic: str, partitions: int, isolation: str) -> dict[TopicPartition, int]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation) as consumer:
        found: dict[TopicPartition, int] = await consumer.end_offsets(
            [TopicPartition(topic, p) for p in range(partitions)]
        )
        return found


def _status(worker: Worker) -> str:
    address = re.findall(r"page is at (\S+)", worker.log.read_text("utf-8", "replace"))[-1]
    with urllib.request.urlopen(f"{address}/api/status", timeout=_SECONDS / 2) as answer:
        told = json.load(answer)
    tasks = [f"{t['id']} {t['state']} lag {t['lag']}" for t in told.get("tasks", [])]
    return f"{told.get('state')}: {', '.join(tasks)}; errors {told.get('errors')}"
