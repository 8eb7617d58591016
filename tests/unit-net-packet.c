/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers, checksums, segmentation, the TAP's header. */
#include "tests/net-doubles.h"
#include <endian.h>
#include <errno.h>
#include <linux/virtio_net.h>

static uint8_t buf[70000], out[400000];

/* --- checksums ---------------------------------------------------------------------------------------- */

static const uint8_t ip_header[20] = { /* of a UDP packet once on a wire: checksum b861 */
	0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8,
	0x00, 0xc7,
};

static void sum_of_known_header(void **state)
{
	uint8_t h[20];
	uint16_t sum;

	assert_int_equal(packet_sum_fold(packet_sum(ip_header, 20, 0)), 0);
	memcpy(h, ip_header, 20);
	h[10] = h[11] = 0;
	sum = packet_sum_fold(packet_sum(h, 20, 0));
	assert_memory_equal(&sum, ip_header + 10, 2);
}

/* RFC 1071, section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2. */
static void sum_of_rfc1071(void **state)
{
	static const uint8_t data[8] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	assert_int_equal(packet_sum_fold(packet_sum(data, 8, 0)), (uint16_t)~htobe16(0xddf2));
}

static void sum_in_pieces(void **state)
{
	uint64_t seed = 1;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)rnd(&seed);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t len = rnd(&seed) % 3000, cut = len ? rnd(&seed) % len & ~1u : 0, from = rnd(&seed) % 64;
		uint32_t whole = packet_sum(buf + from, len, 0);
		uint32_t first = packet_sum(buf + from, cut, 0);

		assert_int_equal(packet_sum_fold(packet_sum(buf + from + cut, len - cut, first)),
				 packet_sum_fold(whole));
	}
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(packet_sum_fold(packet_sum(buf, 65535, 0xffffffff)),
			 packet_sum_fold(packet_sum(buf, 65535, 0)));
}

/* Each kind of packet, each length to 300, also with the header apart from the rest. */
static void checksum_finished(void **state)
{
	uint8_t hdr[FRAME_HDR];

	for (unsigned kind = 0; kind < 16; kind++)
		for (unsigned len = 0; len < 300; len++) {
			struct frame f;

			build(&f, buf, &(struct build){ .src = 1, .dst = 2, .v6 = kind & 1, .udp = kind & 2,
				.blank = true,
							.tagged = kind & 4, .vlan = 5, .payload = len });
			if (kind & 8) {
				memcpy(hdr, buf, f.hdr_len);
				memset(buf, 0xee, f.hdr_len); /* changed behind our back */
				f.hdr = hdr;
			}
			packet_checksum(&f);
			assert_false(f.csum_blank);
			assert_true(f.csum_valid);
			memcpy(buf, f.hdr, f.hdr_len);
			assert_true(checksums_are_good(buf, f.len));
		}
}

static void padding_is_not_summed(void **state)
{
	struct frame f;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .udp = true, .blank = true, .payload = 3, .padded = true });
	assert_int_equal(f.len, 60);
	packet_checksum(&f);
	assert_true(checksums_are_good(buf, 60));
}

/* --- headers ------------------------------------------------------------------------------------------ */

static void finds_headers(void **state)
{
	struct frame f;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 100, .options = 12 });
	assert_int_equal(f.ethertype, 0x0800);
	assert_int_equal(f.l3, 14);
	assert_int_equal(f.l4, 34);
	assert_int_equal(f.l4_csum, 50);
	assert_int_equal(f.payload, 66);
	assert_int_equal(f.l4_proto, IPPROTO_TCP);
	assert_false(f.tagged);
	assert_int_not_equal(packet_flow_hash(&f), 0);
	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .v6 = true, .udp = true, .tagged = true, .vlan = 0x3123,
					.extensions = 24, .payload = 1 });
	assert_true(f.tagged);
	assert_int_equal(f.vlan, 0x123);
	assert_int_equal(f.l3, 18);
	assert_int_equal(f.l4, 18 + 40 + 24);
	assert_int_equal(f.payload, f.l4 + 8);
	assert_int_equal(f.l4_csum, f.l4 + 6);
}

/* Cut anywhere: no offset points out of the copy, claims that can not be seen are refused; ASan looks on. */
static void cut_at_every_byte(void **state)
{
	for (unsigned kind = 0; kind < 32; kind++) {
		struct build b = { .src = 1, .dst = 2, .v6 = kind & 1, .udp = kind & 2, .tagged = kind & 4,
			.payload = 40,
				   .extensions = kind & 8 ? 16 : 0, .options = kind & 16 ? 20 : 0 };
		struct frame whole, f;
		const char *why = NULL;

		build(&whole, buf, &b);
		for (uint32_t len = 0; len <= whole.len; len++) {
			uint8_t *copy = malloc(len ? len : 1);

			assert_non_null(copy);
			memcpy(copy, buf, len);
			for (unsigned claim = 0; claim < 3; claim++) {
				int rc;

				memset(&f, 0, sizeof(f));
				frame_local(&f, copy, len);
				f.csum_blank = claim == 1;
				f.gso = claim < 2 ? FRAME_GSO_NONE : b.v6 ? FRAME_GSO_TCP6 : FRAME_GSO_TCP4;
				f.gso_size = 8;
				rc = packet_parse(&f, &why);
				if (len < FRAME_MIN_LEN)
					assert_int_equal(rc, -EINVAL);
				else if (!claim)
					assert_int_equal(rc, 0);
				else if (claim == 1)
					assert_int_equal(!rc, len >= whole.l4 + (b.udp ? 8u : 18u));
				else
					assert_int_equal(!rc, !b.udp && len > whole.payload);
				if (rc)
					continue;
				assert_true(f.l3 <= len && f.l4 <= len && f.payload <= len);
				assert_true(!f.l4_csum || f.l4_csum + 2u <= len);
				if (f.csum_blank)
					packet_checksum(&f);
			}
			free(copy);
		}
	}
}

static void noise_is_bounded(void **state)
{
	static const uint16_t types[] = { 0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806 };
	uint64_t seed = 3;

	for (unsigned i = 0; i < 200000; i++) {
		uint32_t len = 14 + rnd(&seed) % 200;
		struct frame f = { 0 };
		const char *why;

		for (unsigned k = 0; k < len; k++)
			buf[k] = (uint8_t)rnd(&seed);
		buf[12] = (uint8_t)(types[i % 5] >> 8);
		buf[13] = (uint8_t)types[i % 5];
		if (rnd(&seed) % 2)
			buf[14] = i % 5 == 0 ? 0x45 : 0x60;
		if (rnd(&seed) % 2)
			buf[i % 5 ? 20 : 23] = (uint8_t)"\x06\x11\x00\x2b\x2c\x3c\x33\x3a"[rnd(&seed) % 8];
		frame_local(&f, buf, len);
		f.csum_blank = rnd(&seed) % 2;
		f.gso = (uint8_t)(rnd(&seed) % 4);
		f.gso_size = (uint16_t)rnd(&seed);
		if (packet_parse(&f, &why))
			continue;
		assert_true(f.l3 <= f.hdr_len && f.l4 <= f.hdr_len && f.payload <= f.hdr_len);
		packet_checksum(&f);
	}
}

static void gso_claims(void **state)
{
	struct frame f;
	const char *why = NULL;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 5000, .gso_size = 1000 });
	assert_true(f.csum_blank); /* forgotten by old guests */
	f.gso_size = 7;
	assert_int_equal(packet_parse(&f, &why), -EINVAL);
	assert_string_equal(why, "GSO size out of range");
	f.gso_size = (uint16_t)(f.len + 1);
	assert_int_equal(packet_parse(&f, &why), -EINVAL);
	f.gso_size = 1000;
	f.gso = FRAME_GSO_TCP6;
	assert_int_equal(packet_parse(&f, &why), -EINVAL);
	f.gso = 7;
	assert_int_equal(packet_parse(&f, &why), -EINVAL);
	assert_string_equal(why, "GSO of an unknown type");
}

static void fragments_have_no_l4(void **state)
{
	struct frame f;
	const char *why = NULL;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .udp = true, .payload = 30 });
	buf[20] = 0x20; /* more fragments */
	assert_int_equal(packet_parse(&f, &why), 0);
	assert_true(f.fragment);
	assert_int_equal(f.l4_proto, 0);
	assert_int_equal(f.l4, 0);
	f.csum_blank = true;
	assert_int_equal(packet_parse(&f, &why), -EINVAL);
}

static void macs(void **state)
{
	uint8_t mac[6];
	char text[18];

	assert_true(packet_mac_parse("00:16:3E:aa:bb:0f", mac));
	packet_mac_text(mac, text);
	assert_string_equal(text, "00:16:3e:aa:bb:0f");
	assert_false(packet_mac_parse("01:16:3e:aa:bb:0f", mac));
	assert_false(packet_mac_parse("0:16:3e:aa:bb:0ff", mac));
	assert_false(packet_mac_parse("00:16:3e:aa:bb:0", mac));
	assert_false(packet_mac_parse("00:16:3e:aa:bb:0f:", mac));
	assert_false(packet_mac_parse("00-16-3e-aa-bb-0f", mac));
	assert_false(packet_mac_parse(" 0:16:3e:aa:bb:0f", mac));
	assert_false(packet_mac_parse("", mac));
}

/* --- segments ----------------------------------------------------------------------------------------- */

struct reassembly {
	const struct frame *whole;
	uint32_t done;
	unsigned nr;
	uint32_t first_seq;
};

static void check_segment(void *arg, struct frame *s)
{
	struct reassembly *r = arg;
	const struct frame *w = r->whole;
	const uint8_t *tcp = s->hdr + s->l4, *wtcp = w->hdr + w->l4;
	uint32_t len = s->len - s->payload, seq, first;
	bool last = r->done + len == w->len - w->payload;

	assert_false(s->gso || s->csum_blank);
	assert_true(len == w->gso_size || (last && len && len < w->gso_size));
	assert_true(checksums_are_good(s->seg[0].local, s->len));
	assert_memory_equal(s->seg[0].local + s->payload, w->seg[0].local + w->payload + r->done, len);
	memcpy(&seq, tcp + 4, 4);
	memcpy(&first, wtcp + 4, 4);
	assert_int_equal(be32toh(seq), be32toh(first) + r->done);
	assert_int_equal(tcp[13] & 0x09, last ? wtcp[13] & 0x09 : 0);
	assert_int_equal(tcp[13] & 0x80, r->nr ? 0 : wtcp[13] & 0x80);
	if (w->gso == FRAME_GSO_TCP4)
		assert_int_equal((uint16_t)(s->hdr[s->l3 + 4] << 8 | s->hdr[s->l3 + 5]), (uint16_t)(0xfffe + r->nr));
	r->done += len;
	r->nr++;
}

static void cut_and_joined(void **state)
{
	static const uint32_t sizes[] = { 1, 7, 536, 1447, 1448, 1449, 2896, 4097, 17001, 64000 };
	static const uint16_t mss[] = { 8, 9, 536, 1220, 1448, 8948 };

	for (unsigned k = 0; k < 8; k++)
		for (unsigned i = 0; i < 10; i++)
			for (unsigned m = 0; m < 6; m++) {
				struct reassembly r = { 0 };
				struct frame f;

				if ((sizes[i] > 5000 && mss[m] < 100) || mss[m] > sizes[i] + 54)
					continue;
				build(&f, buf, &(struct build){ .src = 1, .dst = 2, .v6 = k & 1, .payload = sizes[i],
					.gso_size = mss[m], .options = k & 2 ? 12 : 0, .tagged = k & 4, .vlan = 9,
					.tcp_flags = 0x99 });
				r.whole = &f;
				assert_int_equal(packet_segment(&f, out, packet_segment_bytes(&f), check_segment, &r),
						 (sizes[i] + mss[m] - 1) / mss[m]);
				assert_int_equal(r.done, sizes[i]);
			}
}

static void no_room_to_cut(void **state)
{
	struct reassembly r = { 0 };
	struct frame f;

	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .payload = 3000, .gso_size = 1000 });
	assert_int_equal(packet_segment(&f, out, packet_segment_bytes(&f) - 1, check_segment, &r), -ENOSPC);
	f.gso = FRAME_GSO_NONE;
	assert_int_equal(packet_segment_bytes(&f), 0);
	assert_int_equal(packet_segment(&f, out, sizeof(out), check_segment, &r), -EINVAL);
}

/* --- the TAP's header --------------------------------------------------------------------------------- */

static void there_and_back(void **state)
{
	for (unsigned k = 0; k < 8; k++) {
		struct virtio_net_hdr_v1 h;
		struct frame f, g = { 0 };
		const char *why;

		build(&f, buf, &(struct build){ .src = 1, .dst = 2, .v6 = k & 1, .payload = 3000, .blank = k & 2,
						.gso_size = k & 4 ? 1000 : 0 });
		packet_to_vnet(&f, &h);
		frame_local(&g, buf, f.len);
		assert_int_equal(packet_from_vnet(&g, &h, &why), 0);
		assert_int_equal(g.csum_blank, f.csum_blank);
		assert_int_equal(g.gso, f.gso);
		assert_int_equal(g.gso_size, f.gso_size);
		assert_int_equal(g.payload, f.payload);
		if (f.gso) {
			assert_int_equal(le16toh(h.hdr_len), f.payload);
			assert_int_equal(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		}
	}
}

/* A blank checksum inside a tunnel: finished at once. */
static void inner_checksum(void **state)
{
	struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_offset = htole16(16) };
	struct frame inner, f = { 0 };
	const char *why;
	uint8_t copy[200];

	build(&inner, copy, &(struct build){ .src = 1, .dst = 2, .blank = true, .payload = 60 });
	build(&f, buf, &(struct build){ .src = 1, .dst = 2, .udp = true, .payload = inner.len });
	memcpy(buf + f.payload, copy, inner.len);
	h.csum_start = htole16((uint16_t)(f.payload + inner.l4));
	assert_int_equal(packet_from_vnet(&f, &h, &why), 0);
	assert_false(f.csum_blank);
	assert_true(checksums_are_good(buf + f.payload, inner.len));
	h.csum_start = htole16((uint16_t)(f.len - 17));
	assert_int_equal(packet_from_vnet(&f, &h, &why), -EINVAL);
	h.csum_start = htole16(65535);
	assert_int_equal(packet_from_vnet(&f, &h, &why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sum_of_known_header), cmocka_unit_test(sum_of_rfc1071),
		cmocka_unit_test(sum_in_pieces),
		cmocka_unit_test(checksum_finished), cmocka_unit_test(padding_is_not_summed),
		cmocka_unit_test(finds_headers), cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(noise_is_bounded),
		cmocka_unit_test(gso_claims), cmocka_unit_test(fragments_have_no_l4), cmocka_unit_test(macs),
		cmocka_unit_test(cut_and_joined), cmocka_unit_test(no_room_to_cut), cmocka_unit_test(there_and_back),
		cmocka_unit_test(inner_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
