"""Shared objects with nothing in them: every function that is asked of them is there and answers 0.

Written byte by byte, so that no compiler is needed. The layout is that of the ELF specification and of the processor
supplements for x86-64 and AArch64.
"""

import platform
import struct

PAGE = 0x10000  # the largest page of an AArch64 kernel
MACHINES = {"x86_64": (62, b"\x31\xc0\xc3"), "aarch64": (183, b"\x00\x00\x80\xd2\xc0\x03\x5f\xd6")}  # return 0
PT_LOAD, PT_DYNAMIC = 1, 2
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_SONAME = 4, 5, 6, 10, 11, 14
SHT_DYNSYM, SHT_VERSYM = 11, 0x6FFFFFFF


def write(path, soname, functions, machine=None):
    """Write a shared object whose functions, a list of names, all return 0. Raises KeyError for another machine."""
    number, code = MACHINES[machine or platform.machine()]
    strings, offsets = b"\0", []
    for name in [soname, *functions]:
        offsets.append(len(strings))
        strings += name.encode("ascii") + b"\0"
    count = len(functions) + 1
    code_at = 64 + 3 * 56
    hash_at = _aligned(code_at + len(code))
    symbols_at = _aligned(hash_at + 4 * (3 + count))
    strings_at = symbols_at + 24 * count
    dynamic_at = PAGE  # in a segment of its own, because older loaders write there
    chain = [0] + [n - 1 for n in range(1, count)]  # one bucket: the last symbol, then the one before it
    table = struct.pack("<III", 1, count, count - 1) + struct.pack("<{}I".format(count), *chain)
    symbols = b"\0" * 24 + b"".join(struct.pack("<IBBHQQ", at, 0x12, 0, 1, code_at, len(code)) for at in offsets[1:])
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in (
        (DT_SONAME, offsets[0]), (DT_HASH, hash_at), (DT_STRTAB, strings_at), (DT_SYMTAB, symbols_at),
        (DT_STRSZ, len(strings)), (DT_SYMENT, 24), (0, 0)))
    image = struct.pack("<4sBBBB8sHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, b"", 3, number, 1, 0, 64, 0, 0, 64, 56, 3,
                        64, 0, 0)
    size = strings_at + len(strings)
    image += _segment(PT_LOAD, 5, 0, size, PAGE) + _segment(PT_LOAD, 6, dynamic_at, len(dynamic), PAGE)
    image += _segment(PT_DYNAMIC, 6, dynamic_at, len(dynamic), 8)
    for at, part in ((code_at, code), (hash_at, table), (symbols_at, symbols), (strings_at, strings),
                     (dynamic_at, dynamic)):
        image = image.ljust(at, b"\0") + part
    with open(str(path), "wb") as file:
        file.write(image)


def missing_functions(path):
    """What a shared object wants of others under no symbol version: names, without those of Python itself."""
    with open(str(path), "rb") as file:
        data = file.read()
    sections_at, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, sections_at + n * size) for n in range(count)]
    symbols = next(section for section in sections if section[1] == SHT_DYNSYM)
    versions = next((section for section in sections if section[1] == SHT_VERSYM), None)
    strings_at = sections[symbols[6]][4]
    found = []
    for n in range(1, symbols[5] // 24):
        name, info, _, section = struct.unpack_from("<IBBH", data, symbols[4] + n * 24)
        version = struct.unpack_from("<H", data, versions[4] + 2 * n)[0] if versions else 0
        if section == 0 and info >> 4 == 1 and version <= 1:  # undefined, global, of no version
            at = strings_at + name
            found.append(data[at:data.index(b"\0", at)].decode("ascii"))
    return [name for name in found if not name.startswith(("Py", "_Py"))]


def _segment(kind, flags, at, size, align):
    return struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, align)


def _aligned(at):
    return (at + 15) // 16 * 16
