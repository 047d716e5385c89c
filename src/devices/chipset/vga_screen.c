#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "devices/chipset/vga_device.h"

/* While somebody looks; and drawing rests for so many times as long as it took. */
#define REFRESH_NS 40000000ull
#define REST	   4u
#define PIXELS_MAX VGA_VBE_WIDTH_MAX

static_assert(VGA_MEMORY_BYTES == DISPLAY_VRAM_BYTES, "the guest's part of the file");

/* A picture in the making. */
struct drawing {
	struct vga_registers regs;
	struct vga_shape shape;
	struct vga_palette palette;
	uint32_t pixels[PIXELS_MAX];
};

static struct desktop_screen *screen_of(struct vga *vga)
{
	return &vga->env.desktop->screen;
}

static struct video_mode mode_of(const struct vga_shape *shape)
{
	if (shape->kind == VGA_OFF)
		return (struct video_mode){.width = 0};
	return (struct video_mode){
		.width = shape->width,
		.height = shape->height,
		.depth = 32,
		.pitch = shape->width * (uint32_t)sizeof(uint32_t),
		.offset = DISPLAY_VRAM_BYTES,
	};
}

/* Draws each line and keeps those that are other than before; the first and the last of them in
 * area. */
static void draw_lines(struct vga *vga, struct drawing *drawing, struct video_area *area)
{
	const struct vga_shape *shape = &drawing->shape;
	size_t bytes = shape->width * sizeof(uint32_t);
	uint8_t *line = vga->memory + DISPLAY_VRAM_BYTES;

	*area = (struct video_area){0};
	for (uint32_t y = 0; y < shape->height; y++, line += bytes) {
		vga_draw_line(&drawing->regs, shape, &drawing->palette, vga->memory, y,
			      drawing->pixels);
		if (memcmp(line, drawing->pixels, bytes) == 0)
			continue;
		memcpy(line, drawing->pixels, bytes);
		video_area_add(area, &(struct video_area){0, y, shape->width, y + 1});
	}
}

static void tell(struct vga *vga, const struct video_mode *mode, const struct video_area *area)
{
	const struct desktop_viewer *viewer = &vga->env.desktop->viewer;
	bool other = memcmp(mode, &screen_of(vga)->mode, sizeof(*mode)) != 0;

	screen_of(vga)->mode = *mode;
	if (other && viewer->on_mode)
		viewer->on_mode(viewer->context);
	else if (area->x1 < area->x2 && viewer->on_dirt)
		viewer->on_dirt(viewer->context, area);
}

void vga_screen_draw(struct vga *vga)
{
	struct drawing drawing;
	struct video_area area = {0};
	struct video_mode mode;
	bool silent; /* the guest may have drawn without our knowledge */

	/* Cleared first: what changes from here on is for the next time. */
	bool changed = atomic_exchange(&vga->changed, false);

	pthread_mutex_lock(&vga->lock);
	silent = screen_of(vga)->linear_at && vga->regs.vbe[VGA_VBE_ENABLE] & VGA_VBE_ON;
	if (changed || silent)
		drawing.regs = vga->regs;
	pthread_mutex_unlock(&vga->lock);
	if (!changed && !silent)
		return;
	vga_shape_of(&drawing.regs, &drawing.shape);
	vga_palette_of(&drawing.regs, &drawing.palette);
	mode = mode_of(&drawing.shape);
	if (mode.width > 0)
		draw_lines(vga, &drawing, &area);
	tell(vga, &mode, &area);
}

static int add_rows(const struct vga *vga, const struct vga_shape *shape, json_t *lines)
{
	for (uint32_t row = 0; row < shape->rows; row++) {
		char *text CLEANUP_FREE = vga_text_row(shape, vga->memory, row);

		if (!text || json_array_append_new(lines, json_string(text)))
			return -ENOMEM;
	}
	return 0;
}

void vga_screen_text(void *context, struct device_call *call)
{
	struct vga *vga = context;
	struct vga_registers regs;
	struct vga_shape shape;
	uint32_t column, row;
	json_t *reply;

	pthread_mutex_lock(&vga->lock);
	regs = vga->regs;
	pthread_mutex_unlock(&vga->lock);
	vga_shape_of(&regs, &shape);
	if (shape.kind != VGA_TEXT) {
		call->refuse(call, shape.kind == VGA_OFF
					   ? "the guest shows nothing yet; wait for its firmware"
					   : "the guest shows a picture, not text; write it to a "
					     "file with screenshot");
		return;
	}
	reply = json_pack("{s:i, s:i, s:[]}", "columns", (int)shape.columns, "rows",
			  (int)shape.rows, "lines");
	if (!reply || add_rows(vga, &shape, json_object_get(reply, "lines"))) {
		json_decref(reply);
		call->refuse(call, "out of memory; free some on the host");
		return;
	}
	if (vga_text_cursor(&regs, &shape, &column, &row)) {
		json_object_set_new(reply, "cursor_column", json_integer(column));
		json_object_set_new(reply, "cursor_row", json_integer(row));
	}
	call->reply(call, reply);
}

static void draw(void *context)
{
	vga_screen_draw(context);
}

/* A large picture on a slow host leaves the loop time for others. */
static void on_timer(void *context, uint32_t events)
{
	struct vga *vga = context;
	uint64_t begin = clock_now_ns(), spent;

	vga_screen_draw(vga);
	spent = clock_now_ns() - begin;
	if (vga->env.desktop->watched)
		event_timer_arm(vga->timer, MAX(REFRESH_NS, spent * REST), 0);
}

static void on_watched(void *context)
{
	struct vga *vga = context;

	event_timer_arm(vga->timer, vga->env.desktop->watched ? REFRESH_NS : 0, 0);
}

/* Where it cannot be shown as memory, each access comes to us. */
static void show_linear(struct vga *vga, uint64_t address)
{
	const struct device_env *env = &vga->env;
	uint64_t *shown = &screen_of(vga)->linear_at;

	if (address == *shown || !env->events || !env->events->show_memory)
		return;
	if (*shown)
		env->events->show_memory(env->context, PARTITION_SHOWN_VGA, 0, 0, NULL);
	*shown = 0;
	/* The guest may have drawn until now. */
	atomic_store(&vga->changed, true);
	if (address == 0 || vga->moves == VIDEO_MOVES_MAX)
		return;
	vga->moves++;
	if (env->events->show_memory(env->context, PARTITION_SHOWN_VGA, address, DISPLAY_VRAM_BYTES,
				     vga->memory) == 0)
		*shown = address;
}

static void on_wake(void *context, uint32_t events)
{
	struct vga *vga = context;
	eventfd_t count;

	eventfd_read(vga->wake_fd, &count);
	show_linear(vga, atomic_load(&vga->linear_at));
}

void vga_screen_moved(struct vga *vga, uint64_t address)
{
	atomic_store(&vga->linear_at, address);
	eventfd_write(vga->wake_fd, 1);
}

int vga_screen_open(struct vga *vga)
{
	int r;

	vga->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vga->wake_fd < 0)
		return -errno;
	r = event_loop_watch(vga->env.loop, vga->wake_fd, EPOLLIN, on_wake, vga, &vga->wake);
	if (r == 0)
		r = event_loop_timer(vga->env.loop, on_timer, vga, &vga->timer);
	if (r < 0)
		return r;
	*screen_of(vga) = (struct desktop_screen){
		.draw = draw, .text = vga_screen_text, .on_watched = on_watched, .context = vga};
	on_watched(vga);
	return 0;
}

void vga_screen_close(struct vga *vga)
{
	const struct video_mode off = {.width = 0};

	if (screen_of(vga)->context == vga) {
		/* The guest is to see no memory that is gone. */
		show_linear(vga, 0);
		tell(vga, &off, &(struct video_area){0});
		*screen_of(vga) = (struct desktop_screen){.context = NULL};
	}
	event_source_remove(vga->timer);
	event_source_remove(vga->wake);
	if (vga->wake_fd >= 0)
		close(vga->wake_fd);
}

void vga_screen_renew(struct vga *vga)
{
	atomic_store(&vga->changed, true);
	vga->moves = 0;
	show_linear(vga, atomic_load(&vga->linear_at));
	if (vga->env.desktop->watched)
		vga_screen_draw(vga);
}
