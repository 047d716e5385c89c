#include "mgmt/display.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "mgmt/vm_interface.h"
#include "mgmt/worker_spawn.h"

#define VRAM_BYTES (32 << 20) /* as the device has it: the guest's, and what is drawn of it */
#define BACKLOG	   8

/* Nobody can change its size, and who has the second descriptor cannot write. */
static int make_vram(struct display *display, struct error *err)
{
	char path[32];

	display->vram = memfd_new("vram", VRAM_BYTES);
	if (display->vram < 0)
		return error_host(err, -display->vram, "cannot make video memory");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", display->vram);
	display->vram_read = open(path, O_RDONLY | O_CLOEXEC);
	return display->vram_read < 0 ? error_host(err, errno, "cannot share video memory") : 0;
}

static int listen_address(struct display *display, struct error *err)
{
	const struct sockaddr_in *address = &display->options->address;
	int on = 1;

	display->vnc.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (display->vnc.fd >= 0 &&
	    !setsockopt(display->vnc.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) &&
	    !bind(display->vnc.fd, (const struct sockaddr *)address, sizeof(*address)) &&
	    !listen(display->vnc.fd, BACKLOG))
		return 0;
	return error_set(err, errno, "--vnc %.80s: cannot listen there: %s; give another port",
			 display->options->vnc, strerror(errno));
}

static int listen_path(struct display *display, struct error *err)
{
	int r = unix_listen(display->options->vnc_path, 0600, &display->vnc);

	if (r == 0)
		return 0;
	display->vnc.fd = -1;
	return error_set(err, -r, "--vnc %.200s: cannot listen there: %s; give another path",
			 display->options->vnc,
			 r == -EADDRINUSE ? "somebody listens there already"
			 : r == -EEXIST	  ? "there is a file that is no socket"
					  : strerror(-r));
}

/* What bulkhead-vnc has: the worker, video memory, where clients come. */
static int start_helper(struct display *display, struct error *err)
{
	char path[PATH_MAX];
	const char *const arguments[] = {path, NULL};
	CLEANUP_CLOSE int theirs = -1;
	int pair[2];
	int r = vnc_find(path, sizeof(path), err);

	if (r)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_host(err, errno, "--vnc: cannot make a socket");
	display->viewer = pair[0];
	theirs = pair[1];
	r = helper_start_with(arguments, (const int[]){theirs, display->vram_read, display->vnc.fd},
			      3, &display->helper);
	return r ? error_host(err, -r, "--vnc: cannot start bulkhead-vnc") : 0;
}

int display_open(const struct run_display *options, struct display *display, struct error *err)
{
	int r;

	display->options = options;
	if (!options->wanted)
		return 0;
	r = make_vram(display, err);
	if (r || !options->vnc)
		return r;
	r = options->vnc_path ? listen_path(display, err) : listen_address(display, err);
	return r ? r : start_helper(display, err);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void display_close_worker_ends(struct display *display)
{
	close_fd(&display->vram);
	close_fd(&display->viewer);
}

void display_close(struct display *display)
{
	display_close_worker_ends(display);
	helper_stop(&display->helper);
	if (display->vnc.fd >= 0 && display->options->vnc_path)
		unix_listener_close(&display->vnc, display->options->vnc_path);
	else
		close_fd(&display->vnc.fd);
	close_fd(&display->vram_read);
}

json_t *display_config(const struct display *display)
{
	return json_pack("{s:s, s:i, s:i}", "device", DISPLAY_DEVICE, "width",
			 (int)display->options->width, "height", (int)display->options->height);
}

static void on_helper_ended(void *context, uint32_t events)
{
	struct display *display = context;
	char sentence[512];
	char why[256];

	event_source_remove(display->ended);
	display->ended = NULL;
	/* It ends by itself when the worker, and so the VM, has. */
	if (!helper_failed(&display->helper, why, sizeof(why)))
		return;
	snprintf(sentence, sizeof(sentence),
		 "--vnc %.80s: bulkhead-vnc has ended (%.200s), so nobody can look at the screen "
		 "that "
		 "way until the VM is started anew",
		 display->options->vnc, why);
	supervisor_tell(display->supervisor, sentence);
}

static int part_start(void *context, struct supervisor *supervisor, struct event_loop *loop)
{
	struct display *display = context;

	display->supervisor = supervisor;
	if (!display->helper.pid || display->helper.pidfd < 0)
		return 0;
	return event_loop_watch(loop, display->helper.pidfd, EPOLLIN, on_helper_ended, display,
				&display->ended);
}

static void part_stop(void *context)
{
	struct display *display = context;

	event_source_remove(display->ended);
	display->ended = NULL;
}

void display_part(struct display *display, struct supervisor_part *part)
{
	*part = (struct supervisor_part){.device = DISPLAY_DEVICE,
					 .start = part_start,
					 .stop = part_stop,
					 .context = display};
}

/* A call that waits for the worker's word on what is shown. */
struct screenshot {
	struct varlink_call *call;
	const struct display *display;
};

static void on_screen(void *context, const json_t *reply, const char *error)
{
	struct screenshot *screenshot = context;

	if (reply) {
		json_t *shape = json_deep_copy(reply);

		json_object_set_new(shape, "fd", json_integer(0));
		varlink_reply_fd(screenshot->call, shape, screenshot->display->vram_read);
	} else {
		vm_interface_answer(screenshot->call, NULL, error);
	}
	free(screenshot);
}

static const struct display *find_display(struct supervisor *supervisor, struct varlink_call *call)
{
	const struct display *display = supervisor_part_context(supervisor, DISPLAY_DEVICE);

	if (!display)
		vm_interface_answer(
			call, NULL,
			"it has no screen and no keyboard; start it with --video or --vnc");
	return display;
}

void display_type_keys(void *context, struct varlink_call *call, const json_t *parameters)
{
	if (find_display(context, call))
		supervisor_forward_verb(context, call, DISPLAY_DEVICE, "type", parameters);
}

void display_read_text(void *context, struct varlink_call *call, const json_t *parameters)
{
	if (find_display(context, call))
		supervisor_forward_verb(context, call, DISPLAY_DEVICE, "text", parameters);
}

void display_screenshot(void *context, struct varlink_call *call, const json_t *parameters)
{
	const struct display *display = find_display(context, call);
	struct screenshot *screenshot;

	if (!display)
		return;
	screenshot = malloc(sizeof(*screenshot));
	if (!screenshot) {
		vm_interface_answer(call, NULL, "out of memory; free some on the host");
		return;
	}
	*screenshot = (struct screenshot){call, display};
	if (supervisor_call_device(context, DISPLAY_DEVICE, "screen", json_object(), NULL, 0,
				   on_screen, screenshot)) {
		free(screenshot);
		vm_interface_answer(call, NULL, "the VM is ending");
	}
}
