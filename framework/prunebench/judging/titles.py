"""Words that were written of accuracy, for whatever networks are scored by."""

from __future__ import annotations

from collections.abc import Iterable

ACCURACY = "top-1 accuracy"  # of rows that do not say


def axis_title(title: str) -> str:
    """With a capital, unless it is a symbol."""
    is_word = title[1:2].isalpha() or title[1:2] == "-" or title.startswith("top")
    return title[:1].upper() + title[1:] if is_word else title


def worded(text: str, titles: Iterable[str | None]) -> str:
    """`text` for rows scored by `titles`: of perplexities, "Accuracy against compression" is "Perplexity against …"."""
    found = {title or ACCURACY for title in titles}
    if found <= {ACCURACY}:
        return text
    title = found.pop() if len(found) == 1 else "score"
    return text.replace("Accuracy", axis_title(title)).replace("accuracy", title)
