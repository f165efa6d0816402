"""What README, the tutorial and the how-tos tell a reader to type, typed line by line against the rehearsal server.

Nothing of a page is changed but absolute directories, and a fixed time before a kill. The environment leads every
request to the server: `HTTPS_PROXY` and `SSL_CERT_FILE`.
Blocks marked `sh`, `crontab` and `python` are run; what is not is in EXCEPTED, with the reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from commands import COMMAND, environment
from support import ids
from test_docs import README, ROOT, blocks, sections, text
from warm import start

from engine.rehearsal import Rehearsal, RehearsalSettings

PAGES = [
    *sorted((ROOT / "docs" / "tutorial").glob("*.md")),
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    ROOT / "docs" / "explanation" / "crashes.md",
]
SECTIONS = [head for head in sections(text(README)) if head.startswith(("First run", "Recipe"))]

# Lines that are not run, by how they begin, and why.
EXCEPTED = {
    "python3 -m venv": "scripts/smoke installs for real",
    ". .venv": "the same",
    "pip install": "the same",
    "engine page": "serves until ^C; tests/page walks it",
    "engine fleet": "takes several machines; tests/fleet/test_fleet_recipe.py types it",
    "systemd-analyze": "the units have a test of their own here",
    "systemctl": "would change the services of whoever tests",
    "loginctl": "the same",
    "hf upload": "sends to the Hub",
    "engine export --to parquet -o hf://": "the same; tests/export writes to a store on this machine",
    "engine export --to parquet -o s3://": "takes a bucket; tests/export writes to a store on this machine",
    "tmux": "attaches to a terminal",
}
IN_A_BUCKET = "s3://"  # a block of Python that reads from one; tests/export reads a store on this machine
PICTURED = "engine rehearse --videos 300"  # test_docs.py runs this block, and compares it with the picture
# Exit codes other than 0 that are right, by a part of the line.
CODES = {
    "--limit 20": (4,),
    "--sample": (0, 4),
    "engine doctor": (0, 2),  # this machine may be unfit
}
# What a page takes for granted.
BEFORE = {"dataset": ("engine run videos.txt",), "several-machines": ()}
ROOM = "/srv/talks"  # where the crontab and the units work
ELSEWHERE = (ROOM, "/data")  # directories outside of the reader's, which become the reader's
PLUG = re.compile(r"-q (\S+) .*& (sleep \d+); kill -9")  # here it is killed when it has rows


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.0)) as found:
        yield found


class Reader:
    """Somebody who types what the pages say, in a directory with the files that they speak of."""

    def __init__(self, site: Rehearsal, place: Path) -> None:
        self.place = place
        programs = place / ".venv" / "bin"
        programs.mkdir(parents=True)
        real = " ".join(COMMAND)
        # A probe is paced by itself, whatever the variables say.
        (programs / "engine").write_text(
            f'#!/bin/sh\n[ "$1" = probe ] && set -- "$@" --rate none\nexec {real} "$@"\n'
        )
        (programs / "engine").chmod(0o755)
        self.env = environment(
            HTTPS_PROXY=site.proxy_url_as("reader"),
            SSL_CERT_FILE=site.ca_bundle,
            ENGINE_RATE="none",
            ENGINE_PROCESSES="1",
            ENGINE_THREADS="8",
            ENGINE_PROGRESS="none",
            HOME=str(place),
            XDG_CONFIG_HOME=str(place / ".config"),
            XDG_CACHE_HOME=str(place / ".cache"),
            PATH=f"{programs}:{os.environ['PATH']}",
            PYTHONPATH=str(ROOT),
        )
        self._files(site)

    def _files(self, site: Rehearsal) -> None:
        names = ids(44)
        write = {
            "videos.txt": "\n".join(names[:22]),
            "ids.txt": "\n".join(names[22:32]),
            "links.txt": "\n".join(f"https://youtu.be/{name}" for name in names[:4]),
            "channels.txt": "@made-up-4\nPLmade-up-3\n",
            "proxies.txt": f"{site.proxy_url_as('one')}\n{site.proxy_url_as('two')}\n",
            "archive.txt": f"youtube {names[0]}\n",
            "subtitles/A talk [dQw4w9WgXcQ].en.vtt": "WEBVTT\n\n00:00.000 --> 00:02.000\nhello there\n",
            "old-transcripts/Another [jNQXAC9IVRw].srt": "1\n00:00:00,000 --> 00:00:02,000\nhello\n",
            "saved/9bZkp7q19f0.json": json.dumps([{"text": "hello", "start": 0.0, "duration": 1.5}]),
            "exports/data.json": (ROOT / "tests/data/ytfetcher/data.json").read_text(encoding="utf-8"),
            "tell-me": "#!/bin/sh\ncat > told.json\n",
        }
        for name, content in write.items():
            path = self.place / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        (self.place / "tell-me").chmod(0o755)
        book = openpyxl.Workbook()
        for number, sheet in enumerate((book.active, book.create_sheet())):
            assert sheet is not None
            sheet.append(["topic", "link"])
            for name in names[32 + number * 5 : 37 + number * 5]:
                sheet.append(["wool", f"https://www.youtube.com/watch?v={name}"])
        book.save(self.place / "links.xlsx")

    def type(self, line: str) -> None:
        """A line in a shell; what it leaves in the background is waited for."""
        allowed = next((codes for part, codes in CODES.items() if part in line), (0,))
        done = self._run(["bash", "-c", f"{line}\nwait" if line.endswith("&") else line])
        assert done.returncode in allowed, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr, f"{line}\n{done.stderr}"

    def read(self, block: str) -> None:
        """A block of Python, as a script."""
        done = self._run([sys.executable, "-c", block])
        assert done.returncode == 0, done.stdout + done.stderr

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.place, env=self.env, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture
def reader(site: Rehearsal, tmp_path: Path) -> Reader:
    site.play(replace=True)
    return Reader(site, tmp_path)


def excepted(line: str) -> bool:
    return line.startswith(tuple(EXCEPTED))


def lines_of(page: str) -> list[tuple[str, str]]:
    """(language, line or block) of what a page has one type, in its order."""
    found = []
    for language, block in re.findall(
        r"^ *```(sh|crontab|python)\n(.*?)^ *```$", page, flags=re.MULTILINE | re.DOTALL
    ):
        if language == "python":
            found.append((language, block))
        if language == "python" or block.startswith(PICTURED):
            continue
        for line in filter(None, map(str.strip, block.splitlines())):
            command = re.sub(r"^(\S+\s+){5}", "", line) if language == "crontab" else line
            found.append((language, re.sub(r"\s+# .*", "", command)))
    return found


def in_place(line: str, place: Path) -> str:
    """A line, as it is typed here."""
    for elsewhere in ELSEWHERE:
        line = re.sub(rf"(?<!\S){elsewhere}\b", str(place), line)
    if plug := PLUG.search(line):
        line = line.replace(plug[2], f"until [ -s {plug[1]}/manifest.jsonl ]; do sleep 0.1; done")
    return line


def walk(reader: Reader, page: str) -> None:
    for language, line in lines_of(page):
        if language == "python":
            if IN_A_BUCKET not in line:
                reader.read(line)
        elif not excepted(line):
            reader.type(in_place(line, reader.place))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("head", SECTIONS)
def test_readme(reader: Reader, head: str) -> None:
    walk(reader, sections(text(README))[head])


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(reader: Reader, path: Path) -> None:
    for line in BEFORE.get(path.stem, ()):
        reader.type(line)
    walk(reader, text(path))


def test_every_exception_is_still_needed() -> None:
    lines = [line for path in (README, *PAGES) for _, line in lines_of(text(path))]
    for start_of in EXCEPTED:
        assert any(line.startswith(start_of) for line in lines), start_of


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "engine").write_text("#!/bin/sh\n")
    (programs / "engine").chmod(0o755)
    units = [block for path in PAGES for block in blocks(path, "ini")]
    assert len(units) == 3
    for unit in units:
        name = unit.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(unit.replace(ROOM, str(tmp_path)))
    for path in tmp_path.glob("engine*.*"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
        )
        about = [line for line in done.stderr.splitlines() if path.stem in line]
        assert (done.returncode, about) == (0, []), done.stderr
