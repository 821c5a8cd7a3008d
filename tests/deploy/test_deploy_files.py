"""What is there to deploy with fits together: the compose file, the image, Prometheus' configuration, the dashboard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import promql_parser
import pytest

from flows.settings import Settings
from tests.deploy.compose import ROOT, dockerfile, read_compose, read_yaml
from tests.deploy.scraped import Scrape
from tests.docs.test_reference import page, rows

COMPOSE = read_compose()
SERVICES = COMPOSE["services"]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/flows.json").read_text("utf-8"))
PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
RULES = [rule for group in read_yaml("deploy/alerts.yml")["groups"] for rule in group["rules"]]
ALERTS = [(rule["alert"], rule["expr"]) for rule in RULES]
ADDED_BY_PROMETHEUS = {"instance", "job"}


def mounts(service: dict[str, Any]) -> list[list[str]]:
    return [mount.split(":") for mount in service.get("volumes", ())]


def test_the_compose_file_is_one() -> None:
    """Check it against the schema of the Compose specification, which comes with check-jsonschema."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_names_what_there_is(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    assert service.get("depends_on", {}).keys() <= SERVICES.keys()
    for source, target, *_ in mounts(service):
        assert target.startswith("/")
        assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]
    for published in service.get("ports", ()):
        assert published.startswith("127.0.0.1:"), "open to the network"
    assert "build" in service or re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"]), "no fixed version"


@pytest.mark.parametrize("kind", ["kafka", "worker"])
def test_services_of_a_kind_differ_by_their_names_only(kind: str) -> None:
    """What one broker or worker is told, the others are told too."""
    told = set()
    for name, service in SERVICES.items():
        if name.startswith(f"{kind}-"):
            voters = service["environment"].get("KAFKA_CONTROLLER_QUORUM_VOTERS", "")
            text = json.dumps(service).replace(voters, "") if voters else json.dumps(service)
            own = text.replace(f'"{name}"', f'"{kind}"').replace(f"//{name}:", f"//{kind}:").replace(f'"{name}:', '"')
            told.add(re.sub(r'(?<="KAFKA_NODE_ID": )\d|(?<=127.0.0.1:)\d+', "N", own))
    assert len(told) == 1, told


def test_workers_are_given_settings_that_there_are() -> None:
    given = {v for s in SERVICES.values() for v in s.get("environment", ()) if v.startswith("FLOWS_")}
    assert {name.removeprefix("FLOWS_").lower() for name in given} <= set(Settings.__struct_fields__)
    assert "FLOWS_WEB_TOKEN" not in given, "it would be seen by all who may inspect the container"


def test_prometheus_asks_all_workers_at_their_ports() -> None:
    (job,) = read_yaml("deploy/prometheus.yml")["scrape_configs"]
    workers = {n: s for n, s in SERVICES.items() if n.startswith("worker-")}
    wanted = [f"{name}:{service['environment']['FLOWS_WEB_PORT']}" for name, service in workers.items()]
    assert [target for each in job["static_configs"] for target in each["targets"]] == wanted
    secret = job["authorization"]["credentials_file"].removeprefix("/run/secrets/")
    assert secret in SERVICES["prometheus"]["secrets"]
    assert ["./deploy/prometheus.yml", "/etc/prometheus/prometheus.yml", "ro"] in mounts(SERVICES["prometheus"])


def test_grafana_finds_its_dashboard_and_its_data() -> None:
    mounted = {target: ROOT / source for source, target, *_ in mounts(SERVICES["grafana"])}
    provisioning = mounted["/etc/grafana/provisioning"]
    (source,) = read_yaml(str(provisioning / "datasources/prometheus.yml"))["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert any(published.endswith(f":{port}") for published in SERVICES[host]["ports"])
    (provider,) = read_yaml(str(provisioning / "dashboards/flows.yml"))["providers"]
    found = list(mounted[provider["options"]["path"]].glob("*.json"))
    assert [json.loads(path.read_text("utf-8")) for path in found] == [DASHBOARD]
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for uid in [each["datasource"]["uid"] for panel in panels for each in (panel, *panel["targets"])]:
        assert uid == source["uid"]


@pytest.mark.parametrize(("title", "query"), PANELS + ALERTS)
def test_panels_and_alerts_ask_for_what_workers_tell(title: str, query: str, scraped: Scrape) -> None:
    promql_parser.parse(query.replace("$__rate_interval", "1m"))
    names = re.findall(r"\b(?:flows|process)_\w+", query)
    assert names or query.startswith("up{")
    for name in names:
        kind, labels = scraped.metrics[name.removesuffix("_bucket")]
        assert name.endswith("_bucket") == (kind == "histogram")
        known = labels | ADDED_BY_PROMETHEUS | ({"le"} if kind == "histogram" else set())
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
        matched = set(re.findall(r"[{,](\w+)!?=", query)) if f"{name}{{" in query else set()
        assert grouped | matched <= known, f"{title}: {name} has {sorted(known)}"


def test_prometheus_reads_the_rules_and_each_says_what_to_do() -> None:
    (file,) = read_yaml("deploy/prometheus.yml")["rule_files"]
    assert ["./deploy/alerts.yml", file, "ro"] in mounts(SERVICES["prometheus"])
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "action"}
        asked = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
        assert asked <= (grouped or ADDED_BY_PROMETHEUS), rule["alert"]


def test_the_page_lists_the_alerts() -> None:
    assert [row[0].strip("`") for row in rows(page("docs/deploying.md"), "Watching")] == [name for name, _ in ALERTS]


def test_the_image_takes_all_that_it_is_made_of() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {s for line in dockerfile("COPY") if not line.startswith("--from") for s in line.split()[:-1]}
    assert "*" in ignored
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_runs_as_nobody_in_particular() -> None:
    (user,) = dockerfile("USER")
    assert user not in ("root", "0")
    assert "/data" in dockerfile("VOLUME")


def test_the_health_check_tells_whether_the_worker_lives(scraped: Scrape) -> None:
    (line,) = dockerfile("HEALTHCHECK")
    command = json.loads(line.split("CMD ", 1)[1])
    assert command[0] == "python"
    port = scraped.address.rpartition(":")[2]
    for asked, healthy in ((port, True), ("1", False)):
        ended = subprocess.run(
            [sys.executable, *command[1:]], env={"FLOWS_WEB_PORT": asked}, capture_output=True, check=False
        )
        assert (ended.returncode == 0) == healthy
