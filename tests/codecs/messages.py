"""Message classes as protoc would make them, of two files: one imports the other."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

_F = descriptor_pb2.FieldDescriptorProto


def _field(name: str, number: int, type_: int, **more: Any) -> descriptor_pb2.FieldDescriptorProto:
    return _F(name=name, number=number, type=type_, label=more.pop("label", _F.LABEL_OPTIONAL), **more)  # type: ignore[arg-type]


def _parts() -> descriptor_pb2.FileDescriptorProto:
    place = descriptor_pb2.DescriptorProto(name="Place", field=[_field("city", 1, _F.TYPE_STRING)])
    return descriptor_pb2.FileDescriptorProto(
        name="shop/parts.proto", package="shop", syntax="proto3", message_type=[place]
    )


def _orders() -> descriptor_pb2.FileDescriptorProto:
    counts = descriptor_pb2.DescriptorProto(
        name="CountsEntry",
        field=[_field("key", 1, _F.TYPE_STRING), _field("value", 2, _F.TYPE_INT64)],
        options=descriptor_pb2.MessageOptions(map_entry=True),
    )
    line = descriptor_pb2.DescriptorProto(
        name="Line", field=[_field("sku", 1, _F.TYPE_STRING), _field("n", 2, _F.TYPE_INT32)]
    )
    state = descriptor_pb2.EnumDescriptorProto(
        name="State",
        value=[
            descriptor_pb2.EnumValueDescriptorProto(name="OPEN", number=0),
            descriptor_pb2.EnumValueDescriptorProto(name="PAID", number=1),
        ],
    )
    order = descriptor_pb2.DescriptorProto(
        name="Order",
        nested_type=[counts, line],
        enum_type=[state],
        field=[
            _field("id", 1, _F.TYPE_STRING),
            _field("amount", 2, _F.TYPE_DOUBLE),
            _field("state", 3, _F.TYPE_ENUM, type_name=".shop.Order.State"),
            _field("lines", 4, _F.TYPE_MESSAGE, type_name=".shop.Order.Line", label=_F.LABEL_REPEATED),
            _field("counts", 5, _F.TYPE_MESSAGE, type_name=".shop.Order.CountsEntry", label=_F.LABEL_REPEATED),
            _field("at", 6, _F.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp"),
            _field("took", 7, _F.TYPE_MESSAGE, type_name=".google.protobuf.Duration"),
            _field("note", 8, _F.TYPE_STRING, proto3_optional=True, oneof_index=0),
            _field("place", 9, _F.TYPE_MESSAGE, type_name=".shop.Place"),
            _field("data", 10, _F.TYPE_BYTES),
            _field("before", 11, _F.TYPE_MESSAGE, type_name=".shop.Order"),
        ],
        oneof_decl=[descriptor_pb2.OneofDescriptorProto(name="_note")],
    )
    ping = descriptor_pb2.DescriptorProto(name="Ping", field=[_field("n", 1, _F.TYPE_INT64)])
    return descriptor_pb2.FileDescriptorProto(
        name="shop/orders.proto",
        package="shop",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "shop/parts.proto"],
        message_type=[ping, order],
    )


_POOL = descriptor_pool.DescriptorPool()
for _made in (timestamp_pb2, duration_pb2):
    _POOL.AddSerializedFile(_made.DESCRIPTOR.serialized_pb)
_POOL.Add(_parts())
_POOL.Add(_orders())

Ping: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("shop.Ping"))
OrderMessage: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("shop.Order"))
Line: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("shop.Order.Line"))
