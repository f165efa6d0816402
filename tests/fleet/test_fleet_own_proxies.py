"""Two machines that use one proxy outside of any group: it is said at the start of the second, and in the status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import Command, engine
from fleet_night import settings
from patience import HANG_S, until

from engine.errors import UsageError
from engine.fleet import names
from engine.fleet.ledger import Fleet, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.outlook import also_used
from engine.fleet.own_proxies import named, own_proxies, with_environment
from engine.fleet.protocol import to_bytes
from engine.rehearsal import RehearsalSettings, invented_ids, start
from engine.storage.timestamps import utc

PROXIES = ["http://u:secret@127.0.0.1:9", "http://v:secret@127.0.0.1:9", "socks5://127.0.0.1:9"]


def test_a_proxy_is_the_same_whatever_its_password_and_place(tmp_path: Path) -> None:
    file = tmp_path / "proxies.txt"
    file.write_text("\n".join(reversed(PROXIES)))
    file.chmod(0o600)
    typed, listed = own_proxies({"proxy": PROXIES}), own_proxies({"proxies": str(file)})
    assert typed.keys() == listed.keys() and len(typed) == 3
    assert own_proxies({"proxy": [PROXIES[0].replace("secret", "other")]}).keys() < typed.keys()
    assert typed[min(typed)] in {f"p{number:03d} 127.0.0.1:9" for number in (1, 2, 3)}
    assert named({"a": "p001 h:1", "b": "p002 h:1"}, ["a", "b"]) == "p001 h:1 and 1 more of the proxies here"


@pytest.mark.parametrize("run", [{}, {"rate": "1/s"}, {"proxy": PROXIES, "rotating": True}])
def test_machines_that_fetch_directly_or_through_gateways_share_nothing(run: Mapping[str, Any]) -> None:
    assert own_proxies(run) == {}


def test_the_proxy_of_the_environment_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with a password is not handed on to a share's run, which would fetch directly."""
    monkeypatch.setenv("https_proxy", PROXIES[0])
    monkeypatch.setenv("no_proxy", "")
    assert with_environment({"rate": "1/s"}) == {"rate": "1/s", "proxy": [PROXIES[0]]}
    for given in ({"proxy": [PROXIES[1]]}, {"proxies": "pool.txt"}):
        assert with_environment(dict(given)) == given
    monkeypatch.setenv("no_proxy", "youtube.com")
    assert with_environment({}) == {}
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "http://u:secret@:x")
    with pytest.raises(UsageError) as found:
        with_environment({})
    assert "https_proxy" in str(found.value) and "secret" not in str(found.value)


ME, KEY = "me", ShareKey(0)
AT_WORK = {"machine": "other", "hold": 1, "egresses": ["a", "b"]}


@pytest.mark.parametrize(
    ("beat", "files", "found"),
    [
        (AT_WORK, {}, {"other": ["b"]}),
        ({**AT_WORK, "machine": ME}, {}, {}),  # another share of this machine has the same budget
        ({**AT_WORK, "egresses": ["a"]}, {}, {}),
        ({**AT_WORK, "egresses": "b"}, {}, {}),
        ({**AT_WORK, "at_now": "2026-01-01T00:00:00Z"}, {}, {}),  # it is dead
        (AT_WORK, {names.left(KEY, 1): b"{}\n"}, {}),
        (AT_WORK, {names.done(KEY): b"{}\n"}, {}),
        ({}, {}, {}),
    ],
)
def test_who_else_uses_a_proxy(
    beat: dict[str, Any], files: dict[str, bytes], found: dict[str, Any], tmp_path: Path
) -> None:
    ledger = Ledger(str(tmp_path / "ledger"))
    ledger.make(Fleet("f", 1, {}))
    ledger.put(names.beat(KEY), to_bytes({"at_now": utc(), **beat}) if beat else b"damaged")
    for name, data in files.items():
        ledger.put(name, data)
    assert also_used(ledger, ME, ["b", "c"]) == found


def test_the_second_machine_and_the_status_say_so(tmp_path: Path) -> None:
    """Two real shares on one proxy: whichever looks later sees the other, and neither shows the login."""
    env, ledger = settings(HTTPS_PROXY="http://127.0.0.1:9"), tmp_path / "ledger"
    (tmp_path / "videos.txt").write_text("\n".join(invented_ids(60, 5)))
    assert engine("fleet", "plan", tmp_path / "videos.txt", ledger, "--share", "30", **env).code == 0
    with start(RehearsalSettings(latency_s=0.02)) as site:
        site_env = {**env, "ENGINE_PROXY": site.proxy_url.replace("//", "//somebody:secret@")}
        shares = [
            Command(
                "fleet", "share", ledger, str(at), "--work", tmp_path / f"m{at}", "-p", "1", "-t", "2",
                "--rate", "2/s", "--ca-bundle", site.ca_bundle, **site_env,
            )
            for at in (0, 1)
        ]  # fmt: skip
        try:
            until(
                lambda: any("as well" in share.said() for share in shares),
                HANG_S,
                "for one of them to see the other",
            )
            status = engine("fleet", "status", ledger, **env)
            value = json.loads(engine("fleet", "status", ledger, "--json", **env).out)
            said = "".join(share.said() for share in shares)
        finally:
            for share in shares:
                share.kill_all()
    assert f"p001 {site.proxy_url.rpartition('/')[2]} as well" in said and "--groups N" in said
    assert "use the same proxy: " in status.out and "--groups N" in status.out
    [shared] = value["shared_proxies"]
    assert shared["proxies"] == 1 and shared["machines"] == [each["machine"] for each in value["machines"]]
    everything = said + status.said + "".join(map(str, value.values()))
    everything += "".join(path.read_text(errors="replace") for path in ledger.rglob("*.json"))
    assert "secret" not in everything and "somebody" not in everything
