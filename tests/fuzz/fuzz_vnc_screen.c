#include <stdlib.h>

#include "fuzz.h"
#include "tools/vnc.h"

/* A worker that says anything to bulkhead-vnc, and a client that presses anything: the picture is
 * read and written within its bounds, and nothing stays pressed. */

#define STEPS_MAX 48

static void hear(struct vnc_screen *screen, struct fuzz_input *input)
{
	struct display_message message;
	struct vnc_area area;
	uint32_t *old = NULL;
	int change;
	size_t size = fuzz_u8(input) % 32 ? sizeof(message) : 7;

	fuzz_take(input, &message, sizeof(message));
	message.type = message.type % 5;
	/* Small pictures are many: the large ones take long. */
	if (message.type == DISPLAY_MODE && message.values[0] > 64)
		message.values[0] %= 5000;
	if (message.type == DISPLAY_MODE && message.values[1] > 64)
		message.values[1] %= 5000;
	change = vnc_screen_message(screen, &message, size, &old);
	if (fuzz_u8(input) % 2 && vnc_screen_refresh(screen, &area) &&
	    (area.x + area.width > screen->width || area.y + area.height > screen->height))
		abort();
	if ((change == VNC_PICTURE) != (old != NULL))
		abort();
	free(old);
}

static void press(struct vnc_screen *screen, struct vnc_input *held, struct fuzz_input *input)
{
	struct display_message message;
	uint32_t keysym = fuzz_u8(input) | (fuzz_u8(input) & 1 ? 0xff00u : 0);

	if (vnc_key(held, keysym, fuzz_u8(input) & 1, &message) &&
	    (message.values[0] == 0 || message.values[0] > 0x7f))
		abort();
	message = vnc_pointer(held, screen, (int)fuzz_u64(input), (int)fuzz_u64(input),
			      fuzz_u8(input));
	if (message.values[0] > 32767 || message.values[1] > 32767 || message.values[2] > 7)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *vram;
	struct fuzz_input input = {data, size};
	struct vnc_input held = {.buttons = 0};
	struct vnc_screen screen;
	struct display_message message;

	if (!vram)
		vram = calloc(1, DISPLAY_FILE_BYTES);
	if (vnc_screen_init(&screen, vram) < 0)
		abort();
	for (unsigned int i = 0; i < STEPS_MAX && input.size > 0; i++) {
		if (fuzz_u8(&input) & 1)
			hear(&screen, &input);
		else
			press(&screen, &held, &input);
	}
	for (unsigned int i = 0; vnc_release(&held, &message); i++) {
		if (i == 256)
			abort();
	}
	free(screen.pixels);
	return 0;
}
