"""Transcripts of other programs become rows that are ok, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from audited import intact
from recount import by_id, check_files, manifest
from small_run import told
from support import OK, Crash, add, batch, damage, dying_at, finish, ids, reclaim, states, worked

from engine import Batch, HeldError, ImportResult, UsageError
from engine.model import Kind
from engine.output import shard_index, shards
from engine.output.formats import from_json
from engine.output.shards import Frame
from engine.queue.directory import Queue
from engine.run.supervisor import hold
from engine.storage import disk

pytestmark = pytest.mark.usefixtures("no_fsync")

CUES = [{"text": "hello there", "start": 0.5, "duration": 1.5}]
VTT = "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nhello there\n"


def leave(folder: Path, *names: str, suffix: str = ".json", text: str | None = None) -> Path:
    """Leave the transcripts of these videos in a folder."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name[:2]).mkdir(exist_ok=True)
        (folder / name[:2] / f"{name}{suffix}").write_text(text if text is not None else json.dumps(CUES))
    return folder


def take_in(root: Path, folder: Path, *more: str) -> tuple[int, str, str]:
    return told("import", str(folder), "-q", str(root / "queue"), "-o", str(root / "out"), *more)


def test_into_a_new_queue(tmp_path: Path) -> None:
    folder = leave(tmp_path / "left", *ids(5))
    leave(folder, *ids(2, 5), suffix=".en.vtt", text="nonsense")
    code, out, err = take_in(tmp_path, folder)
    queue = tmp_path / "queue"
    assert code == 0
    assert out == (
        f"7 videos: imported 5, already 0, rejected 2; 2 files not taken, see {queue / 'rejects.csv'}\n"
    )
    assert "2 of these videos are left to fetch" in err
    rows = by_id(manifest(queue))
    assert set(rows) == set(ids(5))
    for name, row in rows.items():
        assert (row["status"], row["way"], row["egress"], row["requests"]) == ("ok", "import", None, 0)
        assert row["imported_from"] == str(folder / name[:2] / f"{name}.json")
        record = from_json((tmp_path / "out" / row["files"]["json"]).read_bytes())
        assert record.transcript.cues[0].text == "hello there"
    assert intact(str(queue)).states["pending"] == 2
    rejects = (queue / "rejects.csv").read_text()
    assert rejects.count("holds no captions in any known format") == 2
    take_in(tmp_path, folder)
    assert (queue / "rejects.csv").read_text() == rejects, "every night the same lines again"


def test_again_it_does_nothing_and_new_files_are_taken_in(tmp_path: Path) -> None:
    folder = leave(tmp_path / "left", *ids(5))
    take_in(tmp_path, folder)
    before = manifest(tmp_path / "queue")
    assert take_in(tmp_path, folder)[1] == "5 videos: imported 0, already 5, rejected 0\n"
    assert manifest(tmp_path / "queue") == before
    leave(folder, *ids(3, 5))
    assert take_in(tmp_path, folder)[1] == "8 videos: imported 3, already 5, rejected 0\n"


def test_into_a_queue_at_work(tmp_path: Path) -> None:
    """Final jobs stay, pending and deferred ones are taken in, the others stay to be fetched, columns stay."""
    queue = batch(tmp_path, 40)
    names = ids(40)
    waiting, failed = set(names[5:8]), names[20]
    finish(queue, lambda name: 600.0 if name in waiting else Kind.NETWORK if name == failed else OK)
    add(queue, ids(30, 40))
    leave(tmp_path / "left", *names[:7], failed, *ids(20, 40), *ids(3, 90))
    code, out, _ = take_in(tmp_path, tmp_path / "left")
    assert (code, out) == (0, "31 videos: imported 25, already 6, rejected 0\n")
    rows = by_id(manifest(Path(queue.root)))
    assert rows[names[0]].get("way") is None
    assert rows[failed]["kind"] == "network"
    assert rows[names[5]]["way"] == "import"
    assert rows[names[5]]["attempts"] == 0
    assert rows[ids(1, 42)[0]]["input"] or rows[ids(1, 40)[0]]["input"] == {"row": 0, "topic": "ä"}
    check_files(Path(queue.root), tmp_path / "out")
    assert intact(queue.root).ok
    assert told("status", "-q", queue.root, "--json")[0] == 0


def test_languages_are_chosen_and_others_counted(tmp_path: Path) -> None:
    both, german, french = "aaaaaaaaaaA", "bbbbbbbbbbB", "ccccccccccC"
    folder = tmp_path / "left"
    for name, languages in ((both, ("fr", "de", "en-GB")), (german, ("de",)), (french, ("fr",))):
        for language in languages:
            leave(
                folder, f"T [{name}]", suffix=f".{language}.vtt", text=VTT
            )  # the capital makes the id certain
    code, out, _ = take_in(tmp_path, folder, "-l", "en,de")
    assert code == 0
    assert out == "3 videos: imported 2, already 0, in other languages 1 (fr 1), rejected 0\n"
    rows = by_id(manifest(tmp_path / "queue"))
    assert (rows[both]["language"], rows[german]["language"]) == ("en-GB", "de")
    assert rows[both]["title"] == "T"


def test_the_output_of_another_queue(tmp_path: Path) -> None:
    """Records of this program keep what they know; the other queue's output is left as it is."""
    other = worked(tmp_path / "other", 12)
    before = {path: path.read_bytes() for path in (tmp_path / "other" / "out").rglob("*") if path.is_file()}
    code, out, _ = take_in(tmp_path, tmp_path / "other" / "out")
    assert (code, out) == (0, "12 videos: imported 12, already 0, rejected 0\n")
    assert {path: path.read_bytes() for path in before} == before
    row = manifest(tmp_path / "queue")[0]
    assert row["title"] == f"About {row['video_id']} ☂"
    assert intact(other.root).ok


@pytest.mark.parametrize("store", ["files", "shards"])
def test_the_shards_of_another_queue_into_each_store(tmp_path: Path, store: str) -> None:
    """One superseded frame is not taken, one damaged frame takes none of the others down."""
    other = worked(tmp_path / "other", 12, store="shards")
    with open(tmp_path / "other/out/shards/index", "ab") as index:
        index.write(shard_index.line(ids(1)[0], shard_index.GONE))
    hurt = next(row for row in manifest(Path(other.root)) if row["video_id"] == ids(2)[1])
    place = Frame.parse(hurt["files"]["json"])
    assert place is not None
    damage(shards.path_of(str(tmp_path / "other/out"), place.shard), place.offset + 9)
    code, out, _ = take_in(tmp_path, tmp_path / "other" / "out", "--store", store)
    assert code == 0
    assert out.startswith("11 videos: imported 10, already 0, rejected 1; 1 files not taken")
    assert "is damaged" in (tmp_path / "queue" / "rejects.csv").read_text()
    rows = by_id(manifest(tmp_path / "queue"))
    assert set(rows) == set(ids(10, 2))
    for name, row in rows.items():
        assert ("#" in row["files"]["json"]) == (store == "shards")
        assert re.fullmatch(r".*/shards/000000\.zst#\d+\+\d+", row["imported_from"])
        assert row["title"] == f"About {name} ☂"
    assert (tmp_path / "queue" / "FORMAT").read_text().strip() == ("2" if store == "shards" else "1")
    audit = intact(str(tmp_path / "queue"))
    assert audit.states["pending"] == 1
    assert take_in(tmp_path, tmp_path / "other" / "out")[1].startswith("11 videos: imported 0, already 10")


def test_formats_beside_shards_are_refused(tmp_path: Path) -> None:
    folder = leave(tmp_path / "left", *ids(1))
    code, _, err = take_in(tmp_path, folder, "--store", "shards", "-f", "srt")
    assert code == 2
    assert "engine export --to srt" in err
    assert not (tmp_path / "queue").exists()


def test_skip_known_reads_the_shards_of_another_queue(tmp_path: Path) -> None:
    worked(tmp_path / "other", 12, store="shards")
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in ids(15)))
    seed = ("seed", str(tmp_path / "list.txt"), "-q", str(tmp_path / "queue"))
    assert (
        "added 3, duplicate 0, rejected 0, known 12"
        in told(*seed, "--skip-known", str(tmp_path / "other/out"))[1]
    )


def test_a_file_of_somebody_else_in_the_output_stays(tmp_path: Path) -> None:
    name = ids(1)[0]
    taken = tmp_path / "out" / name[:2] / f"{name}.json"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    code, _, err = take_in(tmp_path, leave(tmp_path / "left", *ids(2)))
    assert code == 0
    assert taken.read_text() == "mine"
    assert "1 of these videos are left" in err
    assert "was not written by this queue" in (tmp_path / "queue" / "rejects.csv").read_text()
    assert intact(str(tmp_path / "queue")).ok


@pytest.mark.parametrize(
    ("names", "code", "why"),
    [((), 0, "0 videos"), (("broken.vtt",), 2, "1 files not taken")],
)
def test_a_folder_without_transcripts(tmp_path: Path, names: tuple[str, ...], code: int, why: str) -> None:
    found, out, _ = take_in(tmp_path, leave(tmp_path / "left", *names, suffix=""))
    assert found == code
    assert why in out


def test_not_beside_a_live_run(tmp_path: Path) -> None:
    from engine.run.supervisor import hold

    queue = batch(tmp_path, 4)
    with hold(queue):
        assert take_in(tmp_path, leave(tmp_path / "left", *ids(4)))[0] == 11


def test_what_the_first_run_fixed_stays(tmp_path: Path) -> None:
    folder = leave(tmp_path / "left", *ids(1))
    take_in(tmp_path, folder)
    assert take_in(tmp_path, folder, "-l", "de")[0] == 2
    assert told("import", str(folder), "-q", str(tmp_path / "queue"))[0] == 0


def steps(root: Path, folder: Path) -> int:
    with dying_at(1 << 30) as calls:
        take_in(root, folder)
    return calls[0]


def dies_at(root: Path, folder: Path, step: int, *, torn: bool) -> None:
    """Import in a forked process that dies at this step to disk; its locks die with it."""
    child = os.fork()
    if not child:
        with dying_at(step, torn=torn):
            try:
                take_in(root, folder)
            except Crash:
                os._exit(9)
            except BaseException:
                os._exit(8)
        os._exit(0)
    os.waitpid(child, 0)


def lying(root: Path) -> list[str]:
    """What still lies in the output without a row, once a run has taken apart what the dead import left."""
    queue = Queue(str(root / "queue"))
    if not os.path.exists(queue.batch) or not queue.read_batch().get("frozen"):
        return []
    reclaim(queue)
    final = {name for chunk in states(queue).values() for name, job in chunk.jobs.items() if job.final}
    return sorted(path.name for path in (root / "out").glob("??/*") if path.stem not in final)


@pytest.mark.crash
@pytest.mark.parametrize("torn", [False, True])
def test_dead_at_any_step_it_goes_on(tmp_path: Path, torn: bool) -> None:
    """Every seventh step, the others at other tests' expense: the same rules are tested step by step for workers."""
    folder = leave(tmp_path / "left", *ids(3))
    count = steps(tmp_path / "whole", folder)
    assert count > 60
    for step in range(3 if torn else 0, count, 7):
        root = tmp_path / f"{step}"
        dies_at(root, folder, step, torn=torn)
        assert lying(root) == [], step
        code, out, err = take_in(root, folder)
        assert code == 0, (step, err)
        assert out.startswith("3 videos: imported"), step
        rows = by_id(manifest(root / "queue"))
        assert set(rows) == set(ids(3)), step
        check_files(root / "queue", root / "out")
        assert intact(str(root / "queue")).ok, step


def test_a_full_disk_is_said_and_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = leave(tmp_path / "left", *ids(6))
    real, left = disk._rename, [9]

    def full(src: str, dst: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, os.strerror(28))
        real(src, dst)

    child = os.fork()
    if not child:
        monkeypatch.setattr(disk, "_rename", full)
        os._exit(take_in(tmp_path, folder)[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13
    assert take_in(tmp_path, folder)[0] == 0
    assert {row["video_id"] for row in manifest(tmp_path / "queue")} == set(ids(6))
    assert Queue(str(tmp_path / "queue")).total() == 6


def test_from_a_program(tmp_path: Path) -> None:
    folder = leave(tmp_path / "left", *ids(5))
    leave(folder, "bbbbbbbbbbB", suffix=".de.vtt", text=VTT)
    batch_ = Batch(tmp_path / "queue")
    result = batch_.import_folder(folder, output=tmp_path / "out", languages="en,fr", format=["srt"])
    assert result == ImportResult(videos=6, imported=5, already=0, rejected=0, other_language={"de": 1})
    assert {row.way for row in batch_.rows(status="ok")} == {"import"}
    assert batch_.import_folder(folder).already == 5
    with pytest.raises(UsageError, match="languages"):
        batch_.import_folder(folder, languages="de")
    with pytest.raises(UsageError, match="does not exist"):
        batch_.import_folder(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="rate"):
        batch_.import_folder(folder, rate=3)  # type: ignore[call-arg]
    with hold(Queue(batch_.root)), pytest.raises(HeldError) as held:
        batch_.import_folder(folder)
    assert held.value.pid == os.getpid()


def test_of_another_queues_output_it_says_what_to_do_and_that_works(tmp_path: Path) -> None:
    """The queue was removed, its transcripts lie there still."""
    folder = leave(tmp_path / "left", *ids(3))
    take_in(tmp_path, folder)
    out, new = str(tmp_path / "out"), str(tmp_path / "new")
    code, _, err = told("import", out, "-q", new, "-o", out)
    assert code == 2
    assert f"3 have a file in {out}/ that this queue did not write" in err
    assert f"`engine import {out} -q NEW -o ELSEWHERE`" in err
    code, said, _ = told("import", out, "-q", str(tmp_path / "third"), "-o", str(tmp_path / "elsewhere"))
    assert (code, said) == (0, "3 videos: imported 3, already 0, rejected 0\n")
