"""The settings of a worker and where they come from; the engine is handed a finished `Settings`.

Each source overrides those before it: the defaults here, `[tool.flows]` in the nearest `pyproject.toml`, `FLOWS_*` in
the environment, the command line.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec

from dsl.durations import microseconds
from dsl.errors import nearest
from flows.errors import DeclarationError, UsageError
from flows.secret import Secret, password_of, read_secret, secret_of

log = logging.getLogger(__name__)

PREFIX = "FLOWS_"
Level = Literal["debug", "info", "warning", "error"]
Protocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]
Register = Literal["written", "all", "never"]
Guarantee = Literal["exactly_once", "at_least_once"]
_MIB = 1 << 20


def _whole(least: int, most: int | None = None) -> msgspec.Meta:
    return msgspec.Meta(
        ge=least, le=most, description=f"a whole number, {least} {'or more' if most is None else f'to {most}'}"
    )


def _one_of(literal: Any) -> msgspec.Meta:
    return msgspec.Meta(description=f"one of {', '.join(get_args(literal))}")


_TEXT = msgspec.Meta(min_length=1)
_ID = msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")
Flag = Annotated[bool, msgspec.Meta(description="true or false")]
Port = Annotated[int, _whole(-1, 65535)]
Count = Annotated[int, _whole(1)]
Size = Annotated[int, _whole(_MIB)]
_COPIES = _whole(1, 32)
Copies = Annotated[int, _COPIES]
Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e9)]
Words = Annotated[str | None, msgspec.Meta(description="a text")]
Name = Annotated[
    Annotated[str, _ID] | None, msgspec.Meta(description="up to 200 letters, digits, dots, dashes and underscores")
]
Host = Annotated[Annotated[str, _TEXT] | None, msgspec.Meta(description="a host name or an address")]
File = Annotated[Path | None, msgspec.Meta(description="a file")]
Hidden = Annotated[Secret | None, msgspec.Meta(description="a secret text")]
_DURATION = msgspec.Meta(description='seconds, or a duration such as "50ms" or "10s"')
Seconds = Annotated[Positive, _DURATION]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker can be told; times in seconds, sizes in bytes.

    `broker` is "embedded" (in the data folder) or a URL. `web_port` 0 takes any free port, -1 serves no page.
    `web_advertised_host` is how other workers reach it, where that is not `web_host`.
    A worker takes events from outside, on its web port, unless `gateway` is false; `flows gateway` does so alone, at
    `gateway_host` and `gateway_port`. `gateway_topics` names the topics that may be written to, with commas between
    them (None: those that the app declares and does not write to itself). A request has at most `gateway_body_bytes`
    and `gateway_rows` events, all that are on the way `gateway_buffer_bytes`; `gateway_keys` idempotency keys and
    clients are remembered for `gateway_key_retention`.
    `drain` stops the worker once the inputs are processed to their end. `speed` replays sources at this multiple of
    the pace of their event times (None: as fast as the engine takes them). A worker commits after `commit_interval`
    (None: 50 ms, at least once
    100 ms) or `commit_records`, fetches up to `fetch_records` of a partition, and works on `chunk_records` at a time.
    `instance_id` makes it a static member on Kafka: its tasks wait for its return as long as its `lease` lasts.
    `standby_replicas` is how many warm copies of each task's state other workers keep there.
    `guarantee` "at_least_once" sends outputs at once, outside of transactions: after a crash some come twice.
    `web_token` and the passwords are secrets: they come from the environment only, or from the files that
    `web_token_file`, `kafka_password_file` and `schema_registry_password_file` name. What begins with `kafka_` says how
    a Kafka cluster lets one in, and how many copies the topics made there have (None: three, or as many as there are
    brokers). `schema_registry_url` is where the schemas of Avro and Protobuf topics are kept, and
    `schema_registry_register` which of them a worker registers: those of topics that the app has "written", those of
    "all", or "never" one.
    """

    data: Annotated[Path, msgspec.Meta(description="a folder")]
    broker: Annotated[str, _TEXT, msgspec.Meta(description='"embedded" or a URL such as embedded:///path')] = "embedded"
    web_host: Annotated[str, _TEXT, msgspec.Meta(description="an address to listen on")] = "127.0.0.1"
    web_port: Port = 6066
    web_token: Hidden = None
    web_token_file: Annotated[Path | None, msgspec.Meta(description="a file that holds the token")] = None
    web_advertised_host: Host = None
    gateway: Flag = True
    gateway_host: Annotated[str, _TEXT, msgspec.Meta(description="an address to listen on")] = "127.0.0.1"
    gateway_port: Annotated[int, _whole(0, 65535)] = 6067
    gateway_topics: Words = None
    gateway_body_bytes: Annotated[int, _whole(1024)] = 8 * _MIB
    gateway_rows: Count = 10_000
    gateway_buffer_bytes: Size = 64 * _MIB
    gateway_key_retention: Seconds = 600.0
    gateway_keys: Count = 1_000_000
    drain: Flag = False
    guarantee: Annotated[Guarantee, _one_of(Guarantee)] = "exactly_once"
    speed: Annotated[Positive | None, msgspec.Meta(description="a number above 0")] = None
    log_level: Annotated[Level, _one_of(Level)] = "info"
    log_json: Flag = False
    tracing: Flag = False
    commit_interval: Annotated[Positive | None, _DURATION] = None
    commit_records: Count = 20_000
    fetch_records: Count = 20_000
    chunk_records: Count = 4_096
    idle_after: Seconds = 5.0
    max_ahead: Seconds = 3600.0
    lease: Seconds = 10.0
    instance_id: Name = None
    standby_replicas: Annotated[int, _whole(0, 10)] = 0
    cache_bytes: Size = 128 * _MIB
    write_buffer_bytes: Size = 128 * _MIB
    kafka_security_protocol: Annotated[Protocol | None, _one_of(Protocol)] = None
    kafka_sasl_mechanism: Annotated[Mechanism | None, _one_of(Mechanism)] = None
    kafka_username: Words = None
    kafka_password: Hidden = None
    kafka_password_file: Annotated[Path | None, msgspec.Meta(description="a file that holds the password")] = None
    kafka_ca_file: File = None
    kafka_cert_file: File = None
    kafka_key_file: File = None
    kafka_replication: Annotated[Copies | None, msgspec.Meta(description=_COPIES.description)] = None
    schema_registry_url: Annotated[
        Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]")] | None,
        msgspec.Meta(description="a URL such as http://localhost:8081"),
    ] = None
    schema_registry_user: Words = None
    schema_registry_password: Hidden = None
    schema_registry_password_file: Annotated[
        Path | None, msgspec.Meta(description="a file that holds the password")
    ] = None
    schema_registry_ca_file: File = None
    schema_registry_register: Annotated[Register, _one_of(Register)] = "written"

    @property
    def commit_seconds(self) -> float:
        """Return the seconds between commits: exactly once they hold up the outputs, at least once only the tables."""
        return self.commit_interval or (0.05 if self.guarantee == "exactly_once" else 0.1)

    @property
    def broker_url(self) -> str:
        """Return the broker's URL; "embedded" is a folder in the data folder."""
        return f"embedded://{(self.data / 'broker').resolve()}" if self.broker == "embedded" else self.broker

    @property
    def state(self) -> Path:
        """Return the folder of the task stores."""
        return self.data / "state"

    def read_web_token(self) -> str | None:
        """Return the token that the page and the API ask for, None where they ask for none. Raises `UsageError`."""
        return self.web_token if self.web_token_file is None else read_secret(self.web_token_file)

    def read_broker_options(self) -> dict[str, Any]:
        """Return what `open_broker` is told besides the URL; each broker takes what is its own. Raises `UsageError`."""
        kafka = {name: getattr(self, name) for name in self.__struct_fields__ if name.startswith("kafka_")}
        file = kafka.pop("kafka_password_file")
        if file is not None:
            kafka["kafka_password"] = read_secret(file, password_of)
        return {"lease": self.lease, "kafka_instance_id": self.instance_id, **kafka}

    def read_schema_registry_options(self) -> dict[str, Any]:
        """Return what `open_codecs` is told: where the registry is, who asks, what to register. Raises `UsageError`."""
        prefix = "schema_registry_"
        found = {n.removeprefix(prefix): getattr(self, n) for n in self.__struct_fields__ if n.startswith(prefix)}
        file = found.pop("password_file")
        return found if file is None else {**found, "password": read_secret(file, password_of)}


class Given(NamedTuple):
    """A setting as somebody wrote it: its name, value, where it stands, and the folder that paths start from."""

    name: str
    value: Any
    source: str
    base: Path


class SecretSetting(NamedTuple):
    """How a secret is checked, and the option that names its file instead."""

    check: Callable[[str, str], Secret]
    option: str


class ProjectFile(NamedTuple):
    """The `[tool.flows]` table of a `pyproject.toml`."""

    path: Path
    table: Mapping[str, Any]


def load_settings(
    app_id: str,
    options: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Gather the settings of an app; `options` are those of the command line (None: not given).

    Raises `UsageError` that names the setting, where it was given, what was expected and the nearest right name.
    """
    folder = folder or Path.cwd()
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {"data": folder / ".flows" / app_id}
    for given in (*_from_project(folder), *_from_environment(environ, folder), *_from_options(options or {}, folder)):
        values[given.name] = _checked(given)
        if given.name in _SAME:
            values.pop(_SAME[given.name], None)
    return Settings(**values)


def _refuse_secret(name: str, source: str, why: str) -> None:
    if name in _SECRETS:
        raise UsageError(
            f"{source}: {name} is a secret, and {why}",
            fix=f"set {PREFIX}{name.upper()}, or name a file that holds it: {_SECRETS[name].option}",
        )


def project_file(folder: Path) -> ProjectFile | None:
    """Find the nearest `pyproject.toml` from a folder upwards; raises `UsageError` when it is no TOML."""
    path = next((p for d in (folder, *folder.parents) if (p := d / "pyproject.toml").is_file()), None)
    if path is None:
        return None
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("flows", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}", fix="mend it, or run where there is another") from error
    if not isinstance(table, dict):
        raise UsageError(f"{path}: tool.flows must be a table", fix="write [tool.flows] and one setting a line")
    return ProjectFile(path, table)


def option_name(name: str) -> str:
    """Return a setting's name for one that a person wrote (`web-port`); raises `UsageError` for an unknown one."""
    return _known(name.replace("-", "_"), name, "the command line")


def _from_project(folder: Path) -> Iterator[Given]:
    found = project_file(folder)
    if found is None:
        return
    source = f"[tool.flows] in {found.path}"
    for name, value in found.table.items():
        if name != "app":
            known = _known(name.replace("-", "_"), name, source)
            _refuse_secret(known, source, "such a file is kept with the code")
            yield Given(known, value, source, found.path.parent)


def _from_environment(environ: Mapping[str, str], folder: Path) -> Iterator[Given]:
    for variable, value in sorted(environ.items()):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name == "app":
            continue
        if name in _TYPES:
            yield Given(name, value, f"the environment variable {variable}", folder)
        elif close := get_close_matches(name, _TYPES, n=1, cutoff=0.75):
            raise UsageError(f"{variable} in the environment is no setting", fix=f"write {PREFIX}{close[0].upper()}")
        else:  # Kubernetes sets such names by itself for a service that is called flows.
            log.warning("%s in the environment is no setting of Flows and has no effect", variable)


def _from_options(options: Mapping[str, Any], folder: Path) -> Iterator[Given]:
    for name, value in options.items():
        if value is not None:
            known = option_name(name)
            _refuse_secret(known, "the command line", "all users of this machine can see it there")
            yield Given(known, value, f"the option --{name.replace('_', '-')}", folder)


def _known(name: str, written: str, source: str) -> str:
    if name in _TYPES:
        return name
    close = nearest(name, _TYPES)
    fix = f"did you mean {close!r}?" if close else f"the settings are {', '.join(_TYPES)}"
    raise UsageError(f"{source}: {written!r} is no setting", fix=fix)


def _checked(given: Given) -> Any:
    """Turn what was written into the setting's type."""
    try:
        if given.name in _PATHS:
            return given.base / Path(given.value).expanduser()
        if given.name in _SECRETS:
            return _SECRETS[given.name].check(given.value, given.source)
        return msgspec.convert(_prepared(given), _TYPES[given.name], strict=False)
    except (msgspec.ValidationError, DeclarationError, TypeError):
        raise UsageError(
            f"{given.source}: {given.name} = {given.value!r} is wrong", fix=f"expected {_expected(given.name)}"
        ) from None


def _prepared(given: Given) -> Any:
    value = given.value
    if isinstance(value, str):
        value = value.strip()
        if given.name in _DURATIONS and not _is_number(value):
            return microseconds(value) / 1_000_000
        if given.name in _FLAGS:
            return {"yes": True, "on": True, "no": False, "off": False}.get(value.lower(), value)
        if given.name in _CHOICES:
            return value.lower()
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _expected(name: str) -> str:
    return str(next(m.description for m in reversed(_TYPES[name].__metadata__) if m.description))


_TYPES: dict[str, Any] = {
    name: get_type_hints(Settings, include_extras=True)[name] for name in Settings.__struct_fields__
}
_PATHS = frozenset(name for name in _TYPES if name == "data" or name.endswith("_file"))
_SECRETS = {
    "web_token": SecretSetting(secret_of, "--web-token-file PATH"),
    "kafka_password": SecretSetting(password_of, "--set kafka_password_file=PATH"),
    "schema_registry_password": SecretSetting(password_of, "--set schema_registry_password_file=PATH"),
}
_SAME = {name: f"{name}_file" for name in _SECRETS} | {f"{name}_file": name for name in _SECRETS}
"""Of two names for the same thing, that which is given later counts."""
_DURATIONS = frozenset(name for name in _TYPES if "duration" in _expected(name))
_FLAGS = frozenset(name for name in _TYPES if _expected(name) == "true or false")
_CHOICES = frozenset(name for name in _TYPES if _expected(name).startswith("one of"))
