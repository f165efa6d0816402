"""`engine config show`: each value, where it comes from, and no password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import group
from engine.queue.making import make_queue
from engine.settings import Frozen, freeze


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("ENGINE_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def show(queue: Path, *args: str) -> str:
    return (
        CliRunner().invoke(group, ["config", "show", "-q", str(queue), *args], catch_exceptions=False).output
    )


def test_where_each_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "engine.toml").write_text("attempts = 9\nthreads = 3\n")
    monkeypatch.setenv("ENGINE_DEADLINE", "30")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/some/ca.pem")
    value = json.loads(show(tmp_path / "q", "--profile", "gentle", "--json"))
    found = {name: (option["value"], option["from"]) for name, option in value["options"].items()}
    assert value["schema_version"] == 1
    assert found["attempts"] == (9, str(tmp_path / "q" / "engine.toml"))
    assert found["threads"] == (4, "profile gentle")
    assert found["deadline"] == (30.0, "ENGINE_DEADLINE")
    assert found["ca-bundle"] == ("/some/ca.pem", "REQUESTS_CA_BUNDLE")
    assert found["grace"] == (15.0, "default")
    assert value["files"] == {
        str(tmp_path / "q" / "engine.toml"): True,
        str(tmp_path / "config" / "engine" / "config.toml"): False,
    }
    (tmp_path / "q" / "engine.toml").write_text('attempts = 9\nca-bundle = "own.pem"\n')
    own = json.loads(show(tmp_path / "q", "--json"))["options"]["ca-bundle"]
    assert own == {"value": str(tmp_path / "q" / "own.pem"), "from": str(tmp_path / "q" / "engine.toml")}
    lines = show(tmp_path / "q").splitlines()
    assert any(line.split() == ["attempts", "9", str(tmp_path / "q" / "engine.toml")] for line in lines)
    assert not (tmp_path / "q" / "FORMAT").exists()  # it makes no queue


def test_what_is_frozen_is_shown_as_it_is(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    freeze(queue, Frozen("/data/out", ("de", "en"), captions="manual"), frozenset())
    found = json.loads(show(tmp_path / "q", "--json"))["options"]
    assert found["languages"]["value"] == "de,en"
    assert found["manual-only"]["value"] is True
    assert found["output"]["value"] == "/data/out"
    assert {found[name]["from"] for name in ("languages", "manual-only", "output", "format")} == {
        "the first run of this queue, for good"
    }


def test_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_PROXY", "http://me:s3cr3t@proxy:80 socks5://you:s3cr3t@other:1080")
    for args in ((), ("--json",)):
        text = show(tmp_path / "q", *args)
        assert "s3cr3t" not in text
        assert "p001 proxy:80" in text
        assert "p002 other:1080" in text
    monkeypatch.setenv("ENGINE_PROXY", "gopher://me:s3cr3t@proxy:80")
    text = show(tmp_path / "q")
    assert "s3cr3t" not in text
    assert "proxies speak http" in text


def test_the_environments_proxy_is_shown_without_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cret@h:3128")
    said = show(tmp_path / "q", "--json")
    assert json.loads(said)["options"]["proxy"] == {"value": ["p001 h:3128"], "from": "HTTPS_PROXY"}
    assert "s3cret" not in said
    monkeypatch.setenv("ENGINE_PROXY", "http://other:1")
    assert json.loads(show(tmp_path / "q", "--json"))["options"]["proxy"]["from"] == "ENGINE_PROXY"
