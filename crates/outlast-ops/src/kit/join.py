import re, sys
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

def times(a, b):  # in GF(256) with 0x11d
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11D if a & 128 else 0)
        b >>= 1
    return product

def inverse(a):
    return next(b for b in range(1, 256) if times(a, b) == 1)

lines = {}
for line in sys.stdin.read().upper().splitlines():
    found = re.match(r"\s*S(\d+)-(\d+)/\d+:(.*)", line)
    if found:
        text = re.sub("[^0-9A-Z]", "", found[3]).translate(str.maketrans("OIL", "011"))[:-4]
        bits = "".join(format(ALPHABET.index(letter), "05b") for letter in text)
        part = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))
        lines.setdefault(int(found[1]), {})[int(found[2])] = part
shares = {}
for number, parts in lines.items():
    section = b"".join(parts[at] for at in sorted(parts))
    need, total = section[22], section[23]
    at = 24 + 16 * total
    size = int.from_bytes(section[at : at + 2], "big")
    value = section[at + 2 : at + 2 + (size & 0x7FFF)]
    shares[number] = value.hex().encode() if size & 0x8000 else value
used = sorted(shares)[:need]
secret = bytearray(len(shares[used[0]]))
for x in used:
    factor = 1
    for other in used:
        if other != x:
            factor = times(factor, times(other, inverse(other ^ x)))
    for at, byte in enumerate(shares[x]):
        secret[at] ^= times(byte, factor)
sys.stdout.buffer.write(bytes(secret[16:-8]) + b"\n")
