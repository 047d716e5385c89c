#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the largest message that any of them looks at, and some. */
#define FAKE_PAYLOAD_MAX 1024

#include "base/wire.h"
#include "device_fuzz.h"
#include "devices/table.h"
#include "devices/vsp/display.h"
#include "fake_channel.h"

/*
 * A guest that says anything to keyboard, mouse and video, while a viewer says anything to the
 * device: the mode always lies within the video memory, and every packet to the guest is sound.
 */

#define STEPS_MAX 64

static int show_memory(void *context, enum partition_shown kind, uint64_t gpa, uint64_t size,
		       void *host)
{
	return size && gpa < 0xf8000000u ? -EINVAL : 0;
}

static const struct device_events events = {.show_memory = show_memory};

static struct display *make_device(void)
{
	static struct device_fuzz fuzz;
	static int vram = -1;
	struct device_env env = device_fuzz_env(&fuzz, "display");

	env.events = &events;
	if (vram < 0) {
		vram = memfd_create("vram", MFD_CLOEXEC);
		require(ftruncate(vram, DISPLAY_FILE_BYTES) == 0);
	}
	return device_fuzz_make(&display_device, &env, json_pack("{s:i}", "vram_fd", dup(vram)));
}

static void check(const struct display *display)
{
	const struct video_mode *mode = &display->video.mode;
	const struct video_area *dirt = &display->viewer.dirt;
	uint64_t row = (uint64_t)mode->width * mode->depth / 8;

	if (mode->width == 0)
		return;
	require(mode->height > 0 && row <= mode->pitch);
	require(mode->offset + (uint64_t)mode->pitch * (mode->height - 1) + row <=
		DISPLAY_VRAM_BYTES);
	require(dirt->x1 <= dirt->x2 && dirt->x2 <= mode->width);
	require(dirt->y1 <= dirt->y2 && dirt->y2 <= mode->height);
}

/* Right headers before bytes that are not, mostly. */
static void put_message(struct fuzz_input *input, struct channel *channel, bool pipe)
{
	struct fake_packet packet = {.transaction_id = fuzz_u8(input)};
	uint8_t how = fuzz_u8(input);
	uint32_t size = fuzz_u8(input) + (how & 1 ? 512u : 0);

	packet.type = how & 64 ? PACKET_COMPLETION : PACKET_DATA_INBAND;
	packet.flags = how & 2 ? PACKET_FLAG_COMPLETION_REQUESTED : 0;
	fuzz_take(input, packet.payload + 16, size);
	packet.payload_size = size + 16;
	if (pipe && !(how & 4)) {
		put_le32(packet.payload, PIPE_MESSAGE_DATA);
		put_le32(packet.payload + 4, size + 8);
	}
	if (!(how & 8)) {
		put_le32(packet.payload + (pipe ? 8 : 0), how >> 4 & 3 ? fuzz_u8(input) % 16 : 10);
		put_le32(packet.payload + (pipe ? 12 : 4), size + 8);
	}
	fake_put(&channel->to_vsp, &packet);
}

static void step(struct display *display, struct fuzz_input *input, struct channel *channels)
{
	struct synth *const synths[] = {&display->keyboard.synth, &display->mouse.synth,
					&display->video.synth};
	unsigned int which = fuzz_u8(input) % 4;
	struct display_message message;
	const struct fake_packet *packet;

	if (which == 3) {
		fuzz_take(input, &message, sizeof(message));
		message.type = message.type % 4 + 15;
		display_viewer_message(display, &message, sizeof(message));
		return;
	}
	channels[which].space = fuzz_u8(input) % 8;
	put_message(input, &channels[which], which > 0);
	channels[which].ops->service(synths[which], &channels[which]);
	synth_receive(synths[which]);
	channels[which].ops->service(synths[which], &channels[which]);
	while ((packet = fake_take(&channels[which].to_vsc))) {
		require(packet->type == PACKET_COMPLETION || packet->payload_size >= 8);
		if (packet->type == PACKET_DATA_INBAND && which > 0)
			require(get_le32(packet->payload + 4) == packet->payload_size - 8);
	}
	check(display);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct display *display = make_device();
	struct synth *const synths[] = {&display->keyboard.synth, &display->mouse.synth,
					&display->video.synth};
	struct channel channels[3] = {{.index = 0}};

	for (unsigned int i = 0; i < 3; i++)
		require(fake_channel_open(&channels[i], synths[i]->offer->config.ops, synths[i]));
	for (unsigned int steps = 0; steps < STEPS_MAX && input.size > 0; steps++)
		step(display, &input, channels);
	for (unsigned int i = 0; i < 3; i++) {
		channels[i].ops->close(synths[i], &channels[i]);
		fake_channel_clear(&channels[i]);
	}
	display_device.destroy(display);
	return 0;
}
