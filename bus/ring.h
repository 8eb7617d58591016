/* SPDX-License-Identifier: MIT */
#ifndef PVB_BUS_RING_H
#define PVB_BUS_RING_H
/* Request/response rings in memory shared with a peer: Xen's layout, for rings of one or more pages.
 * One source for user space and the Linux kernel; header only, nothing allocated, nothing logged.
 *
 * Trust    The peer may rewrite any shared byte at any time.  No call returns a pointer into the ring:
 *          an entry leaves by copy, each shared word is loaded once, and only after the index check.
 *          A producer that claims more than the ring holds has lied: the half is dead from then on and
 *          says -EPROTO (-71) on each call.
 * Shape    struct pvb_ring_shared, then nr_slots slots of slot_size bytes (8-byte multiples or, for the
 *          32-bit x86 ABI, 4-byte multiples).  nr_slots is the largest power of two that fits.
 *          Request and response share a slot: response i overwrites request slot i.
 * Indices  uint32_t, free running; slot = index & (nr_slots - 1).  Only differences are compared.
 * Threads  One user per half; the caller serialises.  Two rings never share state.
 * Order    store-release of a producer index pairs with the peer's load-acquire of it ("entry before
 *          index"); a full fence stands between publishing an event index and looking again, and
 *          between publishing a producer index and reading the peer's event index ("index before
 *          event"): one of the two sides always sees the other.
 * Source   xen/include/public/io/ring.h for the layout.
 */
#ifndef PVB_CRASH_POINT /* crash.h; this file needs no other */
#define PVB_CRASH_POINT(name) do { } while (0)
#endif
#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/string.h>
#include <asm/barrier.h>
#include <asm/processor.h>
#define pvb_ring_load(p)       READ_ONCE(*(p))
#define pvb_ring_store(p, v)   WRITE_ONCE(*(p), (v))
#define pvb_ring_load_acquire(p)     virt_load_acquire(p)
#define pvb_ring_store_release(p, v) virt_store_release((p), (v))
#define pvb_ring_rmb()         virt_rmb()
#define pvb_ring_wmb()         virt_wmb()
#define pvb_ring_mb()          virt_mb()
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define PVB_TSAN 1
#endif
#endif
#define pvb_ring_load(p)       __atomic_load_n((p), __ATOMIC_RELAXED)
#define pvb_ring_store(p, v)   __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define pvb_ring_load_acquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define pvb_ring_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
static inline void pvb_ring_mb(void)
{
#if defined(__SANITIZE_THREAD__) || defined(PVB_TSAN)
	static uint32_t word; /* ThreadSanitizer knows no fences; a read-modify-write is one as well */

	__atomic_fetch_add(&word, 0, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
#define pvb_ring_rmb()         pvb_ring_mb()
#define pvb_ring_wmb()         pvb_ring_mb()
#endif

/* Between two looks at a word that the other side is about to write: without a pause they come so fast that the line has to be
 * taken back from us again and again, and the other's store waits for that. */
static inline void pvb_ring_relax(void)
{
#ifdef __KERNEL__
	cpu_relax();
#elif defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#define PVB_RING_EPROTO (-71)

struct pvb_ring_shared {
	uint32_t req_prod, req_event;
	uint32_t rsp_prod, rsp_event;
	uint8_t pad[48];
};

/* Slots of slot_size bytes in a ring of `bytes` bytes; 0 when not even one fits. */
static inline uint32_t pvb_ring_slots(uint32_t bytes, uint32_t slot_size)
{
	uint32_t n, p = 1;

	if (slot_size == 0 || bytes < sizeof(struct pvb_ring_shared) + slot_size)
		return 0;
	n = (bytes - (uint32_t)sizeof(struct pvb_ring_shared)) / slot_size;
	while (p <= n / 2)
		p *= 2;
	return p;
}

/* Slots and their parts are copied by the largest words that fit: of the processor's, or of 4 bytes (where slots are no
 * multiple of 8, as network ones and those of 32-bit guests). */
static inline bool pvb_ring_words(const volatile void *shared, uint32_t len)
{
	return ((uintptr_t)shared | len) % sizeof(unsigned long) == 0;
}

/* Copy len bytes (a multiple of 4) out of shared memory: every word is loaded exactly once, so the
 * compiler can not go back to the shared copy later. */
static inline void pvb_ring_copy_in(void *dst, const volatile void *src, uint32_t len)
{
	const volatile uint8_t *s = (const volatile uint8_t *)src;
	uint8_t *d = (uint8_t *)dst;
	unsigned long v;
	uint32_t w;
	size_t i;

	if (pvb_ring_words(src, len)) {
		for (i = 0; i < len; i += sizeof(v)) {
			v = pvb_ring_load((const volatile unsigned long *)(s + i));
			memcpy(d + i, &v, sizeof(v));
		}
		return;
	}
	for (i = 0; i < len; i += sizeof(w)) {
		w = pvb_ring_load((const volatile uint32_t *)(s + i));
		memcpy(d + i, &w, sizeof(w));
	}
}

static inline void pvb_ring_copy_out(volatile void *dst, const void *src, uint32_t len)
{
	volatile uint8_t *d = (volatile uint8_t *)dst;
	const uint8_t *s = (const uint8_t *)src;
	unsigned long v;
	uint32_t w;
	size_t i;

	if (pvb_ring_words(dst, len)) {
		for (i = 0; i < len; i += sizeof(v)) {
			memcpy(&v, s + i, sizeof(v));
			pvb_ring_store((volatile unsigned long *)(d + i), v);
			PVB_CRASH_POINT(ring_put_long);
		}
		return;
	}
	for (i = 0; i < len; i += sizeof(w)) {
		memcpy(&w, s + i, sizeof(w));
		pvb_ring_store((volatile uint32_t *)(d + i), w);
		PVB_CRASH_POINT(ring_put_word);
	}
}

/* Both halves have the same private part.  `cons` is the next entry of the peer to read, `prod` the
 * next own entry to write; `pushed` the own producer index the peer has been shown. */
struct pvb_ring {
	struct pvb_ring_shared *sh;
	uint8_t *slots;
	uint32_t nr_slots, slot_size;
	uint32_t cons, prod, pushed;
	bool dead;
};

static inline void pvb_ring_attach(struct pvb_ring *r, void *mem, uint32_t bytes, uint32_t slot_size,
				   uint32_t cons, uint32_t prod)
{
	r->sh = (struct pvb_ring_shared *)mem;
	r->slots = (uint8_t *)mem + sizeof(struct pvb_ring_shared);
	r->nr_slots = pvb_ring_slots(bytes, slot_size);
	r->slot_size = slot_size;
	r->cons = cons;
	r->prod = r->pushed = prod;
	r->dead = false;
}

static inline uint8_t *pvb_ring_slot(const struct pvb_ring *r, uint32_t idx)
{
	return r->slots + (size_t)(idx & (r->nr_slots - 1)) * r->slot_size;
}

/* ---- back half: takes requests, puts responses ---------------------------------------------------- */

/* Unread requests, or PVB_RING_EPROTO.  More requests than the ring has slots, or more than slots not
 * yet answered, is a lie.  When it returns n > 0, the n slots from r->cons on may be taken. */
static inline int pvb_ring_back_avail(struct pvb_ring *r)
{
	uint32_t prod, n;

	if (r->dead)
		return PVB_RING_EPROTO;
	prod = pvb_ring_load_acquire(&r->sh->req_prod); /* index before entry: pairs with the front half's push */
	n = prod - r->cons;
	/* prod - pushed: requests without an answer it can have seen; there are only nr_slots slots */
	if (n > r->nr_slots || prod - r->pushed > r->nr_slots) {
		r->dead = true;
		return PVB_RING_EPROTO;
	}
	return (int)n;
}

/* Copy the oldest unread request (slot_size bytes) and advance.  Only after avail() said so. */
static inline void pvb_ring_back_take(struct pvb_ring *r, void *req)
{
	pvb_ring_copy_in(req, pvb_ring_slot(r, r->cons), r->slot_size);
	r->cons++;
}

/* Write one response; len <= slot_size; the rest of the slot is zeroed, so nothing of ours or of an
 * older request is left in it.  The caller guarantees a slot (one response per request taken). */
static inline void pvb_ring_back_put(struct pvb_ring *r, const void *rsp, uint32_t len)
{
	uint8_t *slot = pvb_ring_slot(r, r->prod), *end = slot + r->slot_size;

	pvb_ring_copy_out(slot, rsp, len);
	slot += len;
	if (pvb_ring_words(slot, r->slot_size - len)) {
		for (; slot < end; slot += sizeof(unsigned long)) {
			pvb_ring_store((volatile unsigned long *)slot, 0);
			PVB_CRASH_POINT(ring_put_rest_long);
		}
	}
	for (; slot < end; slot += 4) {
		pvb_ring_store((volatile uint32_t *)slot, 0);
		PVB_CRASH_POINT(ring_put_rest);
	}
	r->prod++;
}

/* Publish all responses put so far.  True: the front end asked to be notified. */
static inline bool pvb_ring_back_push(struct pvb_ring *r)
{
	uint32_t old = r->pushed, now = r->prod;

	if (old == now)
		return false;
	pvb_ring_store_release(&r->sh->rsp_prod, now); /* entry before index */
	PVB_CRASH_POINT(ring_rsp_prod);
	pvb_ring_mb();  /* index before event */
	r->pushed = now;
	return now - pvb_ring_load(&r->sh->rsp_event) < now - old;
}

/* Ask for an event at the next request, then look again: avail() of the moment after. */
static inline int pvb_ring_back_rearm(struct pvb_ring *r)
{
	pvb_ring_store(&r->sh->req_event, r->cons + 1);
	PVB_CRASH_POINT(ring_req_event);
	pvb_ring_mb();
	return pvb_ring_back_avail(r);
}

/* ---- front half: puts requests, takes responses ---------------------------------------------------- */

/* Prepare fresh ring memory (zeroed pages) for both sides. */
static inline void pvb_ring_front_init(struct pvb_ring *r, void *mem, uint32_t bytes, uint32_t slot_size)
{
	struct pvb_ring_shared *sh = (struct pvb_ring_shared *)mem;

	memset(sh, 0, sizeof(*sh));
	sh->req_event = sh->rsp_event = 1;
	pvb_ring_attach(r, mem, bytes, slot_size, 0, 0);
}

/* Free request slots: the ring less what is unanswered. */
static inline uint32_t pvb_ring_front_free(const struct pvb_ring *r)
{
	return r->nr_slots - (r->prod - r->cons);
}

static inline void pvb_ring_front_put(struct pvb_ring *r, const void *req)
{
	pvb_ring_copy_out(pvb_ring_slot(r, r->prod), req, r->slot_size);
	r->prod++;
}

static inline bool pvb_ring_front_push(struct pvb_ring *r)
{
	uint32_t old = r->pushed, now = r->prod;

	if (old == now)
		return false;
	pvb_ring_store_release(&r->sh->req_prod, now); /* entry before index */
	pvb_ring_mb();  /* index before event */
	r->pushed = now;
	return now - pvb_ring_load(&r->sh->req_event) < now - old;
}

/* Unread responses, or PVB_RING_EPROTO: more responses than requests outstanding is a lie. */
static inline int pvb_ring_front_avail(struct pvb_ring *r)
{
	uint32_t n;

	if (r->dead)
		return PVB_RING_EPROTO;
	n = pvb_ring_load_acquire(&r->sh->rsp_prod) - r->cons;
	if (n > r->pushed - r->cons) {
		r->dead = true;
		return PVB_RING_EPROTO;
	}
	return (int)n;
}

static inline void pvb_ring_front_take(struct pvb_ring *r, void *rsp, uint32_t len)
{
	pvb_ring_copy_in(rsp, pvb_ring_slot(r, r->cons), len);
	r->cons++;
}

static inline int pvb_ring_front_rearm(struct pvb_ring *r)
{
	pvb_ring_store(&r->sh->rsp_event, r->cons + 1);
	pvb_ring_mb();
	return pvb_ring_front_avail(r);
}
#endif
