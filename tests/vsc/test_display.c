/* Keyboard, mouse and screen as a guest's drivers see them, and a viewer at the other end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/table.h"
#include "devices/vsp/display.h"
#include "devices/vsp/video_wire.h"
#include "suite.h"
#include "vsc_device.h"
#include "vsc_machine.h"
#include "vsc_state.h"

#define RING_PAGES 9u /* as the drivers have them */
#define WINDOW	   0xf8000000ull

static struct vsc *vsc;
static struct io_thread *io_thread;
static void *device;
static struct vsc_channel keyboard, mouse, video;
static int viewer; /* our end */
static int vram;
static uint8_t *packet;

/* What the host showed to the guest. */
static struct {
	uint64_t gpa, size;
	void *host;
	unsigned int calls;
} shown;

static int show_memory(void *context, enum partition_shown kind, uint64_t gpa, uint64_t size,
		       void *host)
{
	shown.calls++;
	if (size && (gpa < WINDOW || gpa % 4096))
		return -EINVAL;
	shown.gpa = gpa;
	shown.size = size;
	shown.host = host;
	return 0;
}

static const struct device_events events = {.show_memory = show_memory};

static struct desktop desktop;

static void setup(void)
{
	const struct device_env env = {
		.desktop = &desktop,
		.io_threads = &io_thread,
		.io_thread_count = 1,
		.vp_count = 1,
		.events = &events,
	};
	struct error err;
	json_t *config;
	int pair[2];

	memset(&shown, 0, sizeof(shown));
	desktop = (struct desktop){.watched = false};
	packet = malloc(VSC_PACKET_MAX);
	vram = memfd_create("vram", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(vram, DISPLAY_FILE_BYTES), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	viewer = pair[0];
	config = json_pack("{s:i, s:i, s:i, s:i}", "width", 1280, "height", 720, "vram_fd",
			   dup(vram), "viewer_fd", pair[1]);
	ck_assert_int_eq(io_thread_new("display", 64, &io_thread), 0);
	ck_assert_int_eq(io_thread_start(io_thread, NULL, NULL), 0);
	vsc = vsc_new(NULL);
	ck_assert_msg(vsc_device_create(vsc, &display_device, &env, config, &device, &err) == 0,
		      "%s", err.text);
	vsc_connect(vsc, VMBUS_VERSION_WIN10_V5_3);
}

static void teardown(void)
{
	vsc_device_do(vsc, display_device.destroy, device);
	ck_assert_uint_eq(shown.size, 0);
	vsc_free(vsc);
	io_thread_free(io_thread);
	close(viewer);
	close(vram);
	free(packet);
}

static void open_channel(const struct synth_ops *ops, struct vsc_channel *channel)
{
	const struct vsc_open open = {.ring_pages = RING_PAGES};
	const struct vmbus_offer_channel *offer = vsc_find_offer(vsc, &ops->class_id, 0);

	ck_assert_ptr_nonnull(offer);
	ck_assert_uint_eq(vsc_channel_open(vsc, offer, &open, channel), 0);
}

static void send_raw(struct vsc_channel *channel, const void *data, uint32_t size)
{
	ck_assert_int_eq(vsc_channel_send(channel, packet,
					  vsc_packet_inband(packet, PACKET_DATA_INBAND, 7, false,
							    data, size)),
			 0);
}

/* With a pipe header before it. */
static void send_pipe(struct vsc_channel *channel, const void *data, uint32_t size)
{
	uint8_t message[4096];
	const struct pipe_header header = {PIPE_MESSAGE_DATA, size};

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), data, size);
	send_raw(channel, message, (uint32_t)sizeof(header) + size);
}

/* The next packet's payload; skip: bytes of a pipe header, which must be right. */
static uint32_t take(struct vsc_channel *channel, void *data, uint32_t size, uint32_t skip)
{
	struct pipe_header header;
	const uint8_t *payload;
	uint32_t there;

	ck_assert_int_gt(vsc_channel_wait(channel, packet, VSC_PACKET_MAX), 0);
	payload = vsc_packet_payload(packet, &there);
	memset(data, 0, size);
	if (skip) {
		memcpy(&header, payload, sizeof(header));
		ck_assert_uint_eq(header.type, PIPE_MESSAGE_DATA);
		ck_assert_uint_le(header.size, there - skip);
		there = header.size + skip;
	}
	memcpy(data, payload + skip, MIN(size, there - skip));
	return there - skip;
}

static void connect_keyboard(void)
{
	const struct keyboard_protocol_request request = {KEYBOARD_PROTOCOL_REQUEST,
							  KEYBOARD_VERSION(1, 0)};
	struct keyboard_protocol_response response;

	open_channel(&keyboard_ops, &keyboard);
	send_raw(&keyboard, &request, sizeof(request));
	take(&keyboard, &response, sizeof(response), 0);
	ck_assert_uint_eq(response.type, KEYBOARD_PROTOCOL_RESPONSE);
	ck_assert_uint_eq(response.status, KEYBOARD_ACCEPTED);
}

static void press(uint32_t make_code, uint32_t info)
{
	const struct display_message message = {DISPLAY_KEY, {make_code, info}};

	ck_assert_int_eq(send(viewer, &message, sizeof(message), 0), sizeof(message));
}

static void expect_key(uint16_t make_code, uint32_t info)
{
	struct keyboard_event event;

	take(&keyboard, &event, sizeof(event), 0);
	ck_assert_uint_eq(event.type, KEYBOARD_EVENT);
	ck_assert_uint_eq(event.make_code, make_code);
	ck_assert_uint_eq(event.info, info);
}

struct count {
	uint64_t *value;
	uint64_t read;
};

static void read_count(void *context)
{
	struct count *count = context;

	count->read = *count->value;
}

/* Waits until a counter of the main loop's has this value, which it must not pass. */
static void wait_count(uint64_t *value, uint64_t wanted)
{
	struct vsc_wait wait = {0};
	struct count count = {.value = value};

	do {
		vsc_main(vsc, read_count, &count);
		vsc_pause(&wait, "a count does not rise");
	} while (count.read < wanted);
	ck_assert_uint_eq(count.read, wanted);
}

static struct display *display(void)
{
	return device;
}

static void run_op(void (*function)(void *device))
{
	vsc_device_do(vsc, function, device);
}

static uint64_t malformed(struct synth *synth)
{
	return synth->malformed;
}

/* Each wrong message is one more in the count. */
static void wait_malformed(struct synth *synth, uint64_t wanted)
{
	struct vsc_wait wait = {0};

	while (malformed(synth) < wanted)
		vsc_pause(&wait, "a wrong message is not counted");
	ck_assert_uint_eq(malformed(synth), wanted);
}

START_TEST(keys_arrive)
{
	connect_keyboard();
	press(0x1e, 0);
	press(0x1e, KEYBOARD_BREAK);
	press(0x48, KEYBOARD_E0);
	press(0x1d, KEYBOARD_E1 | KEYBOARD_BREAK);
	expect_key(0x1e, 0);
	expect_key(0x1e, KEYBOARD_BREAK);
	expect_key(0x48, KEYBOARD_E0);
	expect_key(0x1d, KEYBOARD_E1 | KEYBOARD_BREAK);
}
END_TEST

static void hold_key(void *context)
{
	static const struct keyboard_stroke press = {0x1e, 0}, release = {0x1e, KEYBOARD_BREAK},
					    others[] = {{0x1f, 0}, {0x1f, KEYBOARD_BREAK}};
	struct keyboard *keyboard_device = context;

	ck_assert_int_eq(keyboard_type(keyboard_device, &press, 1), 0);
	while (keyboard_type(keyboard_device, others, 2) == 0)
		;
	/* A key that repeats takes no room. */
	for (unsigned int i = 0; i < 2 * STROKES_MAX; i++)
		ck_assert_int_eq(keyboard_type(keyboard_device, &press, 1), 0);
	ck_assert_int_eq(keyboard_type(keyboard_device, &release, 1), 0);
	ck_assert_int_eq(keyboard_type(keyboard_device, others, 2), -ENOBUFS);
}

/* However long it is held while the guest takes nothing. */
START_TEST(a_key_does_not_stay_pressed)
{
	struct keyboard_event event;

	connect_keyboard();
	run_op(display_device.quiesce);
	vsc_main(vsc, hold_key, &display()->keyboard);
	run_op(display_device.unquiesce);
	expect_key(0x1e, 0);
	do
		take(&keyboard, &event, sizeof(event), 0);
	while (event.make_code == 0x1f);
	ck_assert_uint_eq(event.make_code, 0x1e);
	ck_assert_uint_eq(event.info, KEYBOARD_BREAK);
}
END_TEST

START_TEST(a_keyboard_of_another_version_is_refused)
{
	const struct keyboard_protocol_request request = {KEYBOARD_PROTOCOL_REQUEST,
							  KEYBOARD_VERSION(2, 0)};
	struct keyboard_protocol_response response;

	open_channel(&keyboard_ops, &keyboard);
	send_raw(&keyboard, &request, sizeof(request));
	take(&keyboard, &response, sizeof(response), 0);
	ck_assert_uint_eq(response.type, KEYBOARD_PROTOCOL_RESPONSE);
	ck_assert_uint_eq(response.status, 0);
}
END_TEST

START_TEST(a_request_for_completion_is_completed)
{
	const struct keyboard_protocol_request request = {KEYBOARD_PROTOCOL_REQUEST,
							  KEYBOARD_VERSION(1, 0)};
	struct keyboard_protocol_response response;
	const struct vmbus_packet_header *header = (void *)packet;

	open_channel(&keyboard_ops, &keyboard);
	ck_assert_int_eq(vsc_channel_send(&keyboard, packet,
					  vsc_packet_inband(packet, PACKET_DATA_INBAND, 77, true,
							    &request, sizeof(request))),
			 0);
	ck_assert_int_gt(vsc_channel_wait(&keyboard, packet, VSC_PACKET_MAX), 0);
	ck_assert_uint_eq(header->type, PACKET_COMPLETION);
	ck_assert_uint_eq(header->transaction_id, 77);
	take(&keyboard, &response, sizeof(response), 0);
	ck_assert_uint_eq(response.status, KEYBOARD_ACCEPTED);
}
END_TEST

START_TEST(leds_reach_the_viewer)
{
	const struct keyboard_leds leds = {KEYBOARD_LED_INDICATORS, 0xfff6, 0};
	struct display_message message;

	connect_keyboard();
	send_raw(&keyboard, &leds, sizeof(leds));
	do
		ck_assert_int_eq(recv(viewer, &message, sizeof(message), 0), sizeof(message));
	while (message.type != DISPLAY_LEDS || message.values[0] == 0);
	ck_assert_uint_eq(message.values[0], KEYBOARD_LED_NUM | KEYBOARD_LED_CAPS);
}
END_TEST

START_TEST(wrong_keyboard_messages_are_dropped)
{
	uint8_t noise[64] = {9};

	connect_keyboard();
	send_raw(&keyboard, noise, 8);
	wait_malformed(&display()->keyboard.synth, 1);
	send_raw(&keyboard, noise, sizeof(noise));
	wait_malformed(&display()->keyboard.synth, 2);
	/* A viewer's, too. */
	press(0, 0);
	press(0x80, 0);
	press(0x1e, 1);
	press(0x1001e, 0);
	wait_count(&display()->viewer.malformed, 4);
	press(0x20, 0);
	expect_key(0x20, 0);
}
END_TEST

static const struct mouse_protocol_request mouse_request = {
	{MOUSE_PROTOCOL_REQUEST, sizeof(uint32_t)}, MOUSE_VERSION(2, 0)};

static void connect_mouse(void)
{
	struct mouse_protocol_response response;
	struct {
		struct mouse_device_info info;
		uint8_t report[128];
	} __attribute__((packed)) described;
	struct {
		struct mouse_header header;
		uint8_t reserved;
	} __attribute__((packed)) ack = {{MOUSE_DEVICE_INFO_ACK, 1}, 0};
	uint32_t size;

	open_channel(&mouse_ops, &mouse);
	send_pipe(&mouse, &mouse_request, sizeof(mouse_request));
	take(&mouse, &response, sizeof(response), 8);
	ck_assert_uint_eq(response.header.type, MOUSE_PROTOCOL_RESPONSE);
	ck_assert_uint_eq(response.version, MOUSE_VERSION(2, 0));
	ck_assert_uint_eq(response.approved, 1);
	size = take(&mouse, &described, sizeof(described), 8);
	ck_assert_uint_eq(described.info.header.type, MOUSE_DEVICE_INFO);
	ck_assert_uint_eq(described.info.size, 32);
	ck_assert_uint_eq(described.info.vendor, 0x045e);
	ck_assert_uint_eq(described.info.product, 0x0621);
	ck_assert_uint_eq(described.info.length, 9);
	ck_assert_uint_eq(size, sizeof(described.info) + described.info.report_length);
	/* A driver puts right what another host has wrong there. */
	ck_assert_uint_eq(described.report[14], 0x29);
	send_pipe(&mouse, &ack, sizeof(ack));
	wait_count(&display()->mouse.synth.received, 2);
}

static void point(uint32_t x, uint32_t y, uint32_t buttons, int wheel)
{
	const struct display_message message = {DISPLAY_POINTER, {x, y, buttons, (uint32_t)wheel}};

	ck_assert_int_eq(send(viewer, &message, sizeof(message), 0), sizeof(message));
}

START_TEST(the_pointer_arrives)
{
	struct mouse_input_report report;

	connect_mouse();
	point(32767, 1, 5, -1);
	take(&mouse, &report, sizeof(report), 8);
	ck_assert_uint_eq(report.header.type, MOUSE_INPUT_REPORT);
	ck_assert_uint_eq(report.header.size, sizeof(report.report));
	ck_assert_uint_eq(report.report.x, 32767);
	ck_assert_uint_eq(report.report.y, 1);
	ck_assert_uint_eq(report.report.buttons, 5);
	ck_assert_int_eq(report.report.wheel, -1);
	point(32768, 0, 0, 0);
	point(0, 0, 32, 0);
	wait_count(&display()->viewer.malformed, 2);
}
END_TEST

static void read_x(void *context)
{
	*(uint32_t *)context = display()->mouse.last.x;
}

static void wait_point(uint32_t x)
{
	struct vsc_wait wait = {0};
	uint32_t now;

	do {
		vsc_main(vsc, read_x, &now);
		vsc_pause(&wait, "the pointer does not come");
	} while (now != x);
}

/* More than queue and ring take: the last place is still heard of, and no button is lost. */
START_TEST(a_late_guest_hears_of_the_last_place)
{
	struct mouse_input_report report;
	unsigned int reports = 0;

	connect_mouse();
	for (uint32_t i = 2; i < 20000; i++)
		point(i, i, 0, 0);
	point(1, 2, 1, 0);
	/* All of that before it looks. */
	wait_point(1);
	do {
		take(&mouse, &report, sizeof(report), 8);
		reports++;
	} while (report.report.buttons != 1);
	ck_assert_uint_eq(report.report.x, 1);
	ck_assert_uint_le(reports, 20001);
}
END_TEST

START_TEST(wrong_mouse_messages_are_dropped)
{
	struct mouse_protocol_request request = mouse_request;
	struct mouse_protocol_response response;
	struct pipe_header header = {PIPE_MESSAGE_DATA, 100};
	struct synth *synth = &display()->mouse.synth;

	open_channel(&mouse_ops, &mouse);
	send_raw(&mouse, &header, 4);
	send_raw(&mouse, &header, sizeof(header));
	wait_malformed(synth, 2);
	header = (struct pipe_header){2, 0};
	send_raw(&mouse, &header, sizeof(header));
	wait_malformed(synth, 3);
	send_pipe(&mouse, &request, 8);
	wait_malformed(synth, 4);
	request.header.type = MOUSE_DEVICE_INFO_ACK;
	send_pipe(&mouse, &request, sizeof(request));
	wait_malformed(synth, 5);
	request = mouse_request;
	request.version = MOUSE_VERSION(1, 0);
	send_pipe(&mouse, &request, sizeof(request));
	take(&mouse, &response, sizeof(response), 8);
	ck_assert_uint_eq(response.approved, 0);
	/* The right one is still welcome. */
	send_pipe(&mouse, &mouse_request, sizeof(mouse_request));
	take(&mouse, &response, sizeof(response), 8);
	ck_assert_uint_eq(response.approved, 1);
}
END_TEST

static void send_video(uint32_t type, const void *body, uint32_t size)
{
	uint8_t message[4096];
	const struct video_header header = {type, (uint32_t)sizeof(header) + size};

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), body, size);
	send_pipe(&video, message, header.size);
}

static void take_video(uint32_t type, void *message, uint32_t size)
{
	uint32_t there = take(&video, message, size, 8);
	struct video_header header;

	memcpy(&header, message, sizeof(header));
	ck_assert_uint_eq(header.type, type);
	ck_assert_uint_eq(header.size, size);
	ck_assert_uint_eq(there, size);
}

static bool agree(uint32_t version)
{
	struct video_version_response response;

	send_video(VIDEO_VERSION_REQUEST, &version, sizeof(version));
	take_video(VIDEO_VERSION_RESPONSE, &response, sizeof(response));
	ck_assert_uint_eq(response.version, version);
	return response.accepted;
}

/* The context that comes back with the answer. */
static uint64_t place(uint64_t gpa)
{
	const struct video_vram_location location = {gpa, 1, gpa};
	struct video_feature_change change;
	struct video_ack ack;

	send_video(VIDEO_VRAM_LOCATION, &location, sizeof(location));
	take_video(VIDEO_VRAM_LOCATION_ACK, &ack, sizeof(ack));
	take_video(VIDEO_FEATURE_CHANGE, &change, sizeof(change));
	ck_assert_uint_eq(change.dirt_needed, 1);
	return ack.user_context;
}

static void situate(const struct video_output *output, uint8_t count)
{
	const struct video_situation situation = {0x1234, count, *output};
	struct video_ack ack;

	send_video(VIDEO_SITUATION_UPDATE, &situation, sizeof(situation));
	take_video(VIDEO_SITUATION_UPDATE_ACK, &ack, sizeof(ack));
	ck_assert_uint_eq(ack.user_context, 0x1234);
}

static const struct video_output vga = {1, 0, 32, 640, 480, 2560};

static void connect_video(void)
{
	open_channel(&video_ops, &video);
	ck_assert(agree(VIDEO_VERSION_WIN10));
	ck_assert_uint_eq(place(WINDOW), WINDOW);
	situate(&vga, 1);
}

/* The next message of that kind. */
static struct display_message take_view(uint32_t type)
{
	struct display_message message;

	do
		ck_assert_int_eq(recv(viewer, &message, sizeof(message), 0), sizeof(message));
	while (message.type != type);
	return message;
}

/* The same, but of a screen that is on. */
static struct display_message take_mode(void)
{
	struct display_message message;

	do
		message = take_view(DISPLAY_MODE);
	while (message.values[0] == 0);
	return message;
}

START_TEST(every_version_can_be_agreed)
{
	static const uint32_t versions[] = {VIDEO_VERSION_WIN7, VIDEO_VERSION_WIN8,
					    VIDEO_VERSION_WIN10};

	open_channel(&video_ops, &video);
	ck_assert(!agree(VIDEO_VERSION(3, 6)));
	ck_assert(!agree(VIDEO_VERSION(2, 0)));
	ck_assert(agree(versions[_i]));
	ck_assert_uint_eq(place(WINDOW), WINDOW);
	situate(&vga, 1);
	ck_assert_uint_eq(take_mode().values[0], 640);
}
END_TEST

START_TEST(resolutions_are_told)
{
	struct video_resolution_response response;
	uint8_t max = 64;

	open_channel(&video_ops, &video);
	ck_assert(agree(VIDEO_VERSION_WIN10));
	send_video(VIDEO_RESOLUTION_REQUEST, &max, 1);
	take_video(VIDEO_RESOLUTION_RESPONSE, &response, sizeof(response));
	ck_assert_uint_gt(response.count, 8);
	ck_assert_uint_lt(response.preferred, response.count);
	ck_assert_uint_eq(response.resolutions[response.preferred].width, 1280);
	ck_assert_uint_eq(response.resolutions[response.preferred].height, 720);
	for (unsigned int i = 0; i < response.count; i++)
		ck_assert_uint_le(4u * response.resolutions[i].width *
					  response.resolutions[i].height,
				  DISPLAY_VRAM_BYTES);
	max = 1;
	send_video(VIDEO_RESOLUTION_REQUEST, &max, 1);
	take_video(VIDEO_RESOLUTION_RESPONSE, &response, sizeof(response));
	ck_assert_uint_eq(response.count, 1);
}
END_TEST

/* And an older version has no such message. */
START_TEST(resolutions_came_with_windows_10)
{
	uint8_t max = 64;

	open_channel(&video_ops, &video);
	ck_assert(agree(VIDEO_VERSION_WIN8));
	send_video(VIDEO_RESOLUTION_REQUEST, &max, 1);
	wait_malformed(&display()->video.synth, 1);
}
END_TEST

START_TEST(memory_is_shown_where_the_guest_says)
{
	open_channel(&video_ops, &video);
	ck_assert(agree(VIDEO_VERSION_WIN10));
	ck_assert_uint_eq(place(WINDOW + 0x100000), WINDOW + 0x100000);
	ck_assert_uint_eq(shown.gpa, WINDOW + 0x100000);
	ck_assert_uint_eq(shown.size, DISPLAY_VRAM_BYTES);
	/* It is the file's. */
	strcpy(shown.host, "picture");
	ck_assert_int_eq(pread(vram, packet, 8, 0), 8);
	ck_assert_str_eq((char *)packet, "picture");
	/* A place that cannot be: the answer is not the guest's. */
	ck_assert_uint_eq(place(0x1000), ~0x1000ull);
	ck_assert_uint_eq(place(WINDOW), WINDOW);
	ck_assert_uint_eq(shown.gpa, WINDOW);
}
END_TEST

START_TEST(the_viewer_hears_of_mode_and_changes)
{
	const struct {
		struct video_dirt dirt;
		struct video_rectangle rectangles[3];
	} __attribute__((packed)) dirt = {
		{0, 3},
		{{-5, 10, 20, 30}, {600, 400, 70000, 70000}, {9, 9, 9, 9}},
	};
	struct video_output next = {1, 4096, 16, 800, 600, 1600};
	struct display_message message;
	uint32_t x1 = UINT32_MAX, y1 = UINT32_MAX, x2 = 0, y2 = 0;

	connect_video();
	message = take_mode();
	ck_assert_uint_eq(message.values[0], 640);
	ck_assert_uint_eq(message.values[1], 480);
	ck_assert_uint_eq(message.values[2], 32);
	ck_assert_uint_eq(message.values[3], 2560);
	send_video(VIDEO_DIRT, &dirt, sizeof(dirt));
	/* In one message or more. */
	while (x2 < 640 || x1 > 0) {
		message = take_view(DISPLAY_DIRT);
		x1 = MIN(x1, message.values[0]);
		y1 = MIN(y1, message.values[1]);
		x2 = MAX(x2, message.values[0] + message.values[2]);
		y2 = MAX(y2, message.values[1] + message.values[3]);
	}
	ck_assert_uint_eq(y1, 10);
	ck_assert_uint_eq(x2, 640);
	ck_assert_uint_eq(y2, 480);
	situate(&next, 1);
	message = take_mode();
	ck_assert_uint_eq(message.values[0], 800);
	ck_assert_uint_eq(message.values[2], 16);
	ck_assert_uint_eq(message.values[4], 4096);
	next.active = 0;
	situate(&next, 1);
	ck_assert_uint_eq(take_view(DISPLAY_MODE).values[0], 0);
}
END_TEST

static void send_dirt(int32_t x1, int32_t y1, int32_t x2, int32_t y2)
{
	const struct {
		struct video_dirt dirt;
		struct video_rectangle rectangle;
	} __attribute__((packed)) message = {{0, 1}, {x1, y1, x2, y2}};

	send_video(VIDEO_DIRT, &message, sizeof(message));
}

/* As Linux hides the pointer that the host would draw: one transparent pixel. */
static void hide_pointer(void)
{
	const struct video_pointer_position position = {1, 0, 0, 0};
	const struct {
		struct video_pointer_shape shape;
		uint8_t data[4];
	} __attribute__((packed)) message = {{0xff, 1, 1, 1, 0, 0}, {0, 1, 1, 1}};

	send_video(VIDEO_POINTER_POSITION, &position, sizeof(position));
	send_video(VIDEO_POINTER_SHAPE, &message, sizeof(message));
}

/* As its atomic commit sets a mode: the plane first, then what enables the pipe. */
static void commit_mode(uint32_t width, uint32_t height)
{
	const struct video_output output = {1, 0, 32, width, height, 4 * width};

	send_dirt(0, 0, (int32_t)width, (int32_t)height);
	hide_pointer();
	situate(&output, 1);
}

/* The messages of hyperv_drm, in its order. */
START_TEST(linux_shows_what_it_draws)
{
	uint8_t max = VIDEO_RESOLUTIONS_MAX;
	struct video_resolution_response resolutions;
	struct display_message message;

	open_channel(&video_ops, &video);
	ck_assert(agree(VIDEO_VERSION_WIN10));
	send_video(VIDEO_RESOLUTION_REQUEST, &max, 1);
	take_video(VIDEO_RESOLUTION_RESPONSE, &resolutions, sizeof(resolutions));
	ck_assert_uint_eq(place(WINDOW), WINDOW);
	hide_pointer(); /* its answer to being asked for changes */
	commit_mode(1024, 768);
	message = take_mode();
	ck_assert_uint_eq(message.values[0], 1024);
	ck_assert_uint_eq(message.values[3], 4096);
	send_dirt(8, 16, 24, 48);
	message = take_view(DISPLAY_DIRT);
	ck_assert_uint_eq(message.values[0], 8);
	ck_assert_uint_eq(message.values[1], 16);
	ck_assert_uint_eq(message.values[2], 16);
	ck_assert_uint_eq(message.values[3], 32);
	/* A change of resolution, to more and to less. */
	for (unsigned int i = 0; i < 2; i++) {
		commit_mode(i ? 800 : 1280, i ? 600 : 1024);
		message = take_mode();
		ck_assert_uint_eq(message.values[0], i ? 800 : 1280);
	}
	send_dirt(799, 599, 800, 600);
	message = take_view(DISPLAY_DIRT);
	ck_assert_uint_eq(message.values[0], 799);
	ck_assert_uint_eq(message.values[2], 1);
	ck_assert_uint_eq(display()->video.synth.malformed, 0);
	ck_assert_uint_eq(shown.calls, 1);
}
END_TEST

/* A guest that sends as fast as its messages are handled. */
static struct {
	struct video_dirt dirt;
	struct video_rectangle rectangles[2];
	unsigned int handled, in_a_turn;
} flood;

#define FLOOD 1000u

/* On the main loop. */
static void refill(void *context, const struct video_area *area)
{
	struct synth *synth = &display()->video.synth;
	const uint32_t size = sizeof(flood.dirt) + sizeof(flood.rectangles);
	const struct video_header video_header = {VIDEO_DIRT, sizeof(video_header) + size};
	const struct pipe_header header = {PIPE_MESSAGE_DATA, video_header.size};
	struct synth_packet next = {.size = sizeof(header) + header.size};

	ck_assert_uint_eq(area->x1, 1);
	ck_assert_uint_eq(area->x2, 9);
	flood.in_a_turn++;
	if (++flood.handled == FLOOD)
		return;
	next.data = malloc(next.size);
	memcpy(next.data, &header, sizeof(header));
	memcpy(next.data + sizeof(header), &video_header, sizeof(video_header));
	memcpy(next.data + sizeof(header) + sizeof(video_header), &flood, size);
	pthread_mutex_lock(&synth->lock);
	synth->inbox.packets[(synth->inbox.first + synth->inbox.count++) % SYNTH_QUEUE] = next;
	pthread_mutex_unlock(&synth->lock);
}

static void start_flood(void *context)
{
	const struct video_area area = {1, 1, 9, 9};

	display()->video.on_dirt = refill;
	refill(NULL, &area);
	flood.in_a_turn = 0;
	synth_receive(&display()->video.synth);
	*(unsigned int *)context = flood.in_a_turn;
}

static void read_flood(void *context)
{
	*(unsigned int *)context = flood.handled;
}

/* Many rectangles are one word to the viewer. */
START_TEST(a_flood_of_messages_leaves_others_their_turn)
{
	struct vsc_wait wait = {0};
	unsigned int count = 0;

	memset(&flood, 0, sizeof(flood));
	flood.dirt = (struct video_dirt){0, 2};
	flood.rectangles[0] = (struct video_rectangle){1, 1, 2, 2};
	flood.rectangles[1] = (struct video_rectangle){8, 8, 9, 9};
	connect_video();
	vsc_main(vsc, start_flood, &count);
	ck_assert_uint_eq(count, SYNTH_QUEUE);
	/* And nothing of it is lost. */
	while (count < FLOOD) {
		vsc_main(vsc, read_flood, &count);
		vsc_pause(&wait, "the rest of the flood is not handled");
	}
}
END_TEST

START_TEST(memory_moves_so_often_and_no_more)
{
	unsigned int calls;

	connect_video();
	display()->video.moves = VIDEO_MOVES_MAX;
	calls = shown.calls;
	ck_assert_uint_eq(place(WINDOW + 0x1000), ~(WINDOW + 0x1000));
	ck_assert_uint_eq(place(WINDOW), WINDOW); /* where it is */
	ck_assert_uint_eq(shown.calls, calls);
	run_op(display_device.reset);
	ck_assert_uint_eq(place(WINDOW + 0x1000), WINDOW + 0x1000);
}
END_TEST

START_TEST(pictures_that_do_not_fit_are_refused)
{
	static const struct video_output wrong[] = {
		{1, 0, 24, 640, 480, 2560},	    {1, 0, 32, 640, 480, 2556},
		{1, 0, 32, 640, 480, 2558 * 4 + 2}, {1, 2, 32, 640, 480, 2560},
		{1, 0, 32, 0, 480, 2560},	    {1, 0, 32, 640, 0, 2560},
		{1, 0, 32, 4097, 10, 16388},	    {1, 0, 32, 640, 4097, 2560},
		{1, 0, 32, 2560, 1700, 10240},	    {1, 0xfffffffc, 32, 640, 480, 2560},
		{1, 0, 32, 640, 480, 0xfffffffc},   {1, 0xf00000, 32, 640, 480, 2560},
	};

	connect_video();
	for (unsigned int i = 0; i < ARRAY_LENGTH(wrong); i++) {
		situate(&wrong[i], 1);
		ck_assert_uint_eq(malformed(&display()->video.synth), i + 1);
	}
	ck_assert_uint_eq(display()->video.mode.width, 640);
	ck_assert_uint_eq(display()->video.mode.height, 480);
}
END_TEST

START_TEST(wrong_video_messages_are_dropped)
{
	struct synth *synth = &display()->video.synth;
	struct video_vram_location location = {1, 1, WINDOW};
	struct video_pointer_shape shape = {0xff, 1, 97, 1, 0, 0};
	struct video_pointer_position position = {1, 0, -3, 4};
	struct video_dirt dirt = {0, 200};
	uint8_t noise[512] = {0};

	open_channel(&video_ops, &video);
	/* Before there is a version. */
	send_video(VIDEO_VRAM_LOCATION, &location, sizeof(location));
	wait_malformed(synth, 1);
	ck_assert(agree(VIDEO_VERSION_WIN10));
	send_video(VIDEO_VRAM_LOCATION, &location, sizeof(location) - 1);
	send_video(VIDEO_VERSION_RESPONSE, noise, 16);
	send_video(0, noise, 16);
	send_video(0xffffffff, noise, 16);
	send_video(VIDEO_SITUATION_UPDATE, noise, 26);
	wait_malformed(synth, 6);
	send_video(VIDEO_DIRT, &dirt, sizeof(dirt));
	send_video(VIDEO_POINTER_SHAPE, &shape, sizeof(shape));
	wait_malformed(synth, 8);
	/* Its size says more than there is. */
	noise[0] = VIDEO_DIRT;
	noise[5] = 1;
	send_pipe(&video, noise, 100);
	wait_malformed(synth, 9);
	ck_assert_uint_eq(shown.calls, 0);
	shape.width = 96;
	send_video(VIDEO_POINTER_SHAPE, &shape, sizeof(shape));
	send_video(VIDEO_POINTER_POSITION, &position, sizeof(position));
	wait_count(&synth->received, 12);
	ck_assert_uint_eq(display()->video.pointer.width, 96);
	ck_assert_int_eq(display()->video.pointer.x, -3);
	ck_assert_uint_eq(synth->malformed, 9);
}
END_TEST

START_TEST(a_restart_turns_the_screen_off)
{
	connect_video();
	take_mode();
	strcpy(shown.host, "picture");
	vsc_channel_close(&video);
	/* The channel alone takes nothing away. */
	ck_assert_uint_eq(shown.size, DISPLAY_VRAM_BYTES);
	run_op(display_device.reset);
	ck_assert_uint_eq(shown.size, 0);
	ck_assert_uint_eq(take_view(DISPLAY_MODE).values[0], 0);
	ck_assert_int_eq(pread(vram, packet, 1, 0), 1);
	ck_assert_uint_eq(packet[0], 0);
}
END_TEST

static void expect_asked(bool dirt)
{
	struct video_feature_change change;

	take_video(VIDEO_FEATURE_CHANGE, &change, sizeof(change));
	ck_assert_uint_eq(change.dirt_needed, dirt);
	ck_assert_uint_eq(change.situation_needed, 1);
}

START_TEST(a_viewer_may_go)
{
	struct mouse_input_report report;

	connect_mouse();
	connect_video();
	point(1, 1, 1, 0);
	take(&mouse, &report, sizeof(report), 8);
	shutdown(viewer, SHUT_RDWR);
	expect_asked(false);
	situate(&vga, 1);
	ck_assert(agree(VIDEO_VERSION_WIN8));
}
END_TEST

/* Moves give way to later ones, but not a button. */
START_TEST(a_click_is_not_lost)
{
	struct mouse_input_report report;

	connect_mouse();
	run_op(display_device.quiesce);
	point(5, 5, 0, 0);
	point(6, 6, 0, 0);
	point(7, 7, 1, 0);
	point(8, 8, 0, 0);
	wait_point(8);
	run_op(display_device.unquiesce);
	for (unsigned int i = 0; i < 3; i++) {
		take(&mouse, &report, sizeof(report), 8);
		ck_assert_uint_eq(report.report.buttons, i == 1);
		ck_assert_uint_eq(report.report.x, 6 + i);
	}
}
END_TEST

/* Also what has not been said yet. */
START_TEST(state_comes_back)
{
	static const struct video_output off = {0};
	struct vsc_state first = {.ops = &display_device, .device = device}, second = first;

	connect_keyboard();
	connect_mouse();
	connect_video();
	run_op(display_device.quiesce);
	press(0x10, 0);
	press(0x11, 0);
	wait_count(&display()->keyboard.synth.sent, 3);
	vsc_main(vsc, vsc_state_save, &first);
	ck_assert_int_eq(first.result, 0);
	run_op(display_device.unquiesce);
	expect_key(0x10, 0);
	expect_key(0x11, 0);
	situate(&off, 0);
	run_op(display_device.quiesce);
	vsc_main(vsc, vsc_state_restore, &first);
	ck_assert_int_eq(first.result, 0);
	vsc_main(vsc, vsc_state_save, &second);
	ck_assert_uint_eq(second.size, first.size);
	ck_assert_mem_eq(second.tree, first.tree, first.size);
	free(second.tree);
	ck_assert_uint_eq(shown.gpa, WINDOW);
	ck_assert_uint_eq(shown.size, DISPLAY_VRAM_BYTES);
	run_op(display_device.unquiesce);
	expect_key(0x10, 0);
	expect_key(0x11, 0);
	/* Where a channel is closed that was open, it does not fit. */
	vsc_channel_close(&mouse);
	vsc_main(vsc, vsc_state_restore, &first);
	ck_assert_int_lt(first.result, 0);
	free(first.tree);
}
END_TEST

static void set_watched(void *context)
{
	display()->video.watched = *(const bool *)context;
}

static void fill(void *context)
{
	static const struct keyboard_stroke press = {0x1e, 0}, release = {0x1e, KEYBOARD_BREAK},
					    others[] = {{0x1f, 0}, {0x1f, KEYBOARD_BREAK}};

	while (keyboard_type(context, others, 2) == 0)
		;
	ck_assert_int_eq(keyboard_type(context, others, 1), -ENOBUFS);
	ck_assert_int_eq(keyboard_type(context, &release, 1), 0);
	ck_assert_int_eq(keyboard_type(context, &press, 1), -ENOBUFS);
}

/* Though others fill what waits for the guest. */
START_TEST(a_key_held_in_saved_state_can_be_let_go)
{
	struct vsc_state state = {.ops = &display_device, .device = device};

	connect_keyboard();
	press(0x1e, 0);
	expect_key(0x1e, 0);
	run_op(display_device.quiesce);
	vsc_main(vsc, vsc_state_save, &state);
	ck_assert_int_eq(state.result, 0);
	press(0x1e, KEYBOARD_BREAK);
	wait_count(&display()->keyboard.synth.sent, 3);
	vsc_main(vsc, vsc_state_restore, &state);
	ck_assert_int_eq(state.result, 0);
	vsc_main(vsc, fill, &display()->keyboard);
	free(state.tree);
}
END_TEST

static struct strokes pc_strokes;
static uint64_t pc_types, pc_moves;

static int pc_type(void *context, const struct keyboard_stroke *strokes, unsigned int count)
{
	pc_types += count;
	return strokes_put(&pc_strokes, strokes, count);
}

static bool pc_releases(void *context, const struct keyboard_stroke *stroke)
{
	return strokes_releases(&pc_strokes, stroke);
}

static void pc_move(void *context, const struct mouse_report *report, uint32_t width,
		    uint32_t height)
{
	pc_moves += report->x == 7 && width == 720 && height == 400;
}

START_TEST(the_pc_has_keys_and_pointer_until_a_driver_comes)
{
	const struct display_message point = {DISPLAY_POINTER, {7, 8, 0, 0, 0}};

	strokes_clear(&pc_strokes);
	pc_types = pc_moves = 0;
	desktop.input =
		(struct desktop_input){.type = pc_type, .releases = pc_releases, .move = pc_move};
	press(0x1e, 0);
	wait_count(&pc_types, 1);
	ck_assert_int_eq(send(viewer, &point, sizeof(point), 0), sizeof(point));
	wait_count(&pc_moves, 1);
	connect_keyboard();
	/* Let go, it is so for both. */
	press(0x1e, KEYBOARD_BREAK);
	expect_key(0x1e, KEYBOARD_BREAK);
	press(0x20, 0);
	expect_key(0x20, 0);
	press(0x20, KEYBOARD_BREAK);
	expect_key(0x20, KEYBOARD_BREAK);
	wait_count(&pc_types, 2);
	ck_assert_uint_eq(pc_strokes.held, 0);
}
END_TEST

static void show_pc(void *context)
{
	desktop.screen.mode = (struct video_mode){720, 400, 32, 2880, DISPLAY_VRAM_BYTES};
	desktop.viewer.on_mode(desktop.viewer.context);
}

static void dirty_pc(void *context)
{
	desktop.viewer.on_dirt(desktop.viewer.context, &(struct video_area){0, 16, 720, 32});
}

START_TEST(the_pcs_picture_is_shown_until_the_driver_shows_its)
{
	struct display_message message;

	ck_assert(desktop.watched);
	vsc_main(vsc, show_pc, NULL);
	message = take_mode();
	ck_assert_uint_eq(message.values[0], 720);
	ck_assert_uint_eq(message.values[4], DISPLAY_VRAM_BYTES);
	vsc_main(vsc, dirty_pc, NULL);
	message = take_view(DISPLAY_DIRT);
	ck_assert_uint_eq(message.values[1], 16);
	ck_assert_uint_eq(message.values[3], 16);
	connect_video();
	ck_assert_uint_eq(take_mode().values[0], 640);
	ck_assert(!desktop.watched);
	/* Off is off, and not the other one's. */
	situate(&vga, 0);
	ck_assert_uint_eq(take_view(DISPLAY_MODE).values[0], 0);
	vsc_main(vsc, show_pc, NULL);
	vsc_main(vsc, dirty_pc, NULL);
	ck_assert(!desktop.watched);
	run_op(display_device.reset);
	ck_assert_uint_eq(take_view(DISPLAY_MODE).values[0], 720);
	ck_assert(desktop.watched);
}
END_TEST

/* In the VM that the state is restored to somebody watches, or nobody. */
START_TEST(a_restored_guest_hears_whether_somebody_watches)
{
	struct vsc_state state = {.ops = &display_device, .device = device};
	bool then = _i, now = !_i;

	connect_video();
	if (!then) {
		shutdown(viewer, SHUT_RDWR);
		expect_asked(false);
	}
	run_op(display_device.quiesce);
	vsc_main(vsc, vsc_state_save, &state);
	ck_assert_int_eq(state.result, 0);
	vsc_main(vsc, set_watched, &now);
	vsc_main(vsc, vsc_state_restore, &state);
	ck_assert_int_eq(state.result, 0);
	run_op(display_device.unquiesce);
	expect_asked(now);
	free(state.tree);
}
END_TEST

/* Who knows nothing of whose picture it is cannot go on with it. */
START_TEST(a_screens_state_is_not_of_the_first_layout)
{
	struct vsc_state state = {.ops = &display_device, .device = device};
	struct state_node root, node, screen;

	run_op(display_device.quiesce);
	vsc_main(vsc, vsc_state_save, &state);
	ck_assert_int_eq(state.result, 0);
	run_op(display_device.unquiesce);
	ck_assert_int_eq(state_open(state.tree, state.size, &root), 0);
	ck_assert_int_eq(state_child(&root, "display", 1, &node), 0);
	ck_assert_int_eq(state_child(&node, "video", 1, &screen), -ENOTSUP);
	ck_assert_int_eq(state_child(&node, "video", 2, &screen), 0);
	free(state.tree);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("display", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_set_timeout(test_case, 60);
	tcase_add_test(test_case, keys_arrive);
	tcase_add_test(test_case, a_key_does_not_stay_pressed);
	tcase_add_test(test_case, a_keyboard_of_another_version_is_refused);
	tcase_add_test(test_case, a_request_for_completion_is_completed);
	tcase_add_test(test_case, leds_reach_the_viewer);
	tcase_add_test(test_case, wrong_keyboard_messages_are_dropped);
	tcase_add_test(test_case, the_pointer_arrives);
	tcase_add_test(test_case, a_late_guest_hears_of_the_last_place);
	tcase_add_test(test_case, wrong_mouse_messages_are_dropped);
	tcase_add_loop_test(test_case, every_version_can_be_agreed, 0, 3);
	tcase_add_test(test_case, resolutions_are_told);
	tcase_add_test(test_case, resolutions_came_with_windows_10);
	tcase_add_test(test_case, memory_is_shown_where_the_guest_says);
	tcase_add_test(test_case, the_viewer_hears_of_mode_and_changes);
	tcase_add_test(test_case, linux_shows_what_it_draws);
	tcase_add_test(test_case, a_flood_of_messages_leaves_others_their_turn);
	tcase_add_test(test_case, memory_moves_so_often_and_no_more);
	tcase_add_test(test_case, pictures_that_do_not_fit_are_refused);
	tcase_add_test(test_case, wrong_video_messages_are_dropped);
	tcase_add_test(test_case, a_restart_turns_the_screen_off);
	tcase_add_test(test_case, a_viewer_may_go);
	tcase_add_test(test_case, a_click_is_not_lost);
	tcase_add_test(test_case, the_pc_has_keys_and_pointer_until_a_driver_comes);
	tcase_add_test(test_case, the_pcs_picture_is_shown_until_the_driver_shows_its);
	tcase_add_test(test_case, state_comes_back);
	tcase_add_test(test_case, a_key_held_in_saved_state_can_be_let_go);
	tcase_add_loop_test(test_case, a_restored_guest_hears_whether_somebody_watches, 0, 2);
	tcase_add_test(test_case, a_screens_state_is_not_of_the_first_layout);
	return suite_run(suite);
}
