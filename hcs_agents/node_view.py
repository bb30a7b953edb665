"""What an agent knows of its node: the last word of each vendor's worker, and the network cards.

A worker that failed has not said that its cards are gone: they stay as they were last seen. What
they do is another matter: a sample is used once, and shown until its vendor fails.
"""

from collections.abc import Iterator, Sequence

import msgspec

from hcs_agents.counters import CounterGrowth, Growth
from hcs_agents.detectors.port import Reading
from hcs_agents.worker import Failure
from hcs_agents.worker_frames import Sampled, Scan
from hcs_bus.events import (
    DetectorReport,
    DetectorState,
    DeviceFingerprint,
    DeviceSample,
    Fingerprint,
    RdmaNic,
    Samples,
)
from hcs_bus.names import DeviceId, Vendor

READING_DECODER = msgspec.msgpack.Decoder(Reading)


class DeviceNow(msgspec.Struct, frozen=True, kw_only=True):
    """A card, what it did when it was last asked, and what it has counted since the agent began."""

    device: DeviceFingerprint
    sample: DeviceSample
    total: Growth


class NodeView:
    """Takes in observations, gives out facts."""

    def __init__(self, vendors: Sequence[Vendor]) -> None:
        self.nics: tuple[RdmaNic, ...] = ()
        self.malformed = 0  # readings that could not be true
        self._vendors = tuple(vendors)
        self._scans: dict[Vendor, Scan] = {}
        self._seen: dict[Vendor, tuple[DeviceId, ...]] = {}
        self._samples: dict[Vendor, dict[DeviceId, DeviceSample]] = {}
        self._fresh: set[Vendor] = set()  # whose samples no fact has told of
        self._sampled_at_ns = 0
        self._growth = CounterGrowth()
        self._totals: dict[DeviceId, Growth] = {}

    @property
    def is_complete(self) -> bool:
        """Say whether there is a word of every vendor."""
        return len(self._scans) == len(self._vendors)

    def has_sampled(self, vendor: Vendor) -> bool:
        """Say whether a vendor's cards have said what they do, since its library works."""
        return vendor in self._samples

    def report_of(self, vendor: Vendor) -> DetectorReport | None:
        """Return how a vendor's library is, if that is known."""
        scan = self._scans.get(vendor)
        return scan.report if scan else None

    def devices_of(self, vendor: Vendor) -> tuple[DeviceFingerprint, ...]:
        """Return a vendor's cards as last seen."""
        scan = self._scans.get(vendor)
        return scan.devices if scan else ()

    def last_seen_of(self, vendor: Vendor) -> tuple[DeviceId, ...]:
        """Return the cards that a vendor's library had when it last worked."""
        return self._seen.get(vendor, ())

    # --- In ---------------------------------------------------------------------------------------

    def note_scan(self, scan: Scan) -> None:
        """Take in what a worker has found."""
        vendor = scan.report.vendor
        self._scans[vendor] = scan
        if scan.report.state is DetectorState.OK:
            self._seen[vendor] = tuple(device.device_id for device in scan.devices)
        else:
            self._forget_samples(vendor)

    def note_failure(self, failure: Failure) -> None:
        """Take in that a worker has failed: its library is broken, its cards are what they were."""
        self.note_broken(failure.vendor, failure.detail)
        self._forget_samples(failure.vendor)

    def note_broken(self, vendor: Vendor, detail: str) -> None:
        """Call a vendor's library broken; its cards are what they were."""
        report = DetectorReport(vendor=vendor, state=DetectorState.BROKEN, detail=detail)
        self._scans[vendor] = Scan(report=report, devices=self.devices_of(vendor))

    def note_samples(self, sampled: Sampled, *, at_ns: int) -> None:
        """Take in what a vendor's cards do; a reading that cannot be true is left out."""
        samples: dict[DeviceId, DeviceSample] = {}
        for raw in sampled.readings:
            try:
                reading = READING_DECODER.decode(raw)
            except msgspec.ValidationError:
                self.malformed += 1
                continue
            device_id = reading.sample.device_id
            samples[device_id] = reading.sample
            self._growth.note(device_id, reading.counters)
        self._samples[sampled.vendor] = samples
        self._fresh.add(sampled.vendor)
        self._sampled_at_ns = at_ns

    def _forget_samples(self, vendor: Vendor) -> None:
        self._samples.pop(vendor, None)
        self._fresh.discard(vendor)

    # --- Out --------------------------------------------------------------------------------------

    def fingerprint(self, *, at_ns: int, agent_version: str) -> Fingerprint:
        """Return the whole node, in the order of the vendors."""
        scans = [self._scans[vendor] for vendor in self._vendors]
        return Fingerprint(
            at_ns=at_ns,
            agent_version=agent_version,
            detectors=tuple(scan.report for scan in scans),
            devices=tuple(device for scan in scans for device in scan.devices),
            nics=self.nics,
        )

    def take_samples(self, *, interval_s: float) -> Samples | None:
        """Return what the cards do that have answered since the last call; `None`: none has."""
        fresh, self._fresh = self._fresh, set()
        devices = []
        for vendor in self._vendors:
            if vendor in fresh:
                devices += [self._with_growth(one) for one in self._samples[vendor].values()]
        if not devices:
            return None
        return Samples(at_ns=self._sampled_at_ns, interval_s=interval_s, devices=tuple(devices))

    def devices_now(self) -> Iterator[DeviceNow]:
        """Return the cards that answer."""
        for vendor in self._vendors:
            samples = self._samples.get(vendor, {})
            for device in self.devices_of(vendor):
                if device.device_id in samples:
                    yield DeviceNow(
                        device=device,
                        sample=samples[device.device_id],
                        total=self._totals.get(device.device_id, Growth()),
                    )

    def _with_growth(self, sample: DeviceSample) -> DeviceSample:
        growth = self._growth.take(sample.device_id)
        self._totals[sample.device_id] = self._totals.get(sample.device_id, Growth()) + growth
        return msgspec.structs.replace(sample, **msgspec.structs.asdict(growth))
