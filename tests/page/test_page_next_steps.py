"""What the page offers next: results first, nothing that cannot be done yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from engine.monitor.batch_status import BatchStatus
from engine.monitor.status import empty
from engine.page.next_steps import NextStep, following
from engine.page.views import render
from engine.queue.manifest_row import ManifestRow


def steps(
    row: ManifestRow | None = None, *, startable: bool = True, rehearsal: bool = False, **counts: Any
) -> list[NextStep]:
    final = sum(counts.get(name, 0) for name in ("ok", "absent", "failed"))
    status = BatchStatus.from_json({**empty(), "state": "finished", "total": final, **counts})
    return following("q", status, rehearsal=rehearsal, startable=startable, oldest=lambda kind: row)


def shown(found: list[NextStep]) -> str:
    return render("next.html", steps=found, status=BatchStatus.from_json(empty()), read_only=False)


def test_a_finished_batch_offers_its_results_first() -> None:
    assert [step.label for step in steps(ok=3, failed=1)][:2] == ["Get the table", "Get the texts"]
    left = [step.label for step in steps(ok=3, state="stopped", total=9)]
    assert left[0] == "Go on" and left[-2:] == ["Get the table", "Get the texts"]
    assert "Get the table" not in [step.label for step in steps(absent=3)], "there is none"


def test_what_is_too_early_is_disabled_and_says_when() -> None:
    young = ManifestRow("x" * 11, "absent", finished_at=datetime.now(UTC).isoformat())
    old = ManifestRow("x" * 11, "absent", finished_at=(datetime.now(UTC) - timedelta(days=15)).isoformat())
    counts = {"absent": 1, "kinds": {"no_captions": 1}}
    (early,) = (step for step in steps(young, **counts) if step.older_than)
    day = datetime.now().astimezone() + timedelta(days=14)
    assert early.not_before.split() == [str(day.day), *day.strftime("%b %Y").split()]
    assert "disabled" in shown([early]) and f"from {early.not_before}: captions" in shown([early])
    for row in (old, None):
        (now,) = (step for step in steps(row, **counts) if step.older_than)
        assert now.not_before == "" and "disabled" not in shown([now])


def test_files_of_another_batch_can_be_replaced() -> None:
    (step,) = (each for each in steps(ok=1, failed=2, kinds={"kept": 2}) if each.kinds == "kept")
    assert (step.label, step.action) == ("Fetch and replace", "replace")
    assert "2 were not written" in step.why
    (step,) = (each for each in steps(failed=2, kinds={"kept": 2}, startable=False) if each.kinds == "kept")
    assert step.action == ""


def test_a_rehearsal_goes_on_by_a_button_only_on_its_own_page() -> None:
    for startable, label in ((True, "Go on"), (False, "")):
        first = steps(ok=1, state="stopped", total=9, rehearsal=True, startable=startable)[0]
        assert first.label == label and first.line.startswith("engine rehearse")
