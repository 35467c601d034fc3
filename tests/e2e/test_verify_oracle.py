"""Receipts against a verifier that this project did not write (PyPI scitt-cose): it accepts ours, refuses what was changed, and we check its."""
import json
import random

import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from scitt_cose import merkle

from test_verify import ask, bad, door, good, key_of, receipt  # noqa: F401 (door is a fixture)

N = 40


def cose(server, request_id):
    status, heads, body = server.request("GET", f"/v1/receipts/{request_id}", headers={"accept": "application/cose"})
    assert status == 200 and heads["content-type"] == "application/cose"
    return body


def test_it_accepts_ours_and_refuses_any_flipped_bit(door, tmp_path):  # noqa: F811
    server = door()
    asked = [ask(server)[0] for _ in range(N)]
    receipt(server, asked[-1])
    pem = good(server, "receipts", "key")
    random.seed(9)
    entries, heads = [], {}
    for i, request_id in enumerate(asked):
        found = receipt(server, request_id)
        ours = cose(server, request_id)
        entries.append(found["entry"])
        heads[found["head"]["size"]] = found["head"]["root"]
        result = scitt_cose.verify_receipt(ours, leaf_entry_hex=found["entry"], log_public_key_pem=pem)
        assert result.ok, result.errors
        assert (result.leaf_index, result.tree_size, result.root) == (i, found["head"]["size"], found["head"]["root"])
        assert result.iat == found["head"]["at"] and result.subject == "answers" and result.issuer.startswith("gaufre:")
        # Bits of what it looks at: not the entry and its company in the unprotected header, which it passes over.
        for _ in range(10):
            flipped = bytearray(ours)
            at = random.choice([*range(0, 8 * 70), *range(8 * (len(ours) - 64), 8 * len(ours))])
            flipped[at // 8] ^= 1 << at % 8
            assert not scitt_cose.verify_receipt(bytes(flipped), leaf_entry_hex=found["entry"], log_public_key_pem=pem).ok, at
            (tmp_path / "flipped").write_bytes(flipped)
            bad(server, "verify", "-k", key_of(server), tmp_path / "flipped")
        changed = found["entry"][:-2] + "61"
        assert not scitt_cose.verify_receipt(ours, leaf_entry_hex=changed, log_public_key_pem=pem).ok
    # The tree is its tree, at every size that was signed; and so is the proof that one goes on from another.
    for size, root in heads.items():
        assert merkle.merkle_root(entries[:size]) == root
        grown = json.loads(server.request("GET", f"/v1/receipts?since={size}")[2])
        assert merkle.verify_consistency(root, grown["head"]["root"], size, grown["head"]["size"], grown["path"])


@pytest.mark.parametrize("size", [1, 2, 7, 8, 33])
def test_we_check_its(door, tmp_path, size):  # noqa: F811
    server = door()
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "pub.pem").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM,
                                                                     serialization.PublicFormat.SubjectPublicKeyInfo))
    entries = [random.randbytes(20 + i).hex() for i in range(size)]
    for i in {0, size // 2, size - 1}:
        theirs = scitt_cose.build_receipt(leaf_entry_hex=entries[i], leaf_index=i, tree_entries_hex=entries, alg="EdDSA",
                                          log_private_key_pem=pem, iss="elsewhere", sub="x", kid=b"k", iat=1)
        (tmp_path / "r").write_bytes(theirs)
        (tmp_path / "entry").write_bytes(bytes.fromhex(entries[i]))
        args = ["verify", "-k", tmp_path / "pub.pem", "--entry", tmp_path / "entry", tmp_path / "r"]
        assert f"entry {i} of {size}" in good(server, *args)
        for bit in range(0, 8 * len(theirs), 1 + len(theirs) // 12):
            flipped = bytearray(theirs)
            flipped[bit // 8] ^= 1 << bit % 8
            (tmp_path / "r").write_bytes(flipped)
            bad(server, *args)
        (tmp_path / "r").write_bytes(theirs)
        (tmp_path / "entry").write_bytes(b"other")
        assert "another entry" in bad(server, *args)
