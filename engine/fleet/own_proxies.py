"""Proxies that are a machine's own. Nothing keeps two machines off one of them, so it is noticed and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.budget.state import egress_key
from engine.model import EgressSpec
from engine.network.proxies import egresses, environment_proxy, parse_proxy, proxy_variables, read_proxies

SHARED_ADVICE = (
    "each machine sends at the full rate, so together they send more than was set. Give each machine proxies of its "
    "own, or plan a fleet with `--groups N --proxies FILE`, which keeps them apart"
)


def egress_hash(spec: EgressSpec) -> str:
    """What the ledger knows of a proxy: a hash of its scheme, host, port and user."""
    return f"{egress_key(spec):016x}"


def own_proxies(run: Mapping[str, Any]) -> dict[str, str]:
    """{hash: number and address} of the proxies that these options of a run name. A rotating gateway is left out:
    behind it each connection has an address of its own. Raises UsageError."""
    if run.get("rotating"):
        return {}
    urls = [parse_proxy(text, f"--proxy {number}") for number, text in enumerate(run.get("proxy") or (), 1)]
    if run.get("proxies"):
        urls += read_proxies(run["proxies"])[0]
    return {egress_hash(spec): spec.name for spec in egresses(urls)} if urls else {}


def with_environment(run: dict[str, Any]) -> dict[str, Any]:
    """These options; where they name no proxy, with that of HTTPS_PROXY, which a run of a share would not see: a
    variable with a password is not handed on to children. Raises UsageError."""
    found = None if run.get("proxy") or run.get("proxies") else environment_proxy(proxy_variables())
    return {**run, "proxy": [found[0]]} if found else run


def named(own: Mapping[str, str], some: Sequence[str]) -> str:
    """Some of these proxies, in words and without logins: the first one, and how many more."""
    more = f" and {len(some) - 1:,} more of the proxies here" if len(some) > 1 else ""
    return f"{own[some[0]]}{more}"
