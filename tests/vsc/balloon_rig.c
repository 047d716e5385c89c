#include "balloon_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "vmbus/wire.h"
#include "vsc_device.h"
#include "vsc_machine.h"

#define RING_PAGES 4u /* as hv_balloon has them */

static const struct guid class_id =
	GUID_INIT(0x525074dc, 0x8985, 0x46e2, 0x80, 0x57, 0xa3, 0x07, 0xdc, 0x18, 0xa5, 0x02);

static struct io_thread *io_thread;
struct vsc *vsc;
struct balloon *balloon;
struct vsc_channel channel;
uint8_t packet[VSC_PACKET_MAX];
unsigned int plugs;
uint64_t room = ROOM;

static int plug_memory(void *context, uint64_t bytes)
{
	struct gpa_slot plug;
	int r = gpa_next_plug(vsc_gpa(vsc), bytes, &plug);

	if (r == 0)
		gpa_plug(vsc_gpa(vsc), &plug);
	plugs++;
	return r;
}

int rig_make_device(json_t *config, struct error *err)
{
	static const struct device_events events = {.plug_memory = plug_memory};
	const struct device_env env = {
		.io_threads = &io_thread,
		.io_thread_count = 1,
		.vp_count = 1,
		.events = &events,
	};
	void *device = NULL;
	int r = vsc_device_create(vsc, &memory_device, &env, config, &device, err);

	balloon = device;
	return r;
}

json_t *rig_config_of(const char *max_version)
{
	json_t *config = json_pack("{s:b, s:I, s:I}", "dynamic", 1, "minimum",
				   (json_int_t)(16 * MIB), "maximum", (json_int_t)(RAM + room));

	if (max_version)
		json_object_set_new(config, "max_version", json_string(max_version));
	return config;
}

void rig_make_machine(void)
{
	const struct vsc_config config = {.ram_bytes = RAM, .ram_room = room};

	ck_assert_int_eq(io_thread_new("memory", 64, &io_thread), 0);
	ck_assert_int_eq(io_thread_start(io_thread, NULL, NULL), 0);
	vsc = vsc_new(&config);
	plugs = 0;
	balloon = NULL;
}

void rig_start(const char *max_version)
{
	ck_assert_int_eq(rig_make_device(rig_config_of(max_version), NULL), 0);
	vsc_connect(vsc, VMBUS_VERSION_WIN10_V5_3);
}

void rig_on_main(void (*function)(void *device))
{
	vsc_device_do(vsc, function, balloon);
}

void rig_tear_down(void)
{
	if (balloon)
		rig_on_main(memory_device.destroy);
	vsc_free(vsc);
	io_thread_free(io_thread);
}

void rig_open_channel(void)
{
	const struct vsc_open open = {.ring_pages = RING_PAGES};
	const struct vmbus_offer_channel *offer = vsc_find_offer(vsc, &class_id, 0);

	ck_assert_ptr_nonnull(offer);
	ck_assert_uint_eq(vsc_channel_open(vsc, offer, &open, &channel), 0);
}

int rig_try_send(const void *message, uint32_t size)
{
	return vsc_channel_send(
		&channel, packet,
		vsc_packet_inband(packet, PACKET_DATA_INBAND, 0, false, message, size));
}

void rig_send(const void *message, uint32_t size)
{
	ck_assert_int_eq(rig_try_send(message, size), 0);
}

uint32_t rig_receive(uint16_t type, void *message, uint32_t max)
{
	struct dynmem_header header;
	const void *payload;
	uint32_t size;

	ck_assert_int_gt(vsc_channel_wait(&channel, packet, VSC_PACKET_MAX), 0);
	payload = vsc_packet_payload(packet, &size);
	memcpy(&header, payload, sizeof(header));
	ck_assert_uint_eq(header.type, type);
	ck_assert_uint_le(header.size, size);
	ck_assert_uint_le(header.size, max);
	memcpy(message, payload, header.size);
	return header.size;
}

struct verb_call {
	struct device_call call;
	void (*handle)(void *device, const json_t *parameters, struct device_call *call);
	json_t *parameters;
	json_t *reply;
	char sentence[256];
};

static void on_reply(struct device_call *call, json_t *reply)
{
	container_of(call, struct verb_call, call)->reply = reply;
}

static void on_refusal(struct device_call *call, const char *sentence)
{
	struct verb_call *ours = container_of(call, struct verb_call, call);

	snprintf(ours->sentence, sizeof(ours->sentence), "%s", sentence);
}

static void call_verb(void *context)
{
	struct verb_call *call = context;

	call->handle(balloon, call->parameters, &call->call);
}

/* What a verb of the device says: a reply, which is the caller's, or a sentence.  Consumes
 * parameters. */
static struct verb_call do_call(void (*handle)(void *, const json_t *, struct device_call *),
				json_t *parameters)
{
	struct verb_call call = {
		.call = {on_reply, on_refusal}, .handle = handle, .parameters = parameters};

	vsc_main(vsc, call_verb, &call);
	json_decref(parameters);
	return call;
}

json_int_t rig_number(const char *key)
{
	struct verb_call call = do_call(balloon_show_verb, NULL);
	json_int_t value = json_integer_value(json_object_get(call.reply, key));

	json_decref(call.reply);
	return value;
}

void rig_expect_text(const char *key, const char *value)
{
	struct verb_call call = do_call(balloon_show_verb, NULL);

	ck_assert_str_eq(json_string_value(json_object_get(call.reply, key)), value);
	json_decref(call.reply);
}

void rig_wait_number(const char *key, json_int_t value)
{
	struct vsc_wait wait = {0};

	while (rig_number(key) != value)
		vsc_pause(&wait, key);
}

void rig_set(json_t *parameters)
{
	struct verb_call call = do_call(balloon_set_verb, parameters);

	ck_assert_msg(call.reply, "%s", call.sentence);
	json_decref(call.reply);
}

void rig_set_target(uint64_t bytes)
{
	rig_set(json_pack("{s:I}", "target", (json_int_t)bytes));
}

bool rig_propose(uint32_t version, bool last)
{
	const struct dynmem_version_request request = {
		.header = {DYNMEM_VERSION_REQUEST, sizeof(request), 7},
		.version = version,
		.flags = last,
	};
	struct dynmem_accept answer;

	rig_send(&request, sizeof(request));
	ck_assert_uint_eq(rig_receive(DYNMEM_VERSION_RESPONSE, &answer, sizeof(answer)),
			  sizeof(answer));
	ck_assert_uint_eq(answer.header.transaction_id, 7);
	ck_assert_uint_eq(answer.flags & ~1ull, 0);
	return answer.flags;
}

void rig_tell_capabilities(uint64_t capabilities)
{
	const struct dynmem_capabilities report = {
		.header = {DYNMEM_CAPABILITIES_REPORT, sizeof(report), 8},
		.capabilities = capabilities,
		.max_page_number = UINT64_MAX,
	};
	struct dynmem_accept answer;

	rig_send(&report, sizeof(report));
	rig_receive(DYNMEM_CAPABILITIES_RESPONSE, &answer, sizeof(answer));
	ck_assert_uint_eq(answer.flags, DYNMEM_ACCEPTED);
}

void rig_expect_maximum(void)
{
	struct dynmem_info info;

	ck_assert_uint_eq(rig_receive(DYNMEM_INFO, &info, sizeof(info)), sizeof(info));
	ck_assert_uint_eq(info.info_size, 16);
	ck_assert_uint_eq(info.info_type, DYNMEM_INFO_MAX_PAGES);
	ck_assert_uint_eq(info.data_size, 8);
	ck_assert_uint_eq(info.max_pages, (RAM + room) / PAGE);
}

void rig_connect_driver(uint64_t capabilities)
{
	rig_open_channel();
	ck_assert(rig_propose(DYNMEM_VERSION_3, false));
	rig_tell_capabilities(capabilities);
	rig_expect_maximum();
	rig_expect_text("state", "ready");
}

void rig_set_up(void)
{
	rig_make_machine();
	rig_start(NULL);
	rig_connect_driver(CAPABLE);
}

uint32_t rig_expect_balloon(void)
{
	struct dynmem_balloon_request request;

	ck_assert_uint_eq(rig_receive(DYNMEM_BALLOON_REQUEST, &request, sizeof(request)),
			  sizeof(request));
	ck_assert_uint_eq(request.reserved, 0);
	return request.pages;
}

void rig_send_ranges(const uint64_t *ranges, uint32_t count, bool more)
{
	struct {
		struct dynmem_balloon_response response;
		uint64_t ranges[DYNMEM_RANGES_MAX];
	} message = {.response = {{DYNMEM_BALLOON_RESPONSE,
				   (uint16_t)(sizeof(message.response) + 8 * count), 9},
				  0,
				  count << 1 | more}};

	memcpy(message.ranges, ranges, 8 * count);
	rig_send(&message, message.response.header.size);
}

uint8_t rig_byte_at(uint64_t gpa)
{
	uint8_t byte;

	ck_assert_int_eq(gpa_read(vsc_gpa(vsc), gpa, &byte, 1), 0);
	return byte;
}

void rig_expect_silence(void)
{
	json_int_t before = rig_number("unexpected");
	const struct dynmem_header nothing = {.type = DYNMEM_ERROR, .size = sizeof(nothing)};

	rig_send(&nothing, sizeof(nothing));
	rig_wait_number("unexpected", before + 1);
	ck_assert_int_eq(vsc_channel_receive(&channel, packet, VSC_PACKET_MAX), 0);
}

uint32_t rig_expect_unballoon(uint64_t ranges[DYNMEM_RANGES_MAX])
{
	struct {
		struct dynmem_unballoon_request request;
		uint64_t ranges[DYNMEM_RANGES_MAX];
	} message;
	uint32_t size = rig_receive(DYNMEM_UNBALLOON_REQUEST, &message, sizeof(message));

	ck_assert_uint_eq(size, sizeof(message.request) + 8 * message.request.range_count);
	ck_assert_uint_eq(message.request.flags, 0);
	memcpy(ranges, message.ranges, 8 * message.request.range_count);
	return message.request.range_count;
}

void rig_answer_unballoon(void)
{
	const struct dynmem_header response = {DYNMEM_UNBALLOON_RESPONSE, sizeof(response), 0};

	rig_send(&response, sizeof(response));
}

struct dynmem_hot_add_request rig_expect_hot_add(void)
{
	struct dynmem_hot_add_request request;

	ck_assert_uint_eq(rig_receive(DYNMEM_HOT_ADD_REQUEST, &request, sizeof(request)),
			  sizeof(request));
	return request;
}

void rig_answer_hot_add(uint64_t pages, uint32_t done)
{
	const struct dynmem_hot_add_response response = {
		.header = {DYNMEM_HOT_ADD_RESPONSE, sizeof(response), 0},
		.pages = (uint32_t)pages,
		.done = done,
	};

	rig_send(&response, sizeof(response));
}

void rig_report(uint64_t committed, uint64_t available)
{
	const struct dynmem_status status = {
		.header = {DYNMEM_STATUS_REPORT, sizeof(status), 0},
		.committed = committed / PAGE,
		.available = available / PAGE,
	};
	json_int_t before = rig_number("reports");

	rig_send(&status, sizeof(status));
	rig_wait_number("reports", before + 1);
	rig_on_main(balloon_tick);
}

void rig_expect_refusal(json_t *parameters, const char *words)
{
	struct verb_call call = do_call(balloon_set_verb, parameters);

	ck_assert_ptr_null(call.reply);
	ck_assert_msg(strstr(call.sentence, words), "\"%s\" lacks \"%s\"", call.sentence, words);
}
