/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that peers write: numbers, error lines, store keys, device names and paths. */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include "error.h"
#include "nodes.h"
#include "offer.h"
#include "state.h"

/* ---- numbers --------------------------------------------------------------------------------------- */

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		uint64_t min, max;
		int rc;
		uint64_t value;
	} rows[] = {
		{ "0", 0, 10, 0, 0 },
		{ "10", 0, 10, 0, 10 },
		{ "11", 0, 10, -ERANGE, 0 },
		{ "0", 1, 10, -ERANGE, 0 },
		{ "007", 0, 10, 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", 0, UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999999", 0, UINT64_MAX, -ERANGE, 0 },
		{ "4294967296", 0, UINT32_MAX, -ERANGE, 0 },
		{ "", 0, 10, -EINVAL, 0 },
		{ "-1", 0, 10, -EINVAL, 0 },
		{ "+1", 0, 10, -EINVAL, 0 },
		{ " 4", 0, 10, -EINVAL, 0 },
		{ "4 ", 0, 10, -EINVAL, 0 },
		{ "4\n", 0, 10, -EINVAL, 0 },
		{ "4x", 0, 10, -EINVAL, 0 },
		{ "0x4", 0, 10, -EINVAL, 0 },
		{ "1e1", 0, 10, -EINVAL, 0 },
		{ "4.0", 0, 10, -EINVAL, 0 },
		{ "\xd9\xa4", 0, 10, -EINVAL, 0 }, /* a digit, but not one of ours */
	};
	uint64_t v;
	unsigned i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		v = 4711;
		assert_int_equal(pvb_parse_u64(rows[i].text, rows[i].min, rows[i].max, &v), rows[i].rc);
		assert_int_equal(v, rows[i].rc == 0 ? rows[i].value : 4711);
	}
}

/* ---- error lines ----------------------------------------------------------------------------------- */

static void test_error(void **state)
{
	struct pvb_error err = { 0 };
	char big[1000];
	unsigned i;

	assert_int_equal(pvb_err(NULL, -EIO, "x %d", 1), -EIO);
	assert_int_equal(pvb_err_prefix(NULL, -EIO, "x"), -EIO);
	assert_int_equal(pvb_err(&err, -EINVAL, "vbd %u: order %u, at most %u", 51712u, 7u, 4u), -EINVAL);
	assert_string_equal(err.text, "vbd 51712: order 7, at most 4");
	assert_int_equal(err.code, -EINVAL);
	assert_int_equal(pvb_err_prefix(&err, -EIO, "guest %u", 3u), -EINVAL);
	assert_string_equal(err.text, "guest 3: vbd 51712: order 7, at most 4");
	/* every byte a store value can hold */
	for (i = 1; i < 256; i++) {
		char s[2] = { (char)i, 0 };

		pvb_err(&err, -EIO, "[%s]", s);
		assert_int_equal(strlen(err.text), 3);
		assert_int_equal(err.text[1], i >= 0x20 && i < 0x7f ? (char)i : '?');
	}
	pvb_err(&err, -EIO, "%s", "a\nb\x1b[31mc\x7f");
	assert_string_equal(err.text, "a?b?[31mc?");
	memset(big, 'y', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	pvb_err(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	pvb_err_prefix(&err, -EIO, "prefix");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "prefix: yyy", 11);
	pvb_err_prefix(&err, -EIO, "%s", big);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err = (struct pvb_error){ 0 };
	assert_int_equal(pvb_err_prefix(&err, -EIO, "nothing yet"), -EIO);
	assert_int_equal(err.code, -EIO);
}

/* ---- keys ------------------------------------------------------------------------------------------ */

static void check_table(const struct pvb_key *table, unsigned nr)
{
	char row[256];
	unsigned i, k;

	for (i = 0; i < nr; i++) {
		const struct pvb_key *key = &table[i];
		struct pvb_value v;
		char text[32];

		assert_non_null(key->name);
		assert_non_null(key->help);
		assert_true(key->max > 0 && key->min <= key->max);
		for (k = 0; k < i; k++)
			assert_string_not_equal(key->name, table[k].name);
		pvb_nodes_row(key, row, sizeof(row));
		assert_int_equal(strncmp(row, key->name, strlen(key->name)), 0);
		if (key->type == PVB_KEY_STR)
			continue;
		/* what absence means is possible, or 0: nothing; and the ends of the range are in it */
		assert_true(key->def == 0 || (key->def >= key->min && key->def <= key->max));
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max);
		assert_int_equal(pvb_nodes_parse(key, text, &v, NULL), 0);
		assert_int_equal(v.num, key->max);
		if (key->max < UINT64_MAX) {
			snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max + 1);
			assert_int_equal(pvb_nodes_parse(key, text, &v, NULL), -ERANGE);
		}
		if (key->min > 0) {
			snprintf(text, sizeof(text), "%llu", (unsigned long long)key->min - 1);
			assert_int_equal(pvb_nodes_parse(key, text, &v, NULL), -ERANGE);
		}
	}
}

static void test_tables(void **state)
{
	check_table(pvb_vbd_back, VBD_B_NR);
	check_table(pvb_vbd_front, VBD_F_NR);
	check_table(pvb_vbd_queue, VBD_Q_NR);
	assert_int_equal(pvb_vbd_front[VBD_F_NUM_QUEUES].def, 1);
	assert_int_equal(pvb_vbd_front[VBD_F_TRUSTED].def, 1);
	assert_int_equal(pvb_vbd_back[VBD_B_MAX_QUEUES].def, 1);
	assert_string_equal(pvb_vbd_queue[VBD_Q_RING_REF].name, "ring-ref");
	assert_string_equal(pvb_vbd_queue[VBD_Q_RING_REF0 + 10].name, "ring-ref10");
	assert_string_equal(pvb_vbd_queue[VBD_Q_RING_REF15].name, "ring-ref15");
	check_table(pvb_vif_back, VIF_B_NR);
	check_table(pvb_vif_front, VIF_F_NR);
	check_table(pvb_vif_queue, VIF_Q_NR);
	check_table(pvb_con_back, CON_B_NR);
	check_table(pvb_con_front, CON_F_NR);
	/* what absence means is what netif.h says */
	assert_int_equal(pvb_vif_front[VIF_F_NUM_QUEUES].def, 1);
	assert_int_equal(pvb_vif_front[VIF_F_TRUSTED].def, 1);
	assert_int_equal(pvb_vif_front[VIF_F_MTU].def, 1500);
	assert_int_equal(pvb_vif_front[VIF_F_NO_CSUM4].def, 0);
	assert_int_equal(pvb_vif_front[VIF_F_CSUM6].def, 0);
	assert_int_equal(pvb_vif_front[VIF_F_RX_NOTIFY].def, 0);
	assert_int_equal(pvb_vif_back[VIF_B_CARRIER].def, 1);
	assert_int_equal(pvb_vif_back[VIF_B_MAX_QUEUES].def, 1);
	assert_string_equal(pvb_vif_queue[VIF_Q_RX_POOL_SIZE].name, "rx-pool-size");
}

/* What a guest may put into multi-queue-num-queues and ring-page-order (xsa.md A2, CVE-2026-45890). */
static void test_hostile_numbers(void **state)
{
	static const char *const bad[] = {
		"", "0", "-1", " 4", "4x", "0x4", "999999999999", "9", "4\n", "18446744073709551617"
	};
	struct pvb_error err = { 0 };
	struct pvb_value v;
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		v.num = 4711;
		assert_true(pvb_nodes_parse(&pvb_vbd_front[VBD_F_NUM_QUEUES], bad[i], &v, &err) < 0);
		assert_int_equal(v.num, 4711);
		assert_non_null(strstr(err.text, "multi-queue-num-queues"));
		assert_non_null(strstr(err.text, "1..8"));
	}
	assert_int_equal(pvb_nodes_parse(&pvb_vbd_front[VBD_F_RING_ORDER], "5", &v, &err), -ERANGE);
	assert_string_equal(err.text, "ring-page-order is \"5\", must be 0..4");
	assert_int_equal(pvb_nodes_parse(&pvb_vbd_front[VBD_F_RING_ORDER], "4", &v, NULL), 0);
	assert_int_equal(v.num, 4);
	/* no grant reference is the one that means none */
	assert_int_equal(pvb_nodes_parse(&pvb_vbd_queue[VBD_Q_RING_REF], "4294967295", &v, NULL), -ERANGE);
	assert_int_equal(pvb_nodes_parse(&pvb_vbd_front[VBD_F_TRUSTED], "01", &v, NULL), -EINVAL);
	assert_int_equal(pvb_nodes_parse(&pvb_vbd_front[VBD_F_TRUSTED], "2", &v, NULL), -ERANGE);
	/* the same of a NIC */
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(pvb_nodes_parse(&pvb_vif_front[VIF_F_NUM_QUEUES], bad[i], &v, NULL) < 0);
	assert_int_equal(pvb_nodes_parse(&pvb_vif_queue[VIF_Q_TX_RING_REF], "4294967295", &v, NULL), -ERANGE);
	assert_int_equal(pvb_nodes_parse(&pvb_vif_queue[VIF_Q_TX_POOL_SIZE], "513", &v, NULL), -ERANGE);
	assert_int_equal(pvb_nodes_parse(&pvb_vif_queue[VIF_Q_EVENT_CHANNEL_TX], "0", &v, NULL), -ERANGE);
}

static void test_text_keys(void **state)
{
	const struct pvb_key *key = &pvb_vbd_front[VBD_F_PROTOCOL];
	struct pvb_value v;
	char text[40];

	assert_int_equal(pvb_nodes_parse(key, "x86_64-abi", &v, NULL), 0);
	assert_string_equal(v.str, "x86_64-abi");
	pvb_nodes_free(&v, 1);
	assert_null(v.str);
	pvb_nodes_free(&v, 1);
	pvb_nodes_free(NULL, 0);
	memset(text, 'a', sizeof(text));
	text[33] = '\0';
	assert_int_equal(pvb_nodes_parse(key, text, &v, NULL), -E2BIG);
	text[32] = '\0';
	assert_int_equal(pvb_nodes_parse(key, text, &v, NULL), 0);
	pvb_nodes_free(&v, 1);
	assert_int_equal(pvb_nodes_parse(key, "a\nb", &v, NULL), -EINVAL);
	assert_int_equal(pvb_nodes_parse(key, "\x1b[2J", &v, NULL), -EINVAL);
}

/* ---- names of devices ------------------------------------------------------------------------------ */

static void test_vdev(void **state)
{
	static const struct {
		const char *name;
		uint32_t devid;
	} rows[] = {
		{ "xvda", 51712 }, { "xvda1", 51713 }, { "xvdb", 51728 }, { "xvdp", 51952 }, { "xvdp15", 51967 },
		{ "xvdq", 1 << 28 | 16 << 8 }, { "xvdz", 1 << 28 | 25 << 8 }, { "xvdaa", 1 << 28 | 26 << 8 },
		{ "xvda16", 1 << 28 | 16 }, { "xvdaz255", 1 << 28 | 51 << 8 | 255 }, { "xvdzz", 1 << 28 | 701 << 8 },
		{ "hda", 768 }, { "hdb", 832 }, { "hdc", 5632 }, { "hdd", 5696 }, { "hda63", 831 }, { "hdb1", 833 },
		{ "sda", 2048 }, { "sdb", 2064 }, { "sdp15", 2303 },
	};
	struct pvb_error err;
	char name[32];
	uint32_t id;
	unsigned i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(pvb_vdev_parse(rows[i].name, &id, NULL), 0);
		assert_int_equal(id, rows[i].devid);
		pvb_vdev_name(id, name, sizeof(name));
		assert_string_equal(name, rows[i].name);
	}
	assert_int_equal(pvb_vdev_parse("51712", &id, &err), 0);
	assert_int_equal(id, 51712);
	assert_int_equal(pvb_vdev_parse("d0", &id, &err), 0);
	assert_int_equal(id, 51712);
	assert_int_equal(pvb_vdev_parse("d0p1", &id, &err), 0);
	assert_int_equal(id, 51713);
	assert_int_equal(pvb_vdev_parse("d1048575p255", &id, &err), 0);
	assert_int_equal(id, 1 << 28 | 1048575 << 8 | 255);
	pvb_vdev_name(7, name, sizeof(name));
	assert_string_equal(name, "7");
	pvb_vdev_name(UINT32_MAX, name, sizeof(name));
	assert_string_equal(name, "4294967295");
	pvb_vdev_name(1 << 28 | 1048575 << 8 | 255, name, sizeof(name));
	assert_int_equal(pvb_vdev_parse(name, &id, NULL), 0);
	assert_int_equal(id, 1 << 28 | 1048575 << 8 | 255);
}

static void test_vdev_bad(void **state)
{
	static const char *const bad[] = {
		"",	  "xvd",       "xvdA",
		"xvda0",  "xvda01",    "xvda256",
		"xvda1x", "xvda ",     "hde",
		"hdaa",	  "hda64",     "sdq",
		"sda16",  "d",	       "dp1",
		"d0p",	  "d0p0",      "d1048576",
		"d0p256", "d0x1",      "2147483648",
		"-1",	  "0x10",      "xvdzzzzzzzzzzzzzzzzzzzz",
		"vda",	  "/dev/xvda", "xvda99999999999999999999",
	};
	struct pvb_error err;
	uint32_t id = 5;
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (pvb_vdev_parse(bad[i], &id, &err) != -EINVAL)
			fail_msg("\"%s\" became %u", bad[i], id);
		assert_int_equal(id, 5);
	}
	/* every number has a name, and each name but a plain number means that number */
	for (i = 0; i < 1 << 17; i++) {
		char name[32];

		pvb_vdev_name(i, name, sizeof(name));
		assert_int_equal(pvb_vdev_parse(name, &id, NULL), 0);
		assert_int_equal(id, i);
	}
}

static void test_device_path(void **state)
{
	static const char *const bad[] = {
		"",
		"/local/domain/0/backend/vbd/1",
		"/local/domain/0/backend/vbd/1/",
		"/local/domain//backend/vbd/1/2",
		"/local/domain/0/backend//1/2",
		"/local/domain/x/backend/vbd/1/2",
		"/local/domain/0/device/vbd/1/2",
		"/local/domain/0/backend/vbd/-1/2",
		"/local/domain/99999/backend/vbd/1/2",
		"local/domain/0/backend/vbd/1/2",
		"/local/domain/0/backend/sixteenlettersss/1/2",
		"/local/domain/0/backend/vbd/1/4294967296",
		"/local/domain/0/backend/vbd/1/2x",
		"/local/domain/0000000000000000000/backend/vbd/1/2",
	};
	struct pvb_device_id id, in = { .kind = "vbd3", .class = "vbd", .back = 0, .front = 7, .devid = 51712 };
	char kind[16], path[128];
	unsigned i;

	pvb_device_back_path(&in, path, sizeof(path));
	assert_string_equal(path, "/local/domain/0/backend/vbd3/7/51712");
	assert_int_equal(pvb_device_parse(path, &id, kind), 0);
	assert_string_equal(id.kind, "vbd3");
	assert_string_equal(id.class, "vbd");
	assert_int_equal(id.front, 7);
	assert_int_equal(id.devid, 51712);
	pvb_device_front_path(&in, path, sizeof(path));
	assert_string_equal(path, "/local/domain/7/device/vbd/51712");
	assert_int_equal(pvb_device_parse("/local/domain/3/backend/vif/7/0/queue-1/state", &id, kind), 0);
	assert_string_equal(id.class, "vif");
	assert_int_equal(id.back, 3);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (pvb_device_parse(bad[i], &id, kind) != -EINVAL)
			fail_msg("\"%s\" was taken for a device", bad[i]);
}

/* ---- states ---------------------------------------------------------------------------------------- */

/* All pairs, written down a second time by hand: from the row, to the column. */
static const char *const back_moves[PVB_NR_STATES] = {
	/*       012345678 */
	/* 0 */ ".....x...",
	/* 1 */ "..x..x...",
	/* 2 */ "....xx...",
	/* 3 */ "....xx...",
	/* 4 */ "....xx...",
	/* 5 */ "......x..",
	/* 6 */ "..x......",
	/* 7 */ "....xx...",
	/* 8 */ "....xx...",
};
static const char *const front_moves[PVB_NR_STATES] = {
	/* 0 */ ".x...x...",
	/* 1 */ "...xxx...",
	/* 2 */ "...xxx...",
	/* 3 */ "....xx...",
	/* 4 */ ".....x...",
	/* 5 */ "......x..",
	/* 6 */ ".x.......",
	/* 7 */ ".....x...",
	/* 8 */ ".....x...",
};

static void test_state_pairs(void **state)
{
	unsigned from, to;

	for (from = 0; from < PVB_NR_STATES + 3; from++) {
		for (to = 0; to < PVB_NR_STATES + 3; to++) {
			bool in = from < PVB_NR_STATES && to < PVB_NR_STATES;

			assert_int_equal(pvb_state_legal_back(from, to), in && back_moves[from][to] == 'x');
			assert_int_equal(pvb_state_legal_front(from, to), in && front_moves[from][to] == 'x');
		}
	}
	assert_false(pvb_state_legal_back((enum pvb_state)-1, PVB_CLOSING));
	assert_string_equal(pvb_state_name(PVB_INIT_WAIT), "InitWait");
	assert_string_equal(pvb_state_name(PVB_RECONFIGURED), "Reconfigured");
	assert_string_equal(pvb_state_name((enum pvb_state)99), "Unknown");
}

/* From everywhere to everywhere: each step is legal and the target is reached or there is no way. */
static void test_state_steps(void **state)
{
	static const enum pvb_state reachable[] = { PVB_INIT_WAIT, PVB_CONNECTED, PVB_CLOSING, PVB_CLOSED };
	enum pvb_state s, next;
	unsigned from, to, i, hops;

	for (from = 0; from < PVB_NR_STATES; from++) {
		for (i = 0; i < 4; i++) {
			for (s = from, hops = 0; s != reachable[i] && hops < 9; s = next, hops++) {
				next = pvb_state_step_back(s, reachable[i]);
				/* 7 and 8 count as 4 already */
				if (next == reachable[i] && reachable[i] == PVB_CONNECTED && s >= PVB_RECONFIGURING)
					break;
				assert_true(pvb_state_legal_back(s, next));
			}
			assert_true(hops <= 5);
		}
		for (to = 0; to < PVB_NR_STATES; to++)
			if (to == PVB_UNKNOWN || to == PVB_INITIALISING || to == PVB_INITIALISED)
				assert_int_equal(pvb_state_step_back(from, to),
						 from >= PVB_RECONFIGURING ? PVB_CONNECTED : from);
	}
	assert_int_equal(pvb_state_step_back(PVB_CONNECTED, PVB_INIT_WAIT), PVB_CLOSING);
	assert_int_equal(pvb_state_step_back(PVB_CLOSED, PVB_CONNECTED), PVB_INIT_WAIT);
	assert_int_equal(pvb_state_step_back(PVB_INITIALISING, PVB_CONNECTED), PVB_INIT_WAIT);
	assert_int_equal(pvb_state_step_back(PVB_CONNECTED, PVB_CONNECTED), PVB_CONNECTED);
	assert_int_equal(pvb_state_step_back(PVB_CONNECTED, (enum pvb_state)77), PVB_CONNECTED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_hostile_numbers),
		cmocka_unit_test(test_text_keys),
		cmocka_unit_test(test_vdev),
		cmocka_unit_test(test_vdev_bad),
		cmocka_unit_test(test_device_path),
		cmocka_unit_test(test_state_pairs),
		cmocka_unit_test(test_state_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
