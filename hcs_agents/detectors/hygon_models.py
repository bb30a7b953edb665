"""Hygon's PCI device ids and the models they stand for, as the vendor's own tools have them.

The name that rocm_smi or KFD give may be an internal one, or empty; the id is neither.
"""

MODELS = {
    0x55B7: "Z100L",
    0x6210: "K100_AI",
    0x6211: "K100_LC_E_AI",
    0x6212: "K100_LC_AI",
    0x6213: "K100_AI_i",
    0x62B7: "K100",
    0x62C7: "K100-LC",
    0x6310: "BW200",
    0x6311: "BW200_LC",
    0x631A: "BW1000_H",
    0x6320: "BW150",
    0x6370: "BW100",
    0x6430: "BW1100",
    0x6431: "BW1000_LC",
}


def model_of(pci_device: int | None, name: str) -> str:
    """Return the model of a PCI device id, else the reported name."""
    return MODELS.get(pci_device, name) if pci_device is not None else name
