/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVL_STATSCLI_H
#define PVL_STATSCLI_H
/* Asking pvbackd over its control socket: one JSON line there, one back (pvbackd(8), CONTROL SOCKET).
 *
 * Trust    The socket is root's; still the answer is bounded (16 MiB, 5 s) and parsed, not believed.
 * Errors   0 or -errno; -EPROTO an answer that is none, -EREMOTEIO pvbackd's own error, in its words.
 */
#include "error.h"

struct json_object;

/* request is given back; *reply is the whole answer, {"ok":true,...}. */
int statscli_call(const char *path, struct json_object *request, struct json_object **reply, struct pvb_error *err);
/* The counters of an answer to "stats" as Prometheus text on stdout. */
void statscli_prometheus(struct json_object *devices);
#endif
