"""The Markdown of a paper's notes as HTML: paragraphs, lists, headings, code, emphasis; everything else is text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prunebench.report.markup import code, esc

_INLINE = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])"), r"<em>\1</em>"),
)


def html_of(text: str) -> str:
    """`text` as HTML; it is escaped before anything is marked up."""
    blocks = re.split(r"\n\s*\n|(?=^```)|(?<=^```)\n", text.strip(), flags=re.MULTILINE)
    return "\n".join(_block(block.strip("\n")) for block in _fenced(blocks) if block.strip())


def _fenced(blocks: list[str]) -> Iterator[str]:
    """Blocks, those between two fences joined again."""
    held: list[str] | None = None
    for block in blocks:
        if block.startswith("```") and held is None:
            held = [block]
        elif held is not None:
            held.append(block)
        else:
            yield block
        if held is not None and len(held) > 1 and held[-1].strip().endswith("```"):
            yield "\n".join(held)
            held = None
    if held:
        yield "\n".join(held)


def _block(block: str) -> str:
    if block.startswith("```"):
        return code(re.sub(r"^```\w*\n?|\n?```$", "", block))
    if block.startswith("#"):
        return f"<h3>{_inline(block.lstrip('#').strip())}</h3>"
    if re.match(r"[-*] ", block):
        items = re.split(r"^[-*] ", block, flags=re.MULTILINE)[1:]
        return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
    return f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    shown = esc(" ".join(text.split()), 20_000)
    for pattern, markup in _INLINE:
        shown = pattern.sub(markup, shown)
    return shown
