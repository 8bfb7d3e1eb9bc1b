"""Valid files made invalid: bytes, JSON and the headers of safetensors, zip and tar files."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import tarfile
import zipfile
from typing import Any

NUMBERS = (0, 1, -1, 7, 2**31, 2**32 - 1, 2**53, 2**60, 2**63, 2**64 - 1, 10**30, -(2**63), 0.5, -0.0, 1e308, 1e-320)
WORDS = ("", "a", "..", "../../owned", "/tmp/owned", "\0", "\ud800", "é∑", "F32", "I64", "BF16", "x" * 5000, "NaN", "1")
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [1, 2],
    {"a": [{}]},
    [2**60, 2**60],
    float("nan"),
)


def bytes_of(valid: bytes, chance: random.Random) -> bytes:
    """The same with one to six edits: flips, cuts, doubles, lengths and other pieces of itself."""
    data = bytearray(valid)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(data) + 1)
        size = chance.choice((1, 1, 2, 4, 8, chance.randint(1, 200)))
        kind = chance.randrange(8)
        if kind <= 1 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            data[place : place + size] = chance.randbytes(size)
        elif kind == 3:
            del data[place : place + size]
        elif kind == 4:
            data[place:place] = data[place : place + size]
        elif kind == 5:
            number = chance.choice((0, 1, 2**16, 2**31, 2**32 - 1, 2**40, 2**60, 2**63, 2**64 - 1))
            start = chance.choice((place, 0))
            data[start : start + 8] = struct.pack("<Q", number)
        elif kind == 6:
            other = chance.randrange(len(data) + 1)
            data[place : place + size] = data[other : other + size]
        elif chance.random() < 0.3:
            del data[place:]
    return bytes(data)


def json_of(valid: Any, chance: random.Random) -> Any:
    """A copy with one to four of its values, at any depth, replaced, removed, renamed or doubled."""
    found = copy.deepcopy(valid)
    for _ in range(chance.choice((1, 1, 2, 4))):
        there = found
        while isinstance(there, (dict, list)) and there:
            name = chance.choice(list(there)) if isinstance(there, dict) else chance.randrange(len(there))
            deeper = there[name]
            if isinstance(deeper, (dict, list)) and deeper and chance.random() < 0.8:
                there = deeper
                continue
            kind = chance.randrange(6)
            if kind == 0:
                del there[name]
            elif kind == 1 and isinstance(there, dict):
                there[chance.choice(WORDS)] = there.pop(name)
            elif kind == 2 and isinstance(there, list):
                there.append(copy.deepcopy(deeper))
            else:
                there[name] = value(chance)
            break
    return found if chance.random() < 0.98 else value(chance)


def value(chance: random.Random) -> Any:
    """Something that JSON can hold, mostly out of place."""
    return copy.deepcopy(chance.choice(chance.choice((NUMBERS, WORDS, ODD))))


def text_of(valid: Any, chance: random.Random) -> bytes:
    """JSON of a changed copy; now and then nested deeper than any reader goes, or with a number without end."""
    text = json.dumps(json_of(valid, chance))
    kind = chance.randrange(40)
    if kind == 0:
        depth = chance.choice((10, 900, 5000, 100_000))
        opened, closed = chance.choice((("[", "]"), ('{"a":', "}")))
        text = opened * depth + text + closed * depth
    elif kind == 1:
        text = text.replace("1", "1" * chance.choice((400, 5000, 20_000)), 1)
    elif kind == 2:
        text = text + text
    return text.encode("utf-8", "surrogatepass")


def safetensors_of(valid: bytes, chance: random.Random) -> bytes:
    """Another header before the same tensors, or other bytes."""
    if chance.random() < 0.3:
        return bytes_of(valid, chance)
    (length,) = struct.unpack("<Q", valid[:8])
    header = text_of(json.loads(valid[8 : 8 + length]), chance)
    claimed = len(header) if chance.random() < 0.8 else chance.choice((0, 1, 2**20, 2**31, 2**40, 2**60, 2**64 - 1))
    return struct.pack("<Q", claimed) + header + valid[8 + length :]


def zip_of(valid: bytes, chance: random.Random) -> bytes:
    """The same archive with other bytes in one of its files, its checksums right; or other bytes."""
    if chance.random() < 0.3:
        return bytes_of(valid, chance)
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(valid)) as old, zipfile.ZipFile(changed, "w") as new:
        victim = chance.choice([name for name in old.namelist() if chance.random() < 0.3 or name.endswith(".pkl")])
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, bytes_of(data, chance) if name == victim else data)
    return changed.getvalue()


def tar_of(valid: bytes, chance: random.Random) -> bytes:
    """The same archive with another name, kind or size in one of its headers, its checksum right; or other bytes."""
    if chance.random() < 0.3:
        return bytes_of(valid, chance)
    data = bytearray(valid)
    headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    at = chance.choice(headers)
    header = tarfile.TarInfo.frombuf(bytes(data[at : at + 512]), "ascii", "strict")
    kind = chance.randrange(4)
    if kind == 0:
        folder, _, name = header.name.rpartition("/")
        header.name = chance.choice((f"../{header.name}", f"/{header.name}", f"{folder}/../../{name}", *WORDS))
    elif kind == 1:
        header.type = chance.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, b"x", b"L"))
        header.linkname = "/etc/passwd"
    elif kind == 2:
        header.size = chance.choice((0, 1, header.size + 1, header.size + 512, 2**31, 2**60, -1, -512))
    else:
        header.name = header.name.replace("0", chance.choice("1f/."))
    try:
        data[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogatepass")[-512:]
    except ValueError:
        return bytes_of(valid, chance)
    return bytes(data)
