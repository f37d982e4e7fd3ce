"""The page Speed: times by batch size, ratios to the pipeline, quality beside speed."""

import pandas as pd
import streamlit as st

from analysis.charts import speed as charts
from analysis.charts import views
from analysis.charts.labels import machines
from analysis.dashboard.parts import NUMBER, card, hint, remark, table
from analysis.dashboard.selection import Selection
from analysis.timing import comparison
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

MEASURES = {"end to end": "end_to_end", "device": "device"}
MEASUREMENTS = 6  # side by side
COLUMNS = {
    "subject": "Subject",
    "batch_size": "Batch",
    "us": NUMBER("µs", format="%.3g"),
    "lower": NUMBER("95 % interval from", format="%.3g"),
    "upper": NUMBER("to", format="%.3g"),
    "fast_us": NUMBER("Fast, µs", format="%.3g"),
    "processes": "Processes",
    "images": "Images",
    "verdict": "Verdict",
    "reason": "Why",
    "limit_share": NUMBER("Of limit", format="percent"),
    "peak_mib": NUMBER("Peak MiB", format="%.0f"),
    "max_difference": NUMBER("Differs by", format="%.1e"),
    "share_95": NUMBER(f"≥ {THRESHOLD}", format="percent"),
    "share_99": NUMBER(f"≥ {STRICT_THRESHOLD}", format="percent"),
    "first_call_sec": NUMBER("First call, s", format="%.3g"),
    "calls": "Single calls",
    "p50_us": NUMBER("p50, µs", format="%.3g"),
    "p90_us": NUMBER("p90, µs", format="%.3g"),
    "p99_us": NUMBER("p99, µs", format="%.3g"),
}


def show(selection: Selection) -> None:
    """Draw the page: one measurement whole, then all of them side by side."""
    timings = selection.table("timings")
    found = machines(timings)
    if found.empty:
        hint(
            "No timings yet: they are measured when a search ends, or by: "
            "python -m analysis.timing --run NAME"
        )
        return
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    label = left.selectbox(
        "Measurement",
        found.label.tolist(),
        key="measurement",
        bind="query-params",
        help="Times compare only within one measurement: same machine, same moment, series in turn",
    )
    measure = right.segmented_control(
        "Time",
        list(MEASURES),
        default="end to end",
        required=True,
        key="time",
        bind="query-params",
        help="End to end: uint8 in host memory to float32 in host memory. "
        "Device: input already there.",
    )
    one = found[found.label == label].iloc[0]
    rows = timings[timings.run == one.run]
    turns = comparison.turns(rows, one.session)
    series = comparison.summary(turns)
    for device in dict.fromkeys(series.device):
        _device(
            rows, turns, series[series.device == device], device, MEASURES[measure or "end to end"]
        )
    _side_by_side(timings, found)


def _device(
    rows: pd.DataFrame, turns: pd.DataFrame, series: pd.DataFrame, device: str, measure: str
) -> None:
    name = views.DEVICES[device]
    count = comparison.processes(series)
    st.header(name, anchor=False)
    remark(
        f"Verdicts of {len(series)} series: {comparison.verdicts(series)}. What is invalid is "
        "drawn, but no result; the table says why."
    )
    if not series.verdict.isin(comparison.RESULTS).any():
        hint("No valid timing yet: type python -m analysis.timing --run NAME")
    measured, quoted = views.measured(series, measure), views.study_marks(rows, device)
    dashed = "" if quoted.empty else "; dashed: the study's numbers, on its own machine"
    card(
        f"Time an image, {name}",
        f"Median of {count}; bars: its 95 % interval{dashed}.",
        f"times {device}",
        charts.times,
        measured,
        quoted,
    )
    ratios = views.speedups(turns, series, device)
    left, right = st.columns(2)
    with left:
        if ratios.empty:
            hint("No series of the pipeline in this measurement, so nothing to compare with.")
        else:
            card(
                "Times as fast as the pipeline",
                f"At the same batch size, by pairs of turns in {count}, 95 % interval.",
                f"speedup {device}",
                charts.speedup,
                ratios,
            )
            _crossovers(turns, series, device)
    with right:
        bests = views.fronted(series)
        if not bests.empty:
            card(
                "Quality and speed",
                "At its best batch size; on the line: not beaten at "
                f"≥ {THRESHOLD}, ≥ {STRICT_THRESHOLD} and time.",
                f"pareto {device}",
                charts.pareto,
                bests,
            )
    table(
        f"Every series, {name}",
        "µs an image: median and its 95 % interval; fast: where nothing disturbs, the 10 % "
        "quantile of turns; p50, p90, p99: of single calls.",
        _with_calls(measured).sort_values("us"),
        f"series {device}",
        COLUMNS,
    )


def _with_calls(series: pd.DataFrame) -> pd.DataFrame:
    """Add the quantiles of single calls in µs."""
    quantiles = {f"{name}_us": 1e6 * series[f"{name}_sec"] for name in ("p50", "p90", "p99")}
    return series.assign(**quantiles)


def _crossovers(turns: pd.DataFrame, series: pd.DataFrame, device: str) -> None:
    with st.expander("Crossover: at which batch sizes it is faster than the pipeline"):
        st.text(
            "\n".join(
                f"{subject}: {comparison.crossover_text(turns, series, subject, device)}"
                for subject in comparison.networks(series, device)
            )
        )


def _side_by_side(timings: pd.DataFrame, found: pd.DataFrame) -> None:
    if len(found) < 2:
        return
    shown = found.head(MEASUREMENTS)
    drawn = []
    for _, one in shown.iterrows():
        series = comparison.summary(comparison.turns(timings[timings.run == one.run], one.session))
        bests = views.measured(comparison.best(series), "end_to_end")
        # Trial 0 of one run is another network than trial 0 of the next
        drawn.append(
            bests.assign(
                subject=bests.subject.where(bests.kind != "trial", one.run + ", " + bests.subject),
                measurement=one.label,
            )
        )
    which = str(len(found))
    if len(found) > len(shown):
        which = f"the newest {len(shown)} of {len(found)}"
    places = len(set(zip(shown.host, shown.hardware, strict=True)))
    on = f"on {places} different machines or settings" if places > 1 else "on one machine"
    st.header("Measurements side by side", anchor=False)
    for device, bests in pd.concat(drawn).groupby("device", sort=False):
        card(
            f"Best time of each subject, {views.DEVICES[str(device)]}",
            f"{which} measurements, {on}; separate series, never pooled.",
            f"measurements {device}",
            charts.measurements,
            bests,
        )
