"""What the site needs beside the files in docs/: pages that lie elsewhere, and links out of docs/.

MkDocs calls these functions; `hooks` in mkdocs.yml names this file. README, CHANGELOG and
CONTRIBUTING become pages. A link to a file that is no page, such as source code, becomes its text:
the site stands alone, and the file may be on no server.
"""

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Files beside docs/ that are pages of the site, as what."""
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)\s:#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links that hold in the repository hold in the site."""
    there = page.file.src_uri
    moved_here = (name for name, made in PAGES.items() if made == there)
    return moved(markdown, next(moved_here, f"docs/{there}"))


def moved(markdown: str, source: str) -> str:
    """Return a page's text with links as the site needs them.

    A link to what is not there stays as it is, and the build says so.

    Args:
        markdown: The page.
        source: Its path in the repository.
    """

    def link(found: re.Match[str]) -> str:
        target = normpath(f"{source}/../{found['path']}")
        if target in PAGES or target.startswith("docs/"):
            there = PAGES.get(target, target.removeprefix("docs/"))
            here = PAGES.get(source, source.removeprefix("docs/"))
            path = relpath(there, normpath(f"{here}/.."))
            return f"{found['image']}[{found['text']}]({path}{found['anchor'] or ''})"
        if (ROOT / target).exists():
            return found["text"]
        return found[0]

    return LINK.sub(link, markdown)
