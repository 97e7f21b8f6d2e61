#!/usr/bin/env python3
"""Verifies a receipt offline, with nothing but Python: verify.py IDENTITY FILE [LIST]

IDENTITY is the custodian's verifier key, FILE the receipt, LIST the encoded list of objects.
Written from the specification alone, to be read; it is not made for speed.
"""

import base64
import hashlib
import json
import sys

# Ed25519 verification, RFC 8032, 5.1.7.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + t, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - t, P - 2, P)
    return x % P, y % P


def multiply(scalar, point):
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def decode_point(data):
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= P:
        raise ValueError("no point of the curve")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    return (P - x if x & 1 != sign else x), y


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def verify_ed25519(key, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        raise ValueError("a malformed signature")
    h = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    if multiply(s, BASE) != add(decode_point(r), multiply(h, decode_point(key))):
        raise ValueError("a wrong signature")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root_of_inclusion(leaf, index, size, proof):
    """The root to which a proof of inclusion leads, RFC 9162, 2.1.3.2."""
    if index >= size:
        raise ValueError("the entry is not in the log")
    at, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if at & 1 or at == last:
            found = sha256(b"\x01", step, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = sha256(b"\x01", found, step)
        at, last = at >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return found


def tree_root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01", tree_root(leaves[:half]), tree_root(leaves[half:]))


def open_checkpoint(note, identity):
    name, key_id, key = identity.split("+", 2)
    key = base64.b64decode(key, validate=True)
    if sha256(name.encode(), b"\n", key)[:4].hex() != key_id or key[0] != 1:
        raise ValueError("the identity is no key for notes")
    text, signatures = note.split("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, data = line.split(" ")
        data = base64.b64decode(data, validate=True)
        if dash == "\u2014" and signer == name and data[:4].hex() == key_id:
            verify_ed25519(key[1:], text.encode(), data[4:])
            origin, size, root = text.splitlines()[:3]
            if origin != name or str(int(size)) != size:
                raise ValueError("the checkpoint is of another log")
            return int(size), base64.b64decode(root, validate=True)
    raise ValueError("the identity did not sign this")


def main(identity, path, list_path=None):
    with open(path, encoding="utf-8") as file:
        header, entry, empty, kind, *rest = file.read().split("\n")
    if header != "outlast-receipt/v1" or empty or kind != "c2sp.org/tlog-proof@v1":
        raise ValueError("this is no receipt")
    entry = base64.b64decode(entry, validate=True)
    word, index = rest[0].split(" ")
    if word != "index" or str(int(index)) != index:
        raise ValueError("the proof has no index")
    end = rest.index("")
    proof = [base64.b64decode(line, validate=True) for line in rest[1:end]]
    size, root = open_checkpoint("\n".join(rest[end + 1 :]), identity)
    if root_of_inclusion(sha256(b"\x00", entry), int(index), size, proof) != root:
        raise ValueError("the log does not have this entry")
    seal = json.loads(entry)["event"]["seal"]
    if list_path:
        with open(list_path, "rb") as file:
            data = file.read()
        records = [data[at : at + 33] for at in range(0, len(data), 33)]
        if data != b"".join(sorted(set(records))) or len(data) % 33:
            raise ValueError("the list is malformed")
        if tree_root([sha256(b"\x00", record) for record in records]).hex() != seal["list"]:
            raise ValueError("this is not the list that was sealed")
    print(f"valid: snapshot {seal['snapshot']} of {seal['repository']} is held until {seal['until']}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        print(f"INVALID: {error}")
        sys.exit(1)
