"""`/metrics` of a real worker: what it tells, to whom, in which formats; and that docs/metrics.md says the same."""

from __future__ import annotations

import json
import re
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.scraped import OPENMETRICS, TOKEN, Scrape, ask, families
from tests.docs.test_reference import page, rows


def value(scraped: Scrape, name: str, **labels: str) -> float:
    """Return the only sample of this name with these labels."""
    (found,) = (
        sample.value
        for family in families(scraped.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return found


def test_the_page_lists_what_there_is(scraped: Scrape) -> None:
    listed = rows(page("docs/metrics.md"), "What there is")
    told = {row[0].strip("`"): (row[1], frozenset(re.findall(r"`(\w+)`", row[2]))) for row in listed}
    assert told == scraped.metrics


def test_it_counts_what_was_done(scraped: Scrape) -> None:
    assert value(scraped, "flows_records_total") == 4
    assert value(scraped, "flows_commits_total") >= 1
    assert value(scraped, "flows_late_records_total", table="by_city") == 1
    assert value(scraped, "flows_lateness_seconds_sum", table="by_city") == 100
    assert value(scraped, "flows_lateness_seconds_bucket", table="by_city", le="60.0") == 0
    assert value(scraped, "flows_lateness_seconds_bucket", table="by_city", le="600.0") == 1
    assert value(scraped, "flows_refused_records_total", action="dead-letter") == 1
    assert value(scraped, "flows_lag_records") == 0
    assert value(scraped, "flows_watermark_seconds") == 1_700_000_100
    assert value(scraped, "flows_task_state", state="running") == 1
    assert value(scraped, "flows_task_state", state="restoring") == 0
    assert value(scraped, "flows_stage_seconds_total", stage="commit") > 0
    assert value(scraped, "flows_ready") == 1
    assert value(scraped, "flows_build_info", app="rides") == 1
    assert value(scraped, "process_cpu_seconds_total") > 0


def test_the_latency_is_a_histogram(scraped: Scrape) -> None:
    (family,) = (f for f in families(scraped.text) if f.name == "flows_latency_seconds")
    counts = [s.value for s in family.samples if s.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] == value(scraped, "flows_latency_seconds_count") == 4
    assert {"0.1", "1.0", "+Inf"} < {s.labels["le"] for s in family.samples if "le" in s.labels}
    latency = json.loads(ask(scraped.address, "/api/status", TOKEN)[1])["latency"]
    assert latency == {} or 0 <= latency["rides"]["p50"] <= latency["rides"]["p99"]


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        (f"{OPENMETRICS};q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", "application/openmetrics-text"),
    ],
)
def test_it_speaks_the_format_that_is_asked_for(scraped: Scrape, accept: str, format_: str) -> None:
    kind, text = ask(scraped.address, "/metrics", TOKEN, Accept=accept)
    assert kind.startswith(format_)
    assert text.endswith("# EOF\n") == (format_ != "text/plain")
    read = families if format_ != "text/plain" else text_string_to_metric_families
    assert any(f.name == "flows_ready" for f in read(text))


def test_it_asks_for_the_token_and_health_does_not(scraped: Scrape) -> None:
    for token in (None, "wrong"):
        with pytest.raises(HTTPError, match="401") as refused:
            ask(scraped.address, "/metrics", token)
        assert "flows_" not in refused.value.read().decode()
    assert json.loads(ask(scraped.address, "/health/live")[1]) == {"live": True}
