"""The child process that turns a Vega-Lite specification into a picture: a renderer that aborts takes only itself down.

Reads JSON `{"spec": …, "form": "svg", "scale": 2}` from standard input, writes the picture's bytes to standard output.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

from prunebench.writing import printable

LONGEST = 100_000
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def main() -> None:
    """Render one request."""
    import vl_convert

    request = msgspec.json.decode(sys.stdin.buffer.read())
    spec: Any = showable(request["spec"])
    sealed: Any = {"allowed_base_urls": []}
    match request["form"]:
        case "svg":
            # Vega reads `\\x07` in a title as an escape again and puts the character into a description.
            picture = NOT_XML.sub("\ufffd", vl_convert.vegalite_to_svg(spec, **sealed)).encode()
        case "png":
            picture = vl_convert.vegalite_to_png(spec, scale=request["scale"], **sealed)
        case "pdf":
            picture = vl_convert.vegalite_to_pdf(spec, **sealed)
        case other:
            raise ValueError(f"no such form: {other}")
    sys.stdout.buffer.write(picture)


def showable(value: Any) -> Any:
    """`value` with every text in it printable: a control character in a label aborts the renderer's whole process."""
    if isinstance(value, str):
        return printable(value, LONGEST)
    if isinstance(value, list):
        return [showable(item) for item in value]
    if isinstance(value, dict):
        return {showable(key): showable(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    main()
