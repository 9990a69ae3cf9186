"""Fetching from strangers' addresses: only http and https, only public hosts, bounded in bytes and in time.

img2dataset calls ``urllib.request.urlopen``, which by itself also opens ``file:`` and ``ftp:``, connects to whatever
address a name resolves to (a pool's url may well be ``http://169.254.169.254/``, a cloud machine's own credentials),
and reads until the host stops. ``install`` puts an opener in its place that does none of this. An address is checked
when the connection is made, after the name was resolved, so neither a redirect nor a name that changes its address
gets around it. Behind a proxy (``http_proxy``) the proxy resolves names: then only addresses written as numbers are
checked here.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import time
import urllib.request
import weakref
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

NOT_PUBLIC = "refused: not a public address"
TOO_LARGE = "refused: larger than allowed"
TOO_SLOW = "refused: slower than allowed"

_CHUNK = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class WebLimits:
    """What is fetched.

    Args:
        max_bytes: of one body.
        max_seconds: from the request to the end of the body; a redirect starts a request of its own.
        private_hosts: also connect to addresses that are not public: loopback, private networks, link-local.
    """

    max_bytes: int
    max_seconds: float
    private_hosts: bool = False


def install(limits: WebLimits) -> None:
    """Make ``urllib.request.urlopen`` of this whole process keep to the limits."""
    urllib.request.install_opener(guarded_opener(limits))


def guarded_opener(limits: WebLimits) -> urllib.request.OpenerDirector:
    """An opener for http and https alone; other schemes are an ``URLError``."""
    opener = urllib.request.OpenerDirector()
    proxies = urllib.request.getproxies()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _handler(limits, frozenset(map(_host_and_port, proxies.values()))),
    ):
        opener.add_handler(handler)
    return opener


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when it is wrapped into another kind."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.teredo is not None or ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast


def connect_public(host: str, port: int, timeout: float | None) -> socket.socket:
    """Connect to the first public address of a host that answers (raises ``OSError``)."""
    failure = OSError(f"{NOT_PUBLIC}: {host}")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not is_public(str(address[0])):
            continue
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class _Deadlines:
    """Ends what takes too long. A host that sends one byte now and then never meets a socket's own time limit."""

    def __init__(self) -> None:
        self._due: weakref.WeakKeyDictionary[Any, tuple[float, socket.socket]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def set(self, response: Any, connection: socket.socket, due: float) -> None:
        """End the connection at ``due`` (of ``time.monotonic``) if the response is still in use then."""
        with self._lock:
            self._due[response] = (due, connection)

    def drop(self, response: Any) -> None:
        """The response has been read."""
        with self._lock:
            self._due.pop(response, None)

    def _run(self) -> None:
        while True:
            time.sleep(0.25)
            now = time.monotonic()
            with self._lock:
                late = [connection for due, connection in self._due.values() if due < now]
            for connection in late:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it ended by itself


def _response_class(limits: WebLimits) -> type[http.client.HTTPResponse]:
    deadlines = _Deadlines()

    class BoundedResponse(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self._due = time.monotonic() + limits.max_seconds
            deadlines.set(self, sock, self._due)

        def read(self, amt: int | None = None) -> bytes:
            if amt is not None:
                return super().read(amt)
            promised, parts, size = self.length, [], 0
            if promised is not None and promised > limits.max_bytes:
                raise OSError(f"{TOO_LARGE}: {promised} bytes")
            while chunk := self.read1(_CHUNK):
                parts.append(chunk)
                size += len(chunk)
                if size > limits.max_bytes:
                    raise OSError(f"{TOO_LARGE}: more than {limits.max_bytes} bytes")
                if size == promised:
                    break
            if time.monotonic() > self._due:
                raise TimeoutError(f"{TOO_SLOW}: {limits.max_seconds:g} s were not enough")
            if promised is not None and size < promised:
                raise http.client.IncompleteRead(b"", promised - size)
            deadlines.drop(self)
            return b"".join(parts)

    return BoundedResponse


def _handler(limits: WebLimits, proxies: frozenset[str]) -> urllib.request.BaseHandler:
    """The handler of http and https, whose connections check addresses and whose responses are bounded."""
    response = _response_class(limits)

    class Connection(http.client.HTTPConnection):
        response_class = response

    class SecureConnection(http.client.HTTPSConnection):
        response_class = response

    class PublicConnection(Connection):
        def connect(self) -> None:
            self.sock = connect_public(self.host, self.port, self.timeout)

    class SecurePublicConnection(SecureConnection, PublicConnection):
        """TLS over ``PublicConnection``: the next class after ``HTTPSConnection`` is the one that connects."""

    class Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Connection if self._may_be_private(req) else PublicConnection, req)

        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(SecureConnection if self._may_be_private(req) else SecurePublicConnection, req)

        def _may_be_private(self, req: urllib.request.Request) -> bool:
            """A proxy may be, and looks the url's name up itself. (``no_proxy`` makes a connection direct again.)"""
            if limits.private_hosts:
                return True
            if req.host not in proxies:
                return False
            _check_number(req)
            return True

    return Handler()


def _host_and_port(proxy: str) -> str:
    """As ``urllib.request`` names a proxy in a request."""
    return unquote(urlsplit(proxy if "//" in proxy else f"//{proxy}").netloc.rpartition("@")[2])


def _check_number(request: urllib.request.Request) -> None:
    """Refuse a host that is written as a number, in whichever way, and is not public, whoever would look it up."""
    host = unquote(urlsplit(request.full_url).hostname or "")
    try:
        public = is_public(host if ":" in host else socket.inet_ntoa(socket.inet_aton(host)))
    except (ValueError, OSError):
        public = host != "localhost"
    if not public:
        raise OSError(f"{NOT_PUBLIC}: {host}")
