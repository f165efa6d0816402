"""What people type: plain words never fail, whatever is among them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.search import query
from engine.search.windows import separated


@pytest.fixture(scope="module")
def table() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'unicode61 remove_diacritics 2')")
    texts = [
        "Émile said café au lait",
        "the climate of change, not of climates",
        "today the climate change",
        "今日は天気がいい",
        "don't use c++",
    ]
    db.executemany("INSERT INTO t VALUES (?)", [(separated(text),) for text in texts])
    yield db
    db.close()


def found(table: sqlite3.Connection, words: str) -> list[int]:
    rows = table.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rowid", (query.plain(words),))
    return [number for (number,) in rows]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("climate change", [2, 3]),
        ("change CLIMATE", [2, 3]),
        ('"climate change"', [3]),
        ('today "climate change"', [3]),
        ("climat*", [2, 3]),
        ("climat", []),
        ("emile CAFÉ", [1]),
        ("cafe\u0301", [1]),
        ("天気", [4]),
        ("気天", []),
        ("C++", [5]),
        ("don't ?!", [5]),
        ("climate AND change", []),
        ("cli(mate) NEAR(", []),
        ('unbalanced "climate', []),
    ],
)
def test_words_find(table: sqlite3.Connection, words: str, numbers: list[int]) -> None:
    assert found(table, words) == numbers


@given(
    words=st.text(
        st.characters(exclude_categories=["Cs"]) | st.sampled_from('"*()^:+-{}\0 aé天'), max_size=40
    )
)
@example(words='"')
@example(words='a"b')
@example(words='""a*"*')
def test_no_words_raise_anything_but_that_there_are_none(table: sqlite3.Connection, words: str) -> None:
    try:
        found(table, words)
    except UsageError as exc:
        assert "no word to search for" in str(exc)
        assert not any(char.isalnum() for char in words)
