"""Whether stored state belongs to the plan: the fingerprints that changelogs and stores carry."""

from __future__ import annotations

from collections.abc import Mapping

from dsl.plan.fingerprint import Descriptor, describe, differences, kept_descriptor
from dsl.plan.graph import Plan
from flows.errors import IncompatibleState


def checked_fingerprints(plan: Plan, tables: Mapping[str, str], found: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the fingerprints to be written: those that are not there, or say less than the plan's.

    `tables` are the names that users know, by store table; `found` is what was stored. Raises `IncompatibleState`.
    """
    declared, written = plan.stored_nodes(), {}
    for table, name in tables.items():
        if name not in declared:
            continue
        new = describe(plan, name)
        old = Descriptor.decode(found[table]) if table in found else None
        if old is not None and (wrong := differences(old, new)):
            raise IncompatibleState(
                f"table {name!r} was stored by another plan: {'; '.join(wrong)}",
                fix=f"rename the table, or empty it: `flows reset --table {name}`",
            )
        if (kept := new if old is None else kept_descriptor(old, new)) is not old:
            written[table] = kept.encode()
    return written
