"""The Streamlit page: a script that Streamlit runs again at each touch. All of it is one look at the queue's files.

Nothing of `st` is called outside the script's own thread; what moves is a fragment, which runs each second. The run
is a process of its own. A change that the fragment cannot draw (the slider moved elsewhere, a run that began or
ended) has the whole script run once more. What is foreign is shown as text, never as Markdown.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import Batch, LiveSettings
from engine.errors import EngineError
from engine.monitor.batch_status import BatchStatus
from engine.page import cache
from engine.page.index import RowIndex, TableFilter
from engine.page.launch import Launcher
from engine.page.streamlit_server import served
from engine.page.views import limit_words
from engine.units import duration

COLUMNS = ("video_id", "status", "kind", "title", "channel", "language", "finished_at")


def main() -> None:
    st.set_page_config(page_title="engine", layout="wide")
    if not served.lets_in(st.query_params):
        st.error("Open the address that `engine page --streamlit` printed: it holds the token.")
        st.stop()
    batch = Batch(served.root)
    st.title("Transcripts")
    st.text(st.session_state.pop("message", None) or served.root)
    try:
        status, settings = batch.status(), _settings(batch)
    except EngineError as exc:
        st.text(str(exc))
        st.stop()
    st.session_state["drawn"] = (status.state, settings)
    with st.sidebar:
        controls(batch, status, settings)
    watch(batch)


def controls(batch: Batch, status: BatchStatus, settings: LiveSettings | None) -> None:
    """The slider, the toggle, and the buttons. A widget's state is set before the widget is made."""
    if settings and st.session_state.get("followed") != settings:
        st.session_state["followed"] = settings
        number = settings.processes * settings.threads
        st.session_state["sequential"] = number == 1
        if number > 1:
            st.session_state["at_once"] = min(number, 20)
    sequential = st.toggle("One after the other", key="sequential", on_change=move, args=(batch,))
    st.session_state.setdefault("at_once", 8)
    st.slider("Videos at once", 2, 20, key="at_once", disabled=sequential, on_change=move, args=(batch,))
    if status.live:
        paused = status.state == "paused"
        st.button(
            "Go on" if paused else "Pause", on_click=act, args=(batch.resume if paused else batch.pause,)
        )
        st.button("Stop", on_click=act, args=(batch.stop,))
    st.text_area("Links, ids, channels or playlists, one a line", key="text", height=150)
    st.text_input("Rate", "0.5/s", key="rate", disabled=status.live)
    st.button("Add" if status.live else "Start", type="primary", on_click=start, args=(batch,))


def start(batch: Batch) -> None:
    state = st.session_state
    wanted = {"text": state["text"], "rate": state["rate"]}
    wanted |= {"sequential": True} if state["sequential"] else {"at_once": state["at_once"]}
    if act(lambda: Launcher(batch).start(wanted)):
        state["text"] = ""


def move(batch: Batch) -> None:
    """Have a live run follow the slider and the toggle."""
    if _settings(batch) is not None:
        threads = 1 if st.session_state["sequential"] else st.session_state["at_once"]
        act(lambda: f"{threads} at once" if batch.set(processes=1, threads=threads) else None)


def act(what: Any) -> bool:
    """Do it, and keep what is to be said about it."""
    try:
        st.session_state["message"] = what()
        return True
    except EngineError as exc:
        st.session_state["message"] = str(exc)
        return False


@st.fragment(run_every=1.0)
def watch(batch: Batch) -> None:
    """What moves: progress, metrics (they flow on a phone), and the newest rows."""
    status, settings = batch.status(), _settings(batch)
    if (status.state, settings) != st.session_state["drawn"]:
        st.rerun()
    done = f"{status.state}: {status.final:,} of {status.total:,}"
    done = done if status.total else "nothing yet: paste some links beside, and start"
    st.progress(status.final / max(1, status.total), done)
    eta = duration(status.eta_s["high"]) if status.eta_s and status.eta_s["high"] else "–"
    shown: dict[str, Any] = {name: getattr(status, name) for name in ("ok", "absent", "failed", "in_flight")}
    shown |= {"a minute": round(60 * status.rate_per_s["1m"], 1), "time left": eta}
    with st.container(horizontal=True, gap="medium"):
        for label, value in shown.items():
            st.metric(label.replace("_", " "), value, width="content")
    st.caption(f"limited by {limit_words(status.limited_by)}")
    index = RowIndex(batch.root, cache.index_path(batch.root))
    any(not index.follow() for _ in range(4))
    rows = [each.row for each in index.page(TableFilter(), count=50).rows]
    if table := [{name: getattr(row, name) or "" for name in COLUMNS} for row in rows]:
        st.dataframe(table, hide_index=True, width="stretch")


def _settings(batch: Batch) -> LiveSettings | None:
    return batch.live_settings() if batch.status().state != "empty" else None


main()
