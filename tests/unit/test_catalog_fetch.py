"""Fetching pictures: what is refused before a connection is made, and what a server may not do to us."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alliance.errors import AllianceError
from member_agent.catalog.fetch import FetchLimits, ImageFetcher, is_public
from member_agent.catalog.model import ImportCounts, Origin
from member_agent.catalog.service import CatalogService

PIXELS = b"\xff\xd8\xff pretend JPEG"


class _Shop(BaseHTTPRequestHandler):
    """A server of pictures and of everything a server can do wrong."""

    hosts: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        path, _, query = self.path.partition("?")
        match path:
            case "/ok.jpg" | "/with%20space.jpg":
                self._answer(200, {"Content-Type": "image/jpeg", "Content-Length": str(len(PIXELS))}, PIXELS)
            case "/to":
                self._answer(302, {"Location": query, "Content-Length": "0"})
            case "/page":
                self._answer(200, {"Content-Type": "text/html", "Content-Length": "2"}, b"hi")
            case "/drawing.svg":
                self._answer(200, {"Content-Type": "image/svg+xml", "Content-Length": "6"}, b"<svg/>")
            case "/packed":
                self._answer(200, {"Content-Type": "image/png", "Content-Encoding": "gzip"}, b"\x1f\x8b")
            case "/large-said":
                self._answer(200, {"Content-Type": "image/png", "Content-Length": "1000000"}, b"x" * 10)
            case "/large-unsaid":
                self._answer(200, {"Content-Type": "image/png"}, b"x" * 200_000)
            case "/cut":
                self._answer(200, {"Content-Type": "image/png", "Content-Length": "100"}, b"x" * 10)
            case "/drip":
                self._answer(200, {"Content-Type": "image/png", "Content-Length": "1000"})
                with contextlib.suppress(OSError):  # the client leaves
                    for _ in range(1000):
                        self.wfile.write(b"x")
                        time.sleep(0.05)
            case _:
                self._answer(404, {"Content-Length": "0"})
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has seen enough
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class Shop:
    def __init__(self, port: int, hosts: list[str]) -> None:
        self.port, self.hosts = port, hosts
        self.url = f"http://127.0.0.1:{port}"
        self.endpoints = frozenset({("127.0.0.1", port)})

    def fetcher(self, **limits: Any) -> ImageFetcher:
        return ImageFetcher(FetchLimits(**limits), test_endpoints=self.endpoints)


@contextmanager
def _serving(tls: ssl.SSLContext | None = None) -> Iterator[Shop]:
    class Handler(_Shop):
        hosts: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Shop(server.server_port, Handler.hosts)
        server.shutdown()
        thread.join()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with _serving() as shop:
        yield shop


def _refused(fetcher: ImageFetcher, link: str) -> str:
    with pytest.raises(AllianceError) as caught:
        fetcher.fetch(link)
    return caught.value.reason


def test_loopback_is_refused_unless_a_test_allows_that_very_endpoint(shop: Shop) -> None:
    assert _refused(ImageFetcher(), "http://127.0.0.1/ok.jpg") == "LINK_FORBIDDEN"
    assert _refused(ImageFetcher(), f"{shop.url}/ok.jpg") == "LINK_FORBIDDEN"
    other = ImageFetcher(test_endpoints=frozenset({("127.0.0.2", shop.port), ("127.0.0.1", shop.port + 1)}))
    assert _refused(other, f"{shop.url}/ok.jpg") == "LINK_FORBIDDEN"
    assert shop.hosts == [], "no request was made"
    fetched = shop.fetcher().fetch(f"{shop.url}/ok.jpg")
    assert (fetched.content, fetched.suffix) == (PIXELS, ".jpg")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "localhost",
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "168.63.129.16",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "[::127.0.0.1]", "[fe80::1]", "[fd00:ec2::254]", "[ff02::1]", "224.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_addresses_inside_are_refused_however_they_are_written(host: str) -> None:
    assert _refused(ImageFetcher(), f"http://{host}/x.jpg") == "LINK_FORBIDDEN"


@pytest.mark.parametrize(
    ("address", "public"),
    [("1.1.1.1", True), ("2606:4700::1111", True), ("::ffff:1.1.1.1", True), ("64:ff9b::101:101", True),
     ("2002:101:101::", True), ("100.63.255.255", True), ("100.64.0.0", False), ("198.18.0.1", False),
     ("192.0.2.1", False), ("240.0.0.1", False), ("2001:db8::1", False), ("2001::1", False), ("fec0::1", False)],
)  # fmt: skip
def test_public_addresses_are_told_from_the_rest(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("ftp://example.com/x.jpg", "LINK_FORBIDDEN"),
        ("file:///etc/passwd", "LINK_FORBIDDEN"),
        ("data:image/png;base64,AA==", "LINK_FORBIDDEN"),
        ("http://user:pw@1.1.1.1/x.jpg", "LINK_FORBIDDEN"),
        ("http://@1.1.1.1/x.jpg", "LINK_FORBIDDEN"),
        ("http://1.1.1.1:8080/x.jpg", "LINK_FORBIDDEN"),
        ("https://1.1.1.1:80/x.jpg", "LINK_FORBIDDEN"),
        ("http://1.1.1.1:99999/x.jpg", "LINK_MALFORMED"),
        ("http://1.1.1.1/x.jpg\r\nHost: inside", "LINK_MALFORMED"),
        ("http:///x.jpg", "LINK_MALFORMED"),
        ("http://[::1/x.jpg", "LINK_MALFORMED"),
        ("http://" + "a" * 300 + "/x.jpg", "FETCH_FAILED"),
        ("no link", "LINK_MALFORMED"),
    ],
)
def test_links_that_are_not_plain_web_links_are_refused(link: str, reason: str) -> None:
    assert _refused(ImageFetcher(), link) == reason


def test_every_redirect_is_checked(shop: Shop) -> None:
    fetch = shop.fetcher()
    assert fetch.fetch(f"{shop.url}/to?/to?/ok.jpg").content == PIXELS
    for inside in (
        "http://127.0.0.2/x.jpg",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "//localhost/",
    ):
        assert _refused(fetch, f"{shop.url}/to?{inside}") == "LINK_FORBIDDEN"
    hops = "/to?" * 4 + "/ok.jpg"
    assert _refused(fetch, shop.url + hops) == "TOO_MANY_REDIRECTS"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/page", "NOT_AN_IMAGE"),
        ("/drawing.svg", "NOT_AN_IMAGE"),
        ("/packed", "NOT_AN_IMAGE"),
        ("/large-said", "IMAGE_TOO_LARGE"),
        ("/large-unsaid", "IMAGE_TOO_LARGE"),
        ("/cut", "FETCH_FAILED"),
        ("/absent", "FETCH_FAILED"),
    ],
)
def test_answers_that_are_no_picture_are_refused(shop: Shop, path: str, reason: str) -> None:
    assert _refused(shop.fetcher(max_bytes=100_000), shop.url + path) == reason


def test_a_server_that_drips_is_left(shop: Shop) -> None:
    assert _refused(shop.fetcher(timeout_s=0.3), f"{shop.url}/drip") == "FETCH_TIMEOUT"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint = ("127.0.0.1", int(taken.getsockname()[1]))
        fetcher = ImageFetcher(test_endpoints=frozenset({endpoint}))
        assert _refused(fetcher, f"http://127.0.0.1:{endpoint[1]}/x.jpg") == "FETCH_FAILED"


def test_a_name_is_resolved_once_so_it_cannot_change_after_the_check(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked = socket.getaddrinfo, list[str]()

    def rebinding(host: str, port: int, *args: Any, **more: Any) -> Any:
        if host != "rebind.example":
            return resolve(host, port, *args, **more)
        asked.append(host)
        return resolve("127.0.0.1" if len(asked) == 1 else "127.0.0.3", port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    link = f"http://rebind.example:{shop.port}/ok.jpg"
    assert shop.fetcher().fetch(link).content == PIXELS
    assert (asked, shop.hosts) == (["rebind.example"], [f"rebind.example:{shop.port}"])
    assert _refused(shop.fetcher(), link) == "LINK_FORBIDDEN"


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(a server's context for `name`, a client's that trusts it)"""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "chain.pem").write_bytes(secret + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_over_https_the_certificate_must_be_the_name_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def local(host: str, port: int, *args: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(".example") else host, port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    server, client = _certificate(tmp_path, "shop.example")
    with _serving(server) as shop:
        fetcher = ImageFetcher(tls=client, test_endpoints=shop.endpoints)
        assert fetcher.fetch(f"https://shop.example:{shop.port}/ok.jpg").content == PIXELS
        assert _refused(fetcher, f"https://other.example:{shop.port}/ok.jpg") == "FETCH_FAILED"
        downgrade = f"https://shop.example:{shop.port}/to?http://shop.example:{shop.port}/ok.jpg"
        assert _refused(fetcher, downgrade) == "LINK_FORBIDDEN"


def test_fetched_pictures_belong_to_their_products(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "feed.tsv"
    rows = [f"1\tShoe\t{shop.url}/ok.jpg", f"2\tBoot\t{shop.url}/page", f"3\tHat\t{shop.url}/with space.jpg"]
    path.write_text("\n".join(["id\ttitle\timage_link", *rows[:2], rows[2].replace(" ", "%20")]) + "\n")
    with CatalogService(tmp_path / "home", lambda: datetime.datetime.now(datetime.UTC)) as service:
        plan = service.plan_import(Origin(path=path))
        assert service.run_import(plan).counts.new == 3
        assert shop.hosts == [], "importing fetches nothing"
        before = service.changes()
        digests = [product.content_digest for product in before.changed]
        report = service.fetch_images(plan.source, shop.fetcher())
        assert report.fetched == 2
        assert [(one.reason, one.row) for one in report.failed] == [("NOT_AN_IMAGE", None)]
        shoe, boot, hat = service.products()
        (file,) = shoe.image_paths
        assert file.read_bytes() == PIXELS
        assert file.stem == hashlib.sha256(PIXELS).hexdigest()
        assert hat.image_paths == (file,)
        assert boot.image_paths == ()
        assert [one.content_digest == old for one, old in zip((shoe, boot, hat), digests, strict=True)] == [
            False, True, False,
        ]  # fmt: skip
        assert [one.id for one in service.changes(before.upto).changed] == [shoe.id, hat.id]
        again = service.run_import(service.plan_import(Origin(path=path)))
        assert again.counts == ImportCounts(rows=3, unchanged=3)
        assert service.fetch_images(plan.source, shop.fetcher()).fetched == 0
