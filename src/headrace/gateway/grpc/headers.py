"""Header blocks of HTTP/2 (HPACK, RFC 7541): those of requests read within bounds, those of answers written.

Blocks that were read on a connection are remembered while its table stays as it is: clients repeat themselves, and
the same bytes say the same until something is added to the table. What is written uses no table.
"""

from __future__ import annotations

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

TABLE_BYTES = 4096
_MAX_BLOCKS = 64
_MAX_BLOCK_BYTES = 2048
_MAX_INTEGER = 1 << 24
_ENTRY_BYTES = 32


class Fields(dict[bytes, bytes]):
    """The fields of a head by name; several of one name are joined. `said` is kept by who compares heads."""

    __slots__ = ("said",)

    said: bytes


class BadHeaders(Exception):
    """A block that cannot be decoded: what follows on the connection cannot be either."""


class HeaderReader:
    """The blocks of one connection, in their order. A list of more than `most_bytes` is read, and not returned."""

    __slots__ = ("_blocks", "_most_bytes", "_table")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._table = HeaderTable()
        self._table.maxsize = TABLE_BYTES
        self._blocks: dict[bytes, Fields] = {}

    def read(self, block: bytes) -> Fields | None:
        """The fields of a block; None: there are too many. Raises BadHeaders."""
        known = self._blocks.get(block)
        if known is None:
            try:
                known, changed = self._decode(block)
            except (IndexError, HPACKError) as error:
                raise BadHeaders(str(error)) from None
            if changed or len(self._blocks) >= _MAX_BLOCKS:
                self._blocks.clear()
            if not changed and known is not None and len(block) <= _MAX_BLOCK_BYTES:
                self._blocks[block] = known
        return known

    def _decode(self, block: bytes) -> tuple[Fields | None, bool]:
        table, end, at = self._table, len(block), 0
        fields = Fields()
        changed, size = False, 0
        while at < end:
            first = block[at]
            if first & 0x80:
                index, at = _integer(block, at, 0x7F)
                name, value = table.get_by_index(index)
            elif first & 0xE0 == 0x20:
                newest, at = _integer(block, at, 0x1F)
                if newest > TABLE_BYTES or size:
                    raise BadHeaders("a table size that is not allowed")
                table.maxsize = newest
                changed = True
                continue
            else:
                adds = first & 0x40
                index, at = _integer(block, at, 0x3F if adds else 0x0F)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
                if adds:
                    table.add(name, value)
                    changed = True
            size += len(name) + len(value) + _ENTRY_BYTES
            if size <= self._most_bytes:
                fields[name] = fields[name] + b", " + value if name in fields else value
        return (fields if size <= self._most_bytes else None), changed


def literal(name: bytes, value: bytes) -> bytes:
    """A field as it is written: as it stands, for no table."""
    return b"\x00%b%b%b%b" % (_length(len(name)), name, _length(len(value)), value)


def _length(number: int) -> bytes:
    if number < 127:
        return bytes((number,))
    written = bytearray((127,))
    number -= 127
    while number >= 128:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """(the number whose prefix is in the byte at `at`, where it ends)."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if number > _MAX_INTEGER or shift > 28:
            raise BadHeaders("a number that is too large")
        if byte < 128:
            return number, at
        shift += 7


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    huffman = block[at] & 0x80
    size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise BadHeaders("a text that is cut off")
    data = block[at:end]
    return (decode_huffman(data) if huffman else data), end
