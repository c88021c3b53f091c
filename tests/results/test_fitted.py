from __future__ import annotations

import hashlib

import pytest
import torch

from adbench_harness.errors import UserError
from adbench_harness.results import reading
from adbench_harness.results.fitted import Fitted, Learned, decode, encode


def learned(**tensors):
    return Learned({name: {"tensor": name} for name in tensors}, tensors, 7)


def test_what_is_decoded_is_what_was_encoded(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    parts = {"model": learned(bank=shared, a=torch.ones(2).half()), "scorer": learned(bank=shared)}
    path = tmp_path / "one.safetensors"
    path.write_bytes(encode(Fitted(parts, (30, 40), (50, 60), depth=12)))
    found = decode(path)
    assert (found.heights, found.widths, found.depth) == ((30, 40), (50, 60), 12)
    assert found.parts.keys() == parts.keys()
    for name, one in parts.items():
        assert found.parts[name].values == one.values
        assert found.parts[name].numbers == 7
        assert found.parts[name].tensors.keys() == one.tensors.keys()
        for key, tensor in one.tensors.items():
            assert torch.equal(found.parts[name].tensors[key], tensor)
            assert found.parts[name].tensors[key].dtype == tensor.dtype


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_no_file_is_none(tmp_path):
    assert reading.fitted(tmp_path / "absent.safetensors", "") is None


def test_a_file_is_read_if_its_checksum_is_right(tmp_path):
    path = tmp_path / "one.safetensors"
    content = encode(Fitted({"model": learned(bank=torch.ones(9))}, (8, 8), (8, 8)))
    path.write_bytes(content)
    assert reading.fitted(path, digest(content)).parts.keys() == {"model"}
    with pytest.raises(UserError, match="its checksum is not the one in the result's record"):
        reading.fitted(path, digest(content[1:]))


@pytest.mark.parametrize("change", [lambda c: c[:-5], lambda c: c[5:], lambda _: b"", bytes.upper])
def test_a_damaged_file_is_named(tmp_path, change):
    path = tmp_path / "one.safetensors"
    content = change(encode(Fitted({"model": learned(bank=torch.ones(9))}, (8, 8), (8, 8))))
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"one\.safetensors: not the fitted model"):
        reading.fitted(path, digest(content))
