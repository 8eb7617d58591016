# SPDX-License-Identifier: GPL-2.0-or-later
"""Part of net-offload.sh: net-offload.py NETNS VIF OFF FABRIC GUEST

The cells of one guest: MTUs and address families.  OFF: what its NIC goes without, of csum, sg, gso, joined by "+".
Prints "cell ..." for each that held, and ends with 1 at the first that did not.
"""
import ctypes, fcntl, hashlib, json, os, socket, struct, subprocess, sys, threading, time

netns, vif, off, fabric, guest = sys.argv[1:]
off = off.split("+") if off else []
libc = ctypes.CDLL(None, use_errno=True)
SIOCSIFMTU, SIOCETHTOOL, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8922, 0x8946, 0x8913, 0x8914
ETHTOOL_STXCSUM, ETHTOOL_SSG, ETHTOOL_STSO = 0x17, 0x19, 0x1F
DATA = os.urandom(3 << 19)
SUM = hashlib.sha256(DATA).digest()
host_ns, guest_ns = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(netns, os.O_RDONLY)


def fail(what):
    print(f"FAIL: {what}")
    sys.exit(1)


class within:
    """This thread, in that network namespace; sockets made meanwhile stay there."""

    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        if libc.setns(self.ns, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")

    def __exit__(self, *_):
        if libc.setns(host_ns, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def ip(ns, *words):
    with within(ns):
        return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def ioctl(ns, request, name, what):
    with within(ns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return fcntl.ioctl(s, request, struct.pack("16s24s", name.encode(), what))


def ethtool(ns, name, command, on):
    value = ctypes.create_string_buffer(struct.pack("II", command, on))
    try:
        ioctl(ns, SIOCETHTOOL, name, struct.pack("Q", ctypes.addressof(value)))
    except OSError as e:  # what cannot be changed is off, by the NIC's own words
        if on:
            fail(f"{name}: ethtool {command:#x}: {e}")


def counters():
    """of the back end, the guest's interface and the TAP"""
    out = subprocess.run(["pvl", "--host", "local:" + fabric, "--json", "stats", guest], check=True, stdout=subprocess.PIPE)
    nic = json.loads(out.stdout)
    found = []

    def walk(node):
        if isinstance(node, dict):
            if "queues" in node:
                found.append(node)
            for v in node.values():
                walk(v)
        elif isinstance(node, list):
            for v in node:
                walk(v)

    walk(nic)
    if len(found) != 1:
        fail(f"pvl stats: {len(found)} NICs of guest {guest}: {nic}")
    nic = found[0]
    sums = {k: v for k, v in nic.items() if isinstance(v, int)}
    for q in nic["queues"]:
        for k, v in q.items():
            if isinstance(v, int):
                sums[k] = sums.get(k, 0) + v
    sums["nr_queues"] = len(nic["queues"])
    return sums


def link(ns, name):
    with within(ns):
        out = subprocess.run(["ip", "-s", "-s", "-j", "link", "show", name], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)[0]["stats64"]


def exact(s, n):
    data = bytearray()
    while len(data) < n:
        piece = s.recv(1 << 18)
        if not piece:
            break
        data += piece
    return bytes(data)


def tcp(from_ns, to_ns, family, address):
    """DATA through a connection that the receiver listens for"""
    with within(to_ns):
        server = socket.socket(family, socket.SOCK_STREAM)
        server.bind((address, 0))
        server.listen()
    port = server.getsockname()[1]
    got = []

    def receive():
        with server.accept()[0] as c:
            c.settimeout(60)
            got.append(hashlib.sha256(exact(c, len(DATA))).digest())

    server.settimeout(60)
    t = threading.Thread(target=receive)
    t.start()
    with within(from_ns):
        client = socket.socket(family, socket.SOCK_STREAM)
    with client:
        client.settimeout(60)
        client.connect((address, port))
        client.sendall(DATA)
    t.join()
    server.close()
    return got == [SUM]


def udp(from_ns, to_ns, family, address, sizes):
    with within(to_ns):
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((address, 0))
    with within(from_ns):
        client = socket.socket(family, socket.SOCK_DGRAM)
    server.settimeout(30)
    with server, client:
        for n in sizes:  # one at a time: nothing may be lost
            client.sendto(DATA[:n], server.getsockname())
            if server.recv(65536) != DATA[:n]:
                return False
    return True


def until_there(family, address):
    """a neighbour and a usable address of our own: IPv6 looks for others with it first"""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            try:
                s.connect((address, 9))
            except ConnectionRefusedError:
                return
            except OSError:
                time.sleep(0.02)
    fail(f"{address} is not there")


def too_large():
    """to a guest without scatter-gather: dropped, and counted as that"""
    before = counters()["rx_dropped_size"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(DATA[:6000], ("10.9.0.2", 9))
    end = time.monotonic() + 10
    while counters()["rx_dropped_size"] != before + 1:
        if time.monotonic() > end:
            fail(f"a frame of 6042 bytes for a guest without scatter-gather is not counted: {counters()}")
        time.sleep(0.02)


def until_is(ns, word):
    end = time.monotonic() + 20
    while word not in ip(ns, "link", "show", NAMES[ns]):
        if time.monotonic() > end:
            fail(f"{NAMES[ns]} is not {word}")
        time.sleep(0.02)


NAMES = {host_ns: vif, guest_ns: "eth0"}
# Nobody may say anything before both sides hear it: each frame counts.
for ns in host_ns, guest_ns:
    ip(ns, "link", "set", NAMES[ns], "addrgenmode", "none")
for ns in host_ns, guest_ns:
    ip(ns, "link", "set", "lo", "up")
    ip(ns, "link", "set", NAMES[ns], "up")
# The guest's link is up when the host's is, a moment later; and so it is with the MTU.
until_is(guest_ns, "LOWER_UP")
for ns, last in (host_ns, 1), (guest_ns, 2):
    ip(ns, "address", "add", f"10.9.0.{last}/24", "dev", NAMES[ns])
    ip(ns, "address", "add", f"fd00:9::{last}/64", "dev", NAMES[ns], "nodad")
# The guest's driver does it with the one switch that it has, the host's side follows from what the guest said.
for word, command in ("csum", ETHTOOL_STXCSUM), ("sg", ETHTOOL_SSG), ("gso", ETHTOOL_STSO):
    if word in off:
        ethtool(guest_ns, "eth0", command, 0)
until_there(socket.AF_INET, "10.9.0.2")
until_there(socket.AF_INET6, "fd00:9::2")

for mtu in 1400, 1500, 9000:
    ioctl(host_ns, SIOCSIFMTU, vif, struct.pack("i", mtu))
    fits = min(mtu, 4078) if "sg" in off else mtu  # a page, without the Ethernet header
    until_is(guest_ns, f" mtu {fits} ")
    for family, net in (socket.AF_INET, "10.9.0."), (socket.AF_INET6, "fd00:9::"):
        where = f"MTU {mtu}, {'IPv4' if family == socket.AF_INET else 'IPv6'}"
        before = counters()
        for frm, to, last in (guest_ns, host_ns, 1), (host_ns, guest_ns, 2):
            words = where + (", to the host" if last == 1 else ", to the guest")
            if not tcp(frm, to, family, net + str(last)):
                fail(words + ": TCP: the sums differ")
            # the host's larger fragments do not fit into a page of a guest that takes no more of a frame
            sizes = [0, 1, 2, 17, 64, 1000, fits - 48] + ([3 * fits] if fits == mtu or to == host_ns else [])
            if not udp(frm, to, family, net + str(last), sizes):
                fail(words + ": UDP: other bytes")
        # What is still on its way is counted later here than there.
        end = time.monotonic() + 20
        while True:
            nif, g, h = counters(), link(guest_ns, "eth0"), link(host_ns, vif)
            agree = (g["tx"]["packets"] == nif["tx_packets"] == h["rx"]["packets"] and
                     h["tx"]["packets"] == nif["rx_packets"] == g["rx"]["packets"])
            if agree or time.monotonic() > end:
                break
            time.sleep(0.02)
        if not agree:
            fail(f"{where}: packets: guest {g}, back end {nif}, TAP {h}")
        lost = {k: v for k, v in nif.items() if v and ("drop" in k or "bad" in k or "error" in k)}
        lost.update({f"{n} {d} {k}": s[d][k] for n, s in (("guest", g), ("TAP", h)) for d in ("rx", "tx") for k in s[d]
                     if s[d][k] and ("drop" in k or "error" in k)})
        if lost:
            fail(f"{where}: lost: {lost}")
        if "csum" in off and (nif["rx_csum_blank"] or nif["tx_csum_blank"]):
            fail(f"{where}: checksums left open: {nif}")
        if set(off) & {"csum", "gso"} and (nif["rx_gso"] or nif["tx_gso"]):
            fail(f"{where}: large segments: {nif}")
        now = {k: nif[k] - before[k] for k in ("tx_packets", "tx_gso", "rx_packets", "rx_gso")}
        if not off and not (now["rx_gso"] and now["tx_gso"]):
            fail(f"{where}: no large segments: {nif}")
        print(f"cell: {where}, {nif['nr_queues']} queues, {now['tx_packets']} frames out, {now['tx_gso']} of them large,"
              f" {now['rx_packets']} in, {now['rx_gso']} large")
if "sg" in off:
    too_large()
