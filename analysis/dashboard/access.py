"""Who gets in: requests that name an allowed host, from the page itself, and who has the token."""

import hashlib
import hmac
import ipaddress
from contextlib import suppress
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnected

from trainables.errors import UsageError

LOOPBACK = ["localhost", "127.0.0.1", "::1", "[::1]"]  # with brackets as a browser sends it
CLOSE_POLICY = 1008  # RFC 6455, 7.4.1: policy violation
FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>transform-tuner</title>
<style>
body { font: 18px/1.6 system-ui, sans-serif; max-width: 28rem; margin: 18vh auto; padding: 0 1rem }
input, button {
  font: inherit; padding: .3rem .6rem; width: 100%; box-sizing: border-box; margin: .3rem 0
}
</style>
<main>
<h1>transform-tuner</h1>
<form>
<label>Token
<input name="token" type="password" autofocus required autocomplete="current-password"></label>
<button>Open</button>
</form>
<p>MESSAGE</p>
</main>
</html>"""


class OriginMiddleware:
    """Refuses a websocket that another site's page opens.

    Browsers let every page do that, and say which it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The next application, unless the page's host is not the one that was asked."""
        headers = HTTPConnection(scope).headers if scope["type"] == "websocket" else {}
        if "origin" in headers and urlsplit(headers["origin"]).netloc != headers.get("host"):
            await send({"type": "websocket.close", "code": CLOSE_POLICY})
        else:
            # Streamlit closes a socket twice whose browser leaves as it ends
            with suppress(WebSocketDisconnected):
                await self.app(scope, receive, send)


class TokenMiddleware:
    """Lets in who brings the token in the address, and asks all others for it.

    That is needed once; then a cookie stands for it.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token
        self.cookie, self.digest = cookie(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The next application, a redirect that leaves the token out of the address, or a form."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        given = connection.query_params.get("token")
        is_right = given is not None and hmac.compare_digest(given.encode(), self.token.encode())
        if scope["type"] == "http" and is_right:
            await self._remember(connection)(scope, receive, send)
        elif hmac.compare_digest(
            connection.cookies.get(self.cookie, "").encode(), self.digest.encode()
        ):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": CLOSE_POLICY})
        else:
            text = "It stands in the address that the command printed."
            page = FORM.replace("MESSAGE", "That is not the token. " + text if given else text)
            await HTMLResponse(page, 401, {"Cache-Control": "no-store"})(scope, receive, send)

    def _remember(self, connection: HTTPConnection) -> RedirectResponse:
        rest = parse_qs(connection.url.query, keep_blank_values=True)
        del rest["token"]
        query = urlencode(rest, doseq=True)
        path = "/" + quote(
            connection.url.path.lstrip("/\\")
        )  # two slashes would lead to another host
        response = RedirectResponse(path + (f"?{query}" if query else ""), 303)
        response.set_cookie(self.cookie, self.digest, httponly=True, samesite="strict")
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def cookie(token: str) -> tuple[str, str]:
    """Return name and value of the cookie that stands for a token.

    It is not the token itself: any text is one, and browsers send a host's cookies to all of its
    ports. Hence also the name.
    """
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f"transform_tuner_{digest[:8]}", digest


def middleware(hosts: list[str], token: str | None) -> list[Middleware]:
    """Return what stands before the page.

    Args:
        hosts: Only these may be asked for, against DNS rebinding.
        token: What a visitor must know; None for nothing.
    """
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(OriginMiddleware),
        *([Middleware(TokenMiddleware, token=token)] if token else []),
    ]


def allowed_hosts(address: str, named: list[str]) -> list[str]:
    """Return the hosts that a browser may ask for.

    They are the loopback's names, the address itself, and those `named`.

    Raises UsageError for a name that holds a port or path, or a wildcard other than `*.` in front.
    """
    for name in named:
        if (
            "*" in name.removeprefix("*.")
            or "/" in name
            or (":" in name and not (name.startswith("[") and name.endswith("]")))
        ):
            raise UsageError(
                f"--allow-host {name}: give a host's name without port or path, "
                "such as gpu1.example.org"
            )
    own = [] if _is_any(address) else [address, f"[{address}]"] if ":" in address else [address]
    return sorted({*LOOPBACK, *own, *named})


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
