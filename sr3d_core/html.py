"""Pieces of a page of HTML, in which every text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em;
  color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; margin: .6em 0; }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
table.words td { text-align: left; vertical-align: top; white-space: normal;
  overflow-wrap: anywhere; }
div.wide { overflow-x: auto; }
img { max-width: 100%; } figure { margin: 1em 0; } figcaption, p.note { color: #555; }
"""

# Nothing is loaded from anywhere, and nothing runs, whatever names and recordings hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{text(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def text(words: object) -> str:
    """Words as they are: nothing in them is markup; what no page can hold is left out."""
    signs = str(words).encode("utf-8", "replace").decode("utf-8")
    return escape("".join(sign for sign in signs if sign.isprintable() or sign in "\n\t"))


def heading(words: str) -> str:
    """The heading of a section."""
    return f"<h2>{text(words)}</h2>"


def note(words: str) -> str:
    """A paragraph that explains."""
    return f'<p class="note">{text(words)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], is_words: bool = False) -> str:
    """A table; of words instead of numbers where `is_words`."""
    top = "".join(f"<th>{text(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    kind = ' class="words"' if is_words else ""
    rows_ = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table{kind}>{rows_}</table></div>'


def picture(content: bytes, kind: str, caption: str) -> str:
    """A picture inside the page; `kind` is png or jpeg."""
    data = base64.b64encode(content).decode("ascii")
    words = text(caption)
    return (
        f'<figure><img alt="{words}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )
