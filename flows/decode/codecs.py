"""The codecs of a plan's topics, and the schemas that they need, which are fetched before a value is decoded.

Decoding goes on inside a batch and waits for nothing. So whoever has fetched records first awaits `learn`, which asks
the registry for the ids that it meets for the first time; an id stands for one schema for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Literal

from dsl.plan.graph import Plan
from dsl.plan.nodes import TopicNode, ValueSchema, written_by
from dsl.plan.value_schema import decode_rule, encode_rule, message_rule
from flows.decode.base import RegisteredSchema, Registry, ValueCodec
from flows.decode.confluent import schema_ids
from flows.decode.values import OwnCodec, built_in_codec
from flows.errors import FlowsError

Register = Literal["written", "all", "never"]
"""Which schemas are registered at the start: those of topics that the app writes to, those of all; else looked up."""

_AT_ONCE = 8
_KIND = {"avro": "AVRO", "protobuf": "PROTOBUF"}


class Codecs:
    """The codecs of a plan. `registry` is None where no topic needs one."""

    def __init__(self, plan: Plan, registry: Registry | None = None, register: Register = "written") -> None:
        self._plan, self._registry, self._register = plan, registry, register
        self._codecs: dict[str, ValueCodec] = {}
        self._ids: dict[str, int] = {}
        self._known: dict[int, RegisteredSchema] = {}
        self._learning = {t.name for t in plan.of_type(TopicNode) if t.codec == "avro"}

    def of(self, node: TopicNode) -> ValueCodec:
        """Return a topic's codec. Raises `FlowsError` where it needs a library that is not installed, or the app."""
        if node.id not in self._codecs:
            self._codecs[node.id] = self._made(node)
        return self._codecs[node.id]

    async def open(self, topics: Iterable[TopicNode] | None = None) -> None:
        """Register the schemas of topics (all by default), or look them up, as the settings say.

        Raises `FlowsError` where the registry refuses one, `RegistryUnavailable` where it cannot be reached.
        """
        written = {name for node in self._plan.nodes.values() for name in written_by(node)}
        read = self._plan.topics_read()
        for node in self._plan.of_type(TopicNode) if topics is None else topics:
            self.of(node)  # tells now what is missing
            if node.registered is None or node.id in self._ids:
                continue
            is_written = topics is not None or node.name in written or node.name not in read
            await self._open(node, node.registered, is_written)

    async def ready(self, topic: str) -> None:
        """Register a topic's schema before a value is sent there from outside of tasks, unless that was done."""
        node = self._plan.topic(topic)
        if node is not None and node.registered is not None and node.id not in self._ids:
            await self.open([node])

    async def learn(self, topic: str, values: Iterable[bytes | None]) -> None:
        """Fetch the schemas that values of a topic name and that are not known yet.

        An id that the registry does not know is left out: decoding says so. Raises `RegistryUnavailable`.
        """
        if topic not in self._learning:
            return
        wanted = sorted(schema_ids(values) - self._known.keys())
        registry = self._of_plan() if wanted else None
        for start in range(0, len(wanted), _AT_ONCE):
            assert registry is not None
            some = wanted[start : start + _AT_ONCE]
            for id, found in zip(some, await asyncio.gather(*map(registry.schema, some)), strict=True):
                if found is not None:
                    self._known[id] = found

    async def close(self) -> None:
        """Let go of the registry."""
        if self._registry is not None:
            await self._registry.close()

    async def _open(self, node: TopicNode, schema: ValueSchema, is_written: bool) -> None:
        registry, own = self._of_plan(), _registered(node.codec, schema)
        id: int | None
        if self._register == "all" or (self._register == "written" and is_written):
            id = await registry.register(schema.subject, own)
        else:
            id = await registry.look_up(schema.subject, own)
        if id is None and is_written:
            raise FlowsError(
                f"topic {node.name!r}: its schema is not registered under {schema.subject!r}",
                fix='register it there, or leave schema_registry_register = "never" out',
            )
        if id is not None:
            self._ids[node.id], self._known[id] = id, own

    def _of_plan(self) -> Registry:
        if self._registry is None:
            topic = next(t for t in self._plan.of_type(TopicNode) if t.registered is not None)
            raise FlowsError(
                f"topic {topic.name!r} is written as {topic.codec}, whose schemas a registry keeps",
                fix="set schema_registry_url, such as http://localhost:8081",
            )
        return self._registry

    def _made(self, node: TopicNode) -> ValueCodec:
        type_, functions = self._plan.types.get(node.id), self._plan.functions
        if node.codec == "avro":
            made = _needs("avro", node)
            return made(node.registered, type_, self._id_for(node), self._known)  # type: ignore[no-any-return]
        if node.codec == "protobuf":
            made = _needs("protobuf", node)
            message = functions.get(message_rule(node.id))
            return made(node.registered, type_, self._id_for(node), message)  # type: ignore[no-any-return]
        if encode_rule(node.id) in functions:
            return OwnCodec(node.codec, functions[encode_rule(node.id)], functions[decode_rule(node.id)], type_)
        found = built_in_codec(node.codec, type_)
        if found is None:
            raise FlowsError(
                f"topic {node.name!r} is written by the codec {node.codec!r}, which only its app knows",
                fix="name the app by -A",
            )
        return found

    def _id_for(self, node: TopicNode) -> Callable[[], int]:
        def own_id() -> int:
            if node.id not in self._ids:
                raise FlowsError(
                    f"topic {node.name!r} is only read by the app as it is declared, so its schema was not registered",
                    fix='declare where it is written, or set schema_registry_register = "all"',
                )
            return self._ids[node.id]

        return own_id


def _registered(codec: str, schema: ValueSchema) -> RegisteredSchema:
    return RegisteredSchema(schema.definition, _KIND[codec], schema.references)


def _needs(codec: str, node: TopicNode) -> Callable[..., Any]:
    try:
        if codec == "avro":
            from flows.decode.avro import AvroCodec

            return AvroCodec
        from flows.decode.protobuf import ProtobufCodec

        return ProtobufCodec
    except ImportError as error:
        raise FlowsError(
            f"topic {node.name!r} is written as {codec}, whose library is not installed: {error}",
            fix=f"pip install 'flows[{codec}]'",
        ) from None


def needs_registry(plan: Plan) -> bool:
    """Tell whether a plan has topics whose schemas a registry keeps."""
    return any(t.registered is not None for t in plan.of_type(TopicNode))
