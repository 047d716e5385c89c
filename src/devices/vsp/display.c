#include "devices/vsp/display.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/table.h"

#define DEFAULT_WIDTH  1024
#define DEFAULT_HEIGHT 768

/* What the pointer moves across where there is no picture. */
#define POINTER_WIDTH  720
#define POINTER_HEIGHT 400

static struct synth *synth_of(struct display *display, unsigned int index)
{
	struct synth *const all[] = {&display->keyboard.synth, &display->mouse.synth,
				     &display->video.synth};

	return index < ARRAY_LENGTH(all) ? all[index] : NULL;
}

static void receive_all(struct display *display)
{
	struct synth *synth;

	for (unsigned int i = 0; (synth = synth_of(display, i)); i++)
		synth_receive(synth);
}

static void on_wakeup(void *context, uint32_t events)
{
	struct display *display = context;
	eventfd_t count;

	eventfd_read(display->wakeup, &count);
	receive_all(display);
}

/* Of the synthetic keyboard, once it has a driver, or else of the PC's. */
uint32_t display_leds(const struct display *display)
{
	const struct desktop *desktop = display->env.desktop;

	if (display->keyboard.accepted || !desktop)
		return display->keyboard.leds;
	return desktop->input.leds;
}

int display_type(struct display *display, const struct keyboard_stroke *strokes, unsigned int count)
{
	const struct desktop *desktop = display->env.desktop;
	const struct desktop_input *pc = desktop && desktop->input.type ? &desktop->input : NULL;
	int r = keyboard_type(&display->keyboard, strokes, count);

	if (r == -ENOTCONN && pc)
		return pc->type(pc->context, strokes, count);
	/* A key that was pressed there must not stay so. */
	for (unsigned int i = 0; r == 0 && pc && i < count; i++) {
		if (pc->releases(pc->context, &strokes[i]))
			pc->type(pc->context, &strokes[i], 1);
	}
	return r;
}

int display_point(struct display *display, const struct mouse_report *report)
{
	const struct desktop *desktop = display->env.desktop;
	const struct video_mode *mode = display_mode(display);
	int r = mouse_move(&display->mouse, report);

	if (r != -ENOTCONN || !desktop || !desktop->input.move)
		return r;
	desktop->input.move(desktop->input.context, report,
			    mode->width ? mode->width : POINTER_WIDTH,
			    mode->width ? mode->height : POINTER_HEIGHT);
	return 0;
}

static void on_pc_leds(void *context)
{
	struct display *display = context;

	display->viewer.leds_due = true;
	display_viewer_tell(display);
}

static void on_leds(void *context, uint32_t leds)
{
	struct display *display = context;

	display->viewer.leds_due = true;
	display_viewer_tell(display);
}

const struct video_mode *display_mode(const struct display *display)
{
	const struct desktop *desktop = display->env.desktop;

	return display->video.claimed || !desktop ? &display->video.mode : &desktop->screen.mode;
}

void display_watch(struct display *display)
{
	struct desktop *desktop = display->env.desktop;
	bool watched = display->viewer.fd >= 0 && !display->video.claimed;

	if (!desktop || desktop->watched == watched)
		return;
	desktop->watched = watched;
	if (desktop->screen.on_watched)
		desktop->screen.on_watched(desktop->screen.context);
}

/* All of the new picture is new. */
static void on_mode(void *context)
{
	struct display *display = context;

	display_watch(display);
	display->viewer.mode_due = true;
	display->viewer.dirt = (struct video_area){0};
	display_viewer_tell(display);
}

static void on_dirt(void *context, const struct video_area *area)
{
	struct display *display = context;

	video_area_add(&display->viewer.dirt, area);
	display_viewer_tell(display);
}

/* Of the PC's adapter, which may be drawing while nobody looks at it any more. */
static void on_pc_mode(void *context)
{
	struct display *display = context;

	if (!display->video.claimed)
		on_mode(display);
}

static void on_pc_dirt(void *context, const struct video_area *area)
{
	struct display *display = context;

	if (!display->video.claimed)
		on_dirt(display, area);
}

static int map_vram(struct display *display, struct error *err)
{
	struct stat status;
	void *memory;

	if (fstat(display->vram, &status) < 0 || status.st_size != DISPLAY_FILE_BYTES)
		return error_set(err, EINVAL, "the file of video memory has not %u bytes",
				 DISPLAY_FILE_BYTES);
	memory = mmap(NULL, DISPLAY_VRAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, display->vram,
		      0);
	if (memory == MAP_FAILED)
		return error_host(err, errno, "cannot map the video memory");
	madvise(memory, DISPLAY_VRAM_BYTES, MADV_DONTDUMP);
	display->video.memory = memory;
	return 0;
}

static int make_wakeup(struct display *display, struct error *err)
{
	int r;

	display->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = display->wakeup < 0 ? -errno
				: event_loop_watch(display->env.loop, display->wakeup, EPOLLIN,
						   on_wakeup, display, &display->wakeup_source);
	return r ? error_host(err, -r, "cannot make the display") : 0;
}

static int make_offers(struct display *display, struct error *err)
{
	static const struct synth_ops *const ops[] = {&keyboard_ops, &mouse_ops, &video_ops};
	struct synth *synth;

	for (unsigned int i = 0; (synth = synth_of(display, i)); i++) {
		int r;

		synth->ops = ops[i];
		synth->env = &display->env;
		synth->wakeup = display->wakeup;
		synth->paused = &display->paused;
		r = synth_init(synth, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static uint16_t size_of(const json_t *config, const char *key, uint16_t fallback)
{
	json_int_t value = json_integer_value(json_object_get(config, key));

	return value > 0 && value <= UINT16_MAX ? (uint16_t)value : fallback;
}

/* Without the descriptors of the configuration, which stay the caller's. */
static void take_down(struct display *display)
{
	struct synth *synth;

	if (display->env.desktop && display->env.desktop->viewer.context == display)
		display->env.desktop->viewer = (struct desktop_viewer){.context = NULL};
	for (unsigned int i = 0; (synth = synth_of(display, i)); i++) {
		if (synth->offer)
			synth_cleanup(synth);
	}
	event_source_remove(display->wakeup_source);
	if (display->wakeup >= 0)
		close(display->wakeup);
	if (display->video.memory)
		munmap(display->video.memory, DISPLAY_VRAM_BYTES);
	free(display);
}

static int start_viewer(struct display *display, const json_t *config, struct error *err)
{
	const json_t *fd = json_object_get(config, "viewer_fd");
	int r = fd ? display_viewer_start(display, (int)json_integer_value(fd)) : 0;

	return r ? error_host(err, -r, "the display's viewer cannot be served") : 0;
}

static int display_create(const struct device_env *env, const json_t *config, void **device,
			  struct error *err)
{
	struct display *display = calloc(1, sizeof(*display));
	int r;

	if (!display)
		return error_memory(err, "the display");
	display->env = *env;
	display->viewer.fd = -1;
	display->wakeup = -1;
	display->vram = (int)json_integer_value(json_object_get(config, "vram_fd"));
	display->keyboard.on_leds = on_leds;
	display->keyboard.context = display->video.context = display;
	display->video.on_mode = on_mode;
	display->video.on_dirt = on_dirt;
	display->video.preferred_width = size_of(config, "width", DEFAULT_WIDTH);
	display->video.preferred_height = size_of(config, "height", DEFAULT_HEIGHT);
	r = map_vram(display, err);
	if (r == 0)
		r = make_wakeup(display, err);
	if (r == 0)
		r = make_offers(display, err);
	if (r == 0)
		r = start_viewer(display, config, err);
	if (r < 0) {
		take_down(display);
		return r;
	}
	if (env->desktop)
		env->desktop->viewer = (struct desktop_viewer){.on_leds = on_pc_leds,
							       .on_mode = on_pc_mode,
							       .on_dirt = on_pc_dirt,
							       .context = display};
	display_watch(display);
	*device = display;
	return 0;
}

static void display_destroy(void *device)
{
	struct display *display = device;
	int vram = display->vram;

	display_viewer_stop(display);
	/* The guest is to see no memory that is gone. */
	video_reset(&display->video);
	take_down(display);
	close(vram);
}

static int display_memory_file(const void *device)
{
	return ((const struct display *)device)->vram;
}

static void display_reset(void *device)
{
	struct display *display = device;

	video_reset(&display->video);
}

static void display_save(void *device, struct state_writer *writer)
{
	struct display *display = device;

	keyboard_save(&display->keyboard, writer);
	mouse_save(&display->mouse, writer);
	video_save(&display->video, writer);
}

static int display_restore(void *device, const struct state_node *node)
{
	struct display *display = device;
	int r = keyboard_restore(&display->keyboard, node);

	if (r == 0)
		r = mouse_restore(&display->mouse, node);
	if (r == 0)
		r = video_restore(&display->video, node);
	return r;
}

struct pause_call {
	struct display *display;
	bool paused;
};

/* On the I/O thread. */
static void set_paused(void *context)
{
	const struct pause_call *call = context;

	call->display->paused = call->paused;
}

static void pause_thread(struct display *display, bool paused)
{
	struct pause_call call = {display, paused};

	io_thread_call(display->env.io_threads[0], set_paused, &call);
}

static void display_quiesce(void *device)
{
	pause_thread(device, true);
	receive_all(device);
}

static void display_unquiesce(void *device)
{
	struct display *display = device;
	struct synth *synth;

	pause_thread(display, false);
	for (unsigned int i = 0; (synth = synth_of(display, i)); i++) {
		if (synth->channel)
			channel_kick(synth->channel);
	}
}

static void display_inspect(void *device, struct state_writer *writer)
{
	const struct display *display = device;

	state_put_u32(writer, "viewer", display->viewer.fd >= 0);
	state_put_u64(writer, "viewer-malformed", display->viewer.malformed);
}

/* The shape of what is on the screen, for whoever has the file of video memory. */
static void screen_verb(void *device, const json_t *parameters, struct device_call *call)
{
	const struct display *display = device;
	const struct desktop *desktop = display->env.desktop;
	const struct video_mode *mode = display_mode(display);

	if (!display->video.claimed && desktop && desktop->screen.draw)
		desktop->screen.draw(desktop->screen.context);
	if (mode->width == 0) {
		call->refuse(call, "the guest shows nothing: its video driver is not loaded (Linux "
				   "has it as hyperv_drm), or has turned the screen off");
		return;
	}
	call->reply(call, json_pack("{s:i, s:i, s:i, s:i, s:i}", "width", (int)mode->width,
				    "height", (int)mode->height, "depth", (int)mode->depth, "pitch",
				    (int)mode->pitch, "offset", (int)mode->offset));
}

/* {} -> as struct desktop_screen has it. */
static void text_verb(void *device, const json_t *parameters, struct device_call *call)
{
	const struct display *display = device;
	const struct desktop *desktop = display->env.desktop;

	if (display->video.claimed || !desktop || !desktop->screen.text)
		call->refuse(call, "its screen has no text mode, as a Generation 1 VM's has until "
				   "the guest's video driver is loaded; take a picture of it");
	else
		desktop->screen.text(desktop->screen.context, call);
}

/* How many there are, or -EINVAL, having refused the call. */
static int read_strokes(const json_t *list, struct keyboard_stroke *strokes,
			struct device_call *call)
{
	struct error err;
	size_t index;
	json_t *item;

	if (json_array_size(list) > STROKES_MAX) {
		error_set(&err, EINVAL, "give at most %u strokes at a time", STROKES_MAX);
		call->refuse(call, err.text);
		return -EINVAL;
	}
	json_array_foreach((json_t *)list, index, item)
	{
		json_int_t value = json_integer_value(item);
		uint32_t stroke = value >= 0 && value <= UINT32_MAX ? (uint32_t)value : 0;

		strokes[index] =
			(struct keyboard_stroke){(uint16_t)stroke, (uint16_t)(stroke >> 16)};
		if (keyboard_stroke_valid(&strokes[index]))
			continue;
		error_set(&err, EINVAL,
			  "stroke %zu is no make code; give codes of AT set 1, from 1 to 127",
			  index);
		call->refuse(call, err.text);
		return -EINVAL;
	}
	return (int)json_array_size(list);
}

/* {"strokes": [make code | info << 16, ...]} -> {"typed": all of them, or 0: try again later} */
static void type_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct display *display = device;
	struct keyboard_stroke strokes[STROKES_MAX];
	int count = read_strokes(json_object_get(parameters, "strokes"), strokes, call);
	int r;

	if (count < 0)
		return;
	r = display_type(display, strokes, (unsigned int)count);
	if (r == -ENOTCONN)
		call->refuse(call, "the guest has no keyboard driver, or has not loaded it yet: "
				   "Linux has it as hyperv-keyboard");
	else
		call->reply(call, json_pack("{s:i}", "typed", r ? 0 : count));
}

static const struct device_verb verbs[] = {
	{"screen", screen_verb},
	{"text", text_verb},
	{"type", type_verb},
	{NULL, NULL},
};

const struct device_ops display_device = {
	.name = "display",
	.state_version = 1,
	.create = display_create,
	.destroy = display_destroy,
	.reset = display_reset,
	.save = display_save,
	.restore = display_restore,
	.memory_file = display_memory_file,
	.inspect = display_inspect,
	.quiesce = display_quiesce,
	.unquiesce = display_unquiesce,
	.verbs = verbs,
};
