#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "devices/chipset/tulip_internal.h"

/* What the adapter's host gets to know: a copy of its frames, and that the link has gone. */

int tulip_capture_open(struct tulip *tulip, const json_t *config, struct error *err)
{
	const json_t *given = json_object_get(config, "capture_fd");
	struct capture_config capture = {
		.link_type = CAPTURE_LINK_ETHERNET,
		.name = tulip->id,
		.description = "Legacy Network Adapter",
		.thread = tulip->thread,
		.loop = tulip->env.loop,
	};
	int r;

	if (!given)
		return 0;
	/* Its own, so that the configuration's stays the caller's if the adapter cannot be made. */
	capture.fd = fcntl((int)json_integer_value(given), F_DUPFD_CLOEXEC, 0);
	r = capture.fd < 0 ? -errno : capture_new(&capture, &tulip->capture);
	if (r == 0)
		return 0;
	if (capture.fd >= 0)
		close(capture.fd);
	return error_set(err, -r, "--pcap %s: it cannot be written: %s; choose another file",
			 tulip->id, strerror(-r));
}

void tulip_capture_frame(const struct tulip *tulip, bool sent, uint8_t *data, uint32_t bytes)
{
	struct iovec iov = {data, bytes};

	if (tulip->capture)
		capture_record(tulip->capture, sent ? CAPTURE_FROM_GUEST : CAPTURE_TO_GUEST, &iov,
			       1, bytes);
}

/* What the main loop is to say of an adapter, which may be gone by then. */
struct link_event {
	const struct device_events *events;
	void *context; /* of events */
	char id[TULIP_ID_MAX];
	const char *why;
};

static void say_link_down(void *context)
{
	struct link_event *event = context;

	/* A parent that does not read is told by inspect. */
	event->events->say(event->context, event->id,
			   json_pack("{s:b, s:s}", "link", 0, "why", event->why));
	free(event);
}

void tulip_say_link_down(const struct tulip *tulip)
{
	const char *why = atomic_load(&tulip->port->down);
	struct link_event *event;

	if (!why || !tulip->id[0])
		return;
	event = malloc(sizeof(*event));
	if (!event)
		return;
	*event = (struct link_event){tulip->env.events, tulip->env.context, "", why};
	memcpy(event->id, tulip->id, sizeof(event->id));
	if (event_loop_post(tulip->env.loop, say_link_down, event))
		free(event);
}
