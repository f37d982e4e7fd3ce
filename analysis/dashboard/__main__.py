"""The command: show the tables of a storage in a browser.

    python -m analysis.dashboard              # results/, on http://127.0.0.1:8501
    python -m analysis.dashboard DIR --token  # on a machine that others use too

Exit status: 0 after Ctrl-C, 1 when the port is taken, 2 for a mistake on the command line.
"""

import argparse
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

from analysis.console import Console
from analysis.tables.bucket import follow
from analysis.tables.table_sources import BUCKET
from trainables.command_line import complain, prog

TOKEN_VARIABLE = "TRANSFORM_TUNER_TOKEN"
SCRIPT = Path(__file__).with_name("page.py")
SETTINGS = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.enableWebsocketCompression": True,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorLinks": False,
    "theme.base": "light",
    "theme.primaryColor": "#005C94",
    "theme.baseRadius": "0.4rem",
    "theme.headingFontSizes": ["1.8rem", "1.3rem"],
    "theme.metricValueFontSize": "1.6rem",
    "theme.showWidgetBorder": True,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = parser().parse_args(arguments)
    console = Console()
    try:
        _check(options)
        from analysis.dashboard.access import allowed_hosts

        hosts = allowed_hosts(options.address, options.allow_host)
        storage = follow(options.directory)
    except ValueError as error:
        complain(error)
        return 2
    except ImportError as error:
        complain(
            f'the dashboard needs {error.name}, which is not installed: pip install -e ".[dashboard]"'
        )
        return 2
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24) if options.token else None
    try:
        listening = _listen(options.address, options.port)
    except socket.gaierror as error:
        complain(f"--address {options.address}: {error.strerror}; give an address of this machine")
        return 2
    except OSError as error:
        asked = f"--address {options.address} --port {options.port}"
        complain(f"{asked}: {error.strerror}; give another --port (0: any) or --address")
        return 1
    with suppress(KeyboardInterrupt):
        port = listening.getsockname()[1]
        _serve(storage, listening, hosts, token, tell=lambda: _tell(console, options, port, token))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.dashboard"), description="Show a storage's tables in a browser."
    )
    parser.add_argument("directory", nargs="?", default="results", metavar="DIR",
                        help="where runs are kept, as given to --storage, s3:// too (default: results)")  # fmt: skip
    parser.add_argument(
        "--address", default="127.0.0.1", help="to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--port", type=int, default=8501, help="(default: 8501; 0: any that is free)"
    )
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                        help="a further name under which browsers may ask for the page")  # fmt: skip
    parser.add_argument("--token", action="store_true",
                        help=f"ask for a token: ${TOKEN_VARIABLE}, else one that is made up and printed")  # fmt: skip
    return parser


def _check(options: argparse.Namespace) -> None:
    if not options.directory.startswith(BUCKET) and not Path(options.directory).is_dir():
        raise ValueError(
            f"{options.directory} is no directory: give the one that --storage named, or start a search first"
        )
    if not 0 <= options.port < 2**16:
        raise ValueError(f"--port {options.port}: give one from 0 to 65535")


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _tell(console: Console, options: argparse.Namespace, port: int, token: str | None) -> None:
    host = f"[{options.address}]" if ":" in options.address else options.address
    console.line(f"Tables   {options.directory.partition('?')[0].rstrip('/')}/tables")
    query = f"?token={quote(token, safe='')}" if token else ""
    console.line(f"Address  http://{host}:{port}/{query}")
    if options.address not in ("127.0.0.1", "::1", "localhost") and not token:
        console.line(
            "Everybody who reaches this address can see the tables: --token asks for one",
            style="yellow",
        )
    console.line(f"From elsewhere: ssh -L {port}:localhost:{port} THIS-MACHINE. Ctrl-C ends it.")
    sys.stdout.flush()


def _serve(
    storage: Path,
    listening: socket.socket,
    hosts: list[str],
    token: str | None,
    tell: Callable[[], None],
) -> None:
    """Serve until Ctrl-C; `tell` is called when the page can be opened and Ctrl-C is waited for."""
    import streamlit as st
    import uvicorn
    from streamlit import config

    from analysis.dashboard.access import middleware
    from analysis.dashboard.snapshot import STORAGE_VARIABLE

    os.environ[STORAGE_VARIABLE] = str(storage)
    port = listening.getsockname()[1]
    for name, value in {
        **SETTINGS,
        "server.port": port,
        "browser.serverPort": port,
        "server.allowedHosts": hosts,
    }.items():
        config.set_option(name, value)

    @asynccontextmanager
    async def told(_: object) -> AsyncIterator[None]:
        tell()
        yield

    app = st.App(SCRIPT, middleware=middleware(hosts, token), lifespan=told)
    threading.Thread(target=_warm_up, args=(storage,), daemon=True).start()
    settings = uvicorn.Config(
        app, log_level="warning", server_header=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(settings).run(sockets=[listening])


def _warm_up(storage: Path) -> None:
    """Read and import what the first page needs while nobody has asked for it yet."""
    from analysis.dashboard.snapshot import opened_store

    store = opened_store(storage)
    store.version()
    store.frame("runs")
    for module in ("analysis.charts.views", "altair", "optuna.importance", "sklearn.ensemble"):
        import_module(module)


if __name__ == "__main__":
    sys.exit(main())
