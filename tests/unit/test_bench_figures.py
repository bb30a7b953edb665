"""What a bench prints can be found by the names that the documents use."""

from tests.bench.projector import named


def test_the_projectors_figures_have_plain_names_for_the_largest_fleet() -> None:
    small, large = {"cpu_us_per_event": 40.0, "rss_mb": 88}, {"cpu_us_per_event": 50.0, "rss_mb": 1}
    assert named({100: small, 10_000: large}) == {
        "cpu_us_per_event": 50.0,
        "rss_mb": 1,
        "cpu_us_per_event_100_nodes": 40.0,
        "rss_mb_100_nodes": 88,
        "cpu_us_per_event_10000_nodes": 50.0,
        "rss_mb_10000_nodes": 1,
    }
