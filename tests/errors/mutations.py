"""Changes to the bytes of a file, drawn by hypothesis."""

import struct

from hypothesis import strategies as st

NUMBERS = [0, 1, 2, 7, 0xFF, 0x7FFF, 0xFFFF, 9_999, 60_000, 2**24, 2**31 - 1, 2**31, 2**32 - 1]

_place = st.integers(0, 80) | st.integers(0, 2**16)
EDITS = st.one_of(
    st.tuples(st.just("byte"), _place, st.integers(0, 255)),
    st.tuples(
        st.just("number"), _place, st.tuples(st.sampled_from([">I", "<I", ">H", "<H"]), st.sampled_from(NUMBERS))
    ),
    st.tuples(st.just("cut"), _place, st.integers(1, 300)),
    st.tuples(st.just("twice"), _place, st.integers(1, 300)),
    st.tuples(st.just("insert"), _place, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("end"), _place, st.none()),
    st.tuples(st.just("text"), _place, st.sampled_from([b"99999999", b"-1", b"60000", b"0", b"nan"])),
)


def edited(content, edits):
    """The bytes after one change after another; places wrap round."""
    data = bytearray(content)
    for kind, place, value in edits:
        at = place % max(1, len(data))
        match kind:
            case "byte":
                data[at : at + 1] = bytes([value])
            case "number":
                code, number = value
                data[at : at + struct.calcsize(code)] = struct.pack(code, number % 2 ** (8 * struct.calcsize(code)))
            case "cut":
                del data[at : at + value]
            case "twice":
                data[at:at] = data[at : at + value]
            case "insert":
                data[at:at] = value
            case "end":
                del data[at:]
            case "text":
                data[at : at + len(value)] = value
    return bytes(data)
