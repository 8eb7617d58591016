/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_SPEC_H
#define PVB_BACKEND_CONSOLE_SPEC_H
/* Where a console is served: the text of its "serve" key, of pvl's pvconsole= and of pvbackd --consoles.  Words, blanks
 * between them, options behind commas; pvbus-console(7) describes them.
 *
 *   pty                                     a pseudo-terminal, in console/tty; always there, said or not: xl create gives a
 *                                           domain up that has none after 10 s
 *   tcp=ADDRESS:PORT[,connect][,telnet]     listens there, or connects
 *   unix=PATH[,connect][,telnet]            the same
 *   log=PATH[,rotate=SIZE][,keep=N]         what the guest puts out, as it is
 *   rate=SIZE                               a second, taken from the guest
 *
 * Pure     Opens nothing, never logs.
 */
#include <stdbool.h>
#include <stdint.h>
#include "bus/error.h"

#define CON_MAX_ENDS 6u
#define CON_TEXT_MAX 1024u      /* of the whole */
#define CON_PATH_MAX 256u
#define CON_RATE     (256u << 10)
#define CON_ROTATE   (2u << 20) /* of a log; what libvirt's virtlogd has */
#define CON_KEEP     3u         /* older ones */
#define CON_MAX_KEEP 99u

enum con_kind { CON_PTY, CON_TCP, CON_UNIX, CON_LOG };

struct con_end {
	enum con_kind kind;
	bool dial, telnet;
	char where[CON_PATH_MAX];    /* address and port, or path */
	uint64_t rotate;             /* bytes */
	unsigned keep;
	char text[CON_PATH_MAX + 64]; /* the word itself */
};

struct con_spec {
	uint64_t rate;               /* bytes a second */
	unsigned nr_ends;
	struct con_end end[CON_MAX_ENDS];
};

int con_spec_parse(const char *text, struct con_spec *out, struct pvb_error *err);
/* For all domains at once: %n becomes the domain's name, with _ for what does not belong into a file's, %d its number. */
int con_spec_expand(const char *text, const char *name, uint32_t domid, char out[CON_TEXT_MAX], struct pvb_error *err);
#endif
