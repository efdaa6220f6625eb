"""Whatever torch or Python say when memory or the disk runs out becomes a sentence, and nothing else does."""

import errno

import pytest
import torch

from imcswav.errors import disk_refused, short_of_memory


def test_what_torch_says_of_too_large_tensors():
    for shape in ((2**55,), (2**40, 2**40)):
        with pytest.raises(RuntimeError) as caught:
            torch.empty(shape, dtype=torch.uint8)
        assert short_of_memory(caught.value).startswith("There is not enough memory (")


def test_memory_of_a_device_and_of_python():
    assert "Tried to allocate 2 GiB); take" in short_of_memory(torch.OutOfMemoryError("Tried to allocate 2 GiB."))
    assert short_of_memory(MemoryError()).startswith("There is not enough memory; take a smaller")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("not enough memory"), KeyError("x")])
def test_other_errors_are_none(error):
    assert short_of_memory(error) == ""
    assert disk_refused(error) == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b.csv"), "a/b.csv can't be read or written: Permission"),
        (OSError(errno.ENOSPC, "No space left on device"), "A file can't be read or written: No space left on device;"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a can't be read or written: Read-only file system;"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "a can't be read or written: File name too long;"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), ""),
        (PermissionError(errno.EPERM, "Operation not permitted"), ""),  # of a socket, perhaps
    ],
)
def test_what_the_disk_refuses(error, said):
    assert disk_refused(error).startswith(said)
    assert bool(disk_refused(error)) is bool(said)
