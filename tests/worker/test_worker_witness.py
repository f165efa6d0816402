"""What the processes know together: words on what is held, the lease, damage, and several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import HANG_S
from support import batch, worked

from engine.model import Kind
from engine.worker.witness import NAME, Egress, Witness, Word, lay_out


@pytest.fixture
def path(tmp_path: Path) -> str:
    queue = batch(tmp_path, 16)
    lay_out(queue)
    return queue.path(NAME)


@pytest.fixture
def witness(path: str) -> Iterator[Witness]:
    its = Witness(path)
    yield its
    its.close()


def alarm(witness: Witness, egress: int = 0) -> float:
    """Sound the alarm; the time of the first one held."""
    first, jump = witness.bare(egress)
    while jump is None:
        _, jump = witness.bare(egress)
    assert jump == (5, 5)
    return first


@pytest.mark.parametrize(
    ("egress", "word"),
    [
        (Egress(), Word.HOLD),
        (Egress(shown=9.0), Word.HOLD),  # that attempt began before
        (Egress(shown=11.0), Word.BELIEVE),
        (Egress(shown=11.0, alarm=12.0), Word.HOLD),
        (Egress(shown=11.0, alarm=12.0, believed=13.0), Word.BELIEVE),
        (Egress(believed=9.0), Word.HOLD),
        (Egress(shown=11.0, again=12.0), Word.AGAIN),
        (Egress(shown=11.0, again=9.0), Word.BELIEVE),
        (Egress(shown=11.0, again=12.0, believed=13.0), Word.AGAIN),
    ],
)
def test_the_word_on_what_was_met_at_10(egress: Egress, word: Word) -> None:
    assert egress.word(10.0) is word


def test_captions_shown_to_a_later_attempt_speak_for_it(witness: Witness) -> None:
    at, jump = witness.bare(0)
    assert jump is None
    witness.shown(0, at - 0.1)
    witness.shown(1, at + 0.1)
    assert witness.read(0).word(at) is Word.HOLD
    witness.shown(0, at + 0.1)
    assert witness.read(0).word(at) is Word.BELIEVE
    witness.shown(0, at - 5.0)  # one that took long does not take it back
    assert witness.read(0).word(at) is Word.BELIEVE


def test_an_alarm_goes_off_once_and_one_process_vouches(witness: Witness, path: str) -> None:
    at = alarm(witness)
    assert witness.bare(0)[1] is None
    witness.shown(0, time.monotonic())
    assert witness.read(0).word(at) is Word.HOLD
    other = Witness(path)
    assert not other.lease(1)
    assert other.lease(0)
    assert not other.lease(0)
    assert not witness.lease(0)
    other.put_off(0, -1.0)
    assert witness.lease(0)
    witness.again(0, 3.0)
    its = other.read(0)
    assert (its.word(at), its.wait_s, its.alarm) == (Word.AGAIN, 3.0, 0.0)
    assert not other.lease(0)
    later, jump = other.bare(0)
    assert jump is None  # judged anew, from the beginning
    assert witness.read(0).word(later) is Word.HOLD
    other.close()


def test_what_is_believed_becomes_normal(witness: Witness) -> None:
    counts = []
    for _ in range(12):
        bare = 0
        jump = None
        while jump is None and bare < 100:
            at, jump = witness.bare(0)
            bare += 1
        witness.believe(0)
        assert witness.read(0).word(at) is Word.BELIEVE
        for _ in range(bare):
            witness.settled()
        counts.append(bare)
    assert counts[0] == 5
    assert counts == sorted(counts)
    assert counts[-1] > 40


def test_a_run_begins_with_what_the_manifest_says(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, lambda name: Kind.NO_CAPTIONS if sum(name.encode()) % 4 else "ok")
    lay_out(queue)
    its = Witness(queue.path(NAME))
    jump, bare = None, 0
    while jump is None:
        _, jump = its.bare(0)
        bare += 1
    assert bare > 10  # three in four have none, so five say nothing
    lay_out(queue)
    anew = Witness(queue.path(NAME))
    assert anew.read(0) == Egress()
    its.close()
    anew.close()


@pytest.mark.parametrize("data", [b"", b"\xff" * 5000, b"\x00" * 200, b"\x7f\xf0" * 700])
def test_damage_counts_as_nothing_known(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "captions"
    path.write_bytes(data)
    its = Witness(str(path))
    assert its.read(0) == its.read(700) == Egress()
    alarm(its)
    its.shown(3, 5.0)
    assert its.read(3).shown == 5.0
    its.close()


def test_threads_and_processes_lose_no_count(path: str, witness: Witness) -> None:
    code = (
        "import sys; from engine.worker.witness import Witness\n"
        f"its = Witness({path!r})\n"
        "for n in range(60): its.shown(0, 1.0 + n); its.shown(2, 1.0)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    others = [subprocess.Popen([sys.executable, "-c", code], cwd=root) for _ in range(2)]
    threads = [threading.Thread(target=lambda: [witness.shown(2, 1.0) for _ in range(20)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(timeout=HANG_S) for other in others] == [0, 0]
    assert witness.read(2).history.length == 180
    assert witness.read(0).history.length == 120
    assert witness.read(0).shown == 60.0
    assert witness.read(1) == Egress()
