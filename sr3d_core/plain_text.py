"""Text files that people write, on any system: the byte-order mark says how they are encoded.

Editors on Windows put one before UTF-8; its shells write UTF-16. As a part of the text it would be
an invisible letter of the first word.
"""

from __future__ import annotations

import codecs
from pathlib import Path

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte-order mark, without the mark.

    Raises OSError where it cannot be opened and UnicodeDecodeError where it is neither.
    """
    data = path.read_bytes()
    text = data.decode("utf-16" if data.startswith(_UTF_16_MARKS) else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")
