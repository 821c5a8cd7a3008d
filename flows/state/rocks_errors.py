"""What RocksDB's messages mean: locked, forbidden, damaged, or a full disk, each with the folder and the fix.

rocksdict raises plain `Exception`s with RocksDB's status as text; this is the one place that reads that text.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from flows.errors import StateCorrupt, StateError, StateLocked

OWNER_NOTE = "flows-owner.json"

_REBUILD = "delete the folder; the state is rebuilt from the changelog"
_DAMAGE = ("Corruption", "checksum mismatch", "bad magic", "SST file is ahead of WAL")
_LOCKED = ("lock hold by current process", "While lock file")
_FORBIDDEN = ("Permission denied", "Operation not permitted", "Read-only file system")
_FULL = ("No space left", "File too large", "Disk quota exceeded", "MaxAllowedSpace", "space limit")


def translate(error: Exception, path: Path, *, opening: bool = False) -> StateError:
    """Turn an exception of rocksdict into the `StateError` that says what to do."""
    if isinstance(error, StateError):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    if any(sign in text for sign in _LOCKED):
        return locked(path)
    if any(sign in text for sign in _FORBIDDEN):
        return StateError(
            f"the state folder {path} may not be used by user {_user()}: {text}",
            fix="give that user the folder, or set another state folder",
        )
    if any(sign in text for sign in _FULL):
        return StateError(f"no room to write the state folder {path}: {text}", fix="free some disk space")
    if any(sign in text for sign in _DAMAGE) or (opening and "No such file" in text):
        return StateCorrupt(f"the state in {path} is damaged: {text}", fix=_REBUILD)
    return StateError(f"the state in {path} failed: {text}", fix="see the file LOG in that folder")


def locked(path: Path) -> StateLocked:
    """Say who holds a folder, as far as its owner's note tells."""
    owner = read_owner(path)
    if owner is None:
        who = "another process"
    elif owner == (os.getpid(), socket.gethostname()):
        who = "this process"
    else:
        who = f"process {owner[0]} on {owner[1]}"
    return StateLocked(
        f"the state folder {path} is in use by {who}",
        fix="stop that process, give this one another state folder, or open it read-only",
    )


def write_owner(path: Path) -> None:
    """Leave a note of who holds the folder; only read when its lock is found taken."""
    (path / OWNER_NOTE).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))


def read_owner(path: Path) -> tuple[int, str] | None:
    """Read the note; None when there is none that can be read."""
    try:
        note = json.loads((path / OWNER_NOTE).read_text())
        return int(note["pid"]), str(note["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "this"
