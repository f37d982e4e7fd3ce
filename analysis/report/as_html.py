"""A report as one page that needs nothing else: no script, no other file, no network."""

import base64
from pathlib import Path

import jinja2

from analysis.answer import RULE
from analysis.charts.style import GRIDS, GROUNDS, INKS
from analysis.report.content import Picture, Report, parted

# What a figure on white has in ink, grid and ground becomes what the theme has on dark
DARK = "".join(
    [
        "<style>@media screen and (prefers-color-scheme: dark) { ",
        f"text {{ fill: {INKS['dark']} }} ",
        f'[stroke="{GRIDS["light"]}"] {{ stroke: {GRIDS["dark"]} }} ',
        f'[stroke="{GROUNDS["light"]}"] {{ stroke: {GROUNDS["dark"]} }} ',
        f'[fill="white"], [fill="{GROUNDS["light"]}"] {{ fill: {GROUNDS["dark"]} }} ',
        "}</style>",
    ]
)


def as_html(report: Report) -> str:
    """Return the report as a page."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"parted": parted, "source": _source}
    template = environment.from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    return template.render(report=report, rule=RULE, ground=GROUNDS["dark"])


def _source(picture: Picture) -> str:
    """Return a figure for the `src` of an image, dark where the reader's system is."""
    start, tag, rest = picture.files["svg"].decode().partition(">")
    svg = f"{start}{tag}{DARK}{rest}"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
