"""Settings: where they come from, who wins, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from flows.errors import UsageError
from flows.settings import Settings, load_settings


def load(folder: Path, options: dict[str, Any] | None = None, **environ: str) -> Settings:
    return load_settings("airport", options, environ=environ, folder=folder)


def test_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings == Settings(data=tmp_path / ".flows" / "airport")
    assert settings.broker_url == f"embedded://{tmp_path}/.flows/airport/broker"
    assert settings.state == tmp_path / ".flows" / "airport" / "state"
    assert load(tmp_path, {"broker": "kafka://host:9092"}).broker_url == "kafka://host:9092"


def test_each_source_overrides_those_before(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.flows]\nweb_port = 1\nlease = "1m"\nspeed = 2\napp = "x"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    settings = load(below, {"web_port": 3, "drain": None}, FLOWS_WEB_PORT="2", FLOWS_LEASE="20", FLOWS_DRAIN="yes")
    assert (settings.web_port, settings.lease, settings.speed, settings.drain) == (3, 20.0, 2.0, True)
    assert load(below, FLOWS_WEB_PORT="2").web_port == 2
    assert load(below).web_port == 1
    assert load(below).lease == 60.0


def test_a_folder_starts_from_where_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.flows]\ndata = "kept"\n')
    below = tmp_path / "below"
    below.mkdir()
    assert load(below).data == tmp_path / "kept"
    assert load(below, FLOWS_DATA="kept").data == below / "kept"
    assert load(below, {"data": "/var/kept"}).data == Path("/var/kept")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("COMMIT_INTERVAL", "50ms", 0.05),
        ("COMMIT_INTERVAL", "1m30s", 90.0),
        ("IDLE_AFTER", "2.5", 2.5),
        ("DRAIN", "1", True),
        ("DRAIN", "off", False),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("WEB_PORT", " -1 ", -1),
        ("SPEED", "0.5", 0.5),
        ("KAFKA_REPLICATION", "3", 3),
    ],
)
def test_text_becomes_the_type(tmp_path: Path, name: str, text: str, value: Any) -> None:
    assert getattr(load(tmp_path, **{f"FLOWS_{name}": text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("WEB_PORT", "http", "a whole number, -1 to 65535"),
        ("WEB_PORT", "65536", "a whole number, -1 to 65535"),
        ("COMMIT_INTERVAL", "0", "seconds, or a duration"),
        ("COMMIT_INTERVAL", "soon", "seconds, or a duration"),
        ("MAX_AHEAD", "inf", "seconds, or a duration"),
        ("DRAIN", "maybe", "true or false"),
        ("CACHE_BYTES", "10", "a whole number, 1048576 or more"),
        ("SPEED", "-1", "a number above 0"),
    ],
)
def test_a_wrong_value_names_the_setting_its_source_and_what_was_expected(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    with pytest.raises(UsageError) as told:
        load(tmp_path, **{f"FLOWS_{name}": text})
    message = str(told.value)
    assert message.startswith(f"the environment variable FLOWS_{name}: {name.lower()} = {text!r} is wrong; expected ")
    assert expected in message


def test_wrong_names_lead_to_the_right_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match="FLOWS_WEBPORT in the environment is no setting; write FLOWS_WEB_PORT"):
        load(tmp_path, FLOWS_WEBPORT="1")
    with pytest.raises(UsageError, match="'comit-interval' is no setting; did you mean 'commit_interval'"):
        load(tmp_path, {"comit-interval": "1s"})
    (tmp_path / "pyproject.toml").write_text("[tool.flows]\nzzzz = 1\n")
    with pytest.raises(UsageError, match=r"\[tool.flows\] in .*pyproject.toml: 'zzzz' is no setting; the settings are"):
        load(tmp_path)


def test_variables_that_kubernetes_makes_are_no_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, FLOWS_PORT_6066_TCP_ADDR="10.0.0.1", FLOWS_SERVICE_HOST="10.0.0.1", FLOWS_PORT="tcp://10.0.0.1")
    assert "FLOWS_SERVICE_HOST in the environment is no setting of Flows" in caplog.text


@pytest.mark.parametrize("text", ["[tool.flows", "[tool]\nflows = 3\n", b"\xff\xfe"])
def test_a_project_file_that_cannot_be_read(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=r"pyproject.toml"):
        load(tmp_path)


SECRET = "do-not-tell-0123456789"


def test_the_token_comes_from_the_environment_or_a_file_and_does_not_show(tmp_path: Path) -> None:
    settings = load(tmp_path, FLOWS_WEB_TOKEN=f" {SECRET}\n")
    assert settings.read_web_token() == SECRET
    assert SECRET not in repr(settings)
    (tmp_path / "token").write_text(SECRET + "\n")
    assert load(tmp_path, {"web_token_file": "token"}).read_web_token() == SECRET
    assert load(tmp_path, FLOWS_WEB_TOKEN_FILE=str(tmp_path / "token")).read_web_token() == SECRET
    assert load(tmp_path).read_web_token() is None


def test_of_a_token_and_its_file_the_later_source_wins(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.flows]\nweb_token_file = "not there"\n')
    (tmp_path / "token").write_text("of the file")
    assert load(tmp_path, FLOWS_WEB_TOKEN="of the environment").read_web_token() == "of the environment"
    given = load(tmp_path, {"web_token_file": "token"}, FLOWS_WEB_TOKEN="of the environment")
    assert given.read_web_token() == "of the file"
    with pytest.raises(UsageError, match=f"{tmp_path}/not there cannot be read: No such file"):
        load(tmp_path).read_web_token()


def test_a_secret_in_a_project_file_or_on_the_command_line_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"set FLOWS_WEB_TOKEN, or .*: --web-token-file PATH") as told:
        load(tmp_path, {"web_token": SECRET})
    assert SECRET not in str(told.value)
    (tmp_path / "pyproject.toml").write_text(f'[tool.flows]\nweb-token = "{SECRET}"\n')
    with pytest.raises(UsageError, match=r"pyproject.toml: web_token is a secret") as told:
        load(tmp_path)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("text", ["", " \n", "two\nlines", "schlüssel", "x" * 5000])
def test_a_token_that_no_header_carries_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(UsageError, match="the secret") as told:
        load(tmp_path, FLOWS_WEB_TOKEN=text)
    assert not text.strip() or text not in str(told.value)
    with pytest.raises(UsageError, match=f"{tmp_path}/token: the secret"):
        load(tmp_path, {"web_token_file": "token"}).read_web_token()


def test_the_password_of_a_cluster_is_as_secret_as_a_token(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" pass wörd \n")

    assert load(tmp_path, FLOWS_KAFKA_PASSWORD="pass wörd").read_broker_options()["kafka_password"] == "pass wörd"
    named = load(tmp_path, {"kafka_password_file": "password"}, FLOWS_KAFKA_PASSWORD="old")
    assert named.read_broker_options()["kafka_password"] == " pass wörd "
    assert "wörd" not in repr(load(tmp_path, FLOWS_KAFKA_PASSWORD="pass wörd"))
    with pytest.raises(UsageError, match=r"set FLOWS_KAFKA_PASSWORD, or .*: --set kafka_password_file=PATH") as told:
        load(tmp_path, {"kafka_password": "geheim"})
    assert "geheim" not in str(told.value)


def test_files_of_a_cluster_start_from_where_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.flows]\nkafka_ca_file = "ca.pem"\nkafka_sasl_mechanism = "PLAIN"\n')

    options = load(tmp_path).read_broker_options()

    assert options["kafka_ca_file"] == tmp_path / "ca.pem"
    assert options["kafka_sasl_mechanism"] == "plain"


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_the_types_of_settings_are_such_that_they_can_be_checked(name: str) -> None:
    """msgspec refuses some at the first value only: a bound of a union, for one."""
    if name not in ("data", "web_token", "kafka_password"):
        msgspec.json.Decoder(get_type_hints(Settings, include_extras=True)[name])


def test_an_instance_id_is_plain_text(tmp_path: Path) -> None:
    assert load(tmp_path, FLOWS_INSTANCE_ID="worker-0.flows").instance_id == "worker-0.flows"
    with pytest.raises(UsageError, match="FLOWS_INSTANCE_ID: instance_id = 'a b' is wrong; expected up to 200 letters"):
        load(tmp_path, FLOWS_INSTANCE_ID="a b")
