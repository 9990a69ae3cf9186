"""Text of strangers, made fit for terminals, logs, pages and XML."""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, *, keep: str = "") -> str:
    """The text with every character replaced that is not to be seen, or does something to a terminal, but the space.

    What Unicode calls control and format characters (escape sequences; what changes the direction of text), halves of
    surrogate pairs, unassigned code points, and spaces and line ends other than the plain space: ``str.isprintable``.
    No character is left that XML cannot hold. The length stays.

    Args:
        text: a stranger's.
        keep: characters that stay all the same, such as a line end.
    """
    return "".join(each if each.isprintable() or each in keep else REPLACEMENT for each in text)
