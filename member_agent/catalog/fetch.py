"""Fetching the pictures behind image links, only when asked to, and never from inside the member's network.

An image link is text from a table: whoever wrote it must not make this machine open connections of their choosing
(server-side request forgery). So: http and https on their own ports; no credentials; every address the name resolves
to must be public, and the connection is made to an address that was checked, not to the name again; each redirect is
checked the same way; size, time and type are bounded. No proxy and no cookie is used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from alliance.errors import InvalidInput, LimitExceeded, NotPermitted, Unavailable

_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SUFFIXES: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "image/avif": ".avif",
}
"""Pictures as pixels. SVG is a program that draws, and is left out."""
_CHUNK = 1 << 16
_USER_AGENT = "alliance-agent"
_FORBIDDEN = tuple(
    map(
        ipaddress.ip_network,
        (
            # IANA special-purpose registries, and what clouds answer metadata requests on
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20"),
            *("5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """`max_bytes` of one picture, `timeout_s` seconds for one picture with all its redirects' bodies and waits."""

    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 30.0
    max_redirects: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    content: bytes
    suffix: str
    """File suffix of the content's type, with the dot."""


class ImageFetcher:
    """Fetches single pictures.

    Args:
        tls: for https; the system's trust when None.
        test_endpoints: (address, port) pairs allowed although they are not public. For tests, which talk to loopback.
    """

    def __init__(
        self,
        limits: FetchLimits = FetchLimits(),
        *,
        tls: ssl.SSLContext | None = None,
        test_endpoints: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        self._limits = limits
        self._tls = tls or ssl.create_default_context()
        self._test_endpoints = test_endpoints

    def fetch(self, link: str) -> Fetched:
        """Gets the picture a link leads to.

        Raises:
            InvalidInput: LINK_MALFORMED or NOT_AN_IMAGE.
            NotPermitted: LINK_FORBIDDEN, for a scheme, port, address or redirect that is not allowed.
            LimitExceeded: IMAGE_TOO_LARGE, FETCH_TIMEOUT or TOO_MANY_REDIRECTS.
            Unavailable: FETCH_FAILED, when the server is not there or answers with an error.
        """
        for _ in range(self._limits.max_redirects + 1):
            target = self._target(link)
            answer = self._get(target)
            if isinstance(answer, Fetched):
                return answer
            onward = urljoin(target.geturl(), answer)
            if target.scheme == "https" and not onward.lower().startswith("https:"):
                raise _forbidden("a redirect from https to another scheme")
            link = onward
        raise LimitExceeded(
            f"more than {self._limits.max_redirects} redirects", reason="TOO_MANY_REDIRECTS", field="image_link"
        )

    def _target(self, link: str) -> SplitResult:
        if any(character.isspace() or ord(character) < 0x20 for character in link):
            raise _malformed("white space in the link")
        try:
            url = urlsplit(link)
            port, host = url.port, url.hostname
        except ValueError as error:
            raise _malformed(str(error)) from error
        if url.scheme not in _PORTS:
            raise _forbidden(f"scheme {url.scheme[:20]!r}")
        if not host:
            raise _malformed("no host in the link")
        if url.username is not None or url.password is not None:
            raise _forbidden("credentials in the link")
        tested = any(port == allowed for _, allowed in self._test_endpoints)
        if port not in (None, _PORTS[url.scheme]) and not tested:
            raise _forbidden(f"port {port}")
        return url

    def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"{host[:80]!r} cannot be resolved", reason="FETCH_FAILED", field="image_link") from error
        addresses = [str(entry[4][0]) for entry in found]
        for text in addresses:
            if (text, port) not in self._test_endpoints and not is_public(ipaddress.ip_address(text)):
                raise _forbidden(f"{host[:80]!r} is at {text}, which is not a public address")
        return addresses

    def _get(self, url: SplitResult) -> Fetched | str:
        """The picture, or where a redirect leads."""
        host, port = str(url.hostname), url.port or _PORTS[url.scheme]
        connection = _Pinned(
            host,
            port,
            addresses=self._resolve(host, port),
            tls=self._tls if url.scheme == "https" else None,
            timeout=self._limits.timeout_s,
        )
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            connection.abort()

        timer = threading.Timer(self._limits.timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            connection.request("GET", _path(url), headers=_HEADERS)
            with connection.getresponse() as response:
                answer = self._read(response)
            if expired.is_set():
                raise TimeoutError  # a body without a length looks whole when it is cut off
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            if expired.is_set() or isinstance(error, TimeoutError):
                raise LimitExceeded(
                    f"not finished within {self._limits.timeout_s:g} s", reason="FETCH_TIMEOUT", field="image_link"
                ) from error
            raise Unavailable(
                f"{host} did not answer properly: {type(error).__name__}", reason="FETCH_FAILED", field="image_link"
            ) from error
        finally:
            timer.cancel()
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> Fetched | str:
        if response.status in _REDIRECTS and (location := response.headers.get("Location")):
            return location
        if response.status != 200:
            raise Unavailable(f"the server answered {response.status}", reason="FETCH_FAILED", field="image_link")
        type_ = response.headers.get_content_type()
        if type_ not in _SUFFIXES or response.headers.get("Content-Encoding", "identity") != "identity":
            raise InvalidInput(f"{type_[:60]} is no picture", reason="NOT_AN_IMAGE", field="image_link")
        body = bytearray()
        if (response.length or 0) <= self._limits.max_bytes:
            while chunk := response.read(_CHUNK):
                body += chunk
                if len(body) > self._limits.max_bytes:
                    break
            else:
                if response.length:
                    raise http.client.IncompleteRead(bytes(body), response.length)
                return Fetched(content=bytes(body), suffix=_SUFFIXES[type_])
        raise LimitExceeded(
            f"larger than {self._limits.max_bytes:,} bytes", reason="IMAGE_TOO_LARGE", field="image_link"
        )


_HEADERS = {"User-Agent": _USER_AGENT, "Accept": ", ".join(_SUFFIXES), "Accept-Encoding": "identity"}


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the addresses that were checked; the name serves for `Host` and the certificate only."""

    def __init__(
        self, host: str, port: int, *, addresses: list[str], tls: ssl.SSLContext | None, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        self.default_port = 443 if tls else 80
        self._addresses = addresses
        self._live: socket.socket | None = None
        self._tls = tls

    def connect(self) -> None:
        for address in self._addresses:
            try:
                self.sock = socket.create_connection((address, self.port), self.timeout)
                break
            except OSError:
                if address == self._addresses[-1]:
                    raise
        self._live = self.sock
        if self._tls is not None:
            self._live = self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def abort(self) -> None:
        """Ends a transfer from another thread, also when the connection has left its socket to the response."""
        if self._live is not None:
            try:
                self._live.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it ended by itself


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also when it is an IPv4 address in IPv6 clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
    return address.is_global and not any(
        address in network for network in _FORBIDDEN if network.version == address.version
    )


def _path(url: SplitResult) -> str:
    path = quote(url.path or "/", safe="/%:@!$&'()*+,;=~")
    return f"{path}?{quote(url.query, safe='/%:@!$&()*+,;=~?')}" if url.query else path


def _malformed(what: str) -> InvalidInput:
    return InvalidInput(what, reason="LINK_MALFORMED", field="image_link")


def _forbidden(what: str) -> NotPermitted:
    return NotPermitted(f"{what} is not allowed", reason="LINK_FORBIDDEN", field="image_link")
