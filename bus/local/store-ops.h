/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BUS_LOCAL_STORE_OPS_H
#define PVB_BUS_LOCAL_STORE_OPS_H
/* What the requests of store-ops.c and store-admin.c share.  Each returns 0 when it has answered, or the errno
 * to be answered. */
#include "store-int.h"

/* One request while it is carried out. */
struct op {
	struct lst *st;
	struct lst_conn *c;
	struct lst_dom *dom;
	struct lst_txn *t;
	const char *in;
	uint32_t len;
	char path[LST_PATH_MAX + 1];
	bool relative;
};

int lst_op_ack(struct op *op);
/* Exactly nr strings, each with its NUL, and nothing behind them. */
bool lst_op_strings(const struct op *op, const char **s, unsigned nr);
/* Digits only, at most max. */
bool lst_number(const char *s, uint32_t max, uint32_t *v);

/* store-admin.c */
int lst_op_introduce(struct op *op);
int lst_op_release(struct op *op);
int lst_op_resume(struct op *op);
int lst_op_set_target(struct op *op);
int lst_op_get_domain_path(struct op *op);
int lst_op_is_domain_introduced(struct op *op);
int lst_op_control(struct op *op);
#endif
