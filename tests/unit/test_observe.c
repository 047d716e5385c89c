#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "suite.h"
#include "vmbus/bus.h"
#include "vmbus/fault.h"
#include "vmbus/wire.h"
#include "vsc_bus.h"
#include "vsc_echo.h"
#include "vsc_machine.h"

/* What the bus tells of itself, counters, and what the fault mode makes of it. */

static struct vsc *vsc;
static struct echo echo;
static uint8_t packet[VSC_PACKET_MAX];
static uint8_t answer[VSC_PACKET_MAX];

static void set_up(void)
{
	const struct vmbus_offer_config config = (echo_init(&echo), echo_offer(&echo, 1, 8));

	vsc = vsc_new(NULL);
	vsc_offer_new(vsc, &config);
	vsc_connect(vsc, VMBUS_VERSION_WIN10_V5_3);
}

static void tear_down(void)
{
	vsc_free(vsc);
	echo_cleanup(&echo);
}

static void open_primary(struct vsc_channel *channel)
{
	ck_assert_uint_eq(vsc_channel_open(vsc, vsc_find_offer(vsc, &echo_class, 0), NULL, channel),
			  0);
}

static void exchange(struct vsc_channel *channel, uint64_t id)
{
	static const uint8_t payload[64];

	ck_assert_int_eq(vsc_channel_send(channel, packet,
					  vsc_packet_inband(packet, PACKET_DATA_INBAND, id, true,
							    payload, sizeof(payload))),
			 0);
	ck_assert_int_gt(vsc_channel_wait(channel, answer, sizeof(answer)), 0);
}

static void write_figures(void *context)
{
	vmbus_inspect(vsc_vmbus(vsc), context);
}

struct figures {
	void *tree;
	struct state_node root;
	struct state_node channel;
};

static void read_figures(struct figures *figures)
{
	struct state_writer *writer = state_writer_new();
	size_t size;

	vsc_main(vsc, write_figures, writer);
	ck_assert_int_eq(state_finish(writer, &figures->tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(figures->tree, size, &figures->root), 0);
	ck_assert_int_eq(state_child(&figures->root, "channel@1", 1, &figures->channel), 0);
}

static uint64_t figure(const struct figures *figures, const char *name)
{
	uint64_t value;

	ck_assert_int_eq(state_get_u64(&figures->channel, name, &value), 0);
	return value;
}

START_TEST(packets_are_counted)
{
	struct vsc_channel channel;
	struct figures figures;

	open_primary(&channel);
	for (uint64_t id = 1; id <= 5; id++)
		exchange(&channel, id);
	read_figures(&figures);
	ck_assert_uint_eq(figure(&figures, "packets-in"), 5);
	ck_assert_uint_eq(figure(&figures, "packets-out"), 5);
	ck_assert_uint_ge(figure(&figures, "interrupts"), 1);
	ck_assert_uint_ge(figure(&figures, "doorbells"), 1);
	ck_assert_uint_eq(figure(&figures, "ring-full"), 0);
	ck_assert_str_eq(state_get_string(&figures.channel, "state"), "open");
	ck_assert_str_eq(state_get_string(&figures.channel, "device"), "unknown0");
	ck_assert_str_eq(state_get_string(&figures.root, "version"), "5.3");
	free(figures.tree);
	vsc_channel_close(&channel);
	vsc_settle(vsc);
	read_figures(&figures);
	ck_assert_str_eq(state_get_string(&figures.channel, "state"), "offered");
	ck_assert_uint_eq(figure(&figures, "packets-in"), 5);
	free(figures.tree);
}
END_TEST

/* Answers that the guest does not take fill the ring. */
START_TEST(a_full_ring_is_counted)
{
	const struct vsc_open small = {.ring_pages = 2};
	struct vsc_channel channel;
	struct figures figures;
	uint8_t payload[1024] = {0};
	uint64_t id = 0;

	ck_assert_uint_eq(
		vsc_channel_open(vsc, vsc_find_offer(vsc, &echo_class, 0), &small, &channel), 0);
	do {
		int r = vsc_channel_send(&channel, packet,
					 vsc_packet_inband(packet, PACKET_DATA_INBAND, ++id, true,
							   payload, sizeof(payload)));

		if (r == -EAGAIN)
			id--;
		else
			ck_assert_int_eq(r, 0);
		read_figures(&figures);
		r = figure(&figures, "ring-full") > 0;
		free(figures.tree);
		if (r)
			break;
	} while (id < 1000);
	ck_assert_uint_lt(id, 1000);
	vsc_channel_close(&channel);
}
END_TEST

static const char *plan_text;

static bool fail_echo(uint8_t *payload, uint32_t size, enum fault_status status)
{
	if (size == 0)
		return false;
	payload[0] = 0xf0 | (uint8_t)status;
	return true;
}

static void begin_faults(void *context)
{
	static const struct fault_editor editors[] = {{"unknown", fail_echo}, {NULL, NULL}};
	struct fault_plan plan;
	struct error err;

	ck_assert_int_eq(fault_plan_parse(plan_text, &plan, &err), 0);
	ck_assert_int_eq(vmbus_set_faults(vsc_vmbus(vsc), &plan, editors), 0);
}

/* A connected guest of a bus with these faults. */
static void set_up_faults(const char *text)
{
	plan_text = text;
	vsc_unload(vsc);
	vsc_main(vsc, begin_faults, NULL);
	vsc_connect(vsc, VMBUS_VERSION_WIN10_V5_3);
}

static void write_faults(void *context)
{
	vmbus_inspect_faults(vsc_vmbus(vsc), context);
}

static uint64_t fault_count(unsigned int rule)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, faults, node;
	char name[16];
	uint64_t count;
	void *tree;
	size_t size;

	vsc_main(vsc, write_faults, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "faults", 1, &faults), 0);
	snprintf(name, sizeof(name), "rule@%x", rule);
	ck_assert_int_eq(state_child(&faults, name, 1, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "count", &count), 0);
	free(tree);
	return count;
}

static uint64_t answer_id(void)
{
	struct vmbus_packet_header header;

	memcpy(&header, answer, sizeof(header));
	return header.transaction_id;
}

static void send_ids(struct vsc_channel *channel, uint64_t first, uint64_t count)
{
	static const uint8_t payload[64];

	for (uint64_t id = first; id < first + count; id++)
		ck_assert_int_eq(
			vsc_channel_send(channel, packet,
					 vsc_packet_inband(packet, PACKET_DATA_INBAND, id, true,
							   payload, sizeof(payload))),
			0);
}

START_TEST(completions_are_delayed)
{
	struct vsc_channel channel;

	set_up_faults("unknown0: delay 5ms");
	open_primary(&channel);
	for (uint64_t id = 1; id <= 20; id++) {
		exchange(&channel, id);
		ck_assert_uint_eq(answer_id(), id);
	}
	ck_assert_uint_eq(fault_count(0), 20);
	/* Those still held are dropped with the channel. */
	send_ids(&channel, 100, 10);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(completions_change_places)
{
	struct vsc_channel channel;
	uint64_t seen = 0;

	set_up_faults("seed=3; unknown0: reorder window=4");
	open_primary(&channel);
	send_ids(&channel, 0, 40);
	for (unsigned int i = 0; i < 40; i++) {
		ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
		ck_assert_uint_lt(answer_id(), 40);
		ck_assert(!(seen >> answer_id() & 1));
		seen |= 1ull << answer_id();
	}
	ck_assert_uint_eq(fault_count(0), 40);
	vsc_channel_close(&channel);
}
END_TEST

/* Which of them fail, one bit each. */
static uint64_t failures(const char *text)
{
	struct vsc_channel channel;
	uint64_t failed = 0;
	uint32_t size;

	set_up_faults(text);
	open_primary(&channel);
	for (uint64_t id = 0; id < 64; id++) {
		const uint8_t *payload;

		exchange(&channel, id);
		payload = vsc_packet_payload(answer, &size);
		failed |= (uint64_t)(payload[0] == (0xf0 | FAULT_STATUS_ABORTED)) << id;
	}
	ck_assert_uint_eq(fault_count(0), (unsigned int)__builtin_popcountll(failed));
	vsc_channel_close(&channel);
	return failed;
}

START_TEST(completions_fail_by_the_seed)
{
	uint64_t first = failures("seed=5; unknown0: fail status=aborted p=0.3"), second, other;

	tear_down();
	set_up();
	second = failures("seed=5; unknown0: fail status=aborted p=0.3");
	tear_down();
	set_up();
	other = failures("seed=6; unknown0: fail status=aborted p=0.3");
	ck_assert(first != 0 && first != UINT64_MAX);
	ck_assert_uint_eq(first, second);
	ck_assert_uint_ne(first, other);
}
END_TEST

START_TEST(malformed_packets_come_along)
{
	struct vsc_channel channel;
	struct vmbus_packet_header header;

	set_up_faults("unknown0: malformed packet kind=type; "
		      "unknown0: malformed packet kind=transaction; "
		      "unknown0: malformed packet kind=length");
	open_primary(&channel);
	exchange(&channel, 7);
	memcpy(&header, answer, sizeof(header));
	ck_assert_uint_eq(header.type, 0x55);
	ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
	ck_assert_uint_eq(answer_id() >> 48, 0xfa17);
	ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
	memcpy(&header, answer, sizeof(header));
	ck_assert_uint_eq(header.type, PACKET_DATA_INBAND);
	ck_assert_int_gt(vsc_channel_wait(&channel, answer, sizeof(answer)), 0);
	ck_assert_uint_eq(answer_id(), 7);
	vsc_channel_close(&channel);
}
END_TEST

/* As a driver whose device goes while it is used, and which lets go of it. */
static void use_until_rescinded(void)
{
	struct vsc_channel channel;

	open_primary(&channel);
	vsc_wait_rescind(vsc, channel.relid);
	vsc_channel_forget(&channel);
	vsc_release(vsc, channel.relid);
}

START_TEST(a_device_is_taken_away_and_comes_back)
{
	struct vsc_channel channel;

	set_up_faults("unknown0: rescind every 1ms times 3");
	for (unsigned int i = 0; i < 3; i++)
		use_until_rescinded();
	open_primary(&channel);
	exchange(&channel, 1);
	ck_assert_uint_eq(fault_count(0), 3);
	ck_assert_uint_eq(echo.released, 0);
	vsc_channel_close(&channel);
}
END_TEST

/* It is told, and looked at until it is through with it. */
START_TEST(a_device_leaves_in_order)
{
	struct vsc_channel channel;

	echo.reluctance = 2;
	set_up_faults("unknown0: rescind every 1ms times 2");
	for (unsigned int i = 0; i < 2; i++)
		use_until_rescinded();
	open_primary(&channel);
	exchange(&channel, 1);
	ck_assert_uint_eq(fault_count(0), 2);
	ck_assert_uint_eq(echo.retires, 6);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(a_device_is_pulled_without_a_word)
{
	struct vsc_channel channel;

	set_up_faults("unknown0: pull every 1ms times 1");
	use_until_rescinded();
	open_primary(&channel);
	exchange(&channel, 1);
	ck_assert_uint_eq(fault_count(0), 1);
	ck_assert_uint_eq(echo.retires, 0);
	vsc_channel_close(&channel);
}
END_TEST

/* A guest that starts anew in between finds the device, too. */
START_TEST(a_device_comes_back_to_a_guest_that_starts_anew)
{
	struct vsc_channel channel;

	set_up_faults("unknown0: rescind every 1ms times 1");
	open_primary(&channel);
	vsc_wait_rescind(vsc, channel.relid);
	vsc_channel_forget(&channel);
	vsc_unload(vsc);
	vsc_connect(vsc, VMBUS_VERSION_WIN10_V5_3);
	open_primary(&channel);
	exchange(&channel, 1);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(subchannels_come_and_go)
{
	struct vsc_channel channel, refused;

	set_up_faults("unknown0: subchannels churn every 1ms times 4");
	open_primary(&channel);
	for (unsigned int i = 0; i < 2; i++) {
		const struct vmbus_offer_channel *offer = vsc_find_offer(vsc, &echo_class, 9);
		uint32_t relid = offer->relid;

		if (i == 0)
			vsc_channel_open(vsc, offer, NULL, &refused);
		vsc_wait_rescind(vsc, relid);
		vsc_release(vsc, relid);
	}
	exchange(&channel, 1);
	ck_assert_uint_eq(fault_count(0), 4);
	ck_assert_uint_eq(echo.opens, 1);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(versions_are_refused)
{
	set_up_faults("vmbus: refuse-version 5.2; vmbus: refuse-version 5.1");
	ck_assert(!vsc_contact(vsc, VMBUS_VERSION(5, 2), 0, NULL));
	ck_assert(!vsc_contact(vsc, VMBUS_VERSION(5, 1), 0, NULL));
	ck_assert(vsc_contact(vsc, VMBUS_VERSION(5, 0), 0, NULL));
	ck_assert_uint_eq(fault_count(0), 1);
	ck_assert_uint_eq(fault_count(1), 1);
}
END_TEST

START_TEST(malformed_offers_are_made)
{
	const struct vmbus_message_header request = {.type = VMBUS_MESSAGE_REQUEST_OFFERS};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	struct vmbus_message_header header = {0};
	struct vsc_wait wait = {0};
	unsigned int strange = 0;

	plan_text = "vmbus: malformed offer times 6";
	vsc_unload(vsc);
	vsc_main(vsc, begin_faults, NULL);
	ck_assert(vsc_contact(vsc, VMBUS_VERSION_WIN10_V5_3, 0, NULL));
	vsc_send(vsc, &request, sizeof(request));
	while (header.type != VMBUS_MESSAGE_ALL_OFFERS_DELIVERED) {
		size_t size = vsc_poll_message(vsc, 0, VMBUS_SINT, message);

		if (size == 0) {
			vsc_pause(&wait, "the offers do not end");
			continue;
		}
		memcpy(&header, message, sizeof(header));
		strange += header.type == 99 ||
			   (header.type == VMBUS_MESSAGE_OFFER_CHANNEL &&
			    size < sizeof(struct vmbus_offer_channel)) ||
			   (header.type == VMBUS_MESSAGE_OFFER_CHANNEL && message[8] == 0xee);
	}
	ck_assert_uint_eq(strange, 6);
	ck_assert_uint_eq(fault_count(0), 6);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("observe", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, packets_are_counted);
	tcase_add_test(tests, a_full_ring_is_counted);
	tcase_add_test(tests, completions_are_delayed);
	tcase_add_test(tests, completions_change_places);
	tcase_add_test(tests, completions_fail_by_the_seed);
	tcase_add_test(tests, malformed_packets_come_along);
	tcase_add_test(tests, a_device_is_taken_away_and_comes_back);
	tcase_add_test(tests, a_device_leaves_in_order);
	tcase_add_test(tests, a_device_is_pulled_without_a_word);
	tcase_add_test(tests, a_device_comes_back_to_a_guest_that_starts_anew);
	tcase_add_test(tests, subchannels_come_and_go);
	tcase_add_test(tests, versions_are_refused);
	tcase_add_test(tests, malformed_offers_are_made);
	return suite_run(suite);
}
