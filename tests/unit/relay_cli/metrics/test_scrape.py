"""Reading Prometheus' text: sums, growth, and quantiles of histograms."""

from __future__ import annotations

import math

import pytest

from relay_cli.metrics.scrape import Distribution, Scrape, metrics_url

TEXT = """# TYPE relays counter
relays_total{service="a",status="200"} 5.0
relays_total{service="a",status="500"} 2.0
relays_total{service="b",status="200"} 1.0
# TYPE height gauge
height 7.0
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1",service="a"} 50.0
took_seconds_bucket{le="1.0",service="a"} 90.0
took_seconds_bucket{le="+Inf",service="a"} 100.0
took_seconds_count{service="a"} 100.0
took_seconds_sum{service="a"} 30.0
"""


def test_samples_are_summed_by_the_labels_that_are_asked_for() -> None:
    scrape = Scrape.of(TEXT)
    assert scrape.by("relays_total", "service") == {("a",): 7, ("b",): 1}
    assert scrape.by("relays_total") == {(): 8} and scrape.by("unheard_of", "service") == {}
    assert scrape.gauge("height") == 7 and scrape.gauge("relays_total") is None
    assert scrape.has("took_") and not scrape.has("ha_")


def test_growth_counts_from_zero_where_a_counter_began_anew() -> None:
    grown = Scrape.of(TEXT.replace("} 5.0", "} 9.0").replace('"500"} 2.0', '"500"} 1.0')).since(
        Scrape.of(TEXT)
    )
    assert grown.by("relays_total", "status") == {("200",): 4, ("500",): 1}


def test_histograms_are_read_whole() -> None:
    ((labels, found),) = Scrape.of(TEXT).distributions("took_seconds", "service").items()
    assert labels == ("a",) and (found.count, found.mean) == (100, 0.3)
    assert found.buckets == ((0.1, 50), (1.0, 90), (math.inf, 100))


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.0, 0.0), (0.25, 0.05), (0.5, 0.1), (0.7, 0.55), (0.9, 1.0), (0.99, 1.0), (1.0, 1.0)],
)
def test_quantiles_spread_evenly_and_do_not_go_beyond_the_last_bound(share: float, value: float) -> None:
    found = Distribution(100, 30, ((0.1, 50), (1.0, 90), (math.inf, 100)))
    assert found.quantile(share) == pytest.approx(value)


def test_quantiles_of_whole_numbers_are_whole_and_of_nothing_are_zero() -> None:
    blocks = Distribution(4, 6, ((0.0, 0), (1.0, 2), (2.0, 4), (math.inf, 4)))
    assert [blocks.quantile(share, whole=True) for share in (0.5, 0.9)] == [1, 2]
    assert Distribution(0, 0, ()).quantile(0.5) == 0 and Distribution(0, 0, ()).mean == 0


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.5:9090", "http://10.0.0.5:9090/metrics"),
        ("http://h:1/", "http://h:1/metrics"),
        ("https://h/other", "https://h/other"),
        ("[::1]:9090", "http://[::1]:9090/metrics"),
    ],
)
def test_an_endpoint_may_be_written_short(text: str, url: str) -> None:
    assert metrics_url(text) == url
