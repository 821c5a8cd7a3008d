"""Turn SQLite's and the system's errors into the broker's own, each with its place and its fix."""

from __future__ import annotations

import errno
import getpass
import os
import shutil
import sqlite3
from pathlib import Path

from flows.errors import BrokerError, BrokerUnavailable

_NO_SPACE = 1 << 20  # bytes; below this an I/O error of SQLite is in truth a full disk
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 for an error that Python itself raised."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def database_fault(error: sqlite3.Error, path: Path, doing: str) -> BrokerError:
    """Name the file, what was being done and the fix; the failed call changed nothing."""
    code, what = primary_code(error), f"cannot {doing} in {path}"
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _disk_full(path.parent)):
        return BrokerUnavailable(
            f"{what}: the disk (or the broker's max_bytes) is full",
            fix="free some space, shorten the retention of its topics, or raise the limit",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BrokerUnavailable(
            f"{what}: another program keeps it locked",
            fix="end the program that holds it (an open sqlite3 shell, a stopped worker) and try again",
        )
    if code == sqlite3.SQLITE_IOERR:
        return BrokerUnavailable(f"{what}: {error}", fix="check the disk and the system log, then try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return BrokerUnavailable(f"{what}: {error}", fix=_access_fix(path.parent))
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return BrokerError(
            f"{what}: {error}",
            fix=f"move {path} away to start empty, restore it from a backup, or name another folder",
        )
    return BrokerError(f"{what}: {error}")


def system_fault(error: OSError, path: Path, doing: str) -> BrokerError:
    """Do the same for an error of the operating system."""
    what = f"cannot {doing} {path}: {error.strerror or error}"
    if error.errno in _DENIED:
        return BrokerUnavailable(what, fix=_access_fix(path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BrokerUnavailable(what, fix="free some space or name a folder on another disk")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return BrokerUnavailable(what, fix="name a folder, such as embedded:///var/lib/flows")
    return BrokerUnavailable(what, fix="check the folder, or name another with embedded:///path")


def _access_fix(folder: Path) -> str:
    return f"let user {_user()} write to {folder}, or name another folder with embedded:///path"


def _user() -> str:
    try:
        return repr(getpass.getuser())
    except (KeyError, OSError):
        return str(os.getuid())


def free_bytes(folder: Path) -> int:
    """Return the free space of a folder's disk; raises `BrokerUnavailable` where the folder is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise system_fault(error, folder, "use the folder") from error


def _disk_full(folder: Path) -> bool:
    try:
        return free_bytes(folder) < _NO_SPACE
    except BrokerUnavailable:
        return False
