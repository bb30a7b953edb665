"""What a worker and its agent say to each other: msgpack behind four bytes of length.

Length-prefixed on a stream, because a fingerprint of many cards with all their links is larger than
a datagram may be. A worker says what it is about to do before it does it: the agent so knows that
it lives, and what it was doing when it does not come back.
"""

import enum
from collections.abc import Iterator

import msgspec

from hcs_agents.detectors.port import ActiveFault, DeviceProcess, FaultSignal
from hcs_bus.events import DetectorReport, DeviceFingerprint
from hcs_bus.names import Vendor

LENGTH_BYTES = 4
FRAME_BYTES_MAX = 8 * 1024**2  # 64 cards with all their links are a tenth of it


class FrameError(Exception):
    """The other side sent what is no frame."""


class Operation(enum.StrEnum):
    """A call into a detector, as faults and reports name it."""

    START = "start"  # nothing was said yet
    OPEN = "open"
    SCAN = "scan"
    SAMPLE = "sample"
    PROCESSES = "list processes"
    WAIT = "wait for faults"
    CLOSE = "close"


class Order(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The agent's only words: what to watch, and how often."""

    scan_interval_s: float
    sample_interval_s: float
    active: tuple[ActiveFault, ...] = ()  # faults that were told of and have not ended


class Doing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A call into the vendor's library begins."""

    operation: Operation


class Scan(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All of one vendor's cards, and how its library is; unless that is `OK`, the worker ends."""

    report: DetectorReport
    devices: tuple[DeviceFingerprint, ...] = ()


class Faults(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What one detector pushed."""

    vendor: Vendor
    signals: tuple[FaultSignal, ...]


class Sampled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What one vendor's cards do: a `Reading` each, so that an impossible one costs only itself."""

    vendor: Vendor
    readings: tuple[msgspec.Raw, ...]


class OnCards(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All processes on one vendor's cards."""

    vendor: Vendor
    looked_at_ns: int  # on the monotonic clock, before the driver was asked
    processes: tuple[DeviceProcess, ...]


class Mistake(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The detector raised what no detector may: ours to mend."""

    vendor: Vendor
    detail: str


Frame = Doing | Scan | Faults | Sampled | OnCards | Mistake

ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(Frame)
ORDER_DECODER = msgspec.msgpack.Decoder(Order)


def encode_frame(frame: Frame | Order) -> bytes:
    """Return a frame with its length."""
    payload = ENCODER.encode(frame)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream into payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in what arrived; return the payloads that are complete.

        Raises:
            FrameError: a length that no frame has.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                raise FrameError(f"a frame of {length} bytes")
            end = LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[LENGTH_BYTES:end])
            del self._buffer[:end]
            yield payload


def decode_frame(payload: bytes) -> Frame:
    """Read what a worker said.

    Raises:
        FrameError: nothing that a worker may say.
    """
    try:
        frame: Frame = DECODER.decode(payload)
        return frame
    except msgspec.DecodeError as error:  # a ValidationError is one
        raise FrameError(str(error)) from error
