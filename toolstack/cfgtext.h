/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_CFGTEXT_H
#define PVL_CFGTEXT_H
/* The text of an xl.cfg file as settings with their line numbers.
 *
 * libxlutil gives the value of a key one asks for, but can not say which keys there are; this can.  It also is
 * the reader where libxlutil is missing.  Whatever libxlutil accepts is accepted here with the same result; of
 * what libxlutil refuses, a few escapes are let through (tests/tools-config.c compares the two).
 *
 * Grammar   lines or ";" separate settings:  KEY = VALUE  or  KEY += VALUE
 *           KEY [a-z][a-z0-9._]*;  VALUE a number, a quoted string, or a list [ VALUE, ... ], which may
 *           span lines and nest;  # starts a comment.
 * Trust     The file is the operator's, but may come from elsewhere: size, depth and number of values are
 *           bounded, no recursion deeper than CFG_MAX_DEPTH.
 * Errors    -EINVAL with "FILE:LINE: what".  Never logs.
 */
#include <stdbool.h>
#include <stddef.h>
#include "error.h"

#define CFG_MAX_TEXT  (1u << 20) /* bytes */
#define CFG_MAX_DEPTH 8

struct cfg_value {
	bool is_list;
	char *text;                /* of a string or number */
	struct cfg_value *items;   /* of a list */
	unsigned nr, room;
};
struct cfg_setting {
	char *key;
	unsigned line;             /* 1... */
	bool add;                  /* += */
	struct cfg_value value;    /* as written here; not merged with earlier ones */
};
struct cfg_text {
	struct cfg_setting *settings;
	unsigned nr;
};

/* text need not end with a NUL.  name is what errors call the file. */
int cfg_text_parse(struct cfg_text *out, const char *name, const char *text, size_t len, struct pvb_error *err);
void cfg_text_free(struct cfg_text *t);
#endif
