"""A run by many egresses: proxies with users of their own, each with connections of its own and a rate.

The floor is the same fetch through the same proxies, one after the other, without a rate. The figures of a steady
run leave out its first and last tenth, by when its files were made. With trouble, some proxies stop answering, some
lose their connections and some are refused (`egress_trouble`).
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from children import ENGINE, HERE, UNSYNCED, Measured, measured
from rows import ids
from tables import middle, spread, table

from engine.rehearsal import Rehearsal, RehearsalSettings, start

PROCESSES, LATENCY_S = 2, 0.05
SETTLED_S, STRETCH_S = (
    40.0,
    60.0,
)  # with trouble: when it begins, for the start is a burst; and how long it is seen


def proxies(site: Rehearsal, count: int) -> str:
    """A list of as many proxies; an egress of the rehearsal server is a user of its proxy."""
    where = site.proxy_url.partition("://")[2]
    return "".join(f"http://u{number:04}:secret@{where}\n" for number in range(1, count + 1))


def turn(name: str, wanted: Namespace, seed: int) -> dict[str, float]:
    """One way's figures a video."""
    settings = RehearsalSettings(latency_s=LATENCY_S, real_sizes=True)
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as directory, start(settings) as site:
        room = Path(directory)
        (room / "ids.txt").write_text("\n".join(ids(wanted.videos, seed)) + "\n")
        (room / "proxies.txt").write_text(proxies(site, wanted.egresses))
        (room / "o").mkdir()
        before_s = site.stats()["cpu_s"]
        item = (floor if name == "floor" else engine)(room, site, wanted)
        stats = site.stats()
        made = sorted(path.stat().st_mtime for path in (room / "o").glob("*/*.json"))
        if len(made) < wanted.videos:
            raise SystemExit(f"{wanted.videos - len(made)} files are missing:\n{item.out[-2000:]}")
    tenth = len(made) // 10
    steady = made[tenth : len(made) - tenth]
    return {
        "cpu_ms": item.cpu_s * 1000 / len(made),
        "rate": len(made) / item.wall_s,
        "steady": len(steady) / (steady[-1] - steady[0]),
        "tls": stats["tls_handshakes"] / len(made),
        "site_ms": (stats["cpu_s"] - before_s) * 1000 / len(made),
    }


def floor(room: Path, site: Rehearsal, wanted: Namespace) -> Measured:
    command = [sys.executable, HERE / "bare.py", room / "o", room / "ids.txt", room / "counter"]
    through = [str(wanted.threads), "--through", room / "proxies.txt", site.ca_bundle, "--masked"]
    return measured(*[[*command, *through]] * PROCESSES, changes={} if wanted.sync else UNSYNCED)


def engine(room: Path, site: Rehearsal, wanted: Namespace) -> Measured:
    options = ["-p", str(PROCESSES), "-t", str(wanted.threads), "--rate", wanted.rate, "--progress", "none"]
    where = [
        "-q",
        room / "q",
        "-o",
        room / "o",
        "--proxies",
        room / "proxies.txt",
        "--ca-bundle",
        site.ca_bundle,
    ]
    command = [*ENGINE, "run", room / "ids.txt", *where, *options]
    return measured(command, changes={} if wanted.sync else UNSYNCED)


def kept(wanted: Namespace) -> None:
    """Print what the egresses did that nothing happened to, beside the same without trouble."""
    import egress_trouble  # `children` knows where the tests' helpers are

    options = f"-p {PROCESSES} -t {wanted.threads}"
    trial = egress_trouble.Trial(
        wanted.egresses, float(wanted.rate), options, SETTLED_S, STRETCH_S, LATENCY_S
    )
    for number in range(wanted.rounds):
        with tempfile.TemporaryDirectory(prefix="engine-bench-") as directory:
            came = egress_trouble.kept(Path(directory), trial)
        print(
            f"{number + 1}: {wanted.egresses:,} egresses at {wanted.rate}, {options}: the others' requests/s in"
            f" {STRETCH_S:g} s of trouble {came.troubled:.1f}, without {came.calm:.1f}: {100 * came.share:.0f} %;"
            f" in each 10 s, %: {came.shares()}",
            flush=True,
        )


def run(wanted: Namespace) -> None:
    """Print the table of a run by so many egresses."""
    if wanted.trouble:
        kept(wanted)
        return
    names = ("floor", "engine")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(wanted.rounds):
        for name in sorted(names, reverse=bool(number % 2)):
            found[name].append(turn(name, wanted, number))
    print(
        f"{wanted.egresses:,} egresses at {wanted.rate}, {PROCESSES} x {wanted.threads} threads, "
        f"{LATENCY_S * 1000:g} ms a request, {wanted.videos:,} videos, {wanted.rounds} rounds, masked; start and end "
        "are included, but for those in the middle\n"
    )
    forms = (("cpu_ms", ".2f"), ("rate", ",.1f"), ("steady", ",.1f"), ("tls", ".2f"), ("site_ms", ".2f"))
    table(
        ("", "CPU ms a video", "x", "videos/s", "in the middle", "TLS a video", "stand-in's CPU ms a video"),
        (
            (name, *_cells(found, name, forms))
            for name in names
        ),
    )  # fmt: skip


def _cells(
    found: dict[str, list[dict[str, float]]], name: str, forms: tuple[tuple[str, str], ...]
) -> list[str]:
    cells = [spread([value[what] for value in found[name]], form) for what, form in forms]
    pairs = zip(found[name], found["floor"], strict=True)
    ratio = f"{middle([value['cpu_ms'] / base['cpu_ms'] for value, base in pairs]):.2f}"
    return [cells[0], ratio, *cells[1:]]
