"""Certificates, users and listeners of a broker that does not trust everybody.

`admin` may do all, `guest` is let in and may do nothing. Who comes by the plain listener is the suite itself, and may
do all. The certificates' common names are users too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

PASSWORDS = {"admin": "admin-secret", "guest": "guest-secret"}
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LISTENERS = {"SASL": "SASL_PLAINTEXT", "TLS": "SSL", "MTLS": "SSL", "SASL_TLS": "SASL_SSL"}
"""Name and protocol: by password, encrypted, by the client's certificate, by password and encrypted."""

_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"


class Certificates:
    """A test authority and what it signed: the broker's certificate, and one for each user. All in PEM files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = self._authority("authority")
        self.other_authority = self._authority("other-authority")
        """One that did not sign the broker's certificate."""
        self.broker = self._signed("broker", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        for user in PASSWORDS:
            self._signed(user, "extendedKeyUsage=clientAuth")

    def certificate(self, user: str) -> Path:
        """Return the file of a user's certificate."""
        return self._folder / f"{user}.crt"

    def key(self, user: str) -> Path:
        """Return the file of a user's private key."""
        return self._folder / f"{user}.key"

    def _authority(self, name: str) -> Path:
        key, certificate = self.key(name), self.certificate(name)
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={name}")
        return certificate

    def _signed(self, name: str, extension: str) -> Path:
        """Sign a certificate; return a file of it and its key, as the broker wants them."""
        request, extensions, both = (self._folder / f"{name}.{end}" for end in ("csr", "ext", "pem"))
        extensions.write_text(extension + "\n")
        _openssl("req", "-new", *_NEW_KEY, "-keyout", self.key(name), "-out", request, "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-extfile", extensions, "-CAcreateserial"),
            *("-CA", self.authority, "-CAkey", self.key("authority"), "-out", self.certificate(name)),
        )
        both.write_text(self.key(name).read_text() + self.certificate(name).read_text())
        return both


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def settings(certificates: Certificates) -> dict[str, str]:
    """Return the broker's settings for the listeners above, and for rights: none but those given by an ACL."""
    found = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.broker),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.authority),
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
        "listener.name.mtls.ssl.client.auth": "required",
    }
    users = " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items())
    for listener in ("sasl", "sasl_tls"):
        prefix = f"listener.name.{listener}"
        found[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(("PLAIN", *SCRAM))
        found[f"{prefix}.plain.sasl.jaas.config"] = f"{_PLAIN_LOGIN} required {users};"
        for mechanism in SCRAM:
            found[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = f"{_SCRAM_LOGIN} required;"
    return found


def format_arguments() -> list[str]:
    """Return the arguments of the storage tool that make the users known to SCRAM."""
    return [
        argument
        for mechanism in SCRAM
        for user, password in PASSWORDS.items()
        for argument in ("--add-scram", f"{mechanism}=[name={user},password={password}]")
    ]
