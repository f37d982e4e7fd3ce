"""The files that pages load: their script and style, and Vega, which draws the figures."""

import hashlib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from trainables.atomic_write import atomic_write
from trainables.data.cache import cache_directory

STATIC = Path(__file__).with_name("static")


@cache
def assets() -> dict[str, str]:
    """Return each file that pages load, by its name with a digest, which changes with it."""
    found = {}
    for name, content in contents().items():
        stem, _, kind = name.rpartition(".")
        found[name] = f"static/{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{kind}"
    return found


@cache
def contents() -> dict[str, bytes]:
    """Return what is in each file, by its name."""
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir())}
    return files | {"vega.js": _vega()}


def _vega() -> bytes:
    """Return Vega with Vega-Embed, which vl-convert takes seconds to put together."""
    import vl_convert

    kept = cache_directory() / "pages" / f"vega-{metadata.version('vl-convert-python')}.js"
    with suppress(OSError):
        return kept.read_bytes()
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub lacks a default
    # A cache that can't be written is no reason to stop
    with suppress(OSError), atomic_write(kept, many_writers=True) as aside:
        aside.write_bytes(bundle.encode())
    return bundle.encode()
