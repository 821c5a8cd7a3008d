"""From a URL to a broker: `embedded:///folder`, `kafka://host:9092`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from dsl.errors import nearest
from flows.brokers.base import Broker
from flows.errors import UsageError

Opener = Callable[..., Broker]
DEFAULT_FOLDER = Path(".flows/broker")

# The modules are imported only when asked for: a broker brings libraries that others do not need.
_openers: dict[str, str | Opener] = {
    "embedded": "flows.brokers.registry:_open_embedded",
    "kafka": "flows.brokers.kafka.broker:open_kafka",
}


def open_broker(url: str, **options: object) -> Broker:
    """Make the broker of a URL, not yet started; `options` go to it (`clock=`, `lease=`, `kafka_username=`).

    Options that begin with the name of a scheme are for its broker alone, which gets them without that beginning.
    `embedded:///abs/folder` names a folder, `embedded://` is `.flows/broker` in the working directory,
    `kafka://host:9092,host:9092` names servers of a cluster. Raises `UsageError` for a URL that no broker understands.

    >>> open_broker("embedded:///var/lib/flows").folder.name
    'flows'
    """
    scheme = urlsplit(url).scheme
    opener = _openers.get(scheme)
    if opener is None:
        known = ", ".join(f"{name}://" for name in sorted(_openers))
        guess = nearest(scheme, _openers)
        hint = f"did you mean {guess}://?" if guess else "write for example embedded:///var/lib/flows"
        raise UsageError(f"broker {url!r}: unknown scheme {scheme + '://'!r}; known are {known}", fix=hint)
    if isinstance(opener, str):
        module, name = opener.split(":")
        opener = cast(Opener, getattr(import_module(module), name))
    return opener(url, **_meant_for(scheme, options))


def _meant_for(scheme: str, options: dict[str, object]) -> dict[str, object]:
    """Leave out the options of other brokers."""
    own = f"{scheme}_"
    others = tuple(f"{name}_" for name in _openers if name != scheme)
    return {name.removeprefix(own): value for name, value in options.items() if not name.startswith(others)}


def register(scheme: str, opener: str | Opener) -> None:
    """Add a scheme; `opener` is a function of (url, **options), or its "module:name" to import when needed."""
    _openers[scheme] = opener


def _open_embedded(url: str, **options: object) -> Broker:
    from flows.brokers.embedded import EmbeddedBroker

    parts = urlsplit(url)
    if parts.netloc or parts.query:
        raise UsageError(
            f"broker {url!r}: an embedded broker is a folder of this machine, not a host",
            fix=f"write embedded:///{parts.netloc}{parts.path}, three slashes and an absolute path",
        )
    folder = Path(unquote(parts.path)) if parts.path else DEFAULT_FOLDER
    return EmbeddedBroker(folder, **options)  # type: ignore[arg-type]
