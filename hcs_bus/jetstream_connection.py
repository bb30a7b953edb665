"""One connection to a nats-server, re-made for ever, that says when it was lost.

The client reconnects by itself while the server is merely away. After an error that the server
itself reports (a revoked password, a command that it does not take) the client closes for good; the
next one who needs the connection then opens a new one, so what hangs on a client (inboxes,
subscriptions) belongs to that client and is made anew with it.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.protocol import parser

from hcs_bus.errors import TransientError

LOG = structlog.get_logger()

ANSWER_TIMEOUT_S = 5.0  # of a question about streams and consumers
CONNECT_TIMEOUT_S = 3.0
RECONNECT_WAIT_S = 0.2
PING_INTERVAL_S = 10  # a server that has frozen is given up after the third unanswered ping
DENIED_SUBJECTS_MAX = 1_000  # subjects remembered as complained about

PLAIN_HEADERS = b"NATS/1.0\r\n"  # a status message has a status in between
DENIED = re.compile(r'permissions violation for publish to "([^"]*)"')

# A server takes for a subject whatever has no blank, tab or line end in it. The client's parser
# ends a word at a vertical tab and a form feed as well, and a connection over a line that does not
# read as it expects: one such message in a stream would end each connection that it comes over.
_WORD, _GAP = rb"([^ \t\r\n]+)", rb"[ \t]+"
_HEAD = rb"MSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?"
parser.MSG_RE = re.compile(rb"\A" + _HEAD + rb"(\d+)\r\n")
parser.HMSG_RE = re.compile(rb"\AH" + _HEAD + rb"(\d+)" + _GAP + rb"(\d+)\r\n")


@contextlib.contextmanager
def wrapped_errors() -> Iterator[None]:
    """Turn the client's exceptions into ours."""
    try:
        yield
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error


def inbox_prefix(url: str) -> str:
    """Return where answers to the URL's user arrive: below a prefix that only it may hear."""
    user = urlsplit(url).username
    return f"_INBOX.{user}" if user else "_INBOX"


Receiver = Callable[[str, str, bytes], Awaitable[None]]
"""Takes a delivery: its subject, its reply subject, its payload. Raises nothing."""


class LeanClient(Client):
    """The client, without headers but the server's own words about a request (status messages).

    Events carry all that they say in their payload; taking their headers apart costs 3 µs each, the
    way through a subscription's queue and task as much again. And whoever may publish chooses a
    message's subject and headers byte by byte, but the client stops reading for good over any that
    it cannot decode: here they are shown, or left alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._receivers: dict[int, Receiver] = {}  # by subscription

    async def receive(
        self, subject: str, receiver: Receiver, *, on_status: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """Subscribe; deliveries go to `receiver` at once, the server's own words to `on_status`."""
        subscription = await self.subscribe(subject, cb=on_status)
        self._receivers[subscription._id] = receiver  # noqa: SLF001  # the version is pinned
        return subscription

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        """Overrides the client's; the version is pinned."""
        self._receivers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Overrides the client's; the version is pinned."""
        # What has a reply subject is a publisher's: the server's own words ask for no reply.
        if not reply:
            await super()._process_msg(sid, subject, reply, data, headers)
        elif receiver := self._receivers.get(sid):
            await receiver(_shown(subject), _shown(reply), data)
        else:
            await super()._process_msg(sid, subject, reply, data, b"")

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """Overrides the client's; the version is pinned."""
        if not headers or headers.startswith(PLAIN_HEADERS):
            return None
        parsed: dict[str, str] | None = await super()._process_headers(headers)
        return parsed

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        """Overrides the client's; the version is pinned."""
        return Msg(
            _client=self,
            subject=_shown(subject),
            reply=_shown(reply),
            data=data,
            headers=headers,
            _sid=sid,
        )


def _shown(subject: bytes) -> str:
    return subject.decode(errors="backslashreplace")


class Connection:
    """One client after another, never two at a time; `open` it before use."""

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._opening = asyncio.Lock()
        self._connected = asyncio.Event()
        self._closing = False
        self._denied_before: set[str] = set()
        self.client = LeanClient()
        self.context: JetStreamContext = self.client.jetstream(timeout=ANSWER_TIMEOUT_S)
        # Called when whatever is under way will not be answered any more.
        self.on_lost: set[Callable[[], None]] = set()
        # Called with the subject (in lower case, as the client reports it) of a publish that the
        # server's permissions forbid: the server says nothing to the message itself.
        self.on_denied: set[Callable[[str], None]] = set()

    async def open(self) -> None:
        """Connect a new client.

        Raises:
            TransientError: no server there within `CONNECT_TIMEOUT_S`.
        """
        client = LeanClient()
        try:
            # The client would try for ever, the first time too; the caller decides about that.
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._connect(client)
        except TimeoutError as error:
            # Not the URL: it may hold a password.
            address = urlsplit(self._url).netloc.rpartition("@")[2]
            raise TransientError(
                f"no nats-server at {address} within {CONNECT_TIMEOUT_S:.0f} s"
            ) from error
        except (nats.errors.Error, OSError) as error:
            raise TransientError(f"{type(error).__name__}: {error}") from error
        self.client = client
        self.context = client.jetstream(timeout=ANSWER_TIMEOUT_S)
        self._connected.set()

    async def ready(self, timeout_s: float) -> bool:
        """Return whether the connection is there, waiting for it at most `timeout_s`.

        An attempt to open a new one is not cut short by that: it would get nowhere.
        """
        if self.client.is_connected:
            return True
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self.client.is_closed and not self._closing:
            await self._reopen()
            if asyncio.get_running_loop().time() >= deadline_s:
                return self.client.is_connected
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._connected.wait()
        except TimeoutError:
            return False
        return True

    async def write(self, command: bytes) -> None:
        """Put a protocol command behind those that wait to be sent; `flush` sends them.

        The client's own `publish` spends 7 µs on a message with headers, this less than one.
        """
        await self.client._send_command(command)  # noqa: SLF001  # see above; the version is pinned

    async def flush(self) -> None:
        """Wake the client's writer, without waiting for it."""
        await self.client._flush_pending()  # noqa: SLF001  # `flush` would wait for a ping's answer

    async def close(self) -> None:
        """Disconnect for good."""
        self._closing = True
        await self.client.close()

    async def _reopen(self) -> None:
        async with self._opening:
            if not self.client.is_closed:
                return  # somebody else was here first
            try:
                await self.open()
                LOG.info("bus_reopened", client=self._name)
            except TransientError:  # `on_close` has said what is wrong
                await asyncio.sleep(RECONNECT_WAIT_S)

    async def _connect(self, client: Client) -> None:
        async def on_error(error: Exception) -> None:
            denied = DENIED.search(str(error))
            if denied is not None:
                self._say_denied(denied[1])
            elif client.is_connected:
                # While disconnected each try fails with one: `on_disconnect` has said it once.
                LOG.warning("bus_error", client=self._name, error=repr(error))

        async def on_disconnect() -> None:
            if not client.is_closed:
                LOG.warning("bus_disconnected", client=self._name)
            self._lose()

        async def on_reconnect() -> None:
            LOG.info("bus_reconnected", client=self._name)
            self._connected.set()

        async def on_close() -> None:
            if not self._closing:
                error = repr(client.last_error)
                LOG.error("bus_closed_by_server", client=self._name, error=error)

        await client.connect(
            self._url,
            name=self._name,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # floats do
            connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # as above
            ping_interval=PING_INTERVAL_S,
            error_cb=on_error,
            disconnected_cb=on_disconnect,
            reconnected_cb=on_reconnect,
            closed_cb=on_close,
            inbox_prefix=inbox_prefix(self._url),
        )

    def _lose(self) -> None:
        self._connected.clear()
        self._denied_before.clear()
        for callback in tuple(self.on_lost):
            callback()

    def _say_denied(self, subject: str) -> None:
        if subject not in self._denied_before and len(self._denied_before) < DENIED_SUBJECTS_MAX:
            self._denied_before.add(subject)
            LOG.error("publish_not_allowed", client=self._name, subject=subject)
        for callback in tuple(self.on_denied):
            callback(subject)
