#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "devices/chipset/tulip_internal.h"

/* What the adapter's host gets to know: a copy of its frames. */

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
