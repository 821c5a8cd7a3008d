"""The fields of the classes that stored values are made of, and whether values of older classes can still be read.

Stored values are MessagePack with the names of fields: a field that is gone is passed over, one that is new takes its
default, and a type may grow (`int` to `float`, `X` to `X | None`). Anything else would fail row by row.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect

Shape = tuple[tuple[str, str, bool], ...]
"""The fields of all classes in a type: `Class.field`, its type, and whether a value must have it."""


def shape_of(type_: Any) -> Shape:
    """Return the fields of the classes that a type is made of; none where the type cannot be looked into."""
    try:
        info = inspect.type_info(type_)
    except (TypeError, NameError):
        return ()
    found: dict[str, tuple[str, bool]] = {}
    seen: set[Any] = set()
    _gather(info, found, seen)
    return tuple((name, *rest) for name, rest in sorted(found.items()))


def shape_differences(old: Shape, new: Shape) -> list[str]:
    """Say why values of an older shape cannot be read as a newer one; an empty list when they can."""
    before = {name: shown for name, shown, _ in old}
    classes = {name.partition(".")[0] for name in before}
    found = []
    for name, shown, required in new:
        if name in before and not _grows(before[name], shown):
            found.append(f"field {name} was {before[name]}, is {shown}")
        if name not in before and required and name.partition(".")[0] in classes:
            found.append(f"field {name} is new and has no default")
    return found


def both_shapes(old: Shape, new: Shape) -> Shape:
    """Return the fields that stored values may have which were written as either: those that are gone stay noted."""
    fields = {field[0]: field for field in (*old, *new)}
    return tuple(sorted(fields.values()))


def _grows(old: str, new: str) -> bool:
    kinds = set(new.split(" | "))
    return set(old.split(" | ")) <= kinds | ({"int"} if "float" in kinds else set())


def _gather(info: Any, found: dict[str, tuple[str, bool]], seen: set[Any]) -> None:
    """Note the fields of a type's classes: all parts of a type's description that are types are looked into."""
    cls = getattr(info, "cls", None)
    if cls in seen:
        return
    fields = getattr(info, "fields", None)
    if cls is not None and isinstance(fields, tuple):
        seen.add(cls)
        for field in fields:
            found[f"{cls.__name__}.{field.encode_name}"] = (_shown(field.type), field.required)
            _gather(field.type, found, seen)
        return
    for part in ("type", "item_type", "key_type", "value_type"):
        if isinstance(getattr(info, part, None), inspect.Type):
            _gather(getattr(info, part), found, seen)
    for part in ("types", "item_types"):
        for inner in getattr(info, part, ()):
            _gather(inner, found, seen)


def _shown(info: Any) -> str:
    """Print a type; unions in a fixed order."""
    if isinstance(info, inspect.Metadata):
        return _shown(info.type)
    if isinstance(info, inspect.UnionType):
        return " | ".join(sorted(map(_shown, info.types)))
    cls = getattr(info, "cls", None)
    if cls is not None:
        return str(cls.__name__)
    name = type(info).__name__.removesuffix("Type").lower()
    inner = [getattr(info, part) for part in ("item_type", "key_type", "value_type") if hasattr(info, part)]
    inner += getattr(info, "item_types", ())
    return f"{name}[{', '.join(map(_shown, inner))}]" if inner else name
