// SPDX-License-Identifier: GPL-2.0-or-later
/* Options of an NBD connection, from the greeting to the choice of an export. */
#include <errno.h>
#include <stdio.h>
#include "nbd-impl.h"

#define REPLY_LEN 20u

static void add(struct nbd_conn *c, const void *data, size_t len)
{
	memcpy(c->text + c->text_len, data, len);
	c->text_len += (uint32_t)len;
}

void handshake_greet(struct nbd_conn *c)
{
	uint8_t hello[18];

	put64(hello, NBD_MAGIC);
	put64(hello + 8, NBD_OPTS_MAGIC);
	put16(hello + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	add(c, hello, sizeof(hello));
}

/* A client that sends options and reads no answers fills text[]; then it is not worth keeping. */
static bool answer(struct nbd_conn *c, uint32_t option, uint32_t type, const void *data, uint32_t len)
{
	uint8_t head[REPLY_LEN];

	if (sizeof(c->text) - c->text_len < sizeof(head) + len)
		return false;
	put64(head, NBD_REPLY_MAGIC);
	put32(head + 8, option);
	put32(head + 12, type);
	put32(head + 16, len);
	add(c, head, sizeof(head));
	add(c, data, len);
	return true;
}

static bool answer_text(struct nbd_conn *c, uint32_t option, uint32_t type, const char *text)
{
	return answer(c, option, type, text, (uint32_t)strlen(text));
}

uint16_t export_flags(const struct pvf_disk *disk)
{
	const struct pvf_info *info = pvf_disk_info(disk);
	uint16_t f = NBD_FLAG_HAS_FLAGS;

	/* a flush covers writes answered on any queue; without a cache to flush there is nothing to cover */
	f |= NBD_FLAG_CAN_MULTI_CONN;
	if (info->flush || info->barrier)
		f |= NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA;
	if (info->readonly)
		return f | NBD_FLAG_READ_ONLY;
	f |= NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
	if (info->discard)
		f |= NBD_FLAG_SEND_TRIM;
	return f;
}

static void enter(struct nbd_conn *c)
{
	const struct pvf_info *info = pvf_disk_info(c->exp->disk);

	c->size = info->size;
	c->generation = info->generation;
	c->state = CONN_COMMANDS;
}

static const char *choose(struct nbd_conn *c, const uint8_t *name, uint32_t len)
{
	struct nbd_export *e = export_find(c->srv, (const char *)name, len);

	if (e == NULL)
		return "no such export";
	if (pvf_disk_phase(e->disk) != PVF_LIVE)
		return "the disk is not connected";
	return conn_attach(c, e) < 0 ? "no memory for its buffer" : NULL;
}

/* --- one option each; false: close the connection --------------------------------------------------- */

static bool opt_export_name(struct nbd_conn *c, const uint8_t *data, uint32_t len)
{
	uint8_t out[134] = { 0 };

	if (choose(c, data, len) != NULL || sizeof(c->text) - c->text_len < sizeof(out))
		return false; /* this option knows no error reply */
	enter(c);
	put64(out, c->size);
	put16(out + 8, export_flags(c->exp->disk));
	add(c, out, c->no_zeroes ? 10 : sizeof(out));
	return true;
}

static bool opt_list(struct nbd_conn *c, uint32_t len)
{
	uint8_t out[4 + 256];
	uint32_t n;

	if (len != 0)
		return answer_text(c, NBD_OPT_LIST, NBD_REP_ERR_INVALID, "LIST has no data");
	for (struct nbd_export *e = c->srv->exports; e != NULL; e = e->next) {
		n = (uint32_t)strnlen(e->name, 256);
		put32(out, n);
		memcpy(out + 4, e->name, n);
		if (!answer(c, NBD_OPT_LIST, NBD_REP_SERVER, out, 4 + n))
			return false;
	}
	return answer(c, NBD_OPT_LIST, NBD_REP_ACK, "", 0);
}

static bool info_export(struct nbd_conn *c, uint32_t option)
{
	uint8_t out[12];

	put16(out, NBD_INFO_EXPORT);
	put64(out + 2, pvf_disk_info(c->exp->disk)->size);
	put16(out + 10, export_flags(c->exp->disk));
	return answer(c, option, NBD_REP_INFO, out, sizeof(out));
}

static bool info_name(struct nbd_conn *c, uint32_t option)
{
	uint8_t out[2 + 256];
	size_t n = strnlen(c->exp->name, 256);

	put16(out, NBD_INFO_NAME);
	memcpy(out + 2, c->exp->name, n);
	return answer(c, option, NBD_REP_INFO, out, (uint32_t)(2 + n));
}

static bool info_block_size(struct nbd_conn *c, uint32_t option)
{
	const struct pvf_info *info = pvf_disk_info(c->exp->disk);
	uint32_t best = info->physical_sector_size > PVB_PAGE_SIZE ? info->physical_sector_size : PVB_PAGE_SIZE;
	uint8_t out[14];

	put16(out, NBD_INFO_BLOCK_SIZE);
	put32(out + 2, info->sector_size);
	put32(out + 6, best <= conn_best_payload(c) && (best & (best - 1)) == 0 ? best : PVB_PAGE_SIZE);
	put32(out + 10, conn_best_payload(c));
	return answer(c, option, NBD_REP_INFO, out, sizeof(out));
}

/* INFO and GO: name length 32, name, number of wishes 16, wishes 16 each. */
static bool opt_go(struct nbd_conn *c, uint32_t option, const uint8_t *data, uint32_t len)
{
	const uint8_t *wish;
	const char *why;
	uint32_t name_len, nr;

	if (len < 6 || (name_len = get32(data)) > len - 6)
		return answer_text(c, option, NBD_REP_ERR_INVALID, "the name does not fit the option");
	nr = get16(data + 4 + name_len);
	wish = data + 6 + name_len;
	if (len - 6 - name_len != 2 * nr)
		return answer_text(c, option, NBD_REP_ERR_INVALID, "the list of wishes does not fit the option");
	why = choose(c, data + 4, name_len);
	if (why != NULL)
		return answer_text(c, option, NBD_REP_ERR_UNKNOWN, why);
	if (!info_export(c, option))
		return false;
	for (uint32_t i = 0; i < nr; i++) {
		uint16_t info = get16(wish + 2 * i);

		if ((info == NBD_INFO_NAME && !info_name(c, option)) ||
		    (info == NBD_INFO_BLOCK_SIZE && !info_block_size(c, option)))
			return false;
	}
	if (!answer(c, option, NBD_REP_ACK, "", 0))
		return false;
	if (option == NBD_OPT_GO)
		enter(c);
	return true;
}

static bool one_option(struct nbd_conn *c, uint32_t option, const uint8_t *data, uint32_t len)
{
	switch (option) {
	case NBD_OPT_EXPORT_NAME:
		return opt_export_name(c, data, len);
	case NBD_OPT_ABORT:
		answer(c, option, NBD_REP_ACK, "", 0);
		c->eof = true;
		return true;
	case NBD_OPT_LIST:
		return opt_list(c, len);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return opt_go(c, option, data, len);
	default:
		return answer_text(c, option, NBD_REP_ERR_UNSUP, "option not supported");
	}
}

/* --- framing ---------------------------------------------------------------------------------------- */

static bool client_flags(struct nbd_conn *c)
{
	uint32_t flags = get32(c->in + c->in_pos);

	if ((flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0)
		return false;
	c->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	c->in_pos += 4;
	c->state = CONN_OPTIONS;
	return true;
}

bool handshake_input(struct nbd_conn *c)
{
	const uint8_t *p;
	uint32_t len, option;

	if (c->state == CONN_GREETING && (c->in_len - c->in_pos < 4 || !client_flags(c)))
		return c->in_len - c->in_pos < 4;
	while (c->state == CONN_OPTIONS && !c->eof && c->in_len - c->in_pos >= NBD_OPT_LEN) {
		p = c->in + c->in_pos;
		option = get32(p + 8);
		len = get32(p + 12);
		if (get64(p) != NBD_OPTS_MAGIC || len > NBD_OPT_MAX)
			return false;
		if (c->in_len - c->in_pos - NBD_OPT_LEN < len)
			return true; /* the rest is on its way; in[] has room for it */
		c->in_pos += NBD_OPT_LEN + len;
		if (!one_option(c, option, p + NBD_OPT_LEN, len))
			return false;
	}
	return true;
}
