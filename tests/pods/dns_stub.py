"""A DNS server for a test's pods: dns_stub.py ADDRESS FILE.

FILE holds {"name": ["10.88.0.2", ...]} and is read at each question, so that names come, move and
go while it runs. A name that is not there is NXDOMAIN, at once: what a cluster says of a pod to
come; each question for such an address is printed.
"""

import json
import pathlib
import socket
import struct
import sys

A, IN = 1, 1
NXDOMAIN = 3
TTL = 1


def question(packet):
    """(name, type, end of the question) of a query."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode().lower())
        at += packet[at] + 1
    (kind,) = struct.unpack("!H", packet[at + 1:at + 3])
    return ".".join(labels), kind, at + 5


def answer(packet, names):
    name, kind, end = question(packet)
    known = name in names
    addresses = names.get(name, []) if kind == A else []
    flags = 0x8580 | (0 if known else NXDOMAIN)
    reply = packet[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + packet[12:end]
    for address in addresses:
        reply += struct.pack("!HHHIH", 0xC00C, A, IN, TTL, 4) + socket.inet_aton(address)
    return reply


def main():
    address, file = sys.argv[1], pathlib.Path(sys.argv[2])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    print("listening", flush=True)
    while True:
        packet, client = server.recvfrom(4096)
        names = json.loads(file.read_text())
        name, kind, _ = question(packet)
        if kind == A and name not in names:
            print("unknown", name, flush=True)
        server.sendto(answer(packet, names), client)


if __name__ == "__main__":
    main()
