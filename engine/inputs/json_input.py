"""JSON: one value a line, or a list in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NoReturn, TextIO

from engine.errors import UsageError
from engine.inputs.column_detection import is_known
from engine.inputs.line import SHOWN_CHARS, Line, physical_lines, rejected, without_surrogates
from engine.inputs.sources import find_source
from engine.inputs.takeout_history import element, is_element
from engine.inputs.takeout_playlists import item as playlist_item
from engine.inputs.video_ids import video_id, why_not

MAX_LINE_CHARS = 1 << 20
MAX_FILE_BYTES = 256 << 20
MAX_DEPTH = 64
ID_KEYS = ("video_id", "id", "url")
LIST_KEYS = ("videos", "items", "entries")
SITE_KEYS = ("ie_key", "extractor_key")
"""Where yt-dlp says of which site a video is."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value


_decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def read_json_lines(stream: TextIO, file: str, *, column: str | None = None) -> Iterator[Line]:
    """One JSON value a line, a text or an object; blank lines are not counted. A bad line is rejected."""
    for number, raw, too_long in physical_lines(stream, MAX_LINE_CHARS):
        text = raw.strip(" \t\r\n\ufeff")
        if too_long:
            yield rejected(file, number, text, f"longer than {MAX_LINE_CHARS} characters")
        elif text:
            try:
                value = _parse(text)
            except ValueError as exc:
                yield rejected(file, number, text, f"not JSON: {exc}")
            else:
                yield _line(value, text, file, number, column)


def read_json(stream: BinaryIO, file: str, *, column: str | None = None) -> Iterator[Line]:
    """A JSON list of texts and objects, or an object with such a list as `videos`, `items` or `entries`.

    Playlists within playlists, as yt-dlp writes the tabs of a channel, are one list of videos, each with the
    title of its own as `playlist`. A list has to be read whole, so its size is limited. UsageError if it is
    larger or is not JSON.
    """
    data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(
            f"{file}: a JSON list of more than {MAX_FILE_BYTES >> 20} MiB. "
            "Write one value a line instead (.jsonl); that has no limit."
        )
    try:
        text = data.decode("utf-8-sig", "replace")
        del data
        document = _parse(text.strip(" \t\r\n\ufeff")) if text.strip() else []
    except ValueError as exc:
        raise UsageError(f"{file}: not JSON: {exc}. If it holds one value a line, name it .jsonl.") from None
    return _elements(document, file, column)


def read_values(values: Iterable[object], file: str, *, column: str | None = None) -> Iterator[Line]:
    """The texts and mappings that a program hands over, each as if it stood in a JSON list.

    A number that JSON cannot hold (a table's NaN) becomes null, any other value that it cannot hold its text. Raises
    UsageError for a value with itself inside.
    """
    for number, value in enumerate(values, 1):
        item: object = value
        if isinstance(value, Mapping):
            plain = {str(key): _finite_or_none(each) for key, each in value.items()}
            try:
                item = _parse(json.dumps(plain, default=_plain))
            except (ValueError, RecursionError) as exc:
                raise UsageError(f"{file}, item {number}: {exc}") from None
        text = None if isinstance(item, str | dict) else repr(item)[:SHOWN_CHARS]
        yield _line(item, text, file, number, column)


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: object) -> object:
    """What JSON can hold of a value that it cannot: the number in a numpy scalar, else the text."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _elements(document: Any, file: str, column: str | None) -> Iterator[Line]:
    values = document if isinstance(document, list) else [document]
    if isinstance(document, dict) and not _is_playlist(document):
        values = next((document[key] for key in LIST_KEYS if isinstance(document.get(key), list)), values)
    for number, value in enumerate(_unnested(values, None), 1):
        yield _line(value, None, file, number, column)


def _is_playlist(value: Any) -> bool:
    """Whether this is a playlist as yt-dlp writes it, `yt-dlp --flat-playlist -J`."""
    return isinstance(value, dict) and "_type" in value and isinstance(value.get("entries"), list)


def _unnested(values: list[Any], playlist: Any) -> Iterator[Any]:
    """The values that are no playlists, with the title of theirs."""
    for value in values:
        if _is_playlist(value):
            yield from _unnested(value["entries"], value.get("title") or playlist)
            continue
        if isinstance(playlist, str) and isinstance(value, dict) and value.get("playlist") is None:
            value["playlist"] = playlist
        yield value


def _parse(text: str) -> Any:
    """The value of a JSON text that can be written as JSON again. ValueError says why it cannot."""
    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"{exc.msg} (line {exc.lineno}, column {exc.colno})") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    # Only an escape can bring a lone surrogate, which no UTF-8 file can hold.
    return _clean(value) if "\\u" in text else value


def _is_deep(value: Any) -> bool:
    # Elements of a top-level list and the values of an object that holds one are two levels of their own.
    level = [value]
    for _ in range(MAX_DEPTH + 2):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(child for child in item.values() if isinstance(child, (dict, list)))
            elif isinstance(item, list):
                inner.extend(child for child in item if isinstance(child, (dict, list)))
        if not inner:
            return False
        level = inner
    return True


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): _clean(item) for key, item in value.items()}
    return value


def _line(value: Any, text: str | None, file: str, number: int, column: str | None) -> Line:
    if isinstance(value, str):
        found = video_id(value)
        if found is not None:
            return Line(file, number, value, found, {}, None)
        return rejected(file, number, value, why_not(value))
    if not isinstance(value, dict):
        return rejected(file, number, _shown(value, text), f"{_kind(value)}, not a text or an object")
    if column is None and is_element(value):
        return element(value, file, number)
    if column is None and (item := playlist_item(value, file, number)) is not None:
        return item
    if (site := _other_site(value)) is not None:
        return rejected(file, number, _shown(value, text), f"of the site {site!a}, not of YouTube")
    for key in _keys(value, column):
        given = value[key]
        if isinstance(given, str) and (found := video_id(given)) is not None:
            # The object was made by the parser for this line alone, so it can become the input itself.
            del value[key]
            return Line(file, number, given, found, value, None)
    for key in _keys(value, column):
        given = value[key]
        if isinstance(given, str) and find_source(given) is not None:
            return rejected(file, number, given, why_not(given), column=key)  # which names a source
    return rejected(file, number, _shown(value, text), _why(value, next(_keys(value, column), None), column))


def _keys(value: Mapping[str, Any], column: str | None) -> Iterator[str]:
    """The keys to look for a video in, the best first."""
    if column is not None:
        wanted = column.strip().casefold()
        yield from [column] if column in value else [key for key in value if key.strip().casefold() == wanted]
        return
    yield from (key for key in ID_KEYS if key in value)
    yield from (key for key in value if key not in ID_KEYS and is_known(key))


def _other_site(value: Mapping[str, Any]) -> str | None:
    """The site that yt-dlp took this from, if it is another; ids of eleven characters exist elsewhere too."""
    site = next((value[key] for key in SITE_KEYS if isinstance(value.get(key), str)), "youtube")
    return None if site.lower().startswith("youtube") else site[:40]


def _why(value: Mapping[str, Any], key: str | None, column: str | None) -> str:
    if key is None:
        return f"no {column!a} in the object" if column else "no video_id, id or url in the object"
    given = value[key]
    return f"{key}: {why_not(given) if isinstance(given, str) else _kind(given) + ', not a text'}"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def _shown(value: Any, text: str | None) -> str:
    return text if text is not None else json.dumps(value, ensure_ascii=False)
