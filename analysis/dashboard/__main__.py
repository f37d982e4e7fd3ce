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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from analysis.console import DEFAULT_STORAGE
from analysis.dashboard.listener import Listener, expect_pauses
from analysis.tables.bucket import follow
from analysis.tables.table_sources import BUCKET
from trainables.errors import FAILED, UsageError, command, complain, extra_packages, prog

TOKEN_VARIABLE = "TRANSFORM_TUNER_TOKEN"


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; the exit status."""
    options = parser().parse_args(arguments)
    if not options.directory.startswith(BUCKET) and not Path(options.directory).is_dir():
        raise UsageError(
            f"{options.directory} is no directory: give the one that --storage named, "
            "or start a search first"
        )
    if not 0 <= options.port < 2**16:
        raise UsageError(f"--port {options.port}: give one from 0 to 65535")
    with extra_packages("the dashboard", "dashboard"):
        from analysis.dashboard.access import allowed_hosts

    hosts = allowed_hosts(options.address, options.allow_host)
    storage = follow(options.directory)
    token = None
    if options.token:
        token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    try:
        listening = _listen(options.address, options.port)
    except socket.gaierror as error:
        raise UsageError(
            f"--address {options.address}: {error.strerror}; give an address of this machine"
        ) from error
    except OSError as error:
        complain(
            f"--address {options.address} --port {options.port}: {error.strerror}; "
            "give another --port (0: any) or --address"
        )
        return FAILED
    with suppress(KeyboardInterrupt):
        _serve(
            options.directory.partition("?")[0],
            storage,
            listening,
            hosts,
            token,
            _announcement(options, listening.getsockname()[1], token),
        )
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog("analysis.dashboard"), description="Show a storage's tables in a browser."
    )
    parser.add_argument(
        "directory",
        nargs="?",
        default=DEFAULT_STORAGE,
        metavar="DIR",
        help=f"where runs are kept, as given to --storage, s3:// too (default: {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="to listen on (default: 127.0.0.1, this machine only)",
    )
    parser.add_argument(
        "--port", type=int, default=8501, help="to listen on; 0: any that is free (default: 8501)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name under which browsers may ask for the page; may be given several times",
    )
    parser.add_argument(
        "--token",
        action="store_true",
        help=f"ask for a token: ${TOKEN_VARIABLE}, else one that is made up and printed",
    )
    return parser


def _listen(address: str, port: int) -> socket.socket:
    """Take the port before anything large is imported, so that a taken one is said at once."""
    listening = Listener(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _announcement(options: argparse.Namespace, port: int, token: str | None) -> list[str]:
    """List the lines that are printed once the page can be opened."""
    host = f"[{options.address}]" if ":" in options.address else options.address
    user = f"token:{quote(token, safe='')}@" if token else ""
    lines = [
        f"Tables   {options.directory.partition('?')[0].rstrip('/')}/tables",
        f"Address  http://{user}{host}:{port}/",
        f"From elsewhere: ssh -L {port}:localhost:{port} THIS-MACHINE. Ctrl-C ends it.",
    ]
    if options.address not in ("127.0.0.1", "::1", "localhost") and not token:
        lines.insert(
            2, "Everybody who reaches this address can see the tables: --token asks for one"
        )
    return lines


def _serve(
    storage: str,
    directory: Path,
    listening: socket.socket,
    hosts: list[str],
    token: str | None,
    lines: list[str],
) -> None:
    """Serve until Ctrl-C; `lines` are printed when the page can be opened.

    Args:
        storage: The storage as it was typed.
        directory: The storage's own, or the copy of a bucket's tables.
        listening: The socket to accept on.
        hosts: Names under which browsers may ask for the page.
        token: What a visitor must know; None for nothing.
        lines: What is printed then.
    """
    import uvicorn

    from analysis.dashboard.access import middleware
    from analysis.dashboard.app import Site, application
    from analysis.dashboard.snapshot import Store

    site = Site(Store(directory, storage))

    @asynccontextmanager
    async def announce(_: object) -> AsyncIterator[None]:
        expect_pauses()
        print(*lines, sep="\n", flush=True)  # from here on Ctrl-C is waited for
        yield

    app = application(site, middleware(hosts, token), lifespan=announce)
    site.read_ahead()
    config = uvicorn.Config(
        app, log_level="warning", loop="asyncio", server_header=False, timeout_graceful_shutdown=10
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        site.close()


if __name__ == "__main__":
    sys.exit(main())
