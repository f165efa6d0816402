"""The status in Prometheus' text format, read back line by line."""

from __future__ import annotations

import re

from engine.monitor import prometheus
from engine.monitor.status import empty

SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)*)\} (-?[0-9.e+-]+)')


def read(text: str) -> dict[tuple[str, str], float]:
    """(name, labels) and value of each sample; every line is a comment or a sample of a metric with a type."""
    found: dict[tuple[str, str], float] = {}
    typed: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, sort = line.removeprefix("# TYPE ").split()
            assert name not in typed
            assert sort == ("counter" if name.endswith("_total") else "gauge")
            typed.add(name)
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in typed
            key = (match[1], match[2].partition(",")[2])
            assert key not in found
            found[key] = float(match[3])
    return found


def test_every_sample_can_be_read() -> None:
    egress = {"name": 'p001 "x"\\:80', "state": "ok", "rate_per_s": None, "open_in_s": 0.0}
    status = {
        **empty(),
        "state": "running",
        "total": 7,
        "ok": 4,
        "failed": 3,
        "kinds": {"timeout": 3},
        "egresses": [{**egress, "ok": 4, "blocked": 1, "requests": 9, "bytes": 10}],
    }
    text = prometheus.render(status, "a\nb")
    found = read(text)
    assert text.endswith("\n")
    assert found["engine_jobs", 'state="ok"'] == 4
    assert found["engine_jobs_seeded", ""] == 7
    assert found["engine_jobs_without_transcript", 'kind="timeout"'] == 3
    assert found["engine_state", 'state="running"'] == 1
    assert sum(value for (name, _), value in found.items() if name == "engine_state") == 1
    assert found["engine_egress_requests_total", 'egress="p001 \\"x\\"\\\\:80"'] == 9
    assert not any(name in ("engine_eta_seconds", "engine_egress_rate_per_second") for name, _ in found)


def test_a_directory_without_a_queue_has_metrics_too() -> None:
    assert read(prometheus.render(empty(), "q"))["engine_state", 'state="empty"'] == 1
