"""Who gets in: requests that name an allowed host, from the page itself, and who has the token."""

import base64
import binascii
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainables.errors import UsageError

LOOPBACK = ["localhost", "127.0.0.1", "::1", "[::1]"]  # with brackets as a browser sends it
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class OriginMiddleware:
    """Answers the dashboard's own pages only, and tells browsers to keep its own to themselves.

    Another page may lead here by a link. It may neither frame these pages nor load from them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The next application, unless the request is of another site's page."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app: ASGIApp = self.app
        if _is_foreign(Headers(scope=scope)):
            app = PlainTextResponse("Only the dashboard's own pages may ask for this.", 403)
        await app(scope, receive, with_headers)


def _is_foreign(headers: Headers) -> bool:
    """Return whether a browser says that another origin's page makes this request.

    A link from there is none: `Sec-Fetch-Mode` is then `navigate` and `Sec-Fetch-Dest` `document`.
    """
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return True
    from_here = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    return not from_here and headers.get("sec-fetch-dest") != "document"


class TokenMiddleware:
    """Lets in who knows the token, by HTTP Basic (RFC 7617): any name, the token as password.

    A cookie would not do: browsers send a host's cookies to all of its ports, and so to whatever
    another user of the machine serves there. What Basic keeps is bound to one port.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The next application, or what makes a browser ask for the token."""
        app = self.app
        if scope["type"] == "http" and not self._is_known(Headers(scope=scope)):
            app = PlainTextResponse(
                "Give the token as password, any name: it stands in the address that the command "
                "printed.",
                401,
                {
                    "WWW-Authenticate": 'Basic realm="transform-tuner: the token as password", '
                    'charset="UTF-8"',
                    "Cache-Control": "no-store",
                },
            )
        await app(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        try:
            named = (
                base64.b64decode(given.strip(), validate=True) if scheme.lower() == "basic" else b""
            )
        except (binascii.Error, ValueError):
            return False
        _, _, password = named.partition(b":")
        return hmac.compare_digest(password, self.token.encode())


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
