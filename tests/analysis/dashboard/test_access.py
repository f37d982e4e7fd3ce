"""Who gets in: allowed hosts only, those who know the token, and nobody from another page."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from socket import socket
from urllib.parse import parse_qs, quote, urlsplit

import psutil
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from analysis.dashboard import __main__ as dashboard_command
from analysis.dashboard.access import OriginMiddleware, allowed_hosts, cookie
from tests.analysis.dashboard.conftest import Dashboard, Visitor, dashboard

TOKEN = "known+to/few="  # as openssl rand -base64 makes them
QUOTED = quote(TOKEN, safe="")
FRIEND, STRANGER = "gpu1.example.org", "evil.example"
STREAM = "/_stcore/stream"
HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
             "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
OPENED = (HTTPStatus.OK, HTTPStatus.SWITCHING_PROTOCOLS)


@pytest.fixture(scope="module")
def guarded(storage: Path) -> Iterator[Dashboard]:
    """One that asks for a token, and that a friend's name leads to as well."""
    with dashboard(
        storage, "--token", "--allow-host", FRIEND, TRANSFORM_TUNER_TOKEN=TOKEN
    ) as running:
        yield running


def statuses(server: Dashboard, **headers: str) -> tuple[int, int]:
    """What the page and the websocket answer."""
    return server.get("/", **headers)[0], server.get(STREAM, **HANDSHAKE, **headers)[0]


def in_the_cookie(token: str) -> dict[str, str]:
    return {"Cookie": "=".join(cookie(token))}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8501"])
def test_it_answers_under_the_names_of_this_machine(server: Dashboard, host: str) -> None:
    assert statuses(server, Host=host) == OPENED


@pytest.mark.parametrize("host", [STRANGER, FRIEND, f"localhost.{STRANGER}", "www.localhost"])
def test_it_refuses_every_other_name(server: Dashboard, host: str) -> None:
    assert statuses(server, Host=host) == (HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST)


def test_a_name_that_was_allowed_is_answered_too(guarded: Dashboard) -> None:
    for host in (FRIEND, f"{FRIEND}:8501", FRIEND.upper()):
        assert statuses(guarded, Host=host, **in_the_cookie(TOKEN)) == OPENED
    bad = HTTPStatus.BAD_REQUEST
    assert statuses(guarded, Host=f"{FRIEND}.{STRANGER}", **in_the_cookie(TOKEN)) == (bad, bad)


def test_a_page_of_another_site_can_open_no_websocket(
    server: Dashboard, guarded: Dashboard
) -> None:
    stranger = {"Origin": f"http://{STRANGER}"}
    assert server.get(STREAM, **HANDSHAKE, **stranger)[0] == HTTPStatus.FORBIDDEN
    assert (
        guarded.get(STREAM, **HANDSHAKE, **stranger, **in_the_cookie(TOKEN))[0]
        == HTTPStatus.FORBIDDEN
    )
    own = {"Origin": server.address.rstrip("/")}
    assert server.get(STREAM, **HANDSHAKE, **own)[0] == HTTPStatus.SWITCHING_PROTOCOLS


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


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/trials?runs=fc-1", "/_stcore/health", "/_stcore/host-config", "/media/a.png"),
        *("/static/index.js", "/_stcore/agent/openapi.json", "//"),
    ],
)
def test_without_the_token_there_is_a_form_and_nothing_else(guarded: Dashboard, path: str) -> None:
    status, headers, body = guarded.get(path)
    assert status == HTTPStatus.UNAUTHORIZED
    assert 'name="token"' in body
    assert "not the token" not in body
    assert headers["Cache-Control"] == "no-store"
    assert headers["Set-Cookie"] is None


@pytest.mark.parametrize(
    "wrong", ["x", QUOTED[:-3], QUOTED + "x", QUOTED.upper(), "%C3%A9", "%ff", f"{QUOTED}%00"]
)
def test_a_wrong_token_is_told_so(guarded: Dashboard, wrong: str) -> None:
    status, headers, body = guarded.get(f"/?token={wrong}")
    assert (status, headers["Set-Cookie"]) == (HTTPStatus.UNAUTHORIZED, None)
    assert "That is not the token." in body


@pytest.mark.parametrize("wrong", ["", "x", TOKEN + "x", "\xe9"])
def test_a_wrong_cookie_opens_nothing(guarded: Dashboard, wrong: str) -> None:
    assert statuses(guarded, **in_the_cookie(wrong)) == (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
    )


def test_a_websocket_needs_the_cookie(guarded: Dashboard) -> None:
    assert guarded.get(STREAM, **HANDSHAKE)[0] == HTTPStatus.FORBIDDEN
    assert guarded.get(f"{STREAM}?token={QUOTED}", **HANDSHAKE)[0] == HTTPStatus.FORBIDDEN
    assert (
        guarded.get(STREAM, **HANDSHAKE, **in_the_cookie(TOKEN))[0]
        == HTTPStatus.SWITCHING_PROTOCOLS
    )


def test_the_right_token_moves_from_the_address_into_a_cookie(guarded: Dashboard) -> None:
    query = "runs=fc-1&runs=b%26c&trial=fc-1+%2F+%C3%A9&empty="
    status, headers, body = guarded.get(f"/trials?token={QUOTED}&{query}")
    assert status == HTTPStatus.SEE_OTHER
    location = urlsplit(headers["Location"])
    assert (location.netloc, location.path) == ("", "/trials")
    assert parse_qs(location.query, keep_blank_values=True) == parse_qs(
        query, keep_blank_values=True
    )
    assert "few" not in headers["Location"] + body
    assert headers["Referrer-Policy"] == "no-referrer"
    cookie, *flags = headers["Set-Cookie"].split("; ")
    assert {flag.lower() for flag in flags} == {"httponly", "path=/", "samesite=strict"}
    assert statuses(guarded, Cookie=cookie) == OPENED
    assert guarded.get(headers["Location"], Cookie=cookie)[0] == HTTPStatus.OK


def test_a_redirect_without_other_parameters_ends_in_the_path(guarded: Dashboard) -> None:
    assert guarded.get(f"/speed?token={QUOTED}")[1]["Location"] == "/speed"


@pytest.mark.parametrize("path", [f"//{STRANGER}/", f"/%2F{STRANGER}/", f"///{STRANGER}"])
def test_a_redirect_stays_on_this_host(guarded: Dashboard, path: str) -> None:
    location = guarded.get(f"{path}?token={QUOTED}")[1]["Location"] or "/"
    assert not urlsplit(location).netloc
    assert not location.startswith("//")


def test_the_token_is_not_among_what_other_users_of_the_machine_see(guarded: Dashboard) -> None:
    assert "--token" in psutil.Process(guarded.process.pid).cmdline()
    assert not any(TOKEN in argument for argument in psutil.Process(guarded.process.pid).cmdline())


def test_without_the_flag_there_is_no_token(server: Dashboard) -> None:
    assert "token" not in server.address
    assert statuses(server) == OPENED


def test_the_printed_address_has_the_token(guarded: Dashboard) -> None:
    assert parse_qs(urlsplit(guarded.address).query) == {"token": [TOKEN]}


def test_the_token_opens_the_page_in_the_address_or_once_entered(
    guarded: Dashboard, visit: Visitor
) -> None:
    opened = visit(guarded.address)
    opened.page.get_by_role("heading", name="Search").wait_for()
    assert "token" not in opened.page.url
    kept = {one["name"]: one["value"] for one in opened.page.context.cookies()}
    name, value = cookie(TOKEN)
    assert kept[name] == value != TOKEN

    address = guarded.address.partition("?")[0]
    stranger = visit(f"{address}trials?runs=fc-1", ready=False)
    field = stranger.page.get_by_label("Token")
    field.fill("no idea")
    stranger.page.get_by_role("button", name="Open").click()
    stranger.text("That is not the token.")
    assert stranger.page.get_by_test_id("stApp").count() == 0
    field.fill(TOKEN)
    field.press("Enter")
    stranger.wait().page.get_by_role("heading", name="Trials").wait_for()
    assert not stranger.foreign
    assert opened.errors == []


def test_without_one_in_the_environment_a_token_is_made_up_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[str, list[str]]] = []

    def serve(
        storage: Path, listening: socket, hosts: object, token: str, lines: list[str]
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
        assert parse_qs(urlsplit(address).query) == {"token": [token]}
    assert len({token for token, _ in served}) == 2, "another each time"


def test_a_socket_that_is_closed_twice_makes_no_traceback() -> None:
    ended = []

    async def closes_twice(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()
        ended.append(True)
        await socket.close()

    messages: Iterator[Message] = iter([{"type": "websocket.connect"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    server = OriginMiddleware(Starlette(routes=[WebSocketRoute("/", closes_twice)]))
    scope = {
        "type": "websocket",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
    }
    with ThreadPoolExecutor(1) as thread:  # in this one the browser of other tests has its own loop
        thread.submit(lambda: asyncio.run(server(scope, receive, send))).result()
    assert ended
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
