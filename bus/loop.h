/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_LOOP_H
#define PVB_BUS_LOOP_H
/* A small event loop (epoll) that the programs lend to the library parts: descriptors, timers, signals
 * through signalfd if the program wants them.
 *
 * Threads    One loop, one thread.  pvb_loop_stop() may be called from a callback only.
 * Callbacks  May add and remove any source, also their own and ones that are about to run: a removed
 *            source is never called again, not even in the same round.
 * Errors     0 or -errno.  Never logs.
 */
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pvb_loop;
struct pvb_source; /* a descriptor or a timer */

int pvb_loop_new(struct pvb_loop **out);
void pvb_loop_free(struct pvb_loop *loop); /* frees all sources; does not close descriptors */

/* Call fn(arg, events) whenever fd has any of `events` (EPOLLIN...), level-triggered. */
int pvb_loop_fd(struct pvb_loop *loop, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
		struct pvb_source **out);
int pvb_source_events(struct pvb_source *src, uint32_t events); /* change what is waited for; 0 = pause */
/* Call fn(arg) once, ms milliseconds from now (0 = in the next round). The source frees itself after. */
int pvb_loop_timer(struct pvb_loop *loop, uint64_t ms, void (*fn)(void *arg), void *arg, struct pvb_source **out);
/* Stop and free; *src becomes NULL; NULL is fine.  A timer's own callback must not call it on itself
 * (its pointer is already cleared when fn runs). */
void pvb_source_free(struct pvb_source **src);

/* Call busy(arg) before each sleep.  True: do not sleep, only look at what there is, and ask again.  One a loop; NULL: none. */
void pvb_loop_busy(struct pvb_loop *loop, bool (*busy)(void *arg), void *arg);

/* Run until pvb_loop_stop(); returns the value given there, or -errno. */
int pvb_loop_run(struct pvb_loop *loop);
/* One round: wait at most timeout_ms (-1 = for ever), call what is due.  Number of callbacks, or -errno. */
int pvb_loop_once(struct pvb_loop *loop, int timeout_ms);
void pvb_loop_stop(struct pvb_loop *loop, int value);
uint64_t pvb_now_ms(void);  /* CLOCK_MONOTONIC */
uint64_t pvb_now_ns(void);

#ifdef __cplusplus
}
#endif
#endif
