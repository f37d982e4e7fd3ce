"""Who gets in: allowed hosts only, those who know the token, and nobody from another page."""

import base64
import http.server
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from socket import create_connection, socket
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psutil
import pytest

from analysis.dashboard import __main__ as dashboard_command
from analysis.dashboard.access import HEADERS, allowed_hosts
from tests.analysis.dashboard.conftest import (
    FINALIST,
    WAIT_SEC,
    Dashboard,
    Visitor,
    dashboard,
)

TOKEN = "known+to/few="  # as openssl rand -base64 makes them
FRIEND, STRANGER = "gpu1.example.org", "evil.example"
SESSIONS, DESCRIPTORS = 200, 256
POLLS = 2  # of each session
EVERYWHERE = ("/", "/trials?run=fc-1", "/version", "/save/csv/trials/trials?run=fc-1", "//", "/x")


@pytest.fixture(scope="module")
def guarded(storage: Path) -> Iterator[Dashboard]:
    """One that asks for a token, and that a friend's name leads to as well."""
    with dashboard(
        storage, "--token", "--allow-host", FRIEND, TRANSFORM_TUNER_TOKEN=TOKEN
    ) as running:
        yield running


def basic(token: str, user: str = "token") -> dict[str, str]:
    """The header that a browser sends for a password."""
    pair = base64.b64encode(f"{user}:{token}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def status(server: Dashboard, path: str = "/version", **headers: str) -> int:
    return server.get(path, **headers)[0]


def plain(server: Dashboard) -> str:
    """The address without the token."""
    return f"http://127.0.0.1:{server.port}/"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8501"])
def test_it_answers_under_the_names_of_this_machine(server: Dashboard, host: str) -> None:
    assert status(server, Host=host) == HTTPStatus.OK


@pytest.mark.parametrize("host", [STRANGER, FRIEND, f"localhost.{STRANGER}", "www.localhost"])
def test_it_refuses_every_other_name(server: Dashboard, host: str) -> None:
    assert status(server, Host=host) == HTTPStatus.BAD_REQUEST


def test_a_name_that_was_allowed_is_answered_too(guarded: Dashboard) -> None:
    for host in (FRIEND, f"{FRIEND}:8501", FRIEND.upper()):
        assert status(guarded, Host=host, **basic(TOKEN)) == HTTPStatus.OK
    refused = status(guarded, Host=f"{FRIEND}.{STRANGER}", **basic(TOKEN))
    assert refused == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": f"http://{STRANGER}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "object"},
    ],
)
def test_what_a_page_of_another_origin_asks_for_is_refused(
    server: Dashboard, foreign: dict[str, str]
) -> None:
    for path in ("/", "/version", "/save/csv/trials/trials?run=fc-1"):
        assert status(server, path, **foreign) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
def test_a_link_from_anywhere_may_lead_here(server: Dashboard, site: str) -> None:
    link = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert status(server, "/run/fc-1", **link) == HTTPStatus.OK


def test_what_its_own_page_asks_for_is_answered(server: Dashboard) -> None:
    own = {"Origin": plain(server).rstrip("/"), "Sec_Fetch_Site": "same-origin"}
    assert status(server, **own, Sec_Fetch_Dest="empty") == HTTPStatus.OK


def test_every_answer_tells_browsers_to_keep_it_from_other_pages(
    server: Dashboard, guarded: Dashboard
) -> None:
    answers = [server.get(path)[1] for path in EVERYWHERE] + [guarded.get("/")[1]]
    answers.append(server.get("/", Origin=f"http://{STRANGER}")[1])
    for headers in answers:
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert headers["Set-Cookie"] is None
        assert headers["Access-Control-Allow-Origin"] is None
    policy = HEADERS["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self';" in policy, "and so neither inline scripts nor eval"


def test_it_listens_on_the_loopback_only(server: Dashboard) -> None:
    connections = psutil.Process(server.process.pid).net_connections("inet")
    assert {c.laddr for c in connections if c.status == psutil.CONN_LISTEN} == {
        ("127.0.0.1", server.port)
    }


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"])
def test_on_every_address_only_the_loopback_has_names(address: str) -> None:
    assert set(allowed_hosts(address, [])) - {"::1"} == {"localhost", "127.0.0.1", "[::1]"}


def test_its_own_address_and_the_names_given_are_allowed() -> None:
    assert set(allowed_hosts("192.0.2.7", [FRIEND])) - set(allowed_hosts("127.0.0.1", [])) == {
        "192.0.2.7",
        FRIEND,
    }


@pytest.mark.parametrize("name", ["g*1", "*gpu", "*", "*.*", "a/b", "a:80"])
def test_a_name_that_no_host_can_have_is_a_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="--allow-host"):
        allowed_hosts("127.0.0.1", [name])


def test_an_ipv6_address_is_allowed_as_browsers_ask_for_it() -> None:
    assert {"[2001:db8::1]", "2001:db8::1"} <= set(allowed_hosts("2001:db8::1", []))


@pytest.mark.parametrize("path", [*EVERYWHERE, "/static/page.js", f"/trial/fc-1/{FINALIST}"])
def test_without_the_token_there_is_nothing_but_the_question_for_it(
    guarded: Dashboard, path: str
) -> None:
    code, headers, body = guarded.get(path)
    assert code == HTTPStatus.UNAUTHORIZED
    assert headers["WWW-Authenticate"].startswith('Basic realm="')
    assert headers["Cache-Control"] == "no-store"
    assert body.startswith("Give the token as password, any name")


@pytest.mark.parametrize(
    "header",
    [
        *(basic(wrong)["Authorization"] for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "é")),
        basic(TOKEN.upper())["Authorization"],
        base64.b64encode(TOKEN.encode()).decode(),
        f"Bearer {TOKEN}",
        "Basic " + base64.b64encode(TOKEN.encode()).decode(),  # no name, and so no password
        *("Basic", "Basic =", "Basic \xff", ""),
    ],
)
def test_anything_but_the_token_opens_nothing(guarded: Dashboard, header: str) -> None:
    assert status(guarded, Authorization=header) == HTTPStatus.UNAUTHORIZED
    assert status(guarded, f"/?token={quote(TOKEN)}") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("user", ["token", "", "anybody"])
def test_the_token_is_the_password_of_any_user(guarded: Dashboard, user: str) -> None:
    for path in ("/version", "/run/fc-1"):
        assert status(guarded, path, **basic(TOKEN, user)) == HTTPStatus.OK


def test_the_token_is_not_among_what_other_users_of_the_machine_see(guarded: Dashboard) -> None:
    line = psutil.Process(guarded.process.pid).cmdline()
    assert "--token" in line
    assert not any(TOKEN in argument for argument in line)


def test_without_the_flag_there_is_no_token(server: Dashboard) -> None:
    assert server.address == plain(server)
    assert status(server) == HTTPStatus.OK


def test_the_printed_address_opens_the_page_and_every_link_of_it(
    guarded: Dashboard, visit: Visitor
) -> None:
    parts = urlsplit(guarded.address)
    assert (parts.username, unquote(parts.password or "")) == ("token", TOKEN)
    opened = visit(f"{guarded.address}trials?run=fc-1", charts=2)
    opened.page.get_by_role("link", name="Speed", exact=True).click()
    opened.wait(charts=3)
    with opened.page.expect_download() as download:
        opened.page.locator("details.save summary").first.click()
        opened.page.get_by_role("link", name="SVG").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"<svg")
    assert (opened.foreign, opened.errors) == ([], [])
    page = "document.documentElement.outerHTML + document.baseURI"
    assert not {TOKEN, parts.password} & {*re.split(r"[/:@?]", opened.page.evaluate(page))}


@contextmanager
def serving(handler: Any) -> Iterator[int]:
    """A server of somebody else on this machine; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Neighbour(http.server.BaseHTTPRequestHandler):
    """Serves a page of another user of the machine, and notes what browsers tell it."""

    told: list[str]

    def __init__(self, told: list[str], *arguments: Any) -> None:
        self.told = told
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.told.append(str(self.headers))
        body = b"<!doctype html><title>harmless</title><p>harmless"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


TRY = """async (target) => {
  const tried = {};
  const outcome = (name, promise) =>
    promise.then((got) => tried[name] = got, () => tried[name] = "refused");
  await outcome("fetch", fetch(target, {credentials: "include"}).then((answer) => answer.text()));
  await outcome("blind fetch", fetch(target, {credentials: "include", mode: "no-cors"})
    .then((answer) => answer.text()));
  const loaded = (tag, name, value) => new Promise((got, failed) => {
    const element = document.createElement(tag);
    element.onload = () => got("loaded");
    element.onerror = failed;
    element[name] = value;
    document.body.append(element);
  });
  await outcome("script", loaded("script", "src", target + "version"));
  await outcome("image", loaded("img", "src", target + "save/png/curves/trials?run=fc-1"));
  await outcome("frame", loaded("iframe", "src", target).then(() => {
    try { return document.querySelector("iframe").contentDocument?.title ?? "another origin"; }
    catch { return "another origin"; }
  }));
  tried.cookie = document.cookie;
  return tried;
}"""


def test_the_page_of_another_user_on_another_port_gets_nothing(
    guarded: Dashboard, visit: Visitor
) -> None:
    told: list[str] = []
    opened = visit(f"{guarded.address}trials?run=fc-1", charts=2)
    with serving(partial(Neighbour, told)) as port:
        other = visit(f"http://127.0.0.1:{port}/", ready=False)
        found = other.page.evaluate(TRY, plain(guarded))
        frames = [frame.evaluate("document.body.innerText") for frame in other.page.frames[1:]]
        opened.page.evaluate(f"window.open('http://127.0.0.1:{port}/window')")
        opened.page.context.pages[-1].wait_for_load_state()
    assert found == {
        "fetch": "refused",
        "blind fetch": "refused",
        "script": "refused",
        "image": "refused",
        "frame": "another origin",
        "cookie": "",
    }
    assert not any("Trials" in text or "fc-1" in text for text in frames)
    assert len(told) >= 2
    for headers in told:
        assert not {"cookie", "authorization"} & {line.split(":")[0].lower() for line in
                                                  headers.splitlines()}  # fmt: skip
        assert "run=fc-1" not in headers, "nor from where it came"
    assert opened.page.context.cookies() == []
    opened.page.reload()
    opened.wait(charts=2)


class Proxy(http.server.BaseHTTPRequestHandler):
    """Serves the dashboard below a path of its own, as a reverse proxy does."""

    PREFIX = "/user/ada/proxy"

    def __init__(self, target: str, *arguments: Any) -> None:
        self.target = target
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if not self.path.startswith(self.PREFIX + "/"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        address = self.target + self.path.removeprefix(self.PREFIX + "/")
        headers = {name: self.headers[name] for name in ("Host", "Origin") if self.headers[name]}
        opener = urllib.request.build_opener(NoRedirects)
        try:
            answer = opener.open(urllib.request.Request(address, headers=headers))
        except urllib.error.HTTPError as error:
            answer = error
        body = answer.read()
        self.send_response(answer.status or 0)
        for name, value in answer.headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def test_behind_a_proxy_that_serves_it_below_a_path_everything_works(
    server: Dashboard, visit: Visitor
) -> None:
    with serving(partial(Proxy, server.address)) as port:
        root = f"http://127.0.0.1:{port}{Proxy.PREFIX}/"
        opened = visit(f"{root}search", charts=3)
        assert opened.page.url == f"{root}search?run=separable-1", "the redirect stays below"
        opened.page.get_by_role("link", name="Trials", exact=True).click()
        opened.wait(charts=2)
        with opened.page.expect_download() as download:
            opened.page.locator("[data-block=trials] details.save summary").click()
            opened.page.get_by_role("link", name="CSV").click()
        assert Path(download.value.path()).read_bytes().startswith(b'"run"')
        opened.page.locator("[data-block=trials] tbody a").first.click()
        opened.wait(charts=1)
        assert urlsplit(opened.page.url).path.startswith(f"{Proxy.PREFIX}/trial/separable-1/")
        opened.page.reload()
        opened.wait(charts=1)
        assert (opened.foreign, opened.errors) == ([], [])
        opened.page.close()


def test_many_sessions_at_once_with_few_descriptors_are_all_served(storage: Path) -> None:
    with dashboard(storage, descriptors=DESCRIPTORS) as running:
        asked = f"GET /version HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n\r\n".encode()
        for _ in range(POLLS):
            sessions = [
                create_connection(("127.0.0.1", running.port), WAIT_SEC) for _ in range(SESSIONS)
            ]
            for one in sessions:
                one.sendall(asked)
            assert {answered(one) for one in sessions} == {b"HTTP/1.1 200 OK"}
        idle = [create_connection(("127.0.0.1", running.port)) for _ in range(2 * SESSIONS)]
        for one in idle:  # more than it can hold: it goes on once they are gone
            one.close()
        assert running.get("/trials?run=fc-1")[0] == HTTPStatus.OK


def answered(session: socket) -> bytes:
    """The first line of the answer."""
    with session, session.makefile("rb") as answer:
        return answer.readline().strip()


def test_without_one_in_the_environment_a_token_is_made_up_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[str, list[str]]] = []

    def serve(
        storage: str, tables: Path, listening: socket, hosts: object, token: str, lines: list[str]
    ) -> None:
        listening.close()
        served.append((token, lines))

    monkeypatch.setattr(dashboard_command, "_serve", serve)
    monkeypatch.setenv(dashboard_command.TOKEN_VARIABLE, "")
    for _ in range(2):
        assert dashboard_command.main([str(tmp_path), "--port", "0", "--token"]) == 0
    for token, lines in served:
        assert len(token) >= 32
        (address,) = [line.split()[1] for line in lines if line.startswith("Address")]
        assert urlsplit(address).password == token
    assert len({token for token, _ in served}) == 2, "another each time"
