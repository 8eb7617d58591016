/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_CFG_H
#define PVL_CFG_H
/* A domain's configuration: an xl.cfg file and the settings given on the command line after it.
 *
 * Values are read by libxlutil, as xl reads them; without libxlutil by our own parser (cfgtext.h).  Which
 * keys exist is one table here, with who acts on each, so that a misspelt key is refused and not ignored.
 *
 * Values    The pointers returned live as long as the cfg.
 * Errors    0, -ENOENT (not set; out untouched, err untouched), or -EINVAL/-ERANGE with "FILE: KEY: what".
 *           Never logs.
 */
#include <stdbool.h>
#include <stddef.h>
#include "error.h"

struct cfg;

/* Read a file (NULL or /dev/null: none, "-": standard input) and append the settings.  A setting is
 * "key=value" or "key+=value"; a value that is neither quoted, a list nor a number is taken as a string. */
int cfg_read(struct cfg **out, const char *file, char *const *settings, unsigned nr_settings, struct pvb_error *err);
int cfg_from_text(struct cfg **out, const char *name, const char *text, size_t len, struct pvb_error *err);
void cfg_free(struct cfg *c);
const char *cfg_name(const struct cfg *c);
/* The whole text that was read, settings included. */
const char *cfg_source(const struct cfg *c, size_t *len);

int cfg_string(const struct cfg *c, const char *key, const char **out, struct pvb_error *err);
int cfg_long(const struct cfg *c, const char *key, long min, long max, long *out, struct pvb_error *err);
int cfg_bool(const struct cfg *c, const char *key, bool *out, struct pvb_error *err);
bool cfg_is_list(const struct cfg *c, const char *key);
bool cfg_is_set(const struct cfg *c, const char *key);
int cfg_list_len(const struct cfg *c, const char *key, unsigned *nr, struct pvb_error *err);
/* Item i of a list; -EINVAL when it is itself a list. */
int cfg_list_item(const struct cfg *c, const char *key, unsigned i, const char **out, struct pvb_error *err);

/* --- keys ------------------------------------------------------------------------------------------- */

#define CFG_XEN   0x1u /* host xen acts on it */
#define CFG_LOCAL 0x2u /* host local acts on it */
struct cfg_key {
	const char *name;
	unsigned hosts;        /* 0: xl has it, pvl does nothing with it */
};
extern const struct cfg_key cfg_keys[]; /* sorted; ends with name == NULL */

/* Look at every key that is set.  Each one that `host` (CFG_XEN or CFG_LOCAL) does not act on is given to
 * report() as one sentence with file, line and, if there is one, the nearest known key.  How many. */
unsigned cfg_check_keys(const struct cfg *c, unsigned host, void (*report)(void *arg, const char *text), void *arg);
/* The known key nearest to a misspelt one, or NULL when none is near. */
const char *cfg_suggest(const char *key);
#endif
