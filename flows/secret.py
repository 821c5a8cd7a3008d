"""Secrets among the settings: told to those who need them, and to no log, file or command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.errors import UsageError

_MOST = 4096


class Secret(str):
    """A text that does not show in a `repr`, and so in no printed settings.

    >>> Secret("open sesame")
    Secret(...)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)"


def secret_of(text: str, source: str) -> Secret:
    """Check a secret that goes into an HTTP header; raises `UsageError`, which tells where it stood, not what."""
    text = text.strip()
    if not text:
        raise UsageError(f"{source}: the secret is empty", fix="put a long random text there, or leave it out")
    if not (text.isascii() and text.isprintable()) or len(text) > _MOST:
        raise UsageError(
            f"{source}: the secret cannot be sent in a header",
            fix=f"make one line of at most {_MOST} ASCII characters of it, such as `openssl rand -hex 32` prints",
        )
    return Secret(text)


def password_of(text: str, source: str) -> Secret:
    """Take a password as it is, but for the end of its line; raises `UsageError` for none."""
    text = text.rstrip("\r\n")
    if not text:
        raise UsageError(f"{source}: the password is empty", fix="put it there, or leave the setting out")
    return Secret(text)


def read_secret(path: Path, check: Callable[[str, str], Secret] = secret_of) -> Secret:
    """Read a secret from a file of its own, without the end of its line. Raises `UsageError`."""
    try:
        with path.open("rb") as file:
            text = file.read(2 * _MOST).decode(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", fix="name the file that holds the secret"
        ) from None
    return check(text, str(path))
