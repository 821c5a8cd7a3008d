"""Where a Kafka cluster is and how one is let in: from `kafka://host:9092` and the settings to a client's options."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.errors import UsageError

DEFAULT_PORT = 9092
REQUEST_SECONDS = 15.0
"""After which a request counts as lost; a broker that hangs is noticed by it, one that died at once."""

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The bootstrap servers of a cluster, and the credentials.

    >>> Connection(servers=("a:9092",), username="flows", password="secret").protocol
    'SASL_PLAINTEXT'
    """

    servers: tuple[str, ...]
    security_protocol: str | None = None
    sasl_mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot work together; raises `UsageError`."""
        if self.protocol not in _PROTOCOLS:
            raise _wrong("kafka_security_protocol", self.protocol, _PROTOCOLS)
        if self.mechanism not in _MECHANISMS:
            raise _wrong("kafka_sasl_mechanism", self.mechanism, _MECHANISMS)
        if self.sasl and (not self.username or self.password is None):
            missing = "kafka_password" if self.username else "kafka_username"
            raise UsageError(
                f"kafka_security_protocol {self.protocol.lower()} needs a user and a password",
                fix=f"set FLOWS_{missing.upper()} in the environment",
            )
        if self.username and not self.sasl:
            raise UsageError(
                f"kafka_username is set, but {self.protocol.lower()} takes no password",
                fix="set kafka_security_protocol to sasl_ssl or sasl_plaintext",
            )
        if (self.ca_file or self.cert_file) and not self.tls:
            raise UsageError(
                f"certificates are set, but {self.protocol.lower()} is not encrypted",
                fix="set kafka_security_protocol to ssl or sasl_ssl",
            )
        if self.key_file and not self.cert_file:
            raise UsageError("kafka_key_file is set without kafka_cert_file", fix="set both, or only kafka_cert_file")

    @property
    def protocol(self) -> str:
        """Return the security protocol: what was set, else what the credentials tell."""
        if self.security_protocol:
            return self.security_protocol.upper()
        encrypted = bool(self.ca_file or self.cert_file)
        return ("SASL_" if self.username else "") + ("SSL" if encrypted else "PLAINTEXT")

    @property
    def mechanism(self) -> str:
        """Return the SASL mechanism; PLAIN unless set."""
        return (self.sasl_mechanism or "PLAIN").upper()

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("SASL")

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def address(self) -> str:
        """Return the servers in one line, for messages."""
        return ",".join(self.servers)

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments that aiokafka's clients take. Reads the certificate files."""
        return {"bootstrap_servers": list(self.servers), **self.link_options()}

    def link_options(self) -> dict[str, Any]:
        """Return the keyword arguments of one connection: `client_options` without the servers."""
        options: dict[str, Any] = {
            "security_protocol": self.protocol,
            "request_timeout_ms": int(REQUEST_SECONDS * 1000),
        }
        if self.tls:
            options["ssl_context"] = self._ssl_context()
        if self.sasl:
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        for name, file in (("ca", self.ca_file), ("cert", self.cert_file), ("key", self.key_file)):
            if file is not None and not file.is_file():
                raise UsageError(f"kafka_{name}_file {str(file)!r} is no file", fix="name a file in PEM format")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                # Without a password= a key that has one would be asked for at the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(str(f) for f in (self.ca_file, self.cert_file, self.key_file) if f)
            raise UsageError(
                f"the certificate files {files} cannot be used: {error}",
                fix="give files in PEM format, a key without a password that belongs to the certificate",
            ) from error
        return context


def parse_servers(url: str) -> tuple[str, ...]:
    """Return the servers of a `kafka://` URL, each with its port; raises `UsageError`.

    >>> parse_servers("kafka://a,b:9093")
    ('a:9092', 'b:9093')
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise UsageError(
            "a broker URL with a user or password would be shown in logs and process lists",
            fix="write kafka://host:port, and set FLOWS_KAFKA_USERNAME and FLOWS_KAFKA_PASSWORD",
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"broker {url!r}: a Kafka cluster has hosts only", fix=f"write kafka://{parts.netloc}")
    servers = tuple(_server(url, part.strip()) for part in parts.netloc.split(",") if part.strip())
    if not servers:
        raise UsageError(f"broker {url!r} names no host", fix="write kafka://host:9092, several separated by commas")
    return servers


def _server(url: str, part: str) -> str:
    host, colon, port = part.rpartition(":") if not part.endswith("]") else (part, "", "")
    if not colon:
        host, port = part, str(DEFAULT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"broker {url!r}: {part!r} is no host:port", fix="write kafka://host:9092")
    return f"{host}:{port}"


def _wrong(name: str, value: str, known: tuple[str, ...]) -> UsageError:
    return UsageError(f"{name} {value.lower()!r} is unknown", fix=f"use one of {', '.join(known).lower()}")
