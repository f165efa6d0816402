"""A settings file of any content: exit 2, with the file and the key; it hangs nowhere and ends in no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.cli import invoke
from engine.cli.options import toml_file
from engine.cli.options.toml_file import read_toml
from engine.errors import UsageError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in [text for text in os.environ if text.startswith("ENGINE_")]:
        monkeypatch.delenv(name)
    os.mkdir("q")
    os.makedirs("config/engine")


PLACES = {
    "q/engine.toml": ["config", "show", "-q", "q"],
    "config/engine/config.toml": ["config", "show", "-q", "q"],
}
CONTENT = [
    (b"rate = 2026-01-01", "rate"),
    (b"deadline = 2026-01-01T10:00:00Z", "deadline"),
    (b"threads = 10:00:00", "threads"),
    (b"deadline = nan", "deadline"),
    (b"rate = -nan", "rate"),
    (b"grace = inf", "grace"),
    (b"threads = inf", "threads"),
    (b"threads = 1.5", "threads"),
    (b"threads = -1", "threads"),
    (b"threads = 99999999999999999999999999999", "threads"),
    (b"x = 1\nattempts = %b" % (b"9" * 5000), "attempts"),
    (b"languages = [2026-01-01]", "languages"),
    (b'languages = [["en"]]', "languages"),
    (b'languages = "english"', "did you mean en?"),
    (b"languages = []", "languages"),
    (b"format = [1, 2]", "format"),
    (b"proxy = [{a = 1}]", "proxy"),
    (b"rate = {a = 1}", "rate"),
    (b'rate = ["1/s", "2/s"]', "rate"),
    (b'rate = "quick"', "rate"),
    (b'max-bytes = "many"', "max-bytes"),
    (b'max_duration = "8"', "max_duration"),
    (b'notify = "ftp://x"', "notify"),
    (b'rate = "1/s"\nrate = "2/s"', "rate"),
    (b'output = "a\\u0000b"', "output"),
    (b'output = "a\0b"', "output"),
    (b'output = "\xff"', "output"),
    (b'output = "\\ud800"', "output"),
    (b'output = "s3://bucket"', "output"),
    (b'sequential = "yes"', "sequential"),
    (b"sequential = 1", "sequential"),
    (b"rate = true", "rate"),
    (b"[profile.x]\nrate = 2026-01-01", "rate"),
    (b"[profile]\nx = 2026-01-01", "profile"),
    (b"profile = 3", "profile"),
    (b"rate = " + b"[" * 50_000 + b"]" * 50_000, "rate"),
    (b"rate = " + b"{a=" * 50_000, "rate"),
    (b"a." * 50_000 + b"b = 1", "key"),
    (b"[" + b"a." * 50_000 + b"b]", "key"),
    (b"rate = 1 # " + b"x" * (1 << 20), "larger"),
    (b"\xff\xfer\0a\0", "UTF-8"),
]


@pytest.mark.parametrize(("data", "key"), CONTENT, ids=lambda item: repr(item[:30]))
def test_content(data: bytes, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path, args in PLACES.items():
        Path(path).write_bytes(data)
        assert invoke(args) == 2, path
        said = capsys.readouterr().err
        assert path in said
        assert key in said
        assert len(said.splitlines()) == 1
        assert len(said) < 1000
        os.unlink(path)


def _endless(path: str) -> None:
    os.symlink("/dev/zero", path)


def _sparse(path: str) -> None:
    Path(path).touch()
    os.truncate(path, 3 << 30)


def _circle(path: str) -> None:
    os.symlink(os.path.basename(path), path)


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, _endless, _sparse, _circle], ids=lambda item: item.__name__
)
@pytest.mark.parametrize("path", PLACES)
def test_no_file(make: object, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe that nobody writes, a directory, a file without end: none is waited for, none is read to its end."""
    assert callable(make)
    make(path)
    assert invoke(PLACES[path]) == 2
    assert path in capsys.readouterr().err


def test_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    os.symlink("nowhere", "q/engine.toml")
    assert invoke(["config", "show", "-q", "q"]) == 0
    Path("q/engine.toml").unlink()
    Path("q/engine.toml").write_bytes(b'\xef\xbb\xbfrate = "20/min"\nlanguages = "de,en"\nthreads = 3\n')
    assert invoke(["config", "show", "-q", "q"]) == 0
    assert "20/min" in capsys.readouterr().out


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(st.sampled_from("ra=[]{}\"'.,\n1x#-:+e_"), max_size=60).map(str.encode),
    )
)
@example(b"[[a]]\n[a.b]")
@example(b"a = 0x" + b"f" * 5000)
def test_any_bytes(data: bytes) -> None:
    """A table, or a sentence that names the file."""
    Path("any.toml").write_bytes(data)
    try:
        read = read_toml("any.toml", must=True)
    except UsageError as exc:
        assert str(exc).startswith("any.toml: ")
    else:
        assert read is not None
        assert isinstance(read[0], dict)


def test_no_more_is_read_than_could_be_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = os.read
    monkeypatch.setattr(toml_file.os, "read", lambda fd, n: sizes.append(n) or real(fd, n))
    _sparse("q/engine.toml")
    with pytest.raises(UsageError, match="larger"):
        read_toml("q/engine.toml", must=True)
    assert sum(sizes) <= 2 * toml_file.MAX_BYTES
