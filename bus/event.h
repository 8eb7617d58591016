/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_EVENT_H
#define PVB_BUS_EVENT_H
/* Event channels of one handle, dispatched from a loop: bind, mask until done, storm back-off.
 *
 * A port is masked when its event is fetched and stays so until the handler has returned, so events in
 * between cost nothing.  A handler says whether it found work.  From the second event in a row without
 * work on, the unmask is put off 1, 2, 4 ... 1024 ms; the first event with work resets that.  A peer can thus make us
 * wake up no more than about once a second for nothing, and nobody else pays.
 *
 * Threads  One thread.
 * Errors   0 or -errno; never logs.
 */
#include <stdbool.h>
#include <stdint.h>
#include "hv.h"
#include "loop.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pvb_events; /* all events of one pvb_hv */
struct pvb_event;

struct pvb_event_stats {
	uint64_t received;    /* events fetched */
	uint64_t spurious;    /* of these without work */
	uint64_t delayed;     /* unmasks put off */
	uint64_t sent;        /* notifies */
};

/* after, if not NULL, runs once after each batch of handlers (submit what they gathered). */
int pvb_events_new(struct pvb_events **out, struct pvb_hv *hv, struct pvb_loop *loop, void (*after)(void *arg),
		   void *arg);
/* With all its events; NULL is fine.  Not from a handler or from after. */
void pvb_events_free(struct pvb_events *ev);

/* Bind the peer's port.  fn returns true when it found work.  */
int pvb_event_bind(struct pvb_events *ev, uint32_t domid, uint32_t remote_port, bool (*fn)(void *arg), void *arg,
		   struct pvb_event **out);
/* Allocate a port for domid to bind; its number with pvb_event_port(). */
int pvb_event_alloc(struct pvb_events *ev, uint32_t domid, bool (*fn)(void *arg), void *arg, struct pvb_event **out);
void pvb_event_free(struct pvb_event **e); /* unbinds; NULL is fine; fn is not called afterwards */
uint32_t pvb_event_port(const struct pvb_event *e);
int pvb_event_notify(struct pvb_event *e);
/* How long the unmask is put off after so many events in a row without work: the rule above. */
unsigned pvb_event_backoff_ms(unsigned empty);
const struct pvb_event_stats *pvb_event_stats(const struct pvb_event *e);

#ifdef __cplusplus
}
#endif
#endif
