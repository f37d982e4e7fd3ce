"""The server: every view is an address that is drawn here, and a number says what has changed."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import quote, unquote

import jinja2
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from analysis.charts.style import GROUNDS, NothingToDrawError, theme
from analysis.console import command_text
from analysis.dashboard import (
    atlas,
    compare,
    overview,
    quality,
    run_page,
    search,
    speed,
    trial_page,
    trials,
)
from analysis.dashboard.address import Address
from analysis.dashboard.assets import assets, contents
from analysis.dashboard.blocks import Hint, Page, saveable
from analysis.dashboard.run_table import doing
from analysis.dashboard.selection import FILTERS, FROM, TO, Selection, choose
from analysis.dashboard.snapshot import KEPT, Store
from analysis.tables.task_columns import changed_pipelines, tasks_of
from trainables.errors import UsageError

HERE = Path(__file__).parent
OVERVIEW = ""
PAGES: dict[str, tuple[str, Callable[[Selection], Page]]] = {
    "search": ("Search", search.page),
    "trials": ("Trials", trials.page),
    "quality": ("Quality", quality.page),
    "speed": ("Speed", speed.page),
    "atlas": ("Atlas", atlas.page),
}
OF_ALL_RUNS = ("atlas",)
"""Pages that show all runs where none is named, and not the newest."""
FILTERED = ("search", "trials", "quality")  # by what trials have
RUNNING = 5  # runs of which the sidebar says what they are doing
LISTED = 50  # runs in the sidebar
KEPT_PAGES = 64
PATIENCE_SEC = 1.0  # until a page says how far the tables have been read
LOOK_EVERY_SEC = 0.5  # at the files, however many pages ask
TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "js": "text/javascript",
    "css": "text/css",
}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class NotThereError(Exception):
    """What an address asks for is not there; the text says what is."""


class Site:
    """The pages over one storage."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._is_read = Event()
        self._is_read.set()
        self._looked = 0.0
        self._look = Lock()
        self._version = 0
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["json"] = _in_a_script
        self._drawn = lru_cache(maxsize=KEPT_PAGES)(self._draw)

    def read_ahead(self) -> None:
        """Begin to read all runs and to draw the first page, before anybody asks for one."""
        self._is_read.clear()
        Thread(target=self._read_ahead, daemon=True).start()

    def _read_ahead(self) -> None:
        try:
            assets()
            self.store.version()
            for table in KEPT:
                self.store.frame(table)
            self._drawn(Address(OVERVIEW), self.version())
        finally:
            self._is_read.set()

    def version(self) -> str:
        """Return what changes whenever a table does, or a value has come that a page waits for."""
        with self._look:
            if time.monotonic() - self._looked > LOOK_EVERY_SEC:
                self._version = self.store.version()
                self._looked = time.monotonic()
        came = search.shares_of.finished if self._is_read.is_set() else f"read-{self.store.read}"
        # How long a run that is not over has written nothing is told anew every minute
        is_going = self._is_read.is_set() and (self.store.frame("runs").status == "running").any()
        minute = int(time.time() // 60) if is_going else 0
        return f"{self._version & 0xFFFFFFFFFFFF:x}-{minute}-{came}"

    def newest(self) -> tuple[str, ...]:
        """Name the newest run, if there is one and the tables have been read."""
        if not self._is_read.wait(PATIENCE_SEC):
            return ()
        self.version()
        return choose(self.store, Address("")).names[:1]

    def close(self) -> None:
        """End what works beside the pages."""
        search.shares_of.close()

    def html(self, address: Address) -> tuple[int, str]:
        """Return the status and the text of a page."""
        if not self._is_read.wait(PATIENCE_SEC):
            return 200, self._reading(address)
        return self._drawn(address, self.version())

    def _reading(self, address: Address) -> str:
        files = sum(len(self.store.runs(table)) for table in KEPT)
        told = Hint(f"Reading the tables: {self.store.read:,} of {files:,} files.")
        no_runs = self.store.frame("runs", []).assign(task_name="", data_name="")
        nothing = Selection(self.store, address, no_runs, (), (), ())
        return self._rendered(address, nothing, Page("Reading", [told]), self.version())

    def page(self, address: Address) -> tuple[Selection, Page]:
        """Return what an address asks for. Raises NotThereError."""
        kind, *names = (unquote(part) for part in address.path.split("/"))
        if kind in ("run", "trial") and len(names) == (1 if kind == "run" else 2):
            return self._of_run(address, kind, names)
        if kind == "compare" and not names:
            selection = choose(self.store, address, compare.runs_of(address))
            return selection, compare.page(selection)
        if address.path not in (OVERVIEW, *PAGES):
            raise NotThereError(f"There is no page {address.path}.")
        selection = choose(self.store, address, of_all=address.path in OF_ALL_RUNS)
        if not self.store.runs() and not self.store.runs("timings"):
            return selection, Page("No runs yet", [self._how_to_begin()])
        if address.path == OVERVIEW:
            return selection, overview.page(selection)
        title, make = PAGES[address.path]
        if not selection.names:
            return selection, Page(title, [Hint("No run is left by these filters.")])
        if address.path in FILTERED and selection.trials.empty and len(selection.all_trials):
            return selection, Page(title, [Hint("No trial is left by these filters.")])
        return selection, make(selection)

    def _of_run(self, address: Address, kind: str, names: list[str]) -> tuple[Selection, Page]:
        run = names[0]
        selection = choose(self.store, address, [run])
        if selection.runs.empty:
            raise NotThereError(
                f"There is no run {run} here: the page Overview lists those there are."
            )
        if kind == "run":
            return selection, run_page.page(selection)
        found = selection.all_trials[selection.all_trials.trial.astype(str) == names[1]]
        if found.empty:
            raise NotThereError(
                f"The run {run} has no trial {names[1]}: the page Trials lists those it has."
            )
        return selection, trial_page.page(selection, found.iloc[0])

    def _draw(self, address: Address, version: str) -> tuple[int, str]:
        status = 200
        try:
            selection, page = self.page(address)
        except (NotThereError, UsageError) as error:
            is_there = isinstance(error, UsageError)
            status, title = (400, "Not understood") if is_there else (404, "Not here")
            selection = choose(self.store, address if is_there else Address(address.path))
            page = Page(title, [Hint(str(error))])
        return status, self._rendered(address, selection, page, version)

    def _rendered(self, address: Address, selection: Selection, page: Page, version: str) -> str:
        links = address
        if address.path not in PAGES:  # from a run or trial, pages lead on to its run
            named = tuple(("run", run) for run in selection.names if address.path != OVERVIEW)
            links = replace(address, query=named)
        titles = {OVERVIEW: "Overview", **{path: title for path, (title, _) in PAGES.items()}}
        return self._environment.get_template("page.html").render(
            page=page,
            address=address,
            selection=selection,
            pages=[(links.to(path), title, path == address.path) for path, title in titles.items()],
            sidebar=_sidebar(selection),
            warnings=_warnings(selection),
            problems=self.store.problems(),
            running=_running(selection),
            version=version,
            assets=assets(),
            themes={ground: theme(ground) for ground in GROUNDS},
        )

    def _how_to_begin(self) -> Hint:
        command = command_text("tuner.run", storage=self.store.typed)
        return Hint(f"{self.store.typed} has no tables. Start a search with: {command}")


def _in_a_script(value: Any) -> Markup:
    """Return JSON that can stand in a script element."""
    return Markup(json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026"))


def _sidebar(selection: Selection) -> dict[str, Any]:
    """Return what can be chosen beside a page: filters of runs, and the runs."""
    chosen = selection.names
    runs = list(dict.fromkeys([*chosen, *selection.options[:LISTED]]))
    order = {name: place for place, name in enumerate(selection.options)}
    filters = []
    for name, head, column in FILTERS:
        options = sorted(selection.every[column].unique())
        if len(options) > 1:
            filters.append((name, head, options, selection.address.every(name)))
    names = {"run", *(name for name, _, _ in FILTERS)}
    if not selection.runs.empty:
        for one in selection.filters:
            names |= {one.name} if one.options else {one.name + FROM, one.name + TO}
    return {
        "filters": filters,
        "runs": sorted(runs, key=lambda name: order.get(name, 0)),
        "chosen": chosen,
        "more": max(0, len(selection.options) - len(runs)),
        "names": names,
        "cleared": dict.fromkeys(names - {"run"}),
    }


def _warnings(selection: Selection) -> list[str]:
    told = [selection.missing_runs] if selection.missing_runs else []
    if selection.address.path in FILTERED and not selection.runs.empty:
        told += selection.unknown
    told += [f"{line}." for line in changed_pipelines(tasks_of(selection.runs.to_dict("records")))]
    return told


def _running(selection: Selection) -> list[str]:
    """Say what each run that is not over is doing, whichever are shown."""
    going = selection.every[selection.every.status == "running"].head(RUNNING).to_dict("records")
    trials = selection.store.frame("trials", [run["run"] for run in going])
    begun = trials[trials.repeat_of.isna()].run.value_counts()
    return [
        f"{name}: {doing(run, int(begun.get(name, 0)), selection.store.quiet_sec(name))}"
        for name, run in ((run["run"], run) for run in going)
    ]


def application(site: Site, middleware: list[Middleware], **more: Any) -> Starlette:
    """Return the server's application; `more` is what Starlette takes besides."""

    def show(request: Request) -> Response:
        address = _address(request)
        if request.path_params["path"].endswith("/"):  # links would lead below it
            here = address.path.rpartition("/")[2]
            return RedirectResponse(address.text.replace(address.path, f"../{here}", 1), 308)
        if address.path in PAGES and address.path not in OF_ALL_RUNS and not address.query:
            # The address has the run: tomorrow another one is the newest
            names = site.newest()
            if names:
                return RedirectResponse(address.with_({"run": names}), 303)
        status, text = site.html(address)
        return HTMLResponse(text, status, {"Cache-Control": "no-cache"})

    def version(_: Request) -> Response:
        # A page that is open asks every second: its connection is not kept for that
        return PlainTextResponse(
            site.version(), headers={"Cache-Control": "no-store", "Connection": "close"}
        )

    def static(request: Request) -> Response:
        asked = f"static/{request.path_params['name']}"
        for name, path in assets().items():
            if path == asked:
                kind = name.rpartition(".")[2]
                return Response(contents()[name], media_type=TYPES[kind], headers=FOREVER)
        return PlainTextResponse("There is no such file.", 404)

    def save(request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        address = _address(request)
        try:
            selection, page = site.page(address)
            if selection.missing_runs:
                raise NotThereError(selection.missing_runs)
            block = next(one for one in saveable(page.blocks) if one.name == name)
            if kind not in block.kinds:
                raise NotThereError(f"{name} is saved as {', '.join(block.kinds)}.")
            content = block.saved(kind)
        except StopIteration:
            return PlainTextResponse(f"This page has no {name}.", 404)
        except (NotThereError, UsageError, NothingToDrawError) as error:
            return PlainTextResponse(str(error), 404)
        of = selection.names[0] if len(selection.names) == 1 else f"{len(selection.names)}-runs"
        file = quote(f"{of}-{name}.{kind}")
        return Response(
            content,
            media_type=TYPES[kind],
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{file}"},
        )

    routes = [
        Route("/version", version),
        Route("/static/{name}", static),
        Route("/save/{kind}/{name}/{path:path}", save),
        Route("/{path:path}", show),
    ]
    return Starlette(
        routes=routes,
        middleware=[*middleware, Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)],
        **more,
    )


def _address(request: Request) -> Address:
    path = request.path_params["path"].strip("/")
    said = tuple(pair for pair in request.query_params.multi_items() if pair[1])
    return Address(quote(path), said)
