/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_TARGET_H
#define PVB_BACKEND_TARGET_H
/* A disk's target as the toolstack writes it into `params`:
 *
 *   /path/to/image                      a raw file or block device, taken literally to the last byte
 *   PROVIDER:ARG[?key=value[&...]]      e.g. file:/img?cache=direct&data=map   null:size=1G
 *                                       nbd:unix:/run/x.sock   qcow2:/img.qcow2   mem:size=64M
 *
 * In ARG and values, %XX stands for one byte (so %3f is a "?" and %26 a "&").  The format is never
 * guessed from the data: "/x" is raw whatever the file holds.
 *
 * Keys every provider takes (only fault and delay may be there more than once):
 *   fault=OP:ERRNO[@N[+M]]     let N requests of kind OP pass, then fail M (default: all) with ERRNO
 *   delay=OP:TIME              let each request of kind OP wait TIME (10ms, 250us, 1s)
 *                              OP: read, write, flush, discard, secure-discard or all
 *   data=auto|copy|map         how guest pages are reached (auto: copy; map for large direct I/O)
 *   persistent=off|on          advertise feature-persistent
 *   queues=1..8  ring-order=0..4  indirect=0..256   limits offered to the front end
 *   stable-writes=off|on       never let the device see a page the guest can still change
 *   on-enospc= on-flush-error= on-io-error=   retry|report|stop|ignore
 *   shared=off|on              do not lock the image
 * Unknown keys and malformed values are errors that name key and value.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/error.h"

struct target_option { char *key, *value; };

/* What may stand in a text: the names before the colon and the keys after the question mark. */
struct target_key {
	const char *name;
	const char *const *words;    /* one of them; or */
	uint64_t min, max;           /* a number; or, with max 0, what its user parses */
	bool repeats;
};
struct target_grammar {
	const char *noun;            /* "provider", for errors */
	const char *path;            /* what a plain path is, NULL: not allowed */
	bool bare;                   /* NAME alone is NAME: with an empty ARG */
	/* The keys of a name, NULL-terminated, into *keys (NULL: none); false: no such name. */
	bool (*find)(const char *name, const char *const **keys);
	const struct target_key *common; /* which all of them take */
	unsigned nr_common;
};

struct target {
	const struct target_grammar *grammar;
	char *text;                  /* as written */
	char *provider;              /* "file" when the target is a plain path */
	char *arg;
	struct target_option *options;
	unsigned nr_options;
};
int target_parse(const char *text, struct target **out, struct pvb_error *err); /* a disk's */
int target_parse_as(const char *text, const struct target_grammar *g, struct target **out, struct pvb_error *err);
void target_free(struct target *t);
/* Value of a key (the first, for one that may be repeated), or NULL. */
const char *target_get(const struct target *t, const char *key);
/* Add key=value unless the key is there already or the provider does not know it: what the toolstack says
 * outside `params` (direct-io-safe). */
int target_default(struct target *t, const char *key, const char *value, struct pvb_error *err);
/* "4096", "64K", "10M", "1G", "2T": bytes. */
int target_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *bytes, struct pvb_error *err);
/* One of a NULL-terminated list of words; its index, or -EINVAL naming the choices. */
int target_choice(const struct target *t, const char *key, const char *const *words, int def, struct pvb_error *err);
int target_number(const struct target *t, const char *key, uint64_t min, uint64_t max, uint64_t def, uint64_t *out,
		  struct pvb_error *err);
#endif
