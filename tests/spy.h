/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_TESTS_SPY_H
#define PVB_TESTS_SPY_H
/* What a back end gets to see of a front end that does not trust it (xenstore node "trusted" = 0): pages whose every byte
 * is zero, or has been data for this very back end.  So a page that is new to us is all zero but for the data that it is
 * granted for, and later differs from what we have last seen of it only there.
 *
 * Pages are known by their grant reference, which such a front end keeps for as long as it is connected.  No threads.
 * Memory: a page for each one seen.  Out of memory is the end of the test.
 */
#include <stdbool.h>
#include <stdint.h>

struct spy;

struct spy *spy_new(void);
void spy_free(struct spy *s);      /* NULL is fine */
void spy_forget(struct spy *s);    /* the connection is over */
/* A page as it was granted, with len bytes of data at offset (0: it is ours to fill).  True: nothing else is new in it;
 * false: *at is the first byte that is. */
bool spy_look(struct spy *s, uint32_t ref, const uint8_t *page, uint32_t offset, uint32_t len, uint32_t *at);
/* The page as we leave it. */
void spy_leave(struct spy *s, uint32_t ref, const uint8_t *page);
#endif
