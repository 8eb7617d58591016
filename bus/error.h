/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_ERROR_H
#define PVB_BUS_ERROR_H
/* Errors: a code for the program, one sentence for the person.
 *
 * A call that can say more than its errno takes a struct pvb_error, which may be NULL.  It is written
 * only on failure.  The text is made where the fact is known and names the thing and both numbers
 * ("vbd 51712: ring-page-order 7, at most 4"); callers may prefix it but not replace it.
 *
 * Nothing in libpvbus prints: daemon and tools print an error once.
 */
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pvb_error {
	int code;        /* -errno */
	char text[240];  /* one line, no newline at the end, never contains control characters */
};

/* Record and return code, so that "return pvb_err(err, -EINVAL, ...)" is the whole failure path.
 * Control characters and bytes outside ASCII that came in through %s (store values, file names) are
 * shown as "?", so a hostile name can not write a second log line.  err may be NULL. */
int pvb_err(struct pvb_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put "fmt: " in front of the text that is there already.  Returns err->code, or code when err is NULL. */
int pvb_err_prefix(struct pvb_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
