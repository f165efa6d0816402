"""Any JSON, with the names that YouTube's answers have among its keys: for properties by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "reason", "messages", "errorScreen", "subreason", "runs", "text"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
