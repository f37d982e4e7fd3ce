"""Pieces that every page is made of: a chart in a card, a table, each with buttons that save it."""

import csv
import pickle
from collections.abc import Callable, Mapping, Sequence

import altair as alt
import pandas as pd
import streamlit as st

from analysis.charts.drawing import converted, drawn
from analysis.charts.style import LEGEND, NothingToDrawError, specification
from analysis.tables.files import FORMULA, HARMLESS

Chart = alt.Chart | alt.LayerChart
NUMBER = st.column_config.NumberColumn
KeyFigure = tuple[str, str, str]  # label, value, note


def card(title: str, note: str, name: str, chart: Callable[..., Chart], *given: object) -> None:
    """Draw the chart of what is `given` under its title, with buttons that save it.

    Args:
        title: What it is.
        note: What is drawn, for screen readers too.
        name: The key of the widget, and the name of the saved file.
        chart: Makes the chart.
        given: Its arguments.
    """
    with st.container(border=True):
        heading = st.container()
        try:
            _chart(name, f"{title}. {note}", given, chart)
        except NothingToDrawError as error:
            hint(f"{title}: {error}.")
            return
        with heading:
            _heading(
                title, note, name, {kind: _figure(kind, chart, given) for kind in ("svg", "png")}
            )


def picture(title: str, note: str, name: str, chart: Callable[..., Chart], *given: object) -> None:
    """Draw images as `card` draws a chart, shrunk by the browser to the width that there is."""
    with st.container(border=True):
        _heading(title, note, name, {kind: _figure(kind, chart, given) for kind in ("svg", "png")})
        st.image(drawn(specification(chart(*given))), width="content", alt=f"{title}. {note}")


def table(
    title: str,
    note: str,
    frame: pd.DataFrame,
    name: str,
    columns: Mapping[str, object],
    **shown: object,
) -> None:
    """Draw a sortable table under its title, with buttons that save all columns of `frame`.

    Args:
        title: What it is.
        note: What the reader has to know, for screen readers too.
        frame: The rows.
        name: The key of the widget, and the name of the saved file.
        columns: The columns that are shown, in order, with Streamlit's configuration of each.
        shown: What else `st.dataframe` takes.
    """
    with st.container(border=True):
        _heading(
            title,
            note,
            name,
            {"csv": lambda: as_csv(frame), "parquet": frame.to_parquet},
        )
        st.dataframe(  # type: ignore[call-overload]
            frame,
            hide_index=True,
            alt=f"{title}. {note}",
            key=name,
            column_order=list(columns),
            column_config=columns,
            **shown,
        )


def key_figures(figures: Sequence[KeyFigure]) -> None:
    """Draw large numbers in a row, each with a note below."""
    for column, (label, value, note) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(label, value, note or None, delta_color="off", delta_arrow="off", border=True)


def remark(text: str) -> None:
    """Draw a sentence between the cards."""
    st.markdown(plain(text))


def hint(text: str) -> None:
    """Say why there is nothing here yet, and what brings it."""
    st.info(plain(text), icon=":material/info:")


def plain(text: object) -> str:
    """Return text for Markdown in which no character means anything."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&" else letter for letter in str(text)
    )


def as_csv(frame: pd.DataFrame) -> bytes:
    """Return a table as a CSV file in which no text is a formula."""
    harmless = frame.replace(FORMULA, HARMLESS, regex=True)
    return harmless.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()


def _heading(title: str, note: str, name: str, files: Mapping[str, Callable[[], bytes]]) -> None:
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        st.markdown(f"**{plain(title)}**  \n{plain(note)}", width="stretch")
        save = st.popover("Save", type="tertiary", key=f"save {name}", on_change="rerun")
        # Made when the menu opens: Streamlit soon forgets a file that it makes only when asked
        for kind, make in files.items() if save.open else ():
            save.download_button(
                kind.upper(), make(), f"{name}.{kind}", key=f"{name}.{kind}", on_click="ignore"
            )


# Altair takes 0.1 s for a chart, and most reruns have the same data; `name` says what draws it
@st.cache_data(max_entries=100, show_spinner=False, hash_funcs={pd.DataFrame: pickle.dumps})
def _chart(
    name: str, alt_text: str, given: tuple[object, ...], _chart: Callable[..., Chart]
) -> None:
    st.altair_chart(_chart(*given).configure_legend(**LEGEND), alt=alt_text, key=name)


def _figure(kind: str, chart: Callable[..., Chart], given: tuple[object, ...]):  # type: ignore[no-untyped-def]
    return lambda: converted(drawn(specification(chart(*given))), kind)  # only when asked for
