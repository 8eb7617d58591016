// SPDX-License-Identifier: GPL-2.0-or-later
/* PCI devices and what speaks against passing one, on a made-up /sys and /proc: each check is provoked alone, on a device
 * that nothing speaks against before. */
#include "config.h"
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "pci.h"
#include "tests/tree.h"

static char root[64];

static void path_of(char *buf, size_t len, const char *name)
{
	snprintf(buf, len, "%s/%s", root, name);
}

static void make_dirs(const char *name)
{
	char path[400];

	path_of(path, sizeof(path), name);
	for (char *c = path + strlen(root) + 1; *c; c++)
		if (*c == '/') {
			*c = '\0';
			mkdir(path, 0755);
			*c = '/';
		}
	mkdir(path, 0755);
}

static void put_bytes(const char *name, const void *data, size_t len)
{
	char path[400];
	FILE *f;

	path_of(path, sizeof(path), name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void put(const char *dir, const char *file, const char *text)
{
	char name[400];

	make_dirs(dir);
	snprintf(name, sizeof(name), "%s/%s", dir, file);
	put_bytes(name, text, strlen(text));
}

/* name, below root, becomes a link to what is below root at to */
static void put_link(const char *dir, const char *file, const char *to)
{
	char path[400], target[400];

	make_dirs(dir);
	snprintf(path, sizeof(path), "%s/%s/%s", root, dir, file);
	path_of(target, sizeof(target), to);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
}

#define BUS "sys/devices/pci0000:00/"
static void device(const char *place, const char *class, const char *driver, const char *bar, const uint8_t *config)
{
	static const uint8_t endpoint[64] = { 0x86, 0x80, 0xd3, 0x10 };
	const char *name = strrchr(place, '/') ? strrchr(place, '/') + 1 : place;
	char dir[300], text[400], drv[100];

	snprintf(dir, sizeof(dir), BUS "%s", place);
	put(dir, "class", class);
	put(dir, "vendor", "0x8086\n");
	put(dir, "device", "0x10d3\n");
	put(dir, "irq", "0\n");
	put(dir, "enable", driver ? "1\n" : "0\n");
	put(dir, "reset_method", "flr pm\n");
	snprintf(text, sizeof(text), "%s 0x0000000000040200\n", bar ? bar : "0x0 0x0");
	put(dir, "resource", bar ? text : "0x0 0x0 0x0\n");
	snprintf(text, sizeof(text), "%s/config", dir);
	put_bytes(text, config ? config : endpoint, 64);
	put_link("sys/bus/pci/devices", name, dir);
	if (driver) {
		snprintf(drv, sizeof(drv), "sys/bus/pci/drivers/%s", driver);
		make_dirs(drv);
		put_link(dir, "driver", drv);
	}
}

/* Two NICs on pciback, one of dom0's, a disk controller with sda, a bridge to conventional PCI with two more NICs. */
static int build(void **state)
{
	static const uint8_t bridge[64] = { 0x36, 0x1b, [0x0e] = 1 };

	snprintf(root, sizeof(root), "/tmp/pvl-pci-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	device("0000:00:10.0", "0x020000", "pciback", "0xfea00000 0xfea1ffff", NULL);
	device("0000:00:11.0", "0x020000", "pciback", "0xfea20000 0xfea3ffff", NULL);
	device("0000:00:12.0", "0x020000", "e1000e", "0xfea40000 0xfea5ffff", NULL);
	device("0000:00:1f.2", "0x010601", "ahci", "0xfeb14000 0xfeb14fff", NULL);
	device("0000:00:13.0", "0x060400", NULL, NULL, bridge);
	device("0000:00:13.0/0000:01:01.0", "0x020000", "pciback", "0xfe800000 0xfe81ffff", NULL);
	device("0000:00:13.0/0000:01:02.0", "0x020000", "pciback", "0xfe820000 0xfe83ffff", NULL);
	make_dirs(BUS "0000:00:12.0/net/eth0");
	put_link("sys/class/net", "eth0", BUS "0000:00:12.0/net/eth0");
	make_dirs(BUS "0000:00:1f.2/ata1/block/sda/sda1/slaves");
	put_link("sys/class/block", "sda", BUS "0000:00:1f.2/ata1/block/sda");
	put_link("sys/class/block", "sda1", BUS "0000:00:1f.2/ata1/block/sda/sda1");
	put_link("sys/dev/block", "8:1", BUS "0000:00:1f.2/ata1/block/sda/sda1");
	put("proc/self", "mountinfo", "21 1 0:19 / /proc rw shared:1 - proc proc rw\n");
	put("proc", "swaps", "Filename\tType\tSize\tUsed\tPriority\n");
	put("proc", "consoles", "hvc0 -W- (EC p  )  229:0\n");
	put("proc/net", "route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n");
	put("proc/net", "ipv6_route", "");
	return 0;
}

static int clear(void **state)
{
	return remove_tree(root);
}

static struct pci_host scan(void)
{
	struct pvb_error err = { 0 };
	struct pci_host pci;

	if (pci_scan(&pci, root, &err))
		fail_msg("%s", err.text);
	return pci;
}

static struct pci_dev *dev(const struct pci_host *pci, const char *name)
{
	struct pci_dev *d;
	uint32_t sbdf;

	assert_int_equal(pci_parse(name, &sbdf, NULL), 0);
	d = pci_find(pci, sbdf);
	if (!d)
		fail_msg("no device %s", name);
	return d;
}

/* want: part of the reason of that hardness, or NULL for "nothing of that hardness". */
static void expect(const struct pci_reasons *why, enum pci_hard hard, const char *want)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < why->nr; i++) {
		if (why->why[i].hard != hard)
			continue;
		nr++;
		if (want && strstr(why->why[i].text, want))
			return;
	}
	if (want || nr)
		fail_msg("wanted \"%s\", %u reasons, first: %s", want ? want : "none", why->nr, why->nr ? why->why[0].text : "-");
}

static void expect_take(const char *name, enum pci_hard hard, const char *want)
{
	struct pci_host pci = scan();
	struct pci_reasons why;

	pci_judge_take(&pci, dev(&pci, name), &why);
	expect(&why, hard, want);
	pci_free(&pci);
}

static void expect_give(const char *name, enum pci_hard hard, const char *want)
{
	struct pci_host pci = scan();
	struct pci_reasons why;

	pci_judge_give(&pci, dev(&pci, name), 3, &why);
	expect(&why, hard, want);
	pci_free(&pci);
}

static void names(void **state)
{
	static const struct {
		const char *text;
		long sbdf; /* -1: refused */
	} rows[] = {
		{ "0000:00:10.0", 0x80 }, { "00:1f.7", 0xff }, { "0001:ff:1F.1", 0x1fff9 }, { "ffff:00:00.0", 0xffff0000 },
		{ "00:20.0", -1 }, { "00:10.8", -1 }, { "00:10", -1 }, { "10.0", -1 }, { "00:10.", -1 }, { "00:10.0 ", -1 },
		{ "00:10.00", -1 }, { "", -1 }, { "00:10.*", -1 }, { "-1:10.0", -1 }, { "0x0:10.0", -1 }, { "00000:00:10.0", -1 },
		{ "000:00:10.0", 0x80 }, { "::.0", -1 },
	};
	uint32_t sbdf;
	bool all;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = pci_parse(rows[i].text, &sbdf, NULL);

		if (rows[i].sbdf < 0 ? rc == 0 : rc || sbdf != (uint32_t)rows[i].sbdf)
			fail_msg("%s: %d, %x", rows[i].text, rc, rc ? 0 : sbdf);
	}
	assert_int_equal(pci_parse("00:10.*", &sbdf, &all), 0);
	assert_true(all && sbdf == 0x80);
	assert_int_equal(pci_parse("00:10.3", &sbdf, &all), 0);
	assert_true(!all && sbdf == 0x83);
}

static void scan_finds(void **state)
{
	struct pci_host pci = scan();

	assert_int_equal(pci.nr, 7);
	assert_true(pci.pciback);
	assert_string_equal(pci.dev[0].name, "0000:00:10.0");
	assert_string_equal(dev(&pci, "00:12.0")->driver, "e1000e");
	assert_string_equal(dev(&pci, "00:12.0")->reset, "flr pm");
	assert_string_equal(dev(&pci, "01:01.0")->requester, "0000:00:13.0");
	assert_string_equal(dev(&pci, "00:10.0")->requester, "");
	assert_true(dev(&pci, "00:13.0")->bridge);
	assert_int_equal(dev(&pci, "00:10.0")->bar[0].end, 0xfea1ffff);
	pci_free(&pci);
}

static void nothing_against(void **state)
{
	static const char *const all[] = { "00:10.0", "00:11.0", "00:12.0", "00:1f.2", "01:01.0" };

	for (unsigned i = 0; i < 5; i++)
		for (enum pci_hard h = PCI_NOTE; h <= PCI_NEVER; h++)
			expect_take(all[i], h, NULL);
	for (enum pci_hard h = PCI_NOTE; h <= PCI_NEVER; h++) {
		expect_give("00:10.0", h, NULL);
		expect_give("01:01.0", h, NULL);
	}
}

static void bridges(void **state)
{
	expect_take("00:13.0", PCI_NEVER, "it is a bridge (class 060400)");
	expect_give("00:13.0", PCI_NEVER, "bridge");
}

static void mounts(void **state)
{
	put("proc/self", "mountinfo", "30 1 8:1 / /srv rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
	expect_take("00:1f.2", PCI_FORCE, "sda1 mounted on /srv; unmount");
	expect_take("00:12.0", PCI_FORCE, NULL);
	/* a file system with a number of its own, by its device */
	put("proc/self", "mountinfo", "30 1 0:50 / /srv rw,relatime shared:1 - btrfs /dev/sda1 rw\n");
	expect_take("00:1f.2", PCI_FORCE, "sda1 mounted on /srv");
	/* a volume on it */
	make_dirs("sys/devices/virtual/block/dm-0/slaves/sda1");
	put("sys/devices/virtual/block/dm-0/dm", "name", "vg-home\n");
	put_link("sys/class/block", "dm-0", "sys/devices/virtual/block/dm-0");
	put("proc/self", "mountinfo", "30 1 0:51 / /home rw,relatime shared:1 - btrfs /dev/mapper/vg-home rw\n");
	expect_take("00:1f.2", PCI_FORCE, "dm-0 mounted on /home");
	put("proc/self", "mountinfo", "30 1 0:51 / /home rw,relatime shared:1 - btrfs /dev/mapper/vg-other rw\n");
	expect_take("00:1f.2", PCI_FORCE, NULL);
	/* a name that is no name in sysfs, and text that would be two lines */
	put("proc/self", "mountinfo", "30 1 0:51 / /x rw - ext4 /dev/../../etc rw\n");
	expect_take("00:1f.2", PCI_FORCE, NULL);
	put("proc", "swaps", "Filename\tType\n/dev/sda1 partition 1 0 -2\n");
	expect_take("00:1f.2", PCI_FORCE, "swaps to sda1");
}

static void volumes_in_a_circle(void **state)
{
	make_dirs("sys/devices/virtual/block/dm-1/slaves/dm-2");
	make_dirs("sys/devices/virtual/block/dm-2/slaves/dm-1");
	put_link("sys/class/block", "dm-1", "sys/devices/virtual/block/dm-1");
	put_link("sys/class/block", "dm-2", "sys/devices/virtual/block/dm-2");
	put("proc/self", "mountinfo", "30 1 0:51 / /x rw - ext4 /dev/dm-1 rw\n");
	expect_take("00:1f.2", PCI_FORCE, NULL);
}

#define ROUTES "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
static void network(void **state)
{
	put("proc/net", "route", ROUTES "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
	expect_take("00:12.0", PCI_FORCE, "dom0's route goes over it (eth0)");
	expect_take("00:1f.2", PCI_FORCE, NULL);
	put("proc/net", "route", ROUTES "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
					"eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
	expect_take("00:12.0", PCI_FORCE, "dom0's default route goes over it (eth0)");
	put("proc/net", "route", ROUTES "eth0\t00000000\t0202000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"); /* not up */
	expect_take("00:12.0", PCI_FORCE, NULL);
	put("proc/net", "ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
				      "fe800000000000000000000000000002 00000400 00000001 00000000 00000003     eth0\n");
	expect_take("00:12.0", PCI_FORCE, "default route");
	put("proc/net", "ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
				      "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200     eth0\n");
	expect_take("00:12.0", PCI_FORCE, NULL);
	/* the route is the bridge's, the interface its port */
	make_dirs("sys/devices/virtual/net/xenbr0");
	put_link("sys/class/net", "xenbr0", "sys/devices/virtual/net/xenbr0");
	put_link("sys/devices/virtual/net/xenbr0", "lower_eth0", BUS "0000:00:12.0/net/eth0");
	put_link(BUS "0000:00:12.0/net/eth0", "upper_xenbr0", "sys/devices/virtual/net/xenbr0");
	expect_take("00:12.0", PCI_FORCE, "its eth0 is part of xenbr0");
	put("proc/net", "route", ROUTES "xenbr0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
	expect_take("00:12.0", PCI_FORCE, "default route goes over it (eth0 below xenbr0)");
}

static void console(void **state)
{
	make_dirs(BUS "0000:00:11.0/tty/ttyS4");
	put_link("sys/class/tty", "ttyS4", BUS "0000:00:11.0/tty/ttyS4");
	device("0000:00:11.0", "0x070002", "serial", NULL, NULL);
	put("proc", "consoles", "ttyS4 -W- (EC p  )  4:68\n");
	expect_take("00:11.0", PCI_FORCE, "console is on it (ttyS4)");
	put(BUS "0000:00:10.0", "boot_vga", "1\n");
	device("0000:00:10.0", "0x030000", "vga", NULL, NULL);
	expect_take("00:10.0", PCI_FORCE, "it is the screen");
}

static void reset(void **state)
{
	char path[300];

	put(BUS "0000:00:10.0", "reset_method", "");
	expect_give("00:10.0", PCI_RESET, "can not reset it");
	put(BUS "0000:00:10.0", "reset", ""); /* an older kernel: it can, and does not say how */
	path_of(path, sizeof(path), BUS "0000:00:10.0/reset_method");
	unlink(path);
	expect_give("00:10.0", PCI_RESET, NULL);
}

static void drivers(void **state)
{
	expect_give("00:12.0", PCI_NEVER, "e1000e has it, so it is not assignable; pvl pci-assignable-add 0000:00:12.0");
}

static void owners(void **state)
{
	struct pci_host pci = scan();
	struct pci_dev *d = dev(&pci, "00:10.0");
	struct pci_reasons why;

	d->owner = 3;
	d->taken = true;
	pci_judge_give(&pci, d, 3, &why);
	expect(&why, PCI_NEVER, "domain 3 has it already");
	pci_judge_give(&pci, d, 4, &why);
	expect(&why, PCI_NEVER, "domain 3 has it; pvl pci-detach");
	d->owner = -1; /* the record is gone, Xen still knows */
	pci_judge_give(&pci, d, 4, &why);
	expect(&why, PCI_NEVER, "no record says which");
	pci_free(&pci);
}

static void groups(void **state)
{
	struct pci_host pci = scan();
	struct pci_dev *d = dev(&pci, "01:01.0"), *o = dev(&pci, "01:02.0");
	struct pci_reasons why;

	o->owner = 4;
	pci_judge_give(&pci, d, 3, &why);
	expect(&why, PCI_FORCE, "can not tell it from 0000:01:02.0, behind the same bridge 0000:00:13.0 (used by domain 4)");
	o->owner = 3; /* both to one domain */
	pci_judge_give(&pci, d, 3, &why);
	expect(&why, PCI_FORCE, NULL);
	pci_free(&pci);
	device("0000:00:13.0/0000:01:02.0", "0x020000", "e1000", NULL, NULL);
	expect_give("01:01.0", PCI_FORCE, "(used by dom0, driver e1000)");
	expect_take("01:01.0", PCI_NOTE, "behind the same bridge");
	expect_take("01:01.0", PCI_FORCE, NULL);
}

/* What is behind a port of PCI Express keeps its own name for the IOMMU. */
static void express_ports(void **state)
{
	static uint8_t port[64] = { 0x36, 0x1b, [0x06] = 0x10, [0x0e] = 1, [0x34] = 0x40 };
	uint8_t config[256] = { 0 };
	struct pci_host pci;

	memcpy(config, port, sizeof(port));
	config[0x40] = 0x01; /* power management, then the capability of Express */
	config[0x41] = 0x50;
	config[0x50] = 0x10;
	config[0x52] = 0x42; /* root port */
	put_bytes(BUS "0000:00:13.0/config", config, sizeof(config));
	pci = scan();
	assert_string_equal(dev(&pci, "01:01.0")->requester, "");
	pci_free(&pci);
	config[0x52] = 0x72; /* to conventional PCI */
	put_bytes(BUS "0000:00:13.0/config", config, sizeof(config));
	pci = scan();
	assert_string_equal(dev(&pci, "01:01.0")->requester, "0000:00:13.0");
	pci_free(&pci);
	config[0x51] = 0x40; /* a list without an end */
	config[0x50] = 0x05;
	put_bytes(BUS "0000:00:13.0/config", config, sizeof(config));
	pci = scan();
	pci_free(&pci);
}

static void pages(void **state)
{
	put(BUS "0000:00:10.0", "resource", "0xfeb14800 0xfeb148ff 0x40200\n");
	expect_give("00:10.0", PCI_FORCE, "registers of 0000:00:1f.2, in the same page 0xfeb14000");
	put(BUS "0000:00:10.0", "resource", "0xfeb15000 0xfeb150ff 0x40200\n");
	expect_give("00:10.0", PCI_FORCE, NULL);
	put(BUS "0000:00:10.0", "resource", "0xfeb14800 0xfeb148ff 0x40101\n"); /* ports, not memory */
	expect_give("00:10.0", PCI_FORCE, NULL);
}

static void interrupts(void **state)
{
	put(BUS "0000:00:10.0", "irq", "16\n");
	put(BUS "0000:00:1f.2", "irq", "16\n");
	expect_give("00:10.0", PCI_NOTE, "shares interrupt 16 with 0000:00:1f.2 (used by dom0, driver ahci)");
	make_dirs(BUS "0000:00:1f.2/msi_irqs");
	expect_give("00:10.0", PCI_NOTE, NULL);
}

static void functions(void **state)
{
	device("0000:00:10.1", "0x020000", "e1000e", NULL, NULL);
	expect_give("00:10.0", PCI_NOTE, "0000:00:10.1, a function of the same card, stays with dom0, driver e1000e");
}

static void overriding(void **state)
{
	struct pci_dev d = { .name = "0000:00:10.0" };
	struct pci_reasons why = { .nr = 3, .why = { { PCI_NOTE, "n" }, { PCI_RESET, "r" }, { PCI_FORCE, "f" } } };
	struct pvb_error err = { 0 };

	assert_int_equal(pci_refuse(&d, &why, false, false, &err), -EBUSY);
	assert_string_equal(err.text, "PCI device 0000:00:10.0: r");
	assert_int_equal(pci_refuse(&d, &why, false, true, &err), -EBUSY);
	assert_string_equal(err.text, "PCI device 0000:00:10.0: f (or --force)");
	assert_int_equal(pci_refuse(&d, &why, true, false, &err), 0);
	why.why[2].hard = PCI_NEVER;
	assert_int_equal(pci_refuse(&d, &why, true, true, &err), -EBUSY);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, build, clear)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names), TEST(scan_finds), TEST(nothing_against), TEST(bridges), TEST(mounts),
		TEST(volumes_in_a_circle), TEST(network), TEST(console), TEST(reset), TEST(drivers), TEST(owners), TEST(groups),
		TEST(express_ports), TEST(pages), TEST(interrupts), TEST(functions), cmocka_unit_test(overriding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
