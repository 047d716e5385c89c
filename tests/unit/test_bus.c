#include <errno.h>
#include <libfdt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "suite.h"
#include "vmbus/bus_internal.h"
#include "vmm/hv_synic.h"
#include "vmm/hv_tlfs.h"
#include "vsc_bus.h"
#include "vsc_echo.h"

#define VPS 4u

static struct vsc *vsc;
static struct echo echo;
static struct vmbus_offer *offer;
static const uint8_t payload[4096];
static uint8_t packet[VSC_PACKET_MAX];
static uint8_t answer[VSC_PACKET_MAX];

static void set_up(void)
{
	const struct vsc_config config = {.vp_count = VPS};
	const struct vmbus_offer_config echo_config = (echo_init(&echo), echo_offer(&echo, 1, 8));

	vsc = vsc_new(&config);
	offer = vsc_offer_new(vsc, &echo_config);
}

static void tear_down(void)
{
	vsc_free(vsc);
	echo_cleanup(&echo);
}

static const struct vmbus_offer_channel *primary(void)
{
	return vsc_find_offer(vsc, &echo_class, 0);
}

static void open_primary(struct vsc_channel *channel)
{
	ck_assert_uint_eq(vsc_channel_open(vsc, primary(), NULL, channel), 0);
}

/* One packet there and back. */
static void exchange(struct vsc_channel *channel, uint64_t id, uint32_t size)
{
	uint8_t data[8192];
	uint32_t found;

	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(id + i);
	ck_assert_int_eq(vsc_channel_send(channel, packet,
					  vsc_packet_inband(packet, PACKET_DATA_INBAND, id, true,
							    data, size)),
			 0);
	ck_assert_int_gt(vsc_channel_wait(channel, answer, sizeof(answer)), 0);
	ck_assert_mem_eq(vsc_packet_payload(answer, &found), data, size);
	ck_assert_mem_eq(answer + 8, &id, sizeof(id));
}

static void check_works(struct vsc_channel *channel)
{
	for (uint64_t i = 0; i < 200; i++)
		exchange(channel, i, (uint32_t)(i * 40 % 4000 / 8 * 8));
}

static const struct {
	const char *name;
	uint32_t version;
} versions[] = {
	{"2.4", VMBUS_VERSION(2, 4)}, {"3.0", VMBUS_VERSION(3, 0)}, {"4.0", VMBUS_VERSION(4, 0)},
	{"4.1", VMBUS_VERSION(4, 1)}, {"5.0", VMBUS_VERSION(5, 0)}, {"5.1", VMBUS_VERSION(5, 1)},
	{"5.2", VMBUS_VERSION(5, 2)}, {"5.3", VMBUS_VERSION(5, 3)},
};
#define VERSIONS (sizeof(versions) / sizeof(versions[0]))

START_TEST(speaks_every_version)
{
	struct vmbus_version_response response;
	struct vsc_channel channel;
	uint32_t version = versions[_i].version, parsed;

	ck_assert_int_eq(vmbus_version_parse(versions[_i].name, &parsed), 0);
	ck_assert_uint_eq(parsed, version);
	ck_assert(vsc_contact(vsc, version, 0, &response));
	ck_assert_uint_eq(response.connection_state, 0);
	ck_assert_uint_eq(response.message_connection_id,
			  version >= VMBUS_VERSION(5, 0) ? VMBUS_CONNECTION_MESSAGE_4 : 0);
	ck_assert_uint_eq(vmbus_negotiated_version(vsc_vmbus(vsc)), version);
	vsc_request_offers(vsc);
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
	vsc_unload(vsc);
	ck_assert_uint_eq(vmbus_negotiated_version(vsc_vmbus(vsc)), 0);
}
END_TEST

START_TEST(refuses_other_versions_with_an_answer)
{
	static const uint32_t others[] = {VMBUS_VERSION(6, 0),
					  VMBUS_VERSION(5, 4),
					  VMBUS_VERSION(0, 13),
					  VMBUS_VERSION(1, 1),
					  0,
					  UINT32_MAX};
	struct vmbus_version_response response;
	uint32_t parsed = 7;

	for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		ck_assert(!vsc_contact(vsc, others[i], 1, &response));
		ck_assert_uint_eq(response.message_connection_id, 0);
	}
	ck_assert_uint_eq(vmbus_negotiated_version(vsc_vmbus(vsc)), 0);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_int_eq(vmbus_version_parse("5.4", &parsed), -EINVAL);
	ck_assert_int_eq(vmbus_version_parse("5.3 ", &parsed), -EINVAL);
	ck_assert_int_eq(vmbus_version_parse("", &parsed), -EINVAL);
	ck_assert_uint_eq(parsed, 7);
}
END_TEST

START_TEST(keeps_to_the_highest_version_allowed)
{
	const struct vsc_config config = {.max_version = VMBUS_VERSION(4, 0)};
	struct vsc *old = vsc_new(&config);

	for (unsigned int i = 0; i < VERSIONS; i++)
		ck_assert(vsc_contact(old, versions[i].version, 0, NULL) ==
			  (versions[i].version <= VMBUS_VERSION(4, 0)));
	vsc_free(old);
}
END_TEST

/* Contacts that name a VP, SINT or trust level that is not there. */
START_TEST(refuses_contacts_it_cannot_answer_as_asked)
{
	struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_MESSAGE_INITIATE_CONTACT,
		.version = VMBUS_VERSION(5, 3),
		.message_sint = VMBUS_SINT,
	};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_version_response *response = (void *)message;

	vsc_contact(vsc, VMBUS_VERSION(5, 3), 0, NULL);
	for (int i = 0; i < 3; i++) {
		struct vmbus_initiate_contact bad = contact;

		bad.target_vp = i == 0 ? VPS : 0;
		bad.message_sint = i == 1 ? 16 : VMBUS_SINT;
		bad.message_vtl = i == 2 ? 1 : 0;
		vsc_post(vsc, VMBUS_CONNECTION_MESSAGE_4, &bad, sizeof(bad));
		vsc_wait_message(vsc, VMBUS_MESSAGE_VERSION_RESPONSE, message);
		ck_assert_uint_eq(response->version_supported, 0);
		ck_assert_uint_eq(response->connection_state, VMBUS_CONNECTION_FAILED);
	}
}
END_TEST

START_TEST(answers_on_the_vp_and_sint_of_the_contact)
{
	struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_MESSAGE_INITIATE_CONTACT,
		.version = VMBUS_VERSION(5, 3),
		.target_vp = 2,
		.message_sint = 5,
	};
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t size;

	vsc_post(vsc, VMBUS_CONNECTION_MESSAGE_4, &contact, sizeof(contact));
	do
		size = vsc_poll_message(vsc, 2, 5, message);
	while (!size);
	ck_assert_uint_eq(size, sizeof(struct vmbus_version_response));
	ck_assert_uint_eq(message[0], VMBUS_MESSAGE_VERSION_RESPONSE);
	ck_assert(vsc_contact(vsc, VMBUS_VERSION(4, 0), 3, NULL));
	vsc_request_offers(vsc);
}
END_TEST

START_TEST(offers_what_it_has)
{
	const struct vmbus_offer_config second = echo_offer(&echo, 2, 0);
	const struct vmbus_offer_config third = echo_offer(&echo, 3, 0);
	const struct vmbus_offer_channel *found;

	vsc_offer_new(vsc, &second);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_offer_count(vsc), 2);
	found = vsc_offer_at(vsc, 2);
	ck_assert(guid_equal(&found->class_id, &echo_class));
	ck_assert_uint_eq(found->instance_id.bytes[15], 2);
	ck_assert_uint_eq(found->user_defined[119], 2);
	ck_assert_uint_eq(found->flags, VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE);
	ck_assert_uint_eq(found->mmio_megabytes, 3);
	ck_assert_uint_eq(found->monitor_allocated, 0);
	ck_assert_uint_eq(found->is_dedicated_interrupt, 1);
	ck_assert_uint_ne(found->connection_id, vsc_offer_at(vsc, 1)->connection_id);
	/* One that comes later is offered by itself; a second request only gets its end. */
	vsc_offer_new(vsc, &third);
	while (!vsc_offer_at(vsc, 3))
		vsc_settle(vsc);
	vsc_request_offers(vsc);
	ck_assert_uint_eq(vsc_offer_count(vsc), 3);
}
END_TEST

START_TEST(works_over_scattered_pages)
{
	const struct vsc_open open = {.ring_pages = 3, .scattered = true, .target_vp = 3};
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_channel_open(vsc, primary(), &open, &channel), 0);
	check_works(&channel);
	vsc_channel_close(&channel);
	vsc_settle(vsc);
	ck_assert_uint_eq(echo.opens, 1);
	ck_assert_uint_eq(echo.closes, 1);
}
END_TEST

START_TEST(resolves_gpa_direct_ranges)
{
	struct vsc_channel channel;
	uint64_t page = vsc_pages(vsc, 4);
	struct vsc_range ranges[] = {{page + 100, 5000}, {page + 3 * 4096, 96}};
	uint8_t *memory = vsc_pointer(vsc, page, 4 * 4096);
	const uint8_t *data;
	uint32_t size;

	for (uint32_t i = 0; i < 4 * 4096; i++)
		memory[i] = (uint8_t)(i * 7 + (i >> 8));
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	size = vsc_packet_gpa_direct(packet, 9, ranges, 2, "ask", 4);
	ck_assert_int_eq(vsc_channel_send(&channel, packet, size), 0);
	ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
	data = vsc_packet_payload(answer, &size);
	ck_assert_uint_eq(size, 5096);
	ck_assert_mem_eq(data, memory + 100, 5000);
	ck_assert_mem_eq(data + 5000, memory + 3 * 4096, 96);
	vsc_channel_close(&channel);
}
END_TEST

/* Ranges that lie get an answer, too: here, an empty one. */
static void ask_range(struct vsc_channel *channel, uint32_t count, uint32_t bytes, uint32_t offset,
		      uint64_t frame)
{
	struct vsc_range range = {0x10000, 64};
	uint32_t size = vsc_packet_gpa_direct(packet, 9, &range, 1, "ask", 4), found;

	memcpy(packet + 20, &count, sizeof(count));
	memcpy(packet + 24, &bytes, sizeof(bytes));
	memcpy(packet + 28, &offset, sizeof(offset));
	memcpy(packet + 32, &frame, sizeof(frame));
	ck_assert_int_eq(vsc_channel_send(channel, packet, size), 0);
	ck_assert_int_gt(vsc_channel_wait(channel, answer, sizeof(answer)), 0);
	vsc_packet_payload(answer, &found);
	ck_assert_uint_eq(found, 0);
}

START_TEST(survives_ranges_that_lie)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	ask_range(&channel, 2, 64, 0, 16);
	ask_range(&channel, UINT32_MAX, 64, 0, 16);
	ask_range(&channel, 1, 0, 0, 16);
	ask_range(&channel, 1, 8192, 0, 16);
	ask_range(&channel, 1, UINT32_MAX, 4095, 16);
	ask_range(&channel, 1, 64, 4096, 16);
	ask_range(&channel, 1, 64, UINT32_MAX, 16);
	ask_range(&channel, 1, 64, 0, UINT64_MAX);
	ask_range(&channel, 1, 64, 0, 1ull << 52);
	ask_range(&channel, 1, 64, 0, (64u << 20) / 4096);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(refuses_bad_opens)
{
	uint64_t frames[8];
	uint32_t gpadl, foreign;
	struct vmbus_open_channel good = {.header.type = VMBUS_MESSAGE_OPEN_CHANNEL};
	struct vmbus_open_channel bad[8];
	const struct vmbus_offer_config second = echo_offer(&echo, 2, 0);
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_open_result *result = (void *)message;

	vsc_offer_new(vsc, &second);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	for (unsigned int i = 0; i < 8; i++)
		frames[i] = vsc_pages(vsc, 1) / 4096;
	vsc_gpadl_create(vsc, 1, frames, 8, &gpadl);
	vsc_gpadl_create(vsc, 2, frames, 8, &foreign);
	good.relid = 1;
	good.ring_gpadl = gpadl;
	good.downstream_page_offset = 4;
	for (unsigned int i = 0; i < 8; i++)
		bad[i] = good;
	bad[0].relid = 3;
	bad[1].relid = UINT32_MAX;
	bad[2].ring_gpadl = foreign;
	bad[3].ring_gpadl = 0;
	bad[4].downstream_page_offset = 7;
	bad[5].downstream_page_offset = 1;
	bad[6].downstream_page_offset = UINT32_MAX;
	bad[7].target_vp = VPS;
	for (unsigned int i = 0; i < 8; i++) {
		bad[i].open_id = 1000 + i;
		vsc_send(vsc, &bad[i], sizeof(bad[i]));
		vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
		ck_assert_uint_eq(result->open_id, 1000 + i);
		ck_assert_uint_eq(result->relid, bad[i].relid);
		ck_assert_uint_ne(result->status, 0);
	}
	ck_assert_uint_eq(echo.opens, 0);
	vsc_send(vsc, &good, sizeof(good));
	vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
	ck_assert_uint_eq(result->status, 0);
	/* Twice is once too often. */
	vsc_send(vsc, &good, sizeof(good));
	vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
	ck_assert_uint_ne(result->status, 0);
	ck_assert_uint_eq(echo.opens, 1);
}
END_TEST

START_TEST(tells_when_the_vsp_refuses)
{
	struct vsc_channel channel;

	echo.refuse_open = true;
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_ne(vsc_channel_open(vsc, primary(), NULL, &channel), 0);
	echo.refuse_open = false;
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(interrupts_the_vp_it_is_told_to)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	for (unsigned int vp = 0; vp < VPS; vp++) {
		ck_assert_uint_eq(vsc_channel_retarget(&channel, vp), 0);
		vsc_take_event(vsc, vp, channel.relid);
		check_works(&channel);
		ck_assert_uint_eq(channel_target_vp(echo.channels[0]), vp);
	}
	ck_assert_uint_ne(vsc_channel_retarget(&channel, VPS), 0);
	check_works(&channel);
	vsc_channel_close(&channel);
	ck_assert_uint_ne(vsc_channel_retarget(&channel, 0), 0);
}
END_TEST

START_TEST(answers_modify_only_from_5_3_on)
{
	struct vsc_channel channel;
	uint8_t message[VMBUS_MESSAGE_MAX];

	vsc_connect(vsc, VMBUS_VERSION(5, 2));
	open_primary(&channel);
	vsc_channel_retarget(&channel, 2);
	vsc_settle(vsc);
	ck_assert_uint_eq(vsc_poll_message(vsc, 0, VMBUS_SINT, message), 0);
	check_works(&channel);
	vsc_connect(vsc, VMBUS_VERSION(4, 0));
	vsc_channel_forget(&channel);
	open_primary(&channel);
	vsc_channel_retarget(&channel, 2);
	channel.target_vp = 0;
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(starts_anew_on_a_second_contact)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	/* As a kdump kernel does, which knows nothing of the first one. */
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	vsc_channel_forget(&channel);
	ck_assert_uint_eq(echo.closes, 1);
	open_primary(&channel);
	check_works(&channel);
	vsc_unload(vsc);
	ck_assert_uint_eq(echo.closes, 2);
	vsc_channel_forget(&channel);
}
END_TEST

/* What the old kernel left unread is not for the new one. */
START_TEST(sends_nothing_old_to_a_new_kernel)
{
	struct vmbus_open_channel request = {.header.type = VMBUS_MESSAGE_OPEN_CHANNEL};
	struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_MESSAGE_INITIATE_CONTACT,
		.version = VMBUS_VERSION(5, 2),
		.message_sint = VMBUS_SINT,
	};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX] = {0};
	const struct vmbus_message_header *header = (void *)message;
	unsigned int read = 0;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	for (unsigned int i = 0; i < 100; i++)
		vsc_send(vsc, &request, sizeof(request));
	vsc_send(vsc, &contact, sizeof(contact));
	/* By another version we see that the contact was handled, not just the opens before it. */
	while (vmbus_negotiated_version(vsc_vmbus(vsc)) != contact.version ||
	       hv_synic_waiting(hv_partition_vp(vsc_hv(vsc), 0), VMBUS_SINT) != 1)
		sched_yield();
	while (header->type != VMBUS_MESSAGE_VERSION_RESPONSE)
		read += vsc_poll_message(vsc, 0, VMBUS_SINT, message) > 0;
	/* One lay in the slot already. */
	ck_assert_uint_eq(read, 2);
}
END_TEST

START_TEST(keeps_a_broken_ring_dead_until_closed)
{
	const struct vmbus_offer_config second = echo_offer(&echo, 2, 0);
	struct vsc_channel channel, other;
	uint32_t one = 1;

	vsc_offer_new(vsc, &second);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	ck_assert_uint_eq(vsc_channel_open(vsc, vsc_offer_at(vsc, 2), NULL, &other), 0);
	channel.out.header->write_index = UINT32_MAX;
	vsc_channel_signal(&channel);
	while (__atomic_load_n(&echo.closes, __ATOMIC_SEQ_CST) == 0)
		vsc_settle(vsc);
	/* It is not rescinded, cannot be opened over, and does no more. */
	ck_assert_ptr_nonnull(vsc_offer_at(vsc, 1));
	ck_assert_uint_ne(vsc_channel_retarget(&channel, one), 0);
	vsc_channel_signal(&channel);
	check_works(&other);
	vsc_channel_close(&channel);
	open_primary(&channel);
	check_works(&channel);
	ck_assert_uint_eq(echo.opens, 3);
	vsc_channel_close(&channel);
	vsc_channel_close(&other);
}
END_TEST

START_TEST(breaks_by_the_other_ring_too)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	channel.in.header->read_index = 12;
	vsc_channel_send(&channel, packet,
			 vsc_packet_inband(packet, PACKET_DATA_INBAND, 1, true, payload, 8));
	while (__atomic_load_n(&echo.closes, __ATOMIC_SEQ_CST) == 0) {
		vsc_settle(vsc);
		/* A ring with room is not asked for its index: fill it. */
		vsc_channel_send(
			&channel, packet,
			vsc_packet_inband(packet, PACKET_DATA_INBAND, 1, true, payload, 4096));
		vsc_channel_signal(&channel);
	}
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(rescinds_and_waits_for_the_release)
{
	const struct vmbus_offer_config again = echo_offer(&echo, 1, 8);
	struct vsc_channel channel;
	uint32_t gpadl;
	uint64_t frame = 5;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	vsc_offer_rescind(vsc, offer);
	ck_assert_uint_eq(echo.closes, 1);
	ck_assert_uint_eq(echo.released, 0);
	vsc_wait_rescind(vsc, 1);
	/* Its relid is still taken, and of no more use. */
	ck_assert_uint_ne(vsc_gpadl_create(vsc, 1, &frame, 1, &gpadl), 0);
	vsc_offer_new(vsc, &again);
	ck_assert_uint_eq(vsc_find_offer(vsc, &echo_class, 0)->relid, 2);
	vsc_release(vsc, 1);
	vsc_settle(vsc);
	ck_assert_uint_eq(echo.released, 1);
	vsc_channel_forget(&channel);
	open_primary(&channel);
	ck_assert_uint_eq(channel.relid, 2);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(rescinds_at_once_what_the_guest_does_not_know)
{
	vsc_offer_rescind(vsc, offer);
	ck_assert_uint_eq(echo.released, 1);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_offer_count(vsc), 0);
}
END_TEST

START_TEST(forgets_rescinded_offers_on_unload)
{
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	vsc_offer_rescind(vsc, offer);
	ck_assert_uint_eq(echo.released, 0);
	vsc_unload(vsc);
	ck_assert_uint_eq(echo.released, 1);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_offer_count(vsc), 0);
}
END_TEST

START_TEST(offers_again_what_a_driver_let_go_of)
{
	struct vsc_channel channel;
	struct vmbus_offer_channel known;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	known = *primary();
	open_primary(&channel);
	vsc_release(vsc, 1);
	vsc_settle(vsc);
	vsc_channel_forget(&channel);
	ck_assert_uint_eq(echo.closes, 1);
	ck_assert_uint_ne(vsc_channel_open(vsc, &known, NULL, &channel), 0);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(adds_subchannels_while_the_primary_is_open)
{
	struct vsc_channel channel, sub[3];

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 9), -ENOSPC);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 2), 0);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 7), -ENOSPC);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 1), 0);
	for (unsigned int i = 0; i < 3; i++) {
		const struct vmbus_offer_channel *found = vsc_find_offer(vsc, &echo_class, i + 1);

		ck_assert_uint_eq(found->instance_id.bytes[15], 1);
		ck_assert_uint_eq(vsc_channel_open(vsc, found, NULL, &sub[i]), 0);
		ck_assert_uint_eq(channel_index(echo.channels[i + 1]), i + 1);
		check_works(&sub[i]);
	}
	check_works(&channel);
	/* They go with the primary. */
	vsc_channel_close(&sub[0]);
	vsc_channel_close(&channel);
	for (unsigned int i = 0; i < 3; i++) {
		vsc_wait_rescind(vsc, sub[i].relid);
		vsc_release(vsc, sub[i].relid);
	}
	vsc_settle(vsc);
	ck_assert_uint_eq(echo.opens, echo.closes);
	for (unsigned int i = 1; i < 3; i++)
		vsc_channel_forget(&sub[i]);
	/* And are counted from the start with the next open. */
	open_primary(&channel);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 8), 0);
	ck_assert_ptr_nonnull(vsc_find_offer(vsc, &echo_class, 8));
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(rescinds_subchannels_with_their_offer)
{
	struct vsc_channel channel, sub;
	uint32_t relid;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vmbus_offer_subchannels(offer, 1);
	relid = vsc_find_offer(vsc, &echo_class, 1)->relid;
	ck_assert_uint_eq(vsc_channel_open(vsc, vsc_offer_at(vsc, relid), NULL, &sub), 0);
	vsc_offer_rescind(vsc, offer);
	ck_assert_uint_eq(echo.closes, 2);
	vsc_wait_rescind(vsc, relid);
	vsc_wait_rescind(vsc, 1);
	vsc_release(vsc, 1);
	vsc_settle(vsc);
	ck_assert_uint_eq(echo.released, 0);
	vsc_release(vsc, relid);
	vsc_settle(vsc);
	ck_assert_uint_eq(echo.released, 1);
	vsc_channel_forget(&channel);
	vsc_channel_forget(&sub);
}
END_TEST

/* Those asked for count until they are made, or forgotten. */
START_TEST(forgets_subchannels_that_come_too_late)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 8), 0);
	vsc_settle(vsc);
	ck_assert_uint_eq(vsc_offer_count(vsc), 1);
	vsc_unload(vsc);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 8), 0);
	ck_assert_ptr_nonnull(vsc_find_offer(vsc, &echo_class, 8));
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(closes_a_channel_whose_ring_is_taken_back)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vsc_gpadl_teardown(vsc, channel.relid, channel.gpadl);
	ck_assert_uint_eq(echo.closes, 1);
	vsc_channel_forget(&channel);
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(refuses_sockets_politely)
{
	struct vmbus_tl_connect_request request = {
		.header.type = VMBUS_MESSAGE_TL_CONNECT_REQUEST,
		.service_id = echo_class,
	};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_tl_connect_result *result = (void *)message;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	vsc_send(vsc, &request, sizeof(request));
	vsc_wait_message(vsc, VMBUS_MESSAGE_TL_CONNECT_RESULT, message);
	ck_assert_uint_ne(result->status, 0);
	ck_assert(guid_equal(&result->service_id, &echo_class));
}
END_TEST

/* Whatever it is, the bus answers the next honest request. */
START_TEST(ignores_malformed_messages)
{
	uint32_t words[VMBUS_MESSAGE_MAX / 4] = {0};
	struct vsc_channel channel;

	for (uint32_t type = 0; type < 40; type++) {
		for (uint32_t size = 8; size < 60; size += 4) {
			if (type == VMBUS_MESSAGE_INITIATE_CONTACT || type == VMBUS_MESSAGE_UNLOAD)
				continue;
			words[0] = type;
			vsc_post(vsc, VMBUS_CONNECTION_MESSAGE, words, size);
			vsc_post(vsc, VMBUS_CONNECTION_MESSAGE_4, words, size);
		}
	}
	ck_assert_uint_eq(vsc_try_post(vsc, VMBUS_CONNECTION_MESSAGE, words, 4),
			  HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(vsc_try_post(vsc, 77, words, 8), HV_STATUS_INVALID_CONNECTION_ID);
	words[0] = VMBUS_MESSAGE_INITIATE_CONTACT;
	vsc_post(vsc, VMBUS_CONNECTION_MESSAGE, words, 39);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	for (uint32_t type = 0; type < 40; type++) {
		if (type == VMBUS_MESSAGE_INITIATE_CONTACT || type == VMBUS_MESSAGE_UNLOAD)
			continue;
		for (uint32_t size = 8; size < 60; size += 4) {
			words[0] = type;
			vsc_send(vsc, words, size);
		}
		vsc_settle(vsc);
	}
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

/* A guest that asks without end and reads nothing is told to wait; it gets every answer once it
 * reads. */
START_TEST(loses_no_answer_to_a_guest_that_does_not_read)
{
	struct vmbus_open_channel request = {.header.type = VMBUS_MESSAGE_OPEN_CHANNEL};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_open_result *result = (void *)message;
	unsigned int sent, refused = 0;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	/* More than wait for us to be handled, so answers wait as well. */
	for (sent = 0; sent < 2 * VMBUS_PENDING_MAX; sent++) {
		request.open_id = sent;
		ck_assert_uint_eq(
			vsc_post(vsc, VMBUS_CONNECTION_MESSAGE_4, &request, sizeof(request)),
			HV_STATUS_SUCCESS);
	}
	while (refused < 1000) {
		request.open_id = sent;
		if (vsc_try_post(vsc, VMBUS_CONNECTION_MESSAGE_4, &request, sizeof(request)) ==
		    HV_STATUS_SUCCESS)
			sent++;
		else
			refused++;
	}
	for (unsigned int i = 0; i < sent; i++) {
		vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
		ck_assert_uint_eq(result->open_id, i);
	}
}
END_TEST

START_TEST(offers_as_many_channels_as_there_are_relids)
{
	const struct vmbus_offer_config more = echo_offer(&echo, 2, 0);
	struct vsc_channel channel;

	for (unsigned int i = 1; i < VMBUS_CHANNELS_MAX; i++)
		vsc_offer_new(vsc, &more);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_offer_count(vsc), VMBUS_CHANNELS_MAX);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 1), -ENOSPC);
	ck_assert_uint_eq(
		vsc_channel_open(vsc, vsc_offer_at(vsc, VMBUS_CHANNELS_MAX), NULL, &channel), 0);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

static void reset(void *context)
{
	vmbus_reset(vsc_vmbus(vsc));
}

START_TEST(resets)
{
	struct vsc_channel channel;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	vsc_main(vsc, reset, NULL);
	ck_assert_uint_eq(echo.closes, 1);
	ck_assert_uint_eq(vmbus_negotiated_version(vsc_vmbus(vsc)), 0);
	vsc_channel_forget(&channel);
	vsc_connect(vsc, VMBUS_VERSION(4, 1));
	open_primary(&channel);
	check_works(&channel);
	/* After a reset the guest knows nothing that it could release. */
	vsc_main(vsc, reset, NULL);
	vsc_channel_forget(&channel);
	vsc_offer_rescind(vsc, offer);
	ck_assert_uint_eq(echo.released, 1);
}
END_TEST

/* Many packets in flight, so that rings fill both ways and batches end early. */
START_TEST(keeps_order_under_load)
{
	const struct vsc_open open = {.ring_pages = 4};
	struct vsc_channel channel;
	uint64_t sent = 0, received = 0;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_channel_open(vsc, primary(), &open, &channel), 0);
	while (received < 20000) {
		uint32_t bytes = vsc_packet_inband(packet, PACKET_DATA_INBAND, sent, true, payload,
						   (uint32_t)(sent % 8 * 8));

		if (sent < 20000 && vsc_channel_send(&channel, packet, bytes) == 0) {
			sent++;
			continue;
		}
		ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
		ck_assert_mem_eq(answer + 8, &received, sizeof(received));
		received++;
	}
	vsc_channel_close(&channel);
}
END_TEST

/* One channel's flood leaves room for others: service ends, and is called again. */
START_TEST(serves_a_flood_in_turns)
{
	struct vsc_channel channel;
	bool signal;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	for (uint64_t i = 0; i < 1000; i++) {
		uint32_t bytes = vsc_packet_inband(packet, PACKET_DATA_INBAND, i, true, payload, 8);

		ck_assert_int_eq(vsc_ring_send(&channel.out, packet, bytes, &signal), 0);
	}
	vsc_channel_signal(&channel);
	for (uint64_t i = 0; i < 1000; i++) {
		ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
		ck_assert_mem_eq(answer + 8, &i, sizeof(i));
	}
	vsc_channel_close(&channel);
	vsc_settle(vsc);
	ck_assert_uint_ge(echo.services, 4);
}
END_TEST

/* Sends until the VSP, whose answers nobody reads, leaves packets on its ring; how many. */
static unsigned int fill_both_rings(struct vsc_channel *channel)
{
	unsigned int sent = 0, refused = 0;

	while (refused < 2) {
		uint32_t bytes =
			vsc_packet_inband(packet, PACKET_DATA_INBAND, sent, true, payload, 2000);

		if (vsc_channel_send(channel, packet, bytes) == 0) {
			sent++;
			continue;
		}
		vsc_channel_signal(channel);
		vsc_settle(vsc);
		refused++;
	}
	return sent;
}

static void do_nothing(void *context)
{
}

/* A guest that reads no answers has its packets left on the ring, and nobody looks at them again
 * and again. */
START_TEST(sleeps_while_neither_ring_moves)
{
	const struct vsc_open open = {.ring_pages = 4};
	struct vsc_channel channel;
	unsigned int services, sent;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_channel_open(vsc, primary(), &open, &channel), 0);
	sent = fill_both_rings(&channel);
	io_thread_call(echo.thread, do_nothing, NULL);
	services = echo.services;
	for (unsigned int i = 0; i < 100; i++)
		io_thread_call(echo.thread, do_nothing, NULL);
	/* The last doorbell may come late. */
	ck_assert_uint_le(echo.services, services + 2);
	/* Room is all it takes. */
	for (unsigned int i = 0; i < sent; i++)
		ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(bears_a_vsp_that_sends_while_its_channel_closes)
{
	const struct vsc_open open = {.ring_pages = 4};
	struct vsc_channel channel;

	echo.last_words = true;
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	for (unsigned int round = 0; round < 3; round++) {
		ck_assert_uint_eq(vsc_channel_open(vsc, primary(), &open, &channel), 0);
		fill_both_rings(&channel);
		vsc_channel_close(&channel);
	}
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(hands_the_open_data_to_the_vsp)
{
	uint8_t data[VMBUS_USER_DEFINED];
	const struct vsc_open open = {.user_data = data};
	struct vsc_channel channel;

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(3 * i + 1);
	vsc_connect(vsc, VMBUS_VERSION(4, 1));
	ck_assert_uint_eq(vsc_channel_open(vsc, primary(), &open, &channel), 0);
	ck_assert_mem_eq(channel_open_data(echo.channels[0]), data, sizeof(data));
	ck_assert_uint_eq(channel_bus_version(echo.channels[0]), VMBUS_VERSION(4, 1));
	vsc_channel_close(&channel);
}
END_TEST

struct tree {
	void *data;
	size_t size;
	int result;
};

static void save(void *context)
{
	struct state_writer *writer = state_writer_new();
	struct tree *tree = context;

	vmbus_settle(vsc_vmbus(vsc));
	vmbus_save(vsc_vmbus(vsc), writer);
	tree->result = state_finish(writer, &tree->data, &tree->size);
	state_writer_free(writer);
}

static void restore(void *context)
{
	struct tree *tree = context;
	struct state_node root;

	tree->result = state_open(tree->data, tree->size, &root);
	if (tree->result == 0)
		tree->result = vmbus_restore(vsc_vmbus(vsc), &root);
}

/* Saves, and restores into a new bus with the same offer, made anew. */
static void move(struct tree *tree)
{
	const struct vmbus_offer_config config = echo_offer(&echo, 1, 8);

	vsc_main(vsc, save, tree);
	ck_assert_int_eq(tree->result, 0);
	vsc_renew_bus(vsc);
	offer = vsc_offer_new(vsc, &config);
	vsc_main(vsc, restore, tree);
	ck_assert_int_eq(tree->result, 0);
}

START_TEST(goes_on_after_restore)
{
	const struct vmbus_offer_config second = echo_offer(&echo, 1, 8);
	struct vmbus_offer *gone = vsc_offer_new(vsc, &second);
	struct vsc_channel channel, sub;
	struct tree tree, again;
	uint64_t frame = 9;
	uint32_t gpadl;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vmbus_offer_subchannels(offer, 2);
	ck_assert_ptr_nonnull(vsc_find_offer(vsc, &echo_class, 2));
	ck_assert_uint_eq(vsc_channel_open(vsc, vsc_find_offer(vsc, &echo_class, 1), NULL, &sub),
			  0);
	ck_assert_uint_eq(vsc_channel_retarget(&sub, 2), 0);
	check_works(&channel);
	check_works(&sub);
	vsc_gpadl_create(vsc, 1, &frame, 1, &gpadl);
	vsc_offer_rescind(vsc, gone);
	vsc_wait_rescind(vsc, 2);
	move(&tree);
	vsc_main(vsc, save, &again);
	ck_assert_uint_eq(tree.size, again.size);
	ck_assert_mem_eq(tree.data, again.data, tree.size);
	free(tree.data);
	free(again.data);
	check_works(&channel);
	check_works(&sub);
	vsc_gpadl_teardown(vsc, 1, gpadl);
	vsc_release(vsc, 2);
	vsc_settle(vsc);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 7), -ENOSPC);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 1), 0);
	ck_assert_uint_eq(vsc_find_offer(vsc, &echo_class, 3)->relid, 2);
	vsc_channel_close(&sub);
	vsc_channel_close(&channel);
	vsc_settle(vsc);
	ck_assert_uint_eq(echo.opens, echo.closes);
}
END_TEST

/* What waited in the ring, with nobody to answer, is answered after the restore. */
START_TEST(serves_after_restore_what_came_before)
{
	struct vsc_channel channel;
	struct tree tree;
	bool signal;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	vsc_ring_send(&channel.out, packet,
		      vsc_packet_inband(packet, PACKET_DATA_INBAND, 77, true, payload, 8), &signal);
	move(&tree);
	free(tree.data);
	ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
	ck_assert_uint_eq(answer[8], 77);
	vsc_channel_close(&channel);
}
END_TEST

/* The host's indices in the ring headers are the guest's to spoil; it harms itself alone. */
START_TEST(restores_over_spoilt_ring_headers)
{
	uint32_t read_index, write_index;
	struct vsc_channel channel;
	struct tree tree;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	read_index = channel.out.header->read_index;
	write_index = channel.in.header->write_index;
	channel.out.header->read_index = UINT32_MAX;
	channel.in.header->write_index = 4;
	move(&tree);
	free(tree.data);
	channel.out.header->read_index = read_index;
	channel.in.header->write_index = write_index;
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

/* Messages that were not handled yet are part of the state. */
START_TEST(answers_after_restore_what_was_asked_before)
{
	struct vmbus_open_channel request = {.header.type = VMBUS_MESSAGE_OPEN_CHANNEL};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_open_result *result = (void *)message;
	unsigned int asked = 3 * VMBUS_PENDING_MAX - 50;
	struct tree tree;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	for (unsigned int i = 0; i < asked; i++) {
		request.open_id = i;
		vsc_send(vsc, &request, sizeof(request));
	}
	move(&tree);
	ck_assert_uint_gt(tree.size, 100 * sizeof(request));
	free(tree.data);
	for (unsigned int i = 0; i < asked; i++) {
		vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
		ck_assert_uint_eq(result->open_id, i);
	}
}
END_TEST

static void hold(void *context)
{
	vmbus_settle(vsc_vmbus(vsc));
	vmbus_hold(vsc_vmbus(vsc), true);
}

static void let_go(void *context)
{
	vmbus_hold(vsc_vmbus(vsc), false);
}

static void look(void *context)
{
	bus_kick(vsc_vmbus(vsc));
}

/* What was asked, and what there is to be told, waits, and is in what is saved meanwhile: the
 * memory that is copied with it has no answer yet. */
START_TEST(says_nothing_while_it_is_held)
{
	const struct vmbus_open_channel request = {.header.type = VMBUS_MESSAGE_OPEN_CHANNEL,
						   .open_id = 9};
	const struct vmbus_offer_config another = echo_offer(&echo, 1, 0);
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	struct vsc_channel channel;
	struct tree tree;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vsc_settle(vsc);
	vsc_main(vsc, hold, NULL);
	vsc_send(vsc, &request, sizeof(request));
	vsc_offer_new(vsc, &another);
	for (unsigned int i = 0; i < 3; i++)
		vsc_main(vsc, look, NULL);
	vsc_main(vsc, save, &tree);
	ck_assert_uint_eq(vsc_poll_message(vsc, 0, VMBUS_SINT, message), 0);
	ck_assert_ptr_nonnull(memmem(tree.data, tree.size, &request, sizeof(request)));
	free(tree.data);
	vsc_main(vsc, let_go, NULL);
	vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
	ck_assert_uint_eq(((struct vmbus_open_result *)message)->open_id, 9);
	vsc_settle(vsc);
	ck_assert_uint_eq(vsc_offer_count(vsc), 2);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(refuses_state_that_does_not_fit)
{
	struct vsc_channel channel;
	struct tree tree;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vsc_main(vsc, save, &tree);
	/* No offers at all, then one too many. */
	vsc_renew_bus(vsc);
	vsc_main(vsc, restore, &tree);
	ck_assert_int_eq(tree.result, -EINVAL);
	for (int i = 0; i < 2; i++) {
		const struct vmbus_offer_config config = echo_offer(&echo, 1, 8);

		vsc_offer_new(vsc, &config);
	}
	vsc_main(vsc, restore, &tree);
	ck_assert_int_eq(tree.result, -EINVAL);
	ck_assert_uint_eq(vmbus_negotiated_version(vsc_vmbus(vsc)), 0);
	vsc_channel_forget(&channel);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	ck_assert_uint_eq(vsc_offer_count(vsc), 2);
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
	free(tree.data);
}
END_TEST

START_TEST(refuses_two_channels_of_one_index)
{
	struct vsc_channel channel;
	struct tree tree;
	int node;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vmbus_offer_subchannels(offer, 2);
	ck_assert_ptr_nonnull(vsc_find_offer(vsc, &echo_class, 2));
	move(&tree);
	node = fdt_path_offset(tree.data, "/vmbus/channels/channel@2");
	ck_assert_int_eq(fdt_setprop_inplace_u32(tree.data, node, "index", 1), 0);
	vsc_main(vsc, restore, &tree);
	ck_assert_int_eq(tree.result, -EINVAL);
	free(tree.data);
	vsc_channel_forget(&channel);
}
END_TEST

static void set_u32(struct tree *tree, const char *path, const char *name, uint32_t value)
{
	int node = fdt_path_offset(tree->data, path);

	ck_assert_int_eq(fdt_setprop_inplace_u32(tree->data, node, name, value), 0);
}

static void check_refused(struct tree *tree)
{
	vsc_main(vsc, restore, tree);
	ck_assert_int_eq(tree->result, -EINVAL);
	/* As after a reset. */
	ck_assert_uint_eq(vmbus_negotiated_version(vsc_vmbus(vsc)), 0);
	ck_assert_uint_eq(echo.opens, echo.closes);
}

/* Only an open primary has sub-channels, and none is open before it. */
START_TEST(refuses_subchannels_without_their_primary)
{
	static const uint32_t closed[] = {CHANNEL_IDLE, CHANNEL_OFFERED, CHANNEL_BROKEN,
					  CHANNEL_RELEASED};
	struct vsc_channel channel, sub;
	struct tree tree;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vmbus_offer_subchannels(offer, 1);
	ck_assert_uint_eq(vsc_channel_open(vsc, vsc_find_offer(vsc, &echo_class, 1), NULL, &sub),
			  0);
	move(&tree);
	for (unsigned int i = 0; i < ARRAY_LENGTH(closed); i++) {
		set_u32(&tree, "/vmbus/channels/channel@0", "state", closed[i]);
		check_refused(&tree);
		set_u32(&tree, "/vmbus/channels/channel@1", "state", CHANNEL_OFFERED);
		check_refused(&tree);
		set_u32(&tree, "/vmbus/channels/channel@1", "state", CHANNEL_OPEN);
	}
	/* The sub-channel first: as the node of the primary it has another's relid and index. */
	set_u32(&tree, "/vmbus/channels/channel@0", "state", CHANNEL_OPEN);
	set_u32(&tree, "/vmbus/channels/channel@0", "relid", 2);
	set_u32(&tree, "/vmbus/channels/channel@0", "index", 1);
	set_u32(&tree, "/vmbus/channels/channel@1", "relid", 1);
	set_u32(&tree, "/vmbus/channels/channel@1", "index", 0);
	check_refused(&tree);
	free(tree.data);
	vsc_channel_forget(&channel);
	vsc_channel_forget(&sub);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	check_works(&channel);
	vsc_channel_close(&channel);
}
END_TEST

/* Rescinded sub-channels give their indices up, though the guest still holds their relids. */
START_TEST(counts_no_rescinded_subchannels_after_restore)
{
	struct vsc_channel channel;
	struct tree tree;

	vsc_connect(vsc, VMBUS_VERSION(5, 3));
	open_primary(&channel);
	vmbus_offer_subchannels(offer, 2);
	ck_assert_ptr_nonnull(vsc_find_offer(vsc, &echo_class, 2));
	vsc_channel_close(&channel);
	vsc_wait_rescind(vsc, 2);
	vsc_wait_rescind(vsc, 3);
	open_primary(&channel);
	vmbus_offer_subchannels(offer, 1);
	ck_assert_uint_eq(vsc_find_offer(vsc, &echo_class, 1)->relid, 4);
	move(&tree);
	free(tree.data);
	ck_assert_int_eq(vmbus_offer_subchannels(offer, 7), 0);
	ck_assert_ptr_nonnull(vsc_find_offer(vsc, &echo_class, 8));
	vsc_channel_close(&channel);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("bus", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, speaks_every_version, 0, VERSIONS);
	tcase_add_test(tests, refuses_other_versions_with_an_answer);
	tcase_add_test(tests, keeps_to_the_highest_version_allowed);
	tcase_add_test(tests, refuses_contacts_it_cannot_answer_as_asked);
	tcase_add_test(tests, answers_on_the_vp_and_sint_of_the_contact);
	tcase_add_test(tests, offers_what_it_has);
	tcase_add_test(tests, works_over_scattered_pages);
	tcase_add_test(tests, resolves_gpa_direct_ranges);
	tcase_add_test(tests, survives_ranges_that_lie);
	tcase_add_test(tests, refuses_bad_opens);
	tcase_add_test(tests, tells_when_the_vsp_refuses);
	tcase_add_test(tests, interrupts_the_vp_it_is_told_to);
	tcase_add_test(tests, answers_modify_only_from_5_3_on);
	tcase_add_test(tests, starts_anew_on_a_second_contact);
	tcase_add_test(tests, sends_nothing_old_to_a_new_kernel);
	tcase_add_test(tests, keeps_a_broken_ring_dead_until_closed);
	tcase_add_test(tests, breaks_by_the_other_ring_too);
	tcase_add_test(tests, rescinds_and_waits_for_the_release);
	tcase_add_test(tests, rescinds_at_once_what_the_guest_does_not_know);
	tcase_add_test(tests, forgets_rescinded_offers_on_unload);
	tcase_add_test(tests, offers_again_what_a_driver_let_go_of);
	tcase_add_test(tests, adds_subchannels_while_the_primary_is_open);
	tcase_add_test(tests, rescinds_subchannels_with_their_offer);
	tcase_add_test(tests, forgets_subchannels_that_come_too_late);
	tcase_add_test(tests, closes_a_channel_whose_ring_is_taken_back);
	tcase_add_test(tests, refuses_sockets_politely);
	tcase_add_test(tests, ignores_malformed_messages);
	tcase_add_test(tests, loses_no_answer_to_a_guest_that_does_not_read);
	tcase_add_test(tests, offers_as_many_channels_as_there_are_relids);
	tcase_add_test(tests, resets);
	tcase_add_test(tests, keeps_order_under_load);
	tcase_add_test(tests, serves_a_flood_in_turns);
	tcase_add_test(tests, sleeps_while_neither_ring_moves);
	tcase_add_test(tests, bears_a_vsp_that_sends_while_its_channel_closes);
	tcase_add_test(tests, hands_the_open_data_to_the_vsp);
	tcase_add_test(tests, goes_on_after_restore);
	tcase_add_test(tests, serves_after_restore_what_came_before);
	tcase_add_test(tests, restores_over_spoilt_ring_headers);
	tcase_add_test(tests, answers_after_restore_what_was_asked_before);
	tcase_add_test(tests, says_nothing_while_it_is_held);
	tcase_add_test(tests, refuses_state_that_does_not_fit);
	tcase_add_test(tests, refuses_two_channels_of_one_index);
	tcase_add_test(tests, refuses_subchannels_without_their_primary);
	tcase_add_test(tests, counts_no_rescinded_subchannels_after_restore);
	return suite_run(suite);
}
