"""The words every layer shares: vendors, severities, and identifiers that must not be mixed up."""

import enum
from typing import NewType

NodeName = NewType("NodeName", str)
"""A Kubernetes node name (RFC 1123 subdomain)."""

DeviceId = NewType("DeviceId", str)
"""A card's own identity: the NVML UUID, or the vendor's serial number. Never an index."""

PodUid = NewType("PodUid", str)
"""`metadata.uid` of a Pod: names survive a Pod, UIDs do not."""

StreamSeq = NewType("StreamSeq", int)
"""A position in a stream, starting at 1; 0 means "before the first message"."""


class Vendor(enum.StrEnum):
    """Who made the card, and so which management library speaks for it."""

    NVIDIA = "nvidia"
    HUAWEI = "huawei"
    HYGON = "hygon"
    CAMBRICON = "cambricon"
    MTHREADS = "mthreads"


class Severity(enum.StrEnum):
    """How bad a fault is for the work on the card, as the code catalogues rate it."""

    INFO = "info"  # worth recording; no effect on work
    WARNING = "warning"  # an application or a single request suffered
    DEGRADED = "degraded"  # slower or noisier than it should be
    FATAL = "fatal"  # work on this card is lost or will be


class LinkType(enum.StrEnum):
    """The fabric between two cards of one node."""

    NVLINK = "nvlink"
    NVSWITCH = "nvswitch"  # NVLink through switches: each card reaches each at full width
    HCCS = "hccs"
    XGMI = "xgmi"
    MLU_LINK = "mlu_link"
    MTLINK = "mtlink"
    PCIE = "pcie"  # the way of cards that no fabric connects


NANOSECONDS_PER_SECOND = 1_000_000_000
