"""Words that the code and its pages no longer use, and class names that mean one thing each.

    .venv/bin/python tests/test_words.py            # what is wrong; `scripts/check` does this
    .venv/bin/python tests/test_words.py --write    # make the list of what is still there anew: it may only shrink

`docs/glossary.md` has the words to use instead. Names that lie on disk or in the commands stay what they are: FIXED.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STILL_THERE = Path(__file__).parent / "data" / "retired_words.txt"

# What is not to be written any more, and what to write instead; in any case, also as a part of a name.
RETIRED = {
    "breath": "poll interval",
    "canary": "control video",
    "companion": "helper process",
    "desk": "scheduler",
    "door": "HTTP client",
    "doubted": "unconfirmed",
    "hopeless": "refusals exhausted",
    "keeper": "main loop",
    "lap": "the life of a worker process",
    "lifeline": "control pipe",
    "manner": "delivery",
    "opinion": "second client",
    "stand-in": "rehearsal server",
    "verdict": "retry decision",
    "vouch": "confirm",
    "witness": "the egress's budget record",
}
# As names alone: in a sentence they have an ordinary meaning.
RETIRED_NAMES = {
    "books": "journal reader",
    "doubt": "unconfirmed",
    "hands": "fetch loop",
    "inbox": "request queue",
    "its": "the noun",
    "papers": "state files",
    "patience": "grace",
    "spell": "incident",
    "surprise": "parse error",
}
FIXED: dict[str, set[str]] = {}  # by file: words that are names on disk, fields, options


def _forms(word: str) -> set[str]:
    return {word, word + "s", word + "es", word + "ed"}


_WORDS = {form: word for word in RETIRED for form in _forms(word)}
_NAMES = {form: word for word in RETIRED_NAMES for form in (word, word + "s")}


def words_of(text: str) -> set[str]:
    """The words of a text, those that names are made of among them: `OpenDesk`, `at_the_desk`."""
    joined = re.sub(r"(?i:\bstand[-_]ins?\b)|StandIn", " stand-in ", text)
    return {word.lower() for word in re.findall(r"stand-in|[A-Z]?[a-z]+|[A-Z]+(?![a-z])", joined)}


def names_of(text: str) -> Iterator[str]:
    """Every name that a module binds or uses."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def retired_in(path: Path, text: str) -> set[str]:
    """The retired words of a file."""
    found = {_WORDS[word] for word in words_of(text) & _WORDS.keys()}
    if path.suffix == ".py":
        found |= words_of(path.stem) & RETIRED.keys()
        names = set(names_of(text))
        found |= {
            _NAMES[word] for name in names - {"its"} for word in words_of(name) & _NAMES.keys() - {"its"}
        }
        found |= {"its"} & names
    return found


def retired() -> dict[str, set[str]]:
    """The retired words that are there, by file."""
    paths = [*sorted((ROOT / "engine").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.md"))]
    found = {}
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        words = retired_in(path, path.read_text(encoding="utf-8")) - FIXED.get(name, set())
        if words and name != "docs/glossary.md":  # the page that says what they were
            found[name] = words
    return found


def classes_of_one_name() -> dict[str, set[str]]:
    """The files of each class name that is there more than once."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "engine").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[f"class {node.name}"].append(path.relative_to(ROOT).as_posix())
    return {name: set(paths) for name, paths in found.items() if len(paths) > 1}


def still_there() -> dict[str, set[str]]:
    lines = STILL_THERE.read_text(encoding="utf-8").splitlines() if STILL_THERE.exists() else []
    return {name: set(words.split()) for name, _, words in (line.partition(": ") for line in lines)}


def compared() -> list[str]:
    """What is there and not in the list, and what is in the list and no longer there."""
    found, listed = retired() | classes_of_one_name(), still_there()
    told = []
    for name in sorted(found.keys() | listed.keys()):
        new, gone = (
            found.get(name, set()) - listed.get(name, set()),
            listed.get(name, set()) - found.get(name, set()),
        )
        if new and name.startswith("class "):
            told.append(f"{name}: there is more than one, in {', '.join(sorted(found[name]))}")
        else:
            told += [
                f"{name}: {word!r} is retired; write {(RETIRED | RETIRED_NAMES)[word]}"
                for word in sorted(new)
            ]
        told += [f"{name}: {word!r} is gone; take it from {STILL_THERE.name}" for word in sorted(gone)]
    return told


def test_no_retired_word_and_no_class_name_twice() -> None:
    assert compared() == []


def test_words_are_found_in_names_and_in_prose() -> None:
    code = 'class OpenDesk:\n    """A stand-in."""\n    def take_lap(self) -> None: ...  # overlaps nothing\n'
    assert retired_in(Path("a.py"), code) == {"desk", "stand-in", "lap"}
    assert retired_in(Path("a.py"), "# it hands its doors on\n") == {"door"}
    assert retired_in(Path("a.py"), "hands = [its for its in x]\n") == {"hands", "its"}
    assert retired_in(Path("canary.py"), "") == {"canary"}
    assert retired_in(Path("a.md"), "It stands in a standing queue; its spelling is odd.") == set()


if __name__ == "__main__":
    if "--write" in sys.argv:
        there = retired() | classes_of_one_name()
        lines = [f"{name}: {' '.join(sorted(words))}\n" for name, words in sorted(there.items())]
        STILL_THERE.write_text("".join(lines), encoding="utf-8")
        print(f"{len(lines)} lines in {STILL_THERE.relative_to(ROOT)}")
    problems = compared()
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(bool(problems))
