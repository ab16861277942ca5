"""LZF, the compression inside `binary_compressed` PCD files.

A control byte below 32 is followed by that many plus one plain bytes; any other says: copy
`length` bytes from `distance` back, length in its upper three bits (7: one more byte follows),
distance in the lower five and the next byte. Copies may overlap what they write.
"""

from __future__ import annotations


def decompress(data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` was made from; ValueError where it is damaged."""
    result = bytearray()
    try:
        position = 0
        while position < len(data):
            control = data[position]
            position += 1
            if control < 32:
                result += data[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[position]
                position += 1
            distance = ((control & 31) << 8) + data[position] + 1
            position += 1
            _copy_back(result, distance, length + 2)
    except IndexError as error:
        raise ValueError(f"compressed data end after {len(data)} bytes, within a copy") from error
    if len(result) != size:
        raise ValueError(f"{len(result)} bytes after decompression, expected {size}")
    return bytes(result)


def _copy_back(result: bytearray, distance: int, length: int) -> None:
    start = len(result) - distance
    if start < 0:
        raise ValueError(f"compressed data copy from {-start} bytes before their start")
    if distance >= length:
        result += result[start : start + length]
    else:
        pattern = result[start:]
        repeats = length // distance + 1
        result += (pattern * repeats)[:length]
