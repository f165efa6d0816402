"""The power-cut checker itself: what its models allow, and that it catches broken engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import power_trace
import pytest
from power_check import promised
from power_ops import Recording, Step
from power_play import Cuts, Variant
from power_record import Recorded, record, workshop
from power_states import MODELS, durable, states
from power_trace import Call, calls
from power_variants import VARIANTS

SEED, LIMIT = 1, 150
needs_strace = pytest.mark.skipif(not power_trace.available(), reason="strace is missing or not allowed here")


# ---- reading a log ---------------------------------------------------------------------------------------
LOG = r"""7 1.0 openat(AT_FDCWD</>, "\x2f\x64\x2f\x61", O_WRONLY|O_CREAT, 0600) = 3</d/a>
7 1.1 write(3<\x2f\x64\x2f\x61>, "\x2c\x22\x29", 3 <unfinished ...>
8 1.2 mkdir("\x2f\x64\x2f\x62", 0700) = 0
7 1.3 <... write resumed>) = 2
8 1.4 unlink("\x2f\x64\x2f\x63") = -1 ENOENT (No such file or directory)
8 1.5 fsync(3<\x2f\x64\x2f\x61>) = 0
8 1.6 +++ exited with 0 +++
"""


def test_a_log_is_read_as_calls_in_the_order_of_their_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG.replace("AT_FDCWD</>", r"AT_FDCWD<\x2f>"))
    assert list(calls(log)) == [
        Call("openat", (b"/", b"/d/a", "O_WRONLY|O_CREAT", "0600"), 3, 0, 0),
        Call("mkdir", (b"/d/b", "0700"), 0, 2, 2),
        Call("write", (b"/d/a", b',")', "3"), 2, 1, 3),
        Call("fsync", (b"/d/a",), 0, 5, 5),
    ]


def test_a_log_that_cannot_be_read_is_no_proof(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for line in ("nonsense\n", "7 1.0 nonsense\n", '7 1.0 mkdir("\\x2f"..., 0700) = 0\n'):
        log.write_text(line)
        with pytest.raises(ValueError):
            list(calls(log))


# ---- the models ------------------------------------------------------------------------------------------
def recording(*called: tuple[str, ...]) -> Recording:
    """A recording of calls `(name, path, …)` below /d, each after the one before."""
    item = Recording(Path("/d"))
    for number, (verb, *args) in enumerate(called):
        name = verb
        made: list[bytes | str] = [f"/d/{args[0]}".encode()]
        if name == "open":
            name, made = "openat", [b"/", *made, "O_CREAT"]
        elif name == "write":
            made += [args[1].encode(), str(len(args[1]))]
        elif name == "rename":
            made += [f"/d/{args[1]}".encode()]
        item.take([Call(name, tuple(made), len(args[1]) if name == "write" else 0, number, number)])
    return item


def seen(recording: Recording, model: str) -> set[tuple[tuple[str, bytes | None], ...]]:
    """All states that are drawn for a cut at the end."""
    return {
        tuple(sorted(state.files.items()))
        for seed in range(20)
        for state in states(recording, model, seed, 1000, since=len(recording.steps) - 1)
    }


NEW = [("mkdir", "x"), ("fsync", "."), ("open", "a"), ("write", "a", "12"), ("fsync", "a")]


def test_posix_promises_a_synced_file_its_bytes_and_not_its_name() -> None:
    item = recording(*NEW, ("rename", "a", "x/b"))
    x, there = ("x", None), b"12"
    assert durable(item, "posix", len(item.steps)) == {"x": None}
    assert seen(item, "posix") == {
        (x,),
        (("a", there), x),
        (x, ("x/b", there)),
        (("a", there), x, ("x/b", there)),
    }


def test_ext4_commits_names_in_order_with_any_sync() -> None:
    item = recording(*NEW, ("rename", "a", "x/b"))
    assert durable(item, "ext4", len(item.steps)) == {"x": None, "a": b"12"}
    assert seen(item, "ext4") == {(("a", b"12"), ("x", None)), (("x", None), ("x/b", b"12"))}
    assert durable(recording(*NEW, ("rename", "a", "x/b"), ("fsync", "x")), "ext4", 7) == {
        "x": None,
        "x/b": b"12",
    }


def test_a_directory_promises_its_own_names_only() -> None:
    item = recording(*NEW, ("rename", "a", "x/b"), ("fsync", "x"))
    assert durable(item, "posix", len(item.steps)) == {"x": None, "x/b": b"12"}
    assert seen(item, "posix") == {(("x", None), ("x/b", b"12")), (("a", b"12"), ("x", None), ("x/b", b"12"))}


@pytest.mark.parametrize("model", MODELS)
def test_writes_that_were_not_synced_may_be_lost_or_torn(model: str) -> None:
    item = recording(*NEW, ("fsync", "."), ("write", "a", "345"))
    contents = {dict(state)["a"] for state in seen(item, model)}
    torn = {b"12", b"123", b"1234", b"12345"}
    blank = {b"12\0\0\0", b"123\0\0", b"1234\0"}
    assert contents == (torn | blank if model == "posix" else torn)


def test_a_sync_promises_nothing_that_was_written_beside_it() -> None:
    item = recording(*NEW, ("fsync", "."))
    late = Call("write", (b"/d/a", b"34", "2"), 2, 6, 7)
    item.take([late, Call("fsync", (b"/d/a",), 0, 7, 8)])  # it began before the write had ended
    assert durable(item, "posix", len(item.steps))["a"] == b"12"
    item.take([Call("fsync", (b"/d/a",), 0, 8, 9)])
    assert durable(item, "posix", len(item.steps))["a"] == b"1234"


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_draws_the_same_states(model: str) -> None:
    item = recording(*NEW, ("open", "x/c"), ("write", "x/c", "345"), ("rename", "a", "x/b"), ("open", "y"))
    first, again, other = (list(states(item, model, seed, 9)) for seed in (1, 1, 2))
    assert first == again != other


def test_what_a_disk_promises() -> None:
    segment = b'{"segment": 0, "jobs": 2, "chunk": 1}\n{"id": "aaaaaaaaaaa"}\n{"id": "bbbbbbbbbbb"}\n'
    files: dict[str, bytes | None] = {
        "queue/segments/000000.jsonl": segment,
        "queue/segments/000001.jsonl": segment.replace(b"aaa", b"ccc"),
        "queue/pending/000000": None,
        "queue/filed/000000/0.38.1": b"",
        "queue/manifest.jsonl": b'{"video_id": "aaaaaaaaaaa"}\n{"video_id"',
        "queue/checkpoint.json": b'{"length": 28}',
    }
    found = promised(files)
    assert found.ids == {"aaaaaaaaaaa", "bbbbbbbbbbb"}
    assert found.settled == {"aaaaaaaaaaa"}
    assert found.rows == {b'{"video_id": "aaaaaaaaaaa"}'}


# ---- broken engines --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with workshop() as place:
        yield record(place, SEED)


@needs_strace
@pytest.mark.crash
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda item: item.name.replace(" ", "-"))
def test_a_broken_engine_is_caught(variant: Variant, recorded: Recorded) -> None:
    cuts = Cuts(recorded, variant.model).play(SEED, LIMIT, variant)
    assert next((wrong for _, wrong in cuts if wrong), ""), variant.name


def test_a_step_says_what_it_is_about() -> None:
    assert recording(("mkdir", "x"), ("open", "x/a")).steps[1] == Step(
        "name", "x/a", 2, 1, "a", began=1, ended=1
    )
