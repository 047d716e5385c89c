#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/vsp/display.h"

/* Messages of a viewer's in a row, before others on the loop get their turn. */
#define TURN 64

static bool send_message(struct display_viewer *viewer, const struct display_message *message)
{
	struct iovec iov = {(void *)message, sizeof(*message)};
	const struct msghdr packet = {.msg_iov = &iov, .msg_iovlen = 1};

	return sendmsg(viewer->fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(*message);
}

/* Its size, as far as it fits; -errno. */
static ssize_t receive_message(struct display_viewer *viewer, void *data, size_t size)
{
	struct iovec iov = {data, size};
	struct msghdr packet = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t received = recvmsg(viewer->fd, &packet, MSG_DONTWAIT);

	return received < 0 ? -errno : received;
}

static struct display_message mode_message(const struct video_mode *mode)
{
	return (struct display_message){
		DISPLAY_MODE, {mode->width, mode->height, mode->depth, mode->pitch, mode->offset}};
}

static struct display_message dirt_message(const struct video_area *area)
{
	return (struct display_message){
		DISPLAY_DIRT, {area->x1, area->y1, area->x2 - area->x1, area->y2 - area->y1}};
}

/* Sends what is due, in order; false where there is no room for it. */
static bool send_due(struct display *display)
{
	struct display_viewer *viewer = &display->viewer;
	struct display_message message;

	if (viewer->mode_due) {
		message = mode_message(display_mode(display));
		if (!send_message(viewer, &message))
			return false;
		viewer->mode_due = false;
	}
	if (viewer->leds_due) {
		message = (struct display_message){DISPLAY_LEDS, {display_leds(display)}};
		if (!send_message(viewer, &message))
			return false;
		viewer->leds_due = false;
	}
	if (viewer->dirt.x1 < viewer->dirt.x2) {
		message = dirt_message(&viewer->dirt);
		if (!send_message(viewer, &message))
			return false;
		viewer->dirt = (struct video_area){0};
	}
	return true;
}

void display_viewer_tell(struct display *display)
{
	struct display_viewer *viewer = &display->viewer;
	bool waits;

	if (viewer->fd < 0)
		return;
	waits = !send_due(display);
	if (waits != viewer->waits)
		event_source_change(viewer->source, EPOLLIN | (waits ? EPOLLOUT : 0));
	viewer->waits = waits;
}

static void on_key(struct display *display, const uint32_t *values)
{
	struct keyboard_stroke stroke = {(uint16_t)values[0], (uint16_t)values[1]};

	if (values[0] > UINT16_MAX || values[1] > UINT16_MAX ||
	    display_type(display, &stroke, 1) == -EINVAL)
		display->viewer.malformed++;
}

static void on_pointer(struct display *display, const uint32_t *values)
{
	const struct mouse_report report = {
		.buttons = (uint8_t)values[2],
		.x = (uint16_t)values[0],
		.y = (uint16_t)values[1],
		.wheel = (int8_t)values[3],
		.pan = (int8_t)values[4],
	};

	if (values[0] > UINT16_MAX || values[1] > UINT16_MAX || values[2] > UINT8_MAX ||
	    display_point(display, &report) == -EINVAL)
		display->viewer.malformed++;
}

void display_viewer_message(struct display *display, const void *data, size_t size)
{
	struct display_message message = {0};

	if (size == sizeof(message))
		memcpy(&message, data, sizeof(message));
	switch (message.type) {
	case DISPLAY_KEY:
		on_key(display, message.values);
		break;
	case DISPLAY_POINTER:
		on_pointer(display, message.values);
		break;
	default:
		display->viewer.malformed++;
	}
}

static void on_viewer(void *context, uint32_t events)
{
	struct display *display = context;
	uint8_t data[sizeof(struct display_message) + 1]; /* one that is too long shows */

	for (unsigned int i = 0; i < TURN; i++) {
		ssize_t size = receive_message(&display->viewer, data, sizeof(data));

		if (size == -EAGAIN || size == -EINTR)
			break;
		if (size <= 0) {
			display_viewer_stop(display);
			return;
		}
		display_viewer_message(display, data, (size_t)size);
	}
	display_viewer_tell(display);
}

int display_viewer_start(struct display *display, int fd)
{
	struct display_viewer *viewer = &display->viewer;
	int r = event_loop_watch(display->env.loop, fd, EPOLLIN, on_viewer, display,
				 &viewer->source);

	if (r < 0)
		return r;
	viewer->fd = fd;
	viewer->mode_due = viewer->leds_due = true;
	video_watch(&display->video, true);
	display_watch(display);
	display_viewer_tell(display);
	return 0;
}

void display_viewer_stop(struct display *display)
{
	struct display_viewer *viewer = &display->viewer;

	event_source_remove(viewer->source);
	if (viewer->fd >= 0)
		close(viewer->fd);
	*viewer = (struct display_viewer){.fd = -1, .malformed = viewer->malformed};
	video_watch(&display->video, false);
	display_watch(display);
}
