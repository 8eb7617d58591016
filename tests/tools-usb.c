// SPDX-License-Identifier: GPL-2.0-or-later
/* What a text says of a USB device, which device of a made-up /sys it means, and what speaks against passing it. */
#include "config.h"
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "usb.h"
#include "tests/tree.h"

static char root[64];

static void make_dirs(const char *name)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (char *c = path + strlen(root) + 1; *c; c++)
		if (*c == '/') {
			*c = '\0';
			mkdir(path, 0755);
			*c = '/';
		}
	mkdir(path, 0755);
}

static void put(const char *dir, const char *file, const char *text)
{
	char path[400];
	FILE *f;

	make_dirs(dir);
	snprintf(path, sizeof(path), "%s/%s/%s", root, dir, file);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void put_link(const char *dir, const char *file, const char *to)
{
	char path[400], target[400];

	make_dirs(dir);
	snprintf(path, sizeof(path), "%s/%s/%s", root, dir, file);
	snprintf(target, sizeof(target), "%s/%s", root, to);
	assert_int_equal(symlink(target, path), 0);
}

#define ROOT_HUB "sys/devices/pci0000:00/0000:00:04.0/usb1"
#define BUS      ROOT_HUB "/"
static void device(const char *place, const char *addr, const char *class, const char *vendor, const char *product, const char *serial)
{
	char dir[300];

	snprintf(dir, sizeof(dir), BUS "%s", place);
	put(dir, "busnum", "1\n");
	put(dir, "devnum", addr);
	put(dir, "bDeviceClass", class);
	put(dir, "idVendor", vendor);
	put(dir, "idProduct", product);
	if (serial)
		put(dir, "serial", serial);
	put_link("sys/bus/usb/devices", strrchr(place, '/') ? strrchr(place, '/') + 1 : place, dir);
}

/* A root hub, a hub at 1-1, two disks of one make (one behind the hub) and an interface. */
static int build(void **state)
{
	snprintf(root, sizeof(root), "/tmp/pvl-usb-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	put(ROOT_HUB, "busnum", "1\n");
	put(ROOT_HUB, "devnum", "1\n");
	put(ROOT_HUB, "bDeviceClass", "09\n");
	put_link("sys/bus/usb/devices", "usb1", ROOT_HUB);
	device("1-1", "2\n", "09\n", "0409\n", "55aa\n", NULL);
	device("1-1/1-1.2", "10\n", "00\n", "46f4\n", "0001\n", "A=1\n");
	device("1-2", "4\n", "00\n", "46f4\n", "0001\n", "B\x1b[2J\n");
	device("1-3", "5\n", "00\n", "0403\n", "6001\n", NULL);
	make_dirs(BUS "1-2/1-2:1.0/host0/block/sdb/sdb1");
	put_link("sys/bus/usb/devices", "1-2:1.0", BUS "1-2/1-2:1.0");
	put_link("sys/class/block", "sdb1", BUS "1-2/1-2:1.0/host0/block/sdb/sdb1");
	put_link("sys/dev/block", "8:17", BUS "1-2/1-2:1.0/host0/block/sdb/sdb1");
	put("proc/self", "mountinfo", "21 1 0:19 / /proc rw - proc proc rw\n");
	return 0;
}

static int clear(void **state)
{
	return remove_tree(root);
}

static struct usb_host scan(void)
{
	struct pvb_error err = { 0 };
	struct usb_host usb;

	if (usb_scan(&usb, root, &err))
		fail_msg("%s", err.text);
	return usb;
}

static int resolve(const struct usb_host *usb, const char *text, struct usb_dev **d, struct pvb_error *err)
{
	struct usb_spec s;
	int rc = usb_spec_parse(&s, &text, 1, err);

	return rc ? rc : usb_resolve(usb, &s, d, err);
}

static void refused_texts(void **state)
{
	static const char *const bad[] = {
		"", "1", "1-", "-1", "1-1.", "1-1..2", "1-1:1.0", "usb1", "46f4", "46f4:", ":0001", "46f4:00012", "46g4:0001", "46f4:0001:",
		"hostbus=1", "hostaddr=1", "hostbus=0,hostaddr=1", "hostbus=1,hostaddr=256", "hostbus=1,hostaddr=2,1-1", "1-1,1-2",
		"1-1,port=2", "1-1,type=guest", "1-1,color=red", "controller=1", "hostbus=a,hostaddr=1", "46f4:0001 1-1",
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct usb_spec s;

		if (usb_spec_parse(&s, &bad[i], 1, NULL) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

static void taken_texts(void **state)
{
	static const char *const words[] = { "type=hostdev", "hostbus=1", "hostaddr=10", "controller=0", "port=3" };
	const char *text = "46F4:0001:A=1:2,controller=2";
	struct usb_spec s;

	assert_int_equal(usb_spec_parse(&s, words, 5, NULL), 0);
	assert_true(s.bus == 1 && s.addr == 10 && s.ctrl == 0 && s.port == 3 && s.vendor == -1 && !*s.port_path);
	assert_int_equal(usb_spec_parse(&s, &text, 1, NULL), 0);
	assert_true(s.vendor == 0x46f4 && s.product == 1 && s.ctrl == 2 && s.port == -1);
	assert_string_equal(s.serial, "A=1:2");
	text = "controller=0,port=1"; /* for a detach */
	assert_int_equal(usb_spec_parse(&s, &text, 1, NULL), 0);
}

static void controllers(void **state)
{
	static const char *const words[] = { "type=devicemodel", "version=3,ports=15" };
	static const char *const bad[] = { "type=ohci", "version=4", "version=0", "ports=32", "ports=0", "pv", "backend=1" };
	struct usb_ctrl_spec s;

	assert_int_equal(usb_ctrl_spec_parse(&s, words, 2, NULL), 0);
	assert_true(s.version == 3 && s.ports == 15);
	assert_string_equal(s.type, "devicemodel");
	assert_int_equal(usb_ctrl_spec_parse(&s, NULL, 0, NULL), 0);
	assert_true(!*s.type && !s.version && !s.ports);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(usb_ctrl_spec_parse(&s, &bad[i], 1, NULL), -EINVAL);
}

static void scan_finds(void **state)
{
	struct usb_host usb = scan();

	assert_int_equal(usb.nr, 5); /* no interface */
	assert_string_equal(usb.dev[0].name, "usb1");
	assert_true(usb.dev[0].hub && usb.dev[1].hub && !usb.dev[2].hub);
	assert_string_equal(usb.dev[2].serial, "B?[2J"); /* nothing for a terminal */
	assert_int_equal(usb.dev[4].addr, 10);
	usb_free(&usb);
}

static void names_mean(void **state)
{
	static const struct {
		const char *text;
		int addr; /* or the error */
	} rows[] = {
		{ "1-1.2", 10 }, { "hostbus=1,hostaddr=4", 4 }, { "0403:6001", 5 }, { "46f4:0001:A=1", 10 }, { "46f4:1:A=1", 10 },
		{ "46f4:0001", -EEXIST }, { "46f4:0001:C", -ENODEV }, { "1-9", -ENODEV }, { "hostbus=2,hostaddr=4", -ENODEV },
		{ "0403:6001:X", -ENODEV },
	};
	struct usb_host usb = scan();

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pvb_error err = { 0 };
		struct usb_dev *d = NULL;
		int rc = resolve(&usb, rows[i].text, &d, &err);

		if (rows[i].addr < 0 ? rc != rows[i].addr : rc || d->addr != rows[i].addr)
			fail_msg("%s: %d, %s", rows[i].text, rc, err.text);
		if (rc == -EEXIST && (!strstr(err.text, "1-2") || !strstr(err.text, "1-1.2")))
			fail_msg("%s", err.text);
	}
	usb_free(&usb);
}

static void expect(const struct usb_host *usb, const char *text, int64_t domid, bool force, const char *want)
{
	struct pvb_error err = { 0 };
	struct usb_dev *d = NULL;
	int rc = resolve(usb, text, &d, &err);

	if (!rc)
		rc = usb_judge(usb, d, domid, force, &err);
	if (want ? !rc || !strstr(err.text, want) : rc)
		fail_msg("%s: %d, \"%s\", wanted \"%s\"", text, rc, err.text, want ? want : "-");
}

static void judged(void **state)
{
	struct usb_host usb = scan();

	expect(&usb, "1-2", 3, false, NULL);
	expect(&usb, "1-1", 3, true, "is a hub");
	expect(&usb, "hostbus=1,hostaddr=1", 3, true, "is a hub");
	put("proc/self", "mountinfo", "30 1 8:17 / /srv rw - ext4 /dev/sdb1 rw\n");
	expect(&usb, "1-2", 3, false, "sdb1 mounted on /srv");
	expect(&usb, "1-2", 3, true, NULL);
	expect(&usb, "1-1.2", 3, false, NULL);
	usb.dev[2].owner = 3; /* 1-2 */
	expect(&usb, "1-2", 3, true, "domain 3 has it already");
	expect(&usb, "1-2", 4, true, "domain 3 has it; pvl usbdev-detach");
	usb_free(&usb);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, build, clear)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_texts), cmocka_unit_test(taken_texts), cmocka_unit_test(controllers), TEST(scan_finds),
		TEST(names_mean), TEST(judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
