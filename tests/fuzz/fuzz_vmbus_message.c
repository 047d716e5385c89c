
#include <stdlib.h>

#include "fuzz.h"
#include "vmbus/bus_internal.h"
#include "vsc_bus.h"
#include "vsc_echo.h"

/*
 * Control messages in any order, with channels that open, rings that hold whatever was written
 * there, and offers that come and go.
 */

#define VPS	   2u
#define RING_PAGES 8u /* the guest's first pages that are used for rings */
#define FIRST_PAGE 64u
#define OFFERS	   2u

enum step {
	MESSAGE,
	SHARE,
	OPEN,
	POKE,
	DOORBELL,
	SUBCHANNELS,
	RESCIND,
	READ,
	STEPS,
};

static struct vsc *vsc;
static struct echo echo;
static struct vmbus_offer *offers[OFFERS];
static uint64_t rings;

static void set_up(void)
{
	const struct vsc_config config = {.vp_count = VPS, .ram_bytes = 2u << 20};

	echo_init(&echo);
	vsc = vsc_new(&config);
	rings = vsc_pages(vsc, FIRST_PAGE) / 4096;
}

static void dispatch(const void *data, size_t size)
{
	struct vmbus *bus = vsc_vmbus(vsc);
	struct bus_message message = {.size = size};

	memcpy(message.data, data, size);
	bus_dispatch(bus, &message);
	while (offer_announce(bus))
		;
	channel_close_broken(bus);
	offer_make_subchannels(bus);
}

/* Any message, its first words small so that they name something. */
static void send_message(struct fuzz_input *input)
{
	uint32_t words[VMBUS_MESSAGE_MAX / 4] = {0};
	size_t count = 2 + fuzz_u8(input) % 40;

	words[0] = fuzz_u8(input) % 32;
	for (size_t i = 2; i < count; i++) {
		uint8_t kind = fuzz_u8(input);

		words[i] = kind < 200 ? kind & 7 : (uint32_t)fuzz_u64(input);
	}
	if (words[0] == VMBUS_MESSAGE_INITIATE_CONTACT && fuzz_u8(input) < 200)
		words[2] = VMBUS_VERSION(2 + words[2] % 5, words[3] % 5);
	dispatch(words, count * 4 - (fuzz_u8(input) < 20));
}

/* A GPADL of pages that rings can use. */
static void share(struct fuzz_input *input)
{
	struct {
		struct vmbus_gpadl_header header;
		struct vmbus_gpa_range range;
		uint64_t frames[RING_PAGES];
	} __attribute__((packed)) message = {
		.header.header.type = VMBUS_MESSAGE_GPADL_HEADER,
		.header.relid = fuzz_u8(input) & 7,
		.header.gpadl = fuzz_u8(input) & 7,
		.header.range_bytes = 8 + RING_PAGES * 8,
		.header.range_count = 1,
		.range.byte_count = RING_PAGES * 4096,
	};
	uint64_t first = rings + fuzz_u8(input) % (FIRST_PAGE - RING_PAGES);

	for (uint32_t i = 0; i < RING_PAGES; i++)
		message.frames[i] = first + i;
	dispatch(&message, sizeof(message));
}

static void open_channel(struct fuzz_input *input)
{
	struct vmbus_open_channel message = {
		.header.type = VMBUS_MESSAGE_OPEN_CHANNEL,
		.relid = fuzz_u8(input) & 7,
		.ring_gpadl = fuzz_u8(input) & 7,
		.target_vp = fuzz_u8(input) & 3,
		.downstream_page_offset = fuzz_u8(input) % (RING_PAGES + 1),
	};

	dispatch(&message, sizeof(message));
}

static void poke(struct fuzz_input *input)
{
	uint64_t gpa = (rings + fuzz_u8(input) % FIRST_PAGE) * 4096 + fuzz_u8(input) * 4u;
	uint32_t value = fuzz_u8(input) * 8u;

	gpa_write(vsc_gpa(vsc), gpa, &value, sizeof(value));
}

static void rescind(struct fuzz_input *input)
{
	const struct vmbus_offer_config config = echo_offer(&echo, fuzz_u8(input), 3);
	struct vmbus_offer **offer = &offers[config.instance_id.bytes[15] % OFFERS];

	if (*offer)
		vmbus_offer_rescind(*offer);
	*offer = NULL;
	if (config.instance_id.bytes[15] & 128 && vmbus_offer_new(vsc_vmbus(vsc), &config, offer))
		abort();
}

/* Reads what the host sent, so that it may go on. */
static void read_messages(void)
{
	uint8_t message[VMBUS_MESSAGE_MAX];

	for (unsigned int i = 0; i < VPS * 16; i++) {
		while (vsc_poll_message(vsc, i / 16, i % 16, message))
			;
	}
}

static void run_step(struct fuzz_input *input)
{
	switch ((enum step)(fuzz_u8(input) % STEPS)) {
	case MESSAGE:
		send_message(input);
		break;
	case SHARE:
		share(input);
		break;
	case OPEN:
		open_channel(input);
		break;
	case POKE:
		poke(input);
		break;
	case DOORBELL:
		hv_ports_signal(hv_partition_ports(vsc_hv(vsc)),
				VMBUS_CONNECTION_CHANNEL | (fuzz_u8(input) & 7));
		break;
	case SUBCHANNELS:
		if (offers[0])
			vmbus_offer_subchannels(offers[0], fuzz_u8(input) & 3);
		break;
	case RESCIND:
		rescind(input);
		break;
	case READ:
	case STEPS:
		read_messages();
		break;
	}
}

/* On the main loop: a connected guest, a few offers, then the input's steps. */
static void run(void *context)
{
	const struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_MESSAGE_INITIATE_CONTACT,
		.version = VMBUS_VERSION(5, 3),
		.message_sint = VMBUS_SINT,
	};
	const struct vmbus_message_header request = {.type = VMBUS_MESSAGE_REQUEST_OFFERS};
	struct fuzz_input *input = context;

	for (unsigned int i = 0; i < OFFERS; i++) {
		const struct vmbus_offer_config config = echo_offer(&echo, (uint8_t)i, 3);

		if (vmbus_offer_new(vsc_vmbus(vsc), &config, &offers[i]))
			abort();
	}
	dispatch(&contact, sizeof(contact));
	dispatch(&request, sizeof(request));
	while (input->size > 0)
		run_step(input);
	vmbus_reset(vsc_vmbus(vsc));
	for (unsigned int i = 0; i < OFFERS; i++) {
		if (offers[i])
			vmbus_offer_rescind(offers[i]);
	}
	read_messages();
	if (echo.opens != echo.closes || !list_empty(&vsc_vmbus(vsc)->offers) ||
	    vsc_vmbus(vsc)->channel_count || vsc_vmbus(vsc)->gpadls.count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!vsc)
		set_up();
	vsc_main(vsc, run, &input);
	return 0;
}
