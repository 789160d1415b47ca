"""What the licence of pretrained weights asks of a reader, in words."""

from __future__ import annotations

# As timm writes them, in small letters; torchvision gives an address where it states anything.
OPEN = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
NOT_COMMERCIAL = (
    "cc-by-nc",
    "noncommercial",
    "non-commercial",
    "facebookresearch/swag",  # CC-BY-NC 4.0: torchvision gives its address alone
    "apple-amlr",  # "for Research Purposes" only
)
SEVERAL, UNKNOWN = ", ", "unknown"


def concern(licence: str | None) -> str | None:
    """Return a sentence if the weights are not for everything, or nobody says; None for what is open.

    licence: as `together` writes those of several networks; the most restrictive one is named.
    """
    stated = [UNKNOWN] if licence is None else licence.split(SEVERAL)
    for one in stated:
        if any(mark in one.lower() for mark in NOT_COMMERCIAL):
            return f"these weights are not for commercial use, and nor is a model made of them ({one})"
    for one in stated:
        if one.lower() not in (*OPEN, UNKNOWN):
            return f"these weights have a licence of their own, which holds for the model as well: read it ({one})"
    if UNKNOWN in stated:
        return "no licence is stated for these weights: ask who published them before you pass the model on"
    return None


def together(licences: list[str | None]) -> str | None:
    """Return the licences of several networks as one text, each once; None if none is known."""
    if not any(licences):
        return None
    return SEVERAL.join(dict.fromkeys(licence or UNKNOWN for licence in licences))
