#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/chipset/i8042_internal.h"
#include "devices/vsp/mouse.h"

/* Between strokes: a loader that looks into the BIOS's buffer of 15 keys now and then misses none
 * of a text. */
#define PACE_NS 10000000ull

static struct desktop_input *input_of(struct i8042 *chip)
{
	return chip->env.desktop ? &chip->env.desktop->input : NULL;
}

void i8042_host_wake(struct i8042 *chip)
{
	eventfd_write(chip->wake_fd, 1);
}

/* The next stroke comes a while after the last. */
static void arm(struct i8042 *chip)
{
	if (!chip->pacing && strokes_next(&chip->strokes))
		chip->pacing = event_timer_arm(chip->pace, PACE_NS, 0) == 0;
}

void i8042_host_feed(struct i8042 *chip)
{
	const struct keyboard_stroke *stroke = strokes_next(&chip->strokes);

	if (!stroke)
		return;
	pthread_mutex_lock(&chip->lock);
	chip->strokes_wait = !i8042_takes_stroke(chip);
	if (!chip->strokes_wait) {
		ps2_keyboard_stroke(&chip->keyboard, stroke);
		strokes_taken(&chip->strokes);
		i8042_update(chip);
	}
	pthread_mutex_unlock(&chip->lock);
	/* Where the guest has not taken the last, it wakes us when it has. */
	if (!chip->strokes_wait)
		arm(chip);
}

static void on_pace(void *context, uint32_t events)
{
	struct i8042 *chip = context;

	chip->pacing = false;
	i8042_host_feed(chip);
}

static void tell_leds(struct i8042 *chip)
{
	struct desktop *desktop = chip->env.desktop;
	uint32_t leds;

	pthread_mutex_lock(&chip->lock);
	leds = chip->keyboard.leds;
	pthread_mutex_unlock(&chip->lock);
	if (!desktop || desktop->input.leds == leds)
		return;
	desktop->input.leds = leds;
	if (desktop->viewer.on_leds)
		desktop->viewer.on_leds(desktop->viewer.context);
}

static void on_wake(void *context, uint32_t events)
{
	struct i8042 *chip = context;
	eventfd_t count;

	eventfd_read(chip->wake_fd, &count);
	tell_leds(chip);
	arm(chip);
}

static int type(void *context, const struct keyboard_stroke *strokes, unsigned int count)
{
	struct i8042 *chip = context;
	int r = strokes_put(&chip->strokes, strokes, count);

	if (r == 0 && !chip->pacing)
		i8042_host_feed(chip);
	return r;
}

static bool releases(void *context, const struct keyboard_stroke *stroke)
{
	struct i8042 *chip = context;

	return strokes_releases(&chip->strokes, stroke);
}

/* The way from one place of a range to another, in pixels. */
static int32_t way(uint16_t from, uint16_t to, uint32_t pixels)
{
	int64_t range = MOUSE_RANGE;

	return (int32_t)(to * (int64_t)pixels / range - from * (int64_t)pixels / range);
}

static void move(void *context, const struct mouse_report *report, uint32_t width, uint32_t height)
{
	struct i8042 *chip = context;
	int32_t dx = chip->placed ? way(chip->x, report->x, width) : 0;
	int32_t dy = chip->placed ? way(chip->y, report->y, height) : 0;

	chip->placed = true;
	chip->x = report->x;
	chip->y = report->y;
	pthread_mutex_lock(&chip->lock);
	ps2_mouse_move(&chip->mouse, dx, -dy, -report->wheel, report->buttons);
	i8042_update(chip);
	pthread_mutex_unlock(&chip->lock);
}

int i8042_host_open(struct i8042 *chip)
{
	int r;

	chip->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (chip->wake_fd < 0)
		return -errno;
	r = event_loop_watch(chip->env.loop, chip->wake_fd, EPOLLIN, on_wake, chip, &chip->wake);
	if (r == 0)
		r = event_loop_timer(chip->env.loop, on_pace, chip, &chip->pace);
	if (r == 0 && chip->env.desktop)
		*input_of(chip) = (struct desktop_input){
			.type = type, .releases = releases, .move = move, .context = chip};
	return r;
}

void i8042_host_close(struct i8042 *chip)
{
	if (input_of(chip) && input_of(chip)->context == chip)
		*input_of(chip) = (struct desktop_input){.leds = 0};
	event_source_remove(chip->pace);
	event_source_remove(chip->wake);
	if (chip->wake_fd >= 0)
		close(chip->wake_fd);
}

void i8042_host_reset(struct i8042 *chip)
{
	strokes_clear(&chip->strokes);
	chip->strokes_wait = false;
	tell_leds(chip);
}

void i8042_host_restored(struct i8042 *chip)
{
	tell_leds(chip);
	arm(chip);
}
