"""`python -m analysis.dashboard` on a host of its own: who reaches it, and who is let in."""

from base64 import b64encode
from collections.abc import Iterator
from shlex import quote

import pytest

from tests.cluster.hosts import SHARED, Host, fake_hosts, missing
from tests.waiting import until

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

OPEN_PORT, TOKEN_PORT = 8501, 8502
TOKEN = "the-token-of-this-test"
ASK = """
import sys, urllib.error, urllib.request
headers = dict(argument.split("=", 1) for argument in sys.argv[2:])
try:
    request = urllib.request.Request(sys.argv[1], headers=headers)
    print("status:", urllib.request.urlopen(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print("status:", error.code)
except urllib.error.URLError as error:
    print("status:", error.reason)
"""


def ask(host: Host, address: str, *headers: str) -> str:
    """The status of a page, or why there is no answer."""
    code, output = host.run(
        f"python -c {quote(ASK)} {quote(address)} {' '.join(map(quote, headers))}"
    )
    assert code == 0, output
    return output.partition("status: ")[2].strip()


def credentials(token: str) -> str:
    """What a browser sends once it has been told a token."""
    return f"Authorization=Basic {b64encode(f'token:{token}'.encode()).decode()}"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    """A head with a dashboard for everybody and one that asks for a token, and another host."""
    with fake_hosts(tmp_path_factory.mktemp("hosts"), 2) as (head, other):
        for port, more in ((OPEN_PORT, ""), (TOKEN_PORT, "--token")):
            show = (
                f"TRANSFORM_TUNER_TOKEN={TOKEN} setsid python -m analysis.dashboard {SHARED} "
                f"--port {port} {more}"
            )
            head.run(f"{show} > /tmp/{port} 2>&1 &")
        for port in (OPEN_PORT, TOKEN_PORT):
            up = f"http://127.0.0.1:{port}/"
            until(lambda up=up: ask(head, up).isdigit(), "the dashboard does not start", 120)
        yield [head, other]


def test_it_is_on_no_address_but_the_hosts_own(hosts: list[Host]) -> None:
    head, other = hosts
    for port in (OPEN_PORT, TOKEN_PORT):
        assert ask(head, f"http://{head.address}:{port}/") == "[Errno 111] Connection refused"
        assert ask(other, f"http://{head.address}:{port}/") == "[Errno 111] Connection refused"
    assert ask(head, f"http://localhost:{OPEN_PORT}/") == "200"


def test_a_name_that_is_not_its_own_is_refused(hosts: list[Host]) -> None:
    for host in ("Host=evil.example", f"Host={hosts[0].address}:{OPEN_PORT}"):
        assert ask(hosts[0], f"http://127.0.0.1:{OPEN_PORT}/", host) == "400"


def test_only_who_has_the_token_is_let_in_where_one_is_asked_for(hosts: list[Host]) -> None:
    page = f"http://127.0.0.1:{TOKEN_PORT}/"
    assert ask(hosts[0], page) == ask(hosts[0], page, credentials("guessed")) == "401"
    assert ask(hosts[0], f"{page}version") == "401"
    assert ask(hosts[0], page, credentials(TOKEN), "Host=evil.example") == "400"
    assert ask(hosts[0], page, credentials(TOKEN)) == "200"
    assert ask(hosts[0], f"{page}version", credentials(TOKEN)) == "200"
