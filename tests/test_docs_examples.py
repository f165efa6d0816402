"""The examples of the pages are run: readers of exports, and tasks of schedulers, which need not be installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import canned_batch
import pytest
from canned_batch import some
from warm import start

from engine import Batch, HeldError
from engine.queue.directory import open_queue
from engine.rehearsal import Rehearsal, RehearsalSettings
from engine.run.supervisor import hold

DOCS = Path(__file__).parents[1] / "docs"


def example(page: str, module: str) -> str:
    """The block of a page that imports this."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (found,) = [block for block in blocks if re.search(rf"^(import|from) {module}\b", block, re.MULTILINE)]
    return str(found)


# ---- readers ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exports")
    batch = Batch(canned_batch.batch(root, some(6)).root)
    batch.export("csv", root / "table.csv")
    batch.export("parquet", root / "dataset")
    return root


@pytest.mark.parametrize(
    ("module", "shown"), [("pandas", "Someone"), ("polars", "Video 0"), ("duckdb", "en")]
)
def test_readers(
    exports: Path, module: str, shown: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(module)
    monkeypatch.chdir(exports)
    exec(compile(example("export.md", module), module, "exec"), {})
    sys.stdout.flush()
    assert shown in capfd.readouterr().out


# ---- schedulers ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.0)) as found:
        yield found


@pytest.fixture
def run(
    site: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], dict[str, Any]]:
    """Runs an example below `tmp_path`, against the rehearsal server, with decorators of no scheduler."""
    for name, value in (
        ("PROXY", site.proxy_url),
        ("CA_BUNDLE", site.ca_bundle),
        ("RATE", "none"),
        ("THREADS", "4"),
    ):
        monkeypatch.setenv(f"ENGINE_{name}", str(value))
    monkeypatch.setenv("ENGINE_PROCESSES", "1")

    def decorator(*args: Any, **_: Any) -> Any:
        return args[0] if args and callable(args[0]) else lambda function: function

    def go(module: str, name: str) -> dict[str, Any]:
        stand_in = ModuleType(module)
        for each in ("task", "dag", "flow"):
            setattr(stand_in, each, decorator)
        monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType(module.partition(".")[0]))
        monkeypatch.setitem(sys.modules, module, stand_in)
        text = example("library.md", re.escape(module))
        text = (
            text.replace("/srv/talks", str(tmp_path))
            .replace("@TED", "@made-up-6")
            .replace("@veritasium", "@made-up-5")
        )
        found: dict[str, Any] = {"__name__": name}
        exec(compile(text, module, "exec"), found)
        return found

    return go


def test_a_task_of_airflow(run: Callable[[str, str], dict[str, Any]], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    found = run("airflow.sdk", "__main__")  # which calls the dag, and that the task
    assert pq.read_table(tmp_path / "dataset" / "data").num_rows == Batch(tmp_path / "queue").status().ok == 6
    assert found["transcripts"](["@made-up-6"]) == [], "nothing is new"
    with hold(open_queue(str(tmp_path / "queue"))), pytest.raises(HeldError):
        found["transcripts"](["@made-up-6"])


def test_a_task_of_prefect(
    run: Callable[[str, str], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run("prefect", "flows")
    found["talks"](["@made-up-4"])
    assert "4 transcripts" in capsys.readouterr().out
    assert (tmp_path / "talks.csv").read_bytes().count(b"\r\n") == 5
    assert [source.since for source in Batch(tmp_path / "queue").sources()] == ["2026-01-01"]
