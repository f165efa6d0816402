"""Fixtures around the small site of `youtube_site`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from youtube_site import Site, permit

from engine.model import EgressSpec
from engine.network.client import Client


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def site(authority: trustme.CA, tmp_path: Any) -> Iterator[Site]:
    found = Site(authority, str(tmp_path))
    yield found
    found.close()


@pytest.fixture
def make_client(site: Site) -> Iterator[Callable[..., Client]]:
    """A client with one egress through the site (or others) that grants every permit at once."""
    clients = []

    def make(*specs: EgressSpec, **options: Any) -> Client:
        options = {
            "acquire": permit,
            "ca_bundle": site.ca_bundle,
            "connect_s": 60.0,
            "read_s": 60.0,
            **options,
        }
        client = Client(specs or (EgressSpec("p001", site.proxy_url),), **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def direct(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site reached without a proxy: YouTube's name leads to loopback."""
    site.through_proxy = False
    loopback = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", site.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [loopback])
    return site
