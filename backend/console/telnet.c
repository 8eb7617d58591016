/* SPDX-License-Identifier: GPL-2.0-or-later */
/* telnet.c: see telnet.h.  Numbers are the RFCs'. */
#include <string.h>
#include "telnet.h"

enum { SE = 240, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255 };
enum { DATA, AFTER_IAC, OPTION, IN_SB, SB_IAC };

/* Options that we know, as bits. */
static const uint8_t option[] = { 0 /* binary */, 1 /* echo */, 3 /* suppress go-ahead */ };
enum { BINARY = 1, ECHO = 2, GO_AHEAD = 4 };
#define WE_DO   (BINARY | ECHO | GO_AHEAD)
#define THEY_DO (BINARY | GO_AHEAD)

static void say(struct telnet *t, uint8_t command, uint8_t opt)
{
	const uint8_t m[3] = { IAC, command, opt };

	if (t->nr_reply + sizeof(m) > sizeof(t->reply))
		return;
	memcpy(t->reply + t->nr_reply, m, sizeof(m));
	t->nr_reply += sizeof(m);
}

void telnet_start(struct telnet *t)
{
	memset(t, 0, sizeof(*t));
	say(t, WILL, option[1]);
	say(t, WILL, option[2]);
	say(t, DO, option[2]);
	say(t, WILL, option[0]);
	say(t, DO, option[0]);
	t->we_asked = WE_DO;
	t->they_asked = THEY_DO;
}

static uint8_t bit_of(uint8_t opt)
{
	for (unsigned i = 0; i < sizeof(option); i++)
		if (option[i] == opt)
			return (uint8_t)(1u << i);
	return 0;
}

/* One side of an option: the client agrees, asks, or will not have it.  yes/no: how we answer a request. */
static void settle(struct telnet *t, uint8_t opt, bool wants, uint8_t able, uint8_t *does, uint8_t *asked, uint8_t yes, uint8_t no)
{
	uint8_t bit = bit_of(opt), before = *does;
	bool answer = *asked & bit;

	*asked &= (uint8_t)~bit;
	if (wants && !(able & bit)) {
		say(t, no, opt);
		return;
	}
	*does = wants ? before | bit : before & (uint8_t)~bit;
	if (*does != before && !answer)
		say(t, wants ? yes : no, opt);
}

static void negotiate(struct telnet *t, uint8_t opt)
{
	if (t->command == DO || t->command == DONT)
		settle(t, opt, t->command == DO, WE_DO, &t->we_do, &t->we_asked, WILL, WONT);
	else
		settle(t, opt, t->command == WILL, THEY_DO, &t->they_do, &t->they_asked, DO, DONT);
	t->binary_out = t->we_do & BINARY;
	t->binary_in = t->they_do & BINARY;
}

/* False: the byte is the rest of an end of line. */
static bool is_data(struct telnet *t, uint8_t c)
{
	bool after_cr = t->in_cr;

	t->in_cr = !t->binary_in && c == '\r';
	return !after_cr || (c != '\n' && c != 0);
}

size_t telnet_decode(struct telnet *t, uint8_t *buf, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = buf[i];

		switch (t->state) {
		case DATA:
			if (c == IAC)
				t->state = AFTER_IAC;
			else if (is_data(t, c))
				buf[n++] = c;
			break;
		case AFTER_IAC:
			t->state = c == SB ? IN_SB : c >= WILL && c <= DONT ? OPTION : DATA;
			t->command = c;
			if (c == IAC && is_data(t, c))
				buf[n++] = c;
			break; /* other commands mean nothing to a console */
		case OPTION:
			negotiate(t, c);
			t->state = DATA;
			break;
		case IN_SB:
			if (c == IAC)
				t->state = SB_IAC;
			break;
		case SB_IAC:
			t->state = c == SE ? DATA : IN_SB;
			break;
		}
	}
	return n;
}

size_t telnet_encode(struct telnet *t, const uint8_t *in, size_t *len, uint8_t *out, size_t size)
{
	size_t n = 0, i;

	for (i = 0; i < *len && size - n >= TELNET_GROWTH; i++) {
		if (t->out_cr && !t->binary_out && in[i] != '\n')
			out[n++] = 0;
		t->out_cr = !t->binary_out && in[i] == '\r';
		if (in[i] == IAC)
			out[n++] = IAC;
		out[n++] = in[i];
	}
	*len = i;
	return n;
}
