"""Pieces that every page is made of: a chart in a card, a table, each with buttons that save it."""

import io
import pickle
from collections.abc import Callable, Iterable

import altair as alt
import pandas as pd
import streamlit as st

from analysis.charts.drawing import converted, drawn
from analysis.charts.style import for_page, specification

Chart = alt.Chart | alt.LayerChart
KeyFigure = tuple[str, str, str]  # label, value, note


def card(title: str, note: str, name: str, chart: Callable[..., Chart], *given: object) -> None:
    """The chart of what is `given`, under its title; `note` says what is drawn, for screen readers too."""
    with st.container(border=True):
        _heading(title, note, name, {kind: _figure(kind, chart, given) for kind in ("svg", "png")})
        _chart(name, f"{title}. {note}", given, chart)


def picture(title: str, note: str, name: str, chart: Callable[..., Chart], *given: object) -> None:
    """Images under their title, drawn here and shrunk by the browser to the width that there is."""
    with st.container(border=True):
        _heading(title, note, name, {kind: _figure(kind, chart, given) for kind in ("svg", "png")})
        st.image(drawn(specification(chart(*given))), width="content", alt=f"{title}. {note}")


def table(title: str, note: str, frame: pd.DataFrame, name: str, **shown: object) -> object:
    """A sortable table under its title; what is saved are all columns of `frame`."""
    with st.container(border=True):
        _heading(
            title,
            note,
            name,
            {"csv": lambda: frame.to_csv(index=False).encode(), "parquet": lambda: _parquet(frame)},
        )
        return st.dataframe(frame, hide_index=True, alt=f"{title}. {note}", key=name, **shown)  # type: ignore[call-overload]


def key_figures(figures: Iterable[KeyFigure]) -> None:
    """Large numbers in a row, each with a note below."""
    figures = list(figures)
    for column, (label, value, note) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(label, value, note or None, delta_color="off", delta_arrow="off", border=True)


def remark(text: str) -> None:
    """A sentence between the cards."""
    st.markdown(plain(text))


def hint(text: str) -> None:
    """Why there is nothing here yet, and what brings it."""
    st.info(plain(text), icon=":material/info:")


def plain(text: object) -> str:
    """Text from a table within Markdown: no character of it means anything."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&" else letter for letter in str(text)
    )


def _heading(title: str, note: str, name: str, files) -> None:  # type: ignore[no-untyped-def]  # file ending → its bytes
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        st.markdown(f"**{plain(title)}**  \n{plain(note)}", width="stretch")
        save = st.popover("Save", type="tertiary", key=f"save {name}", on_change="rerun")
        # Made when the menu opens: Streamlit soon forgets a file that it would have to make when it is asked for
        for kind, make in files.items() if save.open else ():
            save.download_button(
                kind.upper(), make(), f"{name}.{kind}", key=f"{name}.{kind}", on_click="ignore"
            )


# Altair takes 0.1 s for a chart, and most reruns have the same data; `name` tells which function draws it
@st.cache_data(max_entries=100, show_spinner=False, hash_funcs={pd.DataFrame: pickle.dumps})
def _chart(
    name: str, alt_text: str, given: tuple[object, ...], _chart: Callable[..., Chart]
) -> None:
    st.altair_chart(for_page(_chart(*given)), alt=alt_text, key=name)


def _figure(kind: str, chart: Callable[..., Chart], given: tuple[object, ...]):  # type: ignore[no-untyped-def]
    return lambda: converted(drawn(specification(chart(*given))), kind)  # only when it is asked for


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()
