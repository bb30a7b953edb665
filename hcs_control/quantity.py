"""Kubernetes quantities as whole numbers, exactly.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import Decimal

QUANTITY = re.compile(
    r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?"
)
BINARY = {
    suffix: Decimal(1024) ** (n + 1)
    for n, suffix in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
}
DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
}
DIGITS_MAX = 40  # the API server's own values have at most 19 digits


def parse_positive_integer(text: str) -> int:
    """Return a quantity that must be a whole number above zero.

    Raises:
        ValueError: anything else; the message says what is allowed.
    """
    match = QUANTITY.fullmatch(text) if len(text) <= DIGITS_MAX else None
    if match is None:
        raise ValueError(f"{text!r} is not a quantity: use a whole number such as 16Gi or 100")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        value = number.scaleb(int(suffix[1:])) if abs(int(suffix[1:])) <= DIGITS_MAX else Decimal(0)
    else:
        value = number * BINARY.get(suffix, DECIMAL.get(suffix, Decimal(1)))
    if value <= 0:
        raise ValueError(f"{text!r} must be greater than zero")
    if value != value.to_integral_value():
        raise ValueError(f"{text!r} is not whole: use a whole number such as 16Gi or 100")
    return int(value)
