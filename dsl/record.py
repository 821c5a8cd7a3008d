"""Records: the typed, validated values of topics."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """Declare the fields of a topic's values; decoded strictly, frozen because one decode serves all readers.

    >>> class Departure(Record):
    ...     carrier: str
    ...     delay: float | None = None
    >>> msgspec.json.decode(b'{"carrier": "UA"}', type=Departure)
    Departure(carrier='UA', delay=None)

    Records are data, never part of a cycle, and so are left out of Python's cycle collector: millions of them cost it
    nothing. To change a field make a new one: `msgspec.structs.replace(departure, delay=0.0)`.
    """
