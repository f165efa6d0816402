"""The places of a ledger, a directory and a store, by the same tests; and how jobs are dealt."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import engine
from fleet_night import DEAD_PROXY, free_port
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NoQueueError, UsageError
from engine.fleet import parts
from engine.fleet.ledger import Fleet, Ledger
from engine.fleet.machine import MachineDirectory
from engine.fleet.names import ShareKey, is_own, share_of
from engine.fleet.objects import DirectoryObjects, Objects, StoreObjects, open_objects
from engine.rehearsal import invented_ids


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()  # one of another server, under the same arguments
        s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}").mkdir("fleets")
        yield "s3://fleets"
    server.stop()


@pytest.fixture(params=["directory", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> str:
    return str(tmp_path / "ledger") if request.param == "directory" else f"{store}/{tmp_path.name}"


def test_what_is_written_is_read(place: str) -> None:
    objects = open_objects(place)
    assert objects.names("") == []
    assert objects.read("done/00001.json") is None
    objects.put("beats/00001.json", b"one")
    objects.put("beats/00001.json", b"two, longer")
    assert objects.read("beats/00001.json") == b"two, longer"
    assert objects.read("beats/00001.json", 0, 3) == b"two"
    assert objects.create("holds/00001/001.json", b"a")
    assert not objects.create("holds/00001/001.json", b"b")
    assert objects.read("holds/00001/001.json") == b"a"
    assert objects.names("holds/00001/") == ["holds/00001/001.json"]
    assert objects.names("holds/0000/") == []
    assert objects.names("") == ["beats/00001.json", "holds/00001/001.json"]
    objects.remove("beats/00001.json")
    objects.remove("beats/00001.json")
    assert objects.names("") == ["holds/00001/001.json"]


def test_of_many_that_create_one_name_one_wins(place: str) -> None:
    places = [open_objects(place) for _ in range(4)]
    won: list[tuple[int, int]] = []

    def create(who: int, objects: Objects) -> None:
        won.extend(
            (name, who)
            for name in range(10)
            if objects.create(f"holds/00001/{name + 1:03d}.json", b"%d" % who)
        )

    threads = [threading.Thread(target=create, args=(who, objects)) for who, objects in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in won) == list(range(10))
    assert all(places[0].read(f"holds/00001/{name + 1:03d}.json") == b"%d" % who for name, who in won)


def test_a_ledger_is_made_in_an_empty_place_only(place: str) -> None:
    ledger = Ledger(place)
    with pytest.raises(NoQueueError):
        ledger.fleet()
    ledger.objects.put("notes.txt", b"mine")
    with pytest.raises(UsageError, match="not empty"):
        ledger.make(Fleet("f" * 32, 3, {}))
    assert ledger.names("") == ["notes.txt"]
    ledger.objects.remove("notes.txt")
    ledger.make(Fleet("f" * 32, 3, {"languages": "en"}, (("ab",), ("cd",))))
    assert ledger.fleet().groups == (("ab",), ("cd",))
    assert ledger.names("") == ["asked/latest.json", "fleet.json"]
    ledger.objects.put("fleet.json", b'{"format": 99}')
    with pytest.raises(UsageError, match="newer engine"):
        ledger.fleet()


def test_a_store_that_lets_two_create_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(self: DirectoryObjects, name: str, data: bytes) -> bool:
        self.put(name, data)
        return True

    monkeypatch.setattr(DirectoryObjects, "create", create)
    with pytest.raises(UsageError, match="two machines"):
        Ledger(str(tmp_path / "ledger")).make(Fleet("f" * 32, 3, {}))
    assert [path for path in (tmp_path / "ledger").rglob("*") if path.is_file()] == []


def test_a_store_without_a_bucket_or_library_says_so(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="bucket"):
        Ledger("s3://is-not-there/x").objects.put("a", b"b")
    with pytest.raises(UsageError, match="bucket"):
        StoreObjects("s3://")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[fleet\]'"):
        StoreObjects("s3://bucket/place")


def test_without_the_extra_neither_dask_nor_fsspec_is_imported() -> None:
    code = (
        "import sys, importlib, pkgutil, engine.cli.fleet, engine.fleet\n"
        "for found in pkgutil.iter_modules(engine.fleet.__path__):\n"
        "    importlib.import_module('engine.fleet.' + found.name)\n"
        "print([name for name in ('dask', 'distributed', 'fsspec', 's3fs') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


# ---- names, parts, dealing -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("00042", ShareKey(42)),
        ("00042-2", ShareKey(42, 2)),
        ("123456", ShareKey(123456)),
        ("42", None),
        ("00042-1", None),
    ],
)
def test_keys(text: str, key: ShareKey | None) -> None:
    assert ShareKey.parse(text) == key


def test_other_names_are_nobody_of_ours() -> None:
    assert all(
        map(is_own, ["fleet.json", "done/00001-2.json", "parts/00001/001.0001.gz", "groups/001/beat.json"])
    )
    assert not any(
        map(is_own, ["README.md", "done/1.json", "parts/00001/001.0001.gz.bak", "done/00001.json/x", ""])
    )


@given(
    st.lists(st.text("abcdefXYZ_-0123456789", min_size=11, max_size=11), max_size=50), st.integers(1, 70_000)
)
def test_an_id_falls_into_one_share(ids: list[str], shares: int) -> None:
    assert all(0 <= share_of(video_id, shares) < shares for video_id in ids)


def test_a_part_says_what_was_packed() -> None:
    rows = [
        (
            json.dumps({"video_id": "a" * 11, "status": "ok", "requests": 2, "bytes": 5}).encode() + b"\n",
            b"record\n\0",
        ),
        (json.dumps({"video_id": "b" * 11, "status": "absent", "kind": "private"}).encode() + b"\n", None),
    ]
    data, ids, facts = parts.pack(rows)
    assert [(line, record) for _, line, record in parts.unpack(data)] == rows
    assert parts.read(data) == (ids, facts)
    assert parts.unpack_rows(data[: facts["rows_size"]]) == [line for line, _ in rows]
    for cut in range(len(data)):
        with pytest.raises(ValueError):
            parts.read(data[:cut])


@pytest.mark.parametrize("shares", [1, 3, 257, 1000])
def test_dealing_loses_nothing_and_finds_duplicates(tmp_path: Path, shares: int) -> None:
    ids = list(invented_ids(2000, 5))
    file = tmp_path / "videos.csv"
    file.write_text(
        "video,topic\n" + "".join(f"{each},t{at % 3}\n" for at, each in enumerate([*ids, *ids[:100], "x"]))
    )
    size = -(-2100 // shares)
    ended = engine("fleet", "plan", file, tmp_path / "ledger", "--share", str(size), "-l", "en,de")
    assert ended.code == 0, ended.said
    assert (
        "read 2,101: 2,000 videos" in ended.out and "duplicate 100" in ended.out and "rejected 1" in ended.out
    )
    ledger = Ledger(str(tmp_path / "ledger"))
    (generation,) = ledger.generations()
    dealt = {key: ledger.jobs(generation, key) for key in generation.share_keys()}
    assert sorted(job.video_id for jobs in dealt.values() for job in jobs) == sorted(ids)
    fleet = ledger.fleet()
    assert all(
        share_of(job.video_id, fleet.shares) == key.number for key, jobs in dealt.items() for job in jobs
    )
    assert all(job.input["topic"].startswith("t") for jobs in dealt.values() for job in jobs)
    assert fleet.options["languages"] == "en,de"


def test_more_videos_are_another_generation(tmp_path: Path) -> None:
    ids = list(invented_ids(60, 5))
    first, more, there = tmp_path / "a.txt", tmp_path / "b.txt", str(tmp_path / "ledger")
    first.write_text("\n".join(ids[:40]))
    more.write_text("\n".join(ids[30:]))
    assert engine("fleet", "plan", more, there, "--add").code == 10
    assert engine("fleet", "plan", first, there, "--share", "20").code == 0
    again = engine("fleet", "plan", more, there)
    assert again.code == 2 and "--add" in again.err
    other = engine("fleet", "plan", more, there, "--add", "-l", "fr")
    assert other.code == 2 and "begun with" in other.err
    added = engine("fleet", "plan", more, there, "--add")
    assert added.code == 0 and "20 videos" in added.out and "duplicate 10" in added.out, added.said
    ledger = Ledger(there)
    assert [sum(each.jobs.values()) for each in ledger.generations()] == [40, 20]
    assert engine("fleet", "verify", there).code == 0
    assert engine("fleet", "status", there, "--exit-code").code == 23


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["plan", "videos.txt", "{}", "--groups", "2"], "--proxies"),
        (["plan", "videos.txt", "{}", "--share", "5", "--egresses", "2"], "one of the two"),
        (["plan", "nothing.txt", "{}"], "nothing.txt"),
        (["plan", "videos.txt", "videos.txt"], "is a file"),
        (["plan", "@made-up-150", "{}"], "names a video"),
        (["status", "{}"], "no fleet"),
        (["share", "{}", "0"], "no fleet"),
        (["set", "{}", "speed=3"], "speed"),
        (
            ["join", "{}", "--scheduler", "tcp://127.0.0.1:1", "--work", "occupied"],
            "no fleet|holds something else",
        ),
        (["run", "{}", "--scheduler", "tcp://127.0.0.1:1"], "no fleet"),
    ],
)
def test_bad_input_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], says: str
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos.txt").write_text("\n".join(invented_ids(5, 1)))
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "mine").write_text("x")
    ended = engine("fleet", *(arg.format(tmp_path / "ledger") for arg in args), ENGINE_PROXY=DEAD_PROXY)
    assert ended.code in (2, 10), ended.said
    assert re.search(says, ended.err), ended.err
    assert (tmp_path / "occupied" / "mine").read_text() == "x"
    assert not (tmp_path / "ledger").exists()


def test_a_machine_clears_only_what_the_engine_made(tmp_path: Path) -> None:
    machine = MachineDirectory(str(tmp_path / "work"))
    assert MachineDirectory(str(tmp_path / "work")).name == machine.name
    share = machine.share("f" * 32, ShareKey(3))
    for name in (
        "queue/FORMAT",
        "queue/segments/000000.jsonl",
        "out/dQ/dQw4w9WgXcQ.json",
        "out/dQ/notes.txt",
        "queue/mine",
    ):
        path = Path(share.root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    share.clear()
    left = {path.relative_to(share.root).as_posix() for path in Path(share.root).rglob("*") if path.is_file()}
    assert left == {"out/dQ/notes.txt", "queue/mine"}


def test_a_sweep_leaves_what_others_made(tmp_path: Path) -> None:
    ours = tmp_path / "beats" / ".00001.json.0a1b2c3d.tmp"
    theirs = [tmp_path / "notes" / ours.name, tmp_path / "beats" / ".mine.txt.0a1b2c3d.tmp"]
    for path in (ours, *theirs):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert DirectoryObjects(str(tmp_path)).sweep() == 1
    assert not ours.exists() and all(path.exists() for path in theirs)
