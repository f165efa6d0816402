"""Open files, shared memory, certificates, and the proxies."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator

from engine.doctor.finding import Finding, Level, ok, problem, warning
from engine.errors import UsageError
from engine.model import EgressSpec
from engine.output.formats import FORMATS
from engine.units import size

SHM = "/dev/shm"  # noqa: S108 - looked at, not written to
SHM_BYTES = 1 << 20
# Open files of a worker: a connection for each thread, and while it publishes its record and at most all renderings;
# an idle connection for each egress, and journals, budget, locks and pipes throughout.
A_THREAD, AN_EGRESS, THROUGHOUT = 2 + len(FORMATS), 1, 48
A_PROCESS = 8  # pipes and locks that the supervisor has for each
PROXY_S = 20.0


def descriptors(processes: int, threads: int, egresses: int = 1) -> Iterator[Finding]:
    """`ulimit -n` counts for each process by itself; the supervisor needs a few for each worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    worker, supervisor = A_THREAD * threads + AN_EGRESS * egresses, A_PROCESS * processes
    needed = max(worker, supervisor) + THROUGHOUT
    seen = f"{'no limit' if soft == resource.RLIM_INFINITY else f'{soft:,}'} for each process"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        yield ok("open files", f"{seen}; {processes} x {threads} take up to about {needed:,}")
        return
    within = hard == resource.RLIM_INFINITY or hard >= needed
    yield Finding(
        Level.PROBLEM if soft < THROUGHOUT + threads else Level.WARNING,
        "open files",
        f"{seen}, but {processes} x {threads} may take {needed:,}",
        f"{f'ulimit -n {needed}' if within else 'have the hard limit raised'}, or use fewer threads (-t)",
    )


def shared_memory() -> Iterator[Finding]:
    """Worker processes synchronise by semaphores, which lie in shared memory."""
    import multiprocessing

    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as exc:
        yield problem(SHM, f"no semaphore can be made: {exc}", f"mount a writable tmpfs on {SHM}")
        return
    if not os.path.isdir(SHM):
        yield ok("semaphores", "they work")
        return
    free = shutil.disk_usage(SHM).free
    if free < SHM_BYTES:
        yield warning(SHM, f"{size(free)} free", f"remove what is left there (ls -l {SHM})")
    else:
        yield ok(SHM, f"semaphores work, {size(free)} free")


def authorities(ca_bundle: str | None) -> Iterator[Finding]:
    """The certificates that the site's (or a proxy's) is checked against can be read."""
    from engine.network.sockets import tls_context

    try:
        count = tls_context(ca_bundle).cert_store_stats()["x509_ca"]
    except UsageError as exc:
        yield problem("ca bundle", str(exc), "give one that can be read, or none: then certifi's is used")
        return
    name = ca_bundle or "certifi's"
    if not count:
        yield problem("ca bundle", f"{name} holds no authority", "give another with --ca-bundle")
    else:
        yield ok("ca bundle", f"{name}, {count} authorities")


def proxies(egresses: tuple[EgressSpec, ...], ca_bundle: str | None) -> Iterator[Finding]:
    """One small request through each proxy; nothing when there is none."""
    from engine.youtube.proxy_check import check

    if not egresses:
        return
    bad = 0
    for proxy in check(egresses, ca_bundle=ca_bundle, deadline_s=PROXY_S):
        if proxy.failure is not None:
            bad += 1
            said = f"{proxy.failure.kind}: {proxy.failure.message}"
            yield warning(proxy.name, said, "fix it, or take it out of the list")
    if bad == len(egresses):
        yield problem("proxies", "none works", "`engine proxies check` tries them again")
    else:
        yield ok("proxies", f"{len(egresses) - bad:,} of {len(egresses):,} work")
