/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVB_BACKEND_CONSOLE_TELNET_H
#define PVB_BACKEND_CONSOLE_TELNET_H
/* Telnet's framing of one connection: what is ours to say and how bytes look on the wire (RFC 854, 856, 857, 858).
 *
 * Offered  We echo and suppress go-ahead, so that the client's terminal goes to one character at a time, and both ways
 *          are to be binary.  Everything else is refused.
 * Trust    The client may send anything, cut anywhere.  An option is answered only when that changes something or refuses
 *          something, so two ends never answer each other for ever; answers that find no room are dropped and counted
 *          against nobody but that client (it floods, or does not read).  A subnegotiation is skipped, however long.
 * Lines    Until the client agrees to send binary, its CR LF and CR NUL are one CR, as a terminal's Enter is.  Until it
 *          agrees to take binary, a CR that no LF follows goes out as CR NUL.
 * Pure     No descriptors, no memory of its own; nothing can fail.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TELNET_REPLY 64u        /* bytes of answers that may wait */
#define TELNET_GROWTH 3u        /* a byte becomes at most so many */

struct telnet {
	uint8_t state, command;      /* of the parser */
	bool in_cr, out_cr;          /* the last byte was a CR */
	bool binary_in, binary_out;
	uint8_t we_asked, they_asked; /* bits: options of which our offer or request has not been answered yet */
	uint8_t we_do, they_do;      /* bits: options in effect */
	uint8_t reply[TELNET_REPLY];
	unsigned nr_reply;
};

/* Begins with our offers in reply. */
void telnet_start(struct telnet *t);
/* What len bytes of the wire mean, in place: how many are left.  Answers are added to reply. */
size_t telnet_decode(struct telnet *t, uint8_t *buf, size_t len);
/* Put bytes for the wire into out, as many of *len as fit into size; *len becomes how many that were.  Bytes written. */
size_t telnet_encode(struct telnet *t, const uint8_t *in, size_t *len, uint8_t *out, size_t size);
#endif
