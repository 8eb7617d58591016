// SPDX-License-Identifier: GPL-2.0-or-later
/* pvl's parsers: xl.cfg text, keys, disk specifications.  Tables first; then our parsers beside libxlutil's on
 * mutated input: what libxlutil accepts, ours must accept with the same result. */
#include "config.h"
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#ifdef HAVE_XL
#include <libxlutil.h>
#endif
#include "cfg.h"
#include "cfgtext.h"
#include "diskspec.h"
#include "host-local.h"

/* --- text -------------------------------------------------------------------------------------------- */

static struct cfg *parse(const char *text, struct pvb_error *err)
{
	struct cfg *c = NULL;

	return cfg_from_text(&c, "t", text, strlen(text), err) ? NULL : c;
}

static void text_values(void **state)
{
	static const struct {
		const char *text, *want; /* value of a, lists joined by "|"; NULL: refused */
	} rows[] = {
		{ "a=1", "1" },
		{ "a = \"x\"", "x" },
		{ "a='x # y'\n", "x # y" },
		{ "# c\n\n;;a=\"x\";b=2", "x" },
		{ "a=\"x\"\na=\"y\"", "y" },
		{ "a=\"x\"\na+=\"y\"", "xy" },
		{ "a=[\"x\"]\na+=['y',3]", "x|y|3" },
		{ "a=[ 'x',\n# c\n 'y',\n]\n", "x|y" },
		{ "a=[]", "" },
		{ "a=\"q\\\"q\\\\\"", "q\"q\\" },
		{ "a='\\''", "'" },
		{ "a.b=1\na=2", "2" },
		{ "a=0x1f", "0x1f" },
		{ "\ta\t=\t'y'\t", "y" },
		{ "a+=['x']", "x" },
		{ "a=x", NULL },
		{ "a", NULL },
		{ "a=", NULL },
		{ "A=1", NULL },
		{ "a=1 b=2", NULL },
		{ "a='x", NULL },
		{ "a='x\ny'", NULL },
		{ "a=['x' 'y']", NULL },
		{ "a=[,]", NULL },
		{ "a=['x'", NULL },
		{ "a=-1", NULL },
		{ "a=\"x\"\na+=['y']", NULL },
		{ "a==1", NULL },
		{ "=1", NULL },
		{ "a='\\q'", NULL },
		{ "a=1\r\n", NULL },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pvb_error err = { 0 };
		struct cfg *c = parse(rows[i].text, &err);
		char got[200] = "";
		const char *v;
		unsigned nr;

		if (!rows[i].want) {
			if (c)
				fail_msg("accepted: %s", rows[i].text);
			assert_true(strlen(err.text) > 3);
			continue;
		}
		if (!c)
			fail_msg("refused: %s: %s", rows[i].text, err.text);
		if (cfg_is_list(c, "a")) {
			assert_int_equal(cfg_list_len(c, "a", &nr, &err), 0);
			for (unsigned k = 0; k < nr; k++) {
				assert_int_equal(cfg_list_item(c, "a", k, &v, &err), 0);
				snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", k ? "|" : "", v);
			}
		} else {
			assert_int_equal(cfg_string(c, "a", &v, &err), 0);
			snprintf(got, sizeof(got), "%s", v);
		}
		assert_string_equal(got, rows[i].want);
		cfg_free(c);
	}
}

static void text_errors_name_the_line(void **state)
{
	struct pvb_error err = { 0 };
	struct cfg_text t;
	const char *text = "a=1\n\nb=[\n'x',\n'y'\nc=2\n";

	assert_int_equal(cfg_text_parse(&t, "f", text, strlen(text), &err), -EINVAL);
	assert_non_null(strstr(err.text, "f:6: "));
}

static void numbers(void **state)
{
	struct pvb_error err = { 0 };
	struct cfg *c =
		parse("a=10\nb=\"0x10\"\nc=\"12x\"\nd=99999999999999999999\ne=2\nf=['1']\ng=\"\"\nh=\" 1\"", &err);
	long v = -7;
	bool b;

	assert_non_null(c);
	assert_int_equal(cfg_long(c, "a", 0, 10, &v, &err), 0);
	assert_int_equal(v, 10);
	assert_int_equal(cfg_long(c, "a", 0, 9, &v, &err), -ERANGE);
	assert_non_null(strstr(err.text, "not from 0 to 9"));
	assert_int_equal(cfg_long(c, "b", 0, 99, &v, &err), 0);
	assert_int_equal(v, 16);
	assert_int_equal(cfg_long(c, "c", 0, 99, &v, &err), -EINVAL);
	assert_int_equal(cfg_long(c, "d", 0, 99, &v, &err), -ERANGE);
	assert_int_equal(cfg_bool(c, "e", &b, &err), -ERANGE);
	assert_int_equal(cfg_long(c, "f", 0, 99, &v, &err), -EINVAL);
	assert_int_equal(cfg_long(c, "g", 0, 99, &v, &err), -EINVAL);
	assert_int_equal(cfg_long(c, "h", 0, 99, &v, &err), -EINVAL);
	assert_int_equal(cfg_long(c, "z", 0, 99, &v, &err), -ENOENT);
	assert_int_equal(v, 16);
	cfg_free(c);
}

static void settings_of_the_command_line(void **state)
{
	char *const set[] = { "name=g1", "memory=64", "disk=[\"a,raw,xvda\"]", "extra=say \"hi\" \\",
			      "extra+=' more'" };
	char *const bad[] = { "nothing" }, *const lines[] = { "a=1\nb=2" };
	struct pvb_error err = { 0 };
	struct cfg *c;
	const char *v;

	assert_int_equal(cfg_read(&c, "/dev/null", set, 5, &err), 0);
	assert_int_equal(cfg_string(c, "name", &v, &err), 0);
	assert_string_equal(v, "g1");
	assert_int_equal(cfg_string(c, "extra", &v, &err), 0);
	assert_string_equal(v, "say \"hi\" \\ more");
	assert_true(cfg_is_list(c, "disk"));
	cfg_free(c);
	assert_int_equal(cfg_read(&c, NULL, bad, 1, &err), -EINVAL);
	assert_int_equal(cfg_read(&c, NULL, lines, 1, &err), -EINVAL);
	assert_int_equal(cfg_read(&c, "/nonexistent/x.cfg", NULL, 0, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/x.cfg"));
}

/* --- keys -------------------------------------------------------------------------------------------- */

static void key_table_is_sorted(void **state)
{
	for (const struct cfg_key *k = cfg_keys; k[1].name; k++)
		if (strcmp(k[0].name, k[1].name) >= 0)
			fail_msg("%s before %s", k[0].name, k[1].name);
}

static void suggestions(void **state)
{
	static const char *const rows[][2] = {
		{ "memroy", "memory" },
		{ "vfi", "vif" },
		{ "dsik", "disk" },
		{ "vcpu", "vcpus" },
		{ "nmae", "name" },
		{ "bootlaoder", "bootloader" },
		{ "max_grantframes", "max_grant_frames" },
		{ "on_rebot", "on_reboot" },
		{ "ramdsk", "ramdisk" },
		{ "maxmemory", NULL },
		{ "kernal", "kernel" },
		{ "bogus_option", NULL },
		{ "x", NULL },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *s = cfg_suggest(rows[i][0]);

		if (!s != !rows[i][1] || (s && strcmp(s, rows[i][1])))
			fail_msg("%s: %s, wanted %s", rows[i][0], s ? s : "none", rows[i][1] ? rows[i][1] : "none");
	}
}

static void collect(void *arg, const char *text)
{
	strcat(strcat((char *)arg, text), "\n");
}

static void unknown_keys(void **state)
{
	struct pvb_error err = { 0 };
	char said[2000] = "";
	struct cfg *c = parse("name='g'\nmemroy=1\nvtpm=['x']\nguest='x'\nbogus_option=1\nkernel='k'", &err);

	assert_non_null(c);
	assert_int_equal(cfg_check_keys(c, CFG_XEN, collect, said), 4);
	assert_string_equal(said, "t:2: unknown key \"memroy\"; did you mean \"memory\"?\n"
				  "t:3: key \"vtpm\" is known to xl but pvl does nothing with it\n"
				  "t:4: key \"guest\" is only for --host local\n"
				  "t:5: unknown key \"bogus_option\"\n");
	said[0] = '\0';
	assert_int_equal(cfg_check_keys(c, CFG_LOCAL, collect, said), 4);
	assert_non_null(strstr(said, "t:6: key \"kernel\" is only for --host xen"));
	cfg_free(c);
}

/* --- disks ------------------------------------------------------------------------------------------- */

static void disk_specs(void **state)
{
	static const struct {
		const char *spec, *want; /* vdev target format ro cdrom; NULL: refused */
	} rows[] = {
		{ "/dev/a,raw,xvda,rw", "xvda /dev/a raw 0 0" },
		{ "/dev/a,,xvda", "xvda /dev/a raw 0 0" },
		{ "vdev=hda,access=ro,target=a,b=c", "hda a,b=c raw 1 0" },
		{ "file:/x,xvda", NULL },
		{ "phy:/dev/a,raw,xvda,r", "xvda /dev/a raw 1 0" },
		{ "tap:aio:/x,raw,sda,w", "sda /x raw 0 0" },
		{ "/x,qcow2,xvdb,w", "xvdb /x qcow2 0 0" },
		{ "/x.iso,,hdc,cdrom", "hdc /x.iso raw 1 1" },
		{ "/x,raw,hdc:cdrom,r", "hdc /x raw 1 1" },
		{ ",raw,hdc,cdrom", "hdc  raw 1 1" },
		{ "devtype=cdrom,vdev=hdc", "hdc  raw 1 1" },
		{ "backendtype=pvbus,vdev=xvda,target=mem:1M", "xvda mem:1M raw 0 0" },
		{ "format=raw, vdev=xvda, access=rw, target=/dev/a", "xvda /dev/a raw 0 0" },
		{ "/dev/a,raw,xvda,rw,discard,direct-io-safe,untrusted", "xvda /dev/a raw 0 0" },
		{ "", NULL },
		{ "/dev/a", NULL },
		{ "/dev/a,raw", NULL },
		{ "/dev/a,raw,", NULL },
		{ "/dev/a,raw,nope", NULL },
		{ "/dev/a,vmdk,xvda", NULL },
		{ "/dev/a,raw,xvda,x", NULL },
		{ "/dev/a,raw,xvda,rw,bogus=1", NULL },
		{ "/dev/a,raw,xvda,rw,bogus", NULL },
		{ "/dev/a,raw,xvda,rw,format=raw", NULL },
		{ "vdev=xvda,vdev=xvdb,target=x", NULL },
		{ "ztarget=x,vdev=xvda", NULL },
		{ "vdev=xvda,target=x,", NULL },
		{ "backendtype=foo,vdev=xvda,target=x", NULL },
		{ "devtype=tape,vdev=xvda,target=x", NULL },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pvb_error err = { 0 };
		struct diskspec d;
		char got[100];
		int rc = diskspec_parse(&d, &rows[i].spec, 1, &err);

		if (!rows[i].want) {
			if (!rc)
				fail_msg("accepted: %s", rows[i].spec);
			assert_true(strlen(err.text) > 3);
			continue;
		}
		if (rc)
			fail_msg("refused: %s: %s", rows[i].spec, err.text);
		snprintf(got, sizeof(got), "%s %s %s %d %d", d.vdev, d.target, d.format, d.readonly, d.cdrom);
		assert_string_equal(got, rows[i].want);
		diskspec_free(&d);
	}
}

static void disk_in_parts(void **state)
{
	const char *const parts[] = { "vdev=xvdb", "backendtype=pvbus", "access=ro", "target=file:/a,b" };
	const char *const hidden[] = { "vdev=xvdb,target=backendtype=pvbus" };
	struct pvb_error err = { 0 };
	struct diskspec d;
	char *xl;

	assert_int_equal(diskspec_parse(&d, parts, 4, &err), 0);
	assert_true(diskspec_is_pvbus(parts, 4));
	assert_false(diskspec_is_pvbus(hidden, 1));
	xl = diskspec_for_xl(&d);
	assert_string_equal(xl, "backendtype=phy,script=block-pvbus,format=raw,vdev=xvdb,access=ro,target=file:/a,b");
	free(xl);
	diskspec_free(&d);
}

static void guest_command(void **state)
{
	struct pvb_error err = { 0 };
	char **a;

	assert_int_equal(local_argv_split(" pvguest --nbd 'unix:/a b'  \"c \\\"d\" e\\ f '' ", &a, &err), 0);
	assert_string_equal(a[0], "pvguest");
	assert_string_equal(a[2], "unix:/a b");
	assert_string_equal(a[3], "c \"d");
	assert_string_equal(a[4], "e f");
	assert_string_equal(a[5], "");
	assert_null(a[6]);
	local_argv_free(a);
	assert_int_equal(local_argv_split("a 'b", &a, &err), -EINVAL);
	assert_int_equal(local_argv_split("   ", &a, &err), -EINVAL);
}

/* --- beside libxlutil, on mutated input --------------------------------------------------------------- */

/* libxlutil loses the items of lists that are joined with += */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libxlutil\n";
}

static const char *const cfgs[] = {
	"name = \"g1\"\nmemory = 256\ndisk = [ \"/dev/a,raw,xvda,rw\", 'b,raw,xvdb' ]\nvif=['mac=00:16:3e:00:00:01']\n",
	"a='x';b=\"y\\\"\\\\\" # c\nc+=[1,\n2,\n]\nc+=[ '3' ]\na+='z'\nd=0x1F\n\n",
	"x.y_1 = 012\nlist=[['a','b'],[1]]\nempty=[]\n;;\n",
};
static const char *const specs[] = {
	"/dev/vg/a,raw,xvda,rw", "vdev=xvda,format=qcow2,access=ro,target=/x/y", "/x.iso,raw,hdc:cdrom,r",
	"phy:/dev/a,xvda,w", "backendtype=phy,script=block-x,vdev=xvda,discard,direct-io-safe,target=z", ",,hdc,cdrom",
};

static size_t mutate(char *buf, size_t len, size_t room, uint64_t *seed)
{
	static const char letters[] = "=+[]'\"\\,;#\n\t abz019.xv:-_";
	unsigned nr = 1 + rnd(seed) % 3;

	while (nr--) {
		size_t at = rnd(seed) % (len + 1);
		char c = rnd(seed) % 16 ? letters[rnd(seed) % (sizeof(letters) - 1)] : (char)rnd(seed);

		switch (rnd(seed) % 3) {
		case 0:
			if (at < len)
				buf[at] = c;
			break;
		case 1:
			if (at < len)
				memmove(buf + at, buf + at + 1, --len - at);
			break;
		default:
			if (len + 1 < room) {
				memmove(buf + at + 1, buf + at, len++ - at);
				buf[at] = c;
			}
		}
	}
	return len;
}

#ifdef HAVE_XL
static bool last_of_its_key(const struct cfg_text *t, unsigned i)
{
	for (unsigned j = 0; j < t->nr; j++)
		if (j != i && strcmp(t->settings[j].key, t->settings[i].key) == 0)
			return false; /* joined or replaced: text_values() has those */
	return true;
}

static void same_values(const char *text, const struct cfg_text *t, XLU_Config *x)
{
	for (unsigned i = 0; i < t->nr; i++) {
		const struct cfg_setting *s = &t->settings[i];
		XLU_ConfigList *l;
		const char *v;
		int n;

		if (!last_of_its_key(t, i))
			continue;
		if (!s->value.is_list) {
			if (xlu_cfg_get_string(x, s->key, &v, 1) || strcmp(v, s->value.text))
				fail_msg("key %s differs in: %s", s->key, text);
			continue;
		}
		if (xlu_cfg_get_list(x, s->key, &l, &n, 1) || (unsigned)n != s->value.nr)
			fail_msg("list %s differs in: %s", s->key, text);
		for (int k = 0; k < n; k++) {
			v = xlu_cfg_get_listitem(l, k);
			if (!v != s->value.items[k].is_list || (v && strcmp(v, s->value.items[k].text)))
				fail_msg("item %d of %s differs in: %s", k, s->key, text);
		}
	}
}
#endif

static void text_beside_xlu(void **state)
{
	uint64_t seed = 1;
	unsigned both = 0;

	for (unsigned round = 0; round < 20000; round++) {
		const char *from = cfgs[round % (sizeof(cfgs) / sizeof(cfgs[0]))];
		struct pvb_error err = { 0 };
		struct cfg_text t;
		char buf[400];
		size_t len = strlen(from);
		int rc;

		memcpy(buf, from, len);
		len = mutate(buf, len, sizeof(buf) - 2, &seed);
		buf[len++] = '\n'; /* without it libxlutil forgives the last line */
		buf[len] = '\0';
		rc = cfg_text_parse(&t, "t", buf, len, &err);
#ifdef HAVE_XL
		FILE *null = fopen("/dev/null", "w");
		XLU_Config *x = xlu_cfg_init(null, "t");

		/* a NUL, and bytes above 127, flex treats in ways of its own */
		if (strlen(buf) == len && xlu_cfg_readdata(x, buf, (int)len) == 0) {
			if (rc)
				fail_msg("only libxlutil accepts (%s): %s", err.text, buf);
			same_values(buf, &t, x);
			both++;
		}
		xlu_cfg_destroy(x);
		fclose(null);
#endif
		if (!rc)
			cfg_text_free(&t);
	}
#ifdef HAVE_XL
	assert_true(both > 1000);
#endif
	(void)both;
}

static void specs_beside_xlu(void **state)
{
	uint64_t seed = 2;
	unsigned both = 0;

	for (unsigned round = 0; round < 20000; round++) {
		const char *from = specs[round % (sizeof(specs) / sizeof(specs[0]))], *spec;
		struct pvb_error err = { 0 };
		struct diskspec d;
		char buf[200];
		size_t len = strlen(from);
		int rc;

		memcpy(buf, from, len);
		len = mutate(buf, len, sizeof(buf) - 1, &seed);
		buf[len] = '\0';
		spec = buf;
		diskspec_is_pvbus(&spec, 1);
		rc = diskspec_parse(&d, &spec, 1, &err);
#ifdef HAVE_XL
		FILE *null = fopen("/dev/null", "w");
		XLU_Config *x = xlu_cfg_init(null, "t");
		libxl_device_disk disk;

		libxl_device_disk_init(&disk);
		/* where both accept they mean the same disk; ours is stricter (device names, unknown parts) */
		if (xlu_disk_parse(x, 1, &spec, &disk) == 0 && !rc) {
			if (strcmp(disk.vdev, d.vdev) || strcmp(disk.pdev_path ? disk.pdev_path : "", d.target) ||
			    !disk.readwrite != d.readonly || disk.is_cdrom != d.cdrom)
				fail_msg("differs: %s: %s/%s %s/%s ro %d/%d cd %d/%d", buf, disk.vdev, d.vdev,
					 disk.pdev_path ? disk.pdev_path : "", d.target, !disk.readwrite, d.readonly,
					 disk.is_cdrom, d.cdrom);
			both++;
		}
		libxl_device_disk_dispose(&disk);
		xlu_cfg_destroy(x);
		fclose(null);
#endif
		if (!rc)
			diskspec_free(&d);
	}
#ifdef HAVE_XL
	assert_true(both > 1000);
#endif
	(void)both;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_values), cmocka_unit_test(text_errors_name_the_line), cmocka_unit_test(numbers),
		cmocka_unit_test(settings_of_the_command_line), cmocka_unit_test(key_table_is_sorted),
		cmocka_unit_test(suggestions), cmocka_unit_test(unknown_keys), cmocka_unit_test(disk_specs),
		cmocka_unit_test(disk_in_parts), cmocka_unit_test(guest_command), cmocka_unit_test(text_beside_xlu),
		cmocka_unit_test(specs_beside_xlu),
	};

	return cmocka_run_group_tests_name("tools-config", tests, NULL, NULL);
}
