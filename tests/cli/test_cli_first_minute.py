"""What a new user reads: each message says the next step, and where things are."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import engine
from support import ids
from warm import start

from engine.cli import invoke
from engine.queue.making import make_queue
from engine.rehearsal import RehearsalSettings

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "work" / "here"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize(
    ("args", "code", "step"),
    [
        ([], 2, "Next: `engine rehearse` tries it without YouTube"),
        (["--help"], 0, "engine run videos.txt"),
        (["run"], 10, "`engine run videos.txt`"),
        (["status"], 10, "`engine seed INPUT -q queue_dir`"),
    ],
)
def test_each_first_command_names_the_next(args: list[str], code: int, step: str, capsys: Said) -> None:
    assert invoke(args) == code
    out, err = capsys.readouterr()
    assert step in out + err


def test_where_a_queue_is_the_next_step_is_its_status(here: Path, capsys: Said) -> None:
    make_queue("queue_dir")
    assert invoke([]) == 2
    assert "`engine status` shows how far queue_dir is" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "run", "failures", "report", "verify"])
def test_a_queue_nearby_is_named(command: str, here: Path, capsys: Said) -> None:
    make_queue(str(here / "my talks" / "queue_dir"))
    assert invoke([command]) == 10
    assert "There is a queue in my talks/queue_dir: `engine status -q 'my talks/queue_dir'`" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_by_one_command(shell: str, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert "_ENGINE_COMPLETE" in out and err == ""
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert invoke(["completion"]) == 0
    assert capsys.readouterr().out == out


def test_completion_for_no_known_shell_says_which_there_are(capsys: Said) -> None:
    assert invoke(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


def test_the_installed_command_completes_commands_and_options() -> None:
    done = engine(_ENGINE_COMPLETE="bash_complete", COMP_WORDS="engine st", COMP_CWORD="1")
    assert {"plain,status", "plain,stop"} == set(done.out.split())
    done = engine(_ENGINE_COMPLETE="bash_complete", COMP_WORDS="engine run --on", COMP_CWORD="2")
    assert "plain,--on-block" in done.out.split()


def test_a_run_goes_through_the_environments_proxy_and_says_so(tmp_path: Path) -> None:
    """And says where the files are; a limit that ends it does not keep that back."""
    with start(RehearsalSettings(latency_s=0.0)) as site:
        proxy = {"HTTPS_PROXY": site.proxy_url_as("me", "s3cret"), "SSL_CERT_FILE": site.ca_bundle}
        args = ("-q", tmp_path / "q", "-o", tmp_path / "o", "--rate", "none", "-p", "1", "-t", "2")
        ended = engine("run", *ids(6), *args, "--limit", "2", **proxy)
        assert ended.code == 4, ended.said
        shown = f"127.0.0.1:{site.address.port}"
        assert f"6 videos to do, through {shown}, as HTTPS_PROXY says. no pacing on 1 egress" in ended.err
        assert "transcripts so far are in" in ended.err
        ended = engine("run", *args, "--proxy", site.proxy_url_as("other"), **proxy)
        assert ended.code == 0, ended.said
        assert "HTTPS_PROXY" not in ended.err and "transcripts are in" in ended.err
    assert "s3cret" not in ended.said


def test_a_list_without_a_video_makes_no_claim_of_transcripts(here: Path) -> None:
    (here / "leer.csv").write_text("Titel;Link\n")
    ended = engine("run", "leer.csv", "--proxy", "http://127.0.0.1:9")
    assert (ended.code, "leer.csv names no video" in ended.err) == (0, True), ended.said
    assert "transcripts are in" not in ended.err


def test_a_rehearsal_that_is_there_goes_on_and_gets_no_more_videos(here: Path) -> None:
    args = ("rehearse", "-q", "mine", "-o", "out", "-p", "1", "--latency", "0")
    assert engine(*args, "--videos", "3", "--limit", "1").code == 4
    ended = engine(*args)
    assert (ended.code, "read " in ended.err) == (0, False), ended.said
    ended = engine(*args, "--videos", "5")
    assert (ended.code, "read 5: added 2" in ended.err) == (0, True), ended.said
