"""Open a state folder: as its one writer, or read-only beside one; and remove it for good."""

from __future__ import annotations

import shutil
from pathlib import Path

from rocksdict import AccessType, Options, Rdict

from flows.errors import StateError
from flows.state.rocks_errors import translate, write_owner

_DEFAULT = "default"
_ATTEMPTS = 10

Opened = tuple[Rdict, list[str]]


def open_to_write(path: Path, options: Options) -> Opened:
    """Open or create the store in a folder; return it with the names of its column families."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = Rdict.list_cf(str(path), options) if _exists(path) else [_DEFAULT]
        db = Rdict(str(path), options=options, column_families=dict.fromkeys(names, options))
        write_owner(path)
    except Exception as error:
        raise translate(error, path, opening=True) from error
    return db, names


def open_beside_writer(path: Path, options: Options) -> Opened:
    """Open what is in the folder now, writes of a running process included up to this moment.

    The writer may replace a file between our listing and our opening it: that is tried anew.
    """
    if not _exists(path):
        raise StateError(f"there is no state in {path}", fix="give the state folder of a worker's task")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            names = Rdict.list_cf(str(path), options)
            families = dict.fromkeys(names, options)
            access = AccessType.read_only(False)
            return Rdict(str(path), options=options, column_families=families, access_type=access), names
        except Exception as error:
            if attempt == _ATTEMPTS or "No such file" not in str(error):
                raise translate(error, path, opening=True) from error
    raise AssertionError("the last attempt returns or raises")


def destroy_store(path: str | Path, options: Options) -> None:
    """Delete a store's folder, damaged or not, so that it is rebuilt. Raises `StateLocked` while it is in use."""
    folder = Path(path)
    if not folder.exists():
        return
    try:
        if _exists(folder):
            Rdict.destroy(str(folder), options)
        if folder.exists():
            shutil.rmtree(folder)
    except Exception as error:
        raise translate(error, folder) from error


def _exists(path: Path) -> bool:
    """Tell whether a folder holds a store, or what is left of one."""
    return (path / "CURRENT").exists() or any(path.glob("MANIFEST-*"))
