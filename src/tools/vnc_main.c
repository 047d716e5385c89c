#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/standard_fds.h"
#include "tools/vnc_clients.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"

#define MESSAGES_MAX 64 /* of the worker's, a turn */

static void refresh(struct vnc *vnc)
{
	struct vnc_area area;

	if (vnc_screen_refresh(&vnc->screen, &area))
		vnc_clients_changed(vnc, &area);
}

/* A message of the worker's: 0 for none, 1, or -errno; -ENODATA at its end. */
static int hear_message(struct vnc *vnc)
{
	uint8_t data[sizeof(struct display_message) + 1]; /* one that is too long shows */
	struct iovec iov = {data, sizeof(data)};
	struct msghdr packet = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t size = recvmsg(VNC_WORKER_FD, &packet, MSG_DONTWAIT);
	uint32_t *old = NULL;
	int change;

	if (size < 0 && errno == EAGAIN)
		return 0;
	if (size <= 0)
		return -ENODATA;
	change = vnc_screen_message(&vnc->screen, data, (size_t)size, &old);
	if (change == VNC_PICTURE) {
		vnc_clients_new_picture(vnc);
		free(old);
	}
	return change < 0 ? change : 1;
}

/* Takes what the worker has said, but leaves viewers their turn: whether there was anything, or
 * -errno. */
static int hear_worker(struct vnc *vnc)
{
	int heard = 0, r = 1;

	while (r > 0 && heard < MESSAGES_MAX) {
		r = hear_message(vnc);
		heard += r > 0;
	}
	refresh(vnc);
	return r < 0 ? r : heard > 0;
}

static void accept_client(struct vnc *vnc)
{
	int fd = accept4(VNC_LISTEN_FD, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && vnc_clients_add(vnc, fd))
		close(fd);
}

/* Waits, unless there is more of the worker's. */
static bool wait_for_news(struct vnc *vnc, bool more, fd_set *reads)
{
	struct display_message owed;
	struct timeval most;
	uint64_t us, ns;
	fd_set writes;
	int highest;

	FD_ZERO(reads);
	FD_ZERO(&writes);
	FD_SET(VNC_WORKER_FD, reads);
	FD_SET(VNC_LISTEN_FD, reads);
	if (vnc_debt(&vnc->debts, &owed))
		FD_SET(VNC_WORKER_FD, &writes);
	highest = MAX(VNC_LISTEN_FD, vnc_clients_watch(vnc, reads, &writes, &ns));
	us = more ? 0 : ns / 1000 + 1;
	most = (struct timeval){(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
	return select(highest + 1, reads, &writes, NULL, more || ns < UINT64_MAX ? &most : NULL) >=
	       0;
}

static int serve(struct vnc *vnc)
{
	int heard = 1;
	fd_set reads;

	while (heard >= 0) {
		if (!wait_for_news(vnc, heard, &reads))
			continue;
		vnc_pay(vnc);
		vnc_clients_serve(vnc, &reads);
		if (FD_ISSET(VNC_LISTEN_FD, &reads))
			accept_client(vnc);
		heard = hear_worker(vnc);
	}
	return heard == -ENODATA ? 0 : heard;
}

static int fail(const char *sentence)
{
	fprintf(stderr, "bulkhead-vnc: %s\n", sentence);
	return EXIT_VMM_ERROR;
}

static int set_up(struct vnc *vnc)
{
	void *vram = mmap(NULL, DISPLAY_FILE_BYTES, PROT_READ, MAP_SHARED, VNC_VRAM_FD, 0);
	int r;

	if (vram == MAP_FAILED)
		return -errno;
	if (fcntl(VNC_LISTEN_FD, F_SETFL, O_NONBLOCK))
		return -errno;
	r = vnc_screen_init(&vnc->screen, vram);
	return r ? r : vnc_clients_init(vnc);
}

static int run(void)
{
	struct vnc vnc = {.clients = 0};
	struct sandbox sandbox;
	struct error err;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	if (sandbox_begin(&sandbox, VNC_LISTEN_FD, 0, &err) || sandbox_drop(&sandbox, &err))
		return fail(err.text);
	if (set_up(&vnc))
		return fail("bulkhead starts it; use `bulkhead run --vnc`");
	if (sandbox_enter_vnc(&err))
		return fail(err.text);
	if (serve(&vnc))
		return fail("the worker sent what makes no sense");
	return 0;
}

/* What libraries do at an exit may be more than the filter allows, and there is nothing to tidy. */
int main(void)
{
	_exit(run());
}
