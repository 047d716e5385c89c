#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "base/checked.h"
#include "devices/vsp/netvsp_internal.h"

/* A copy of every frame, both ways, for a capture file.  The guest may change its frames meanwhile;
 * those it sends whole, to be cut by the host, are recorded whole. */

int netvsp_capture_open(struct netvsp *netvsp, const json_t *config, struct error *err)
{
	const json_t *given = json_object_get(config, "capture_fd");
	struct capture_config capture = {
		.link_type = CAPTURE_LINK_ETHERNET,
		.name = netvsp->id,
		.description = netvsp->name,
		.thread = netvsp->env.io_threads[0],
		.loop = netvsp->env.loop,
	};
	int r;

	if (!given)
		return 0;
	/* Its own, so that the configuration's stays the caller's if the NIC cannot be made. */
	capture.fd = fcntl((int)json_integer_value(given), F_DUPFD_CLOEXEC, 0);
	r = capture.fd < 0 ? -errno : capture_new(&capture, &netvsp->capture);
	if (r == 0)
		return 0;
	if (capture.fd >= 0)
		close(capture.fd);
	return error_set(err, -r, "--pcap %s: it cannot be written: %s; choose another file",
			 netvsp->id, strerror(-r));
}

void netvsp_capture_sent(const struct netvsp *netvsp, const struct netvsp_transmit *transmit)
{
	capture_record(netvsp->capture, CAPTURE_FROM_GUEST, transmit->transmit.iov + 1,
		       transmit->transmit.iov_count - 1, transmit->transmit.bytes);
}

void netvsp_capture_received(const struct netvsp *netvsp, const struct netvsp_receive *receive,
			     uint32_t first, uint32_t bytes)
{
	uint32_t data_max = receive->section_bytes - NETVSP_ROOM;
	struct iovec iov[NETVSP_PIECES_MAX];
	unsigned int used = 0;
	uint32_t left = bytes;

	for (uint32_t i = first; i != NETVSP_SECTION_NONE && left > 0;
	     i = receive->sections[i].next) {
		uint32_t part = MIN(left, data_max);
		int r = netvsp_area_pieces(&receive->area, i * receive->section_bytes + NETVSP_ROOM,
					   part, iov, used, NETVSP_PIECES_MAX);

		if (r < 0)
			break;
		used = (unsigned int)r;
		left -= part;
	}
	capture_record(netvsp->capture, CAPTURE_TO_GUEST, iov, used, bytes);
}
