#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/unix_socket.h"
#include "base/varlink.h"
#include "mgmt/display_options.h"
#include "mgmt/helper.h"
#include "mgmt/supervisor.h"

/* The host's side of a VM's screen: its video memory, and bulkhead-vnc. */

#define DISPLAY_DEVICE "display" /* as the worker calls it */

struct display {
	const struct run_display *options;
	int vram;		  /* for the worker; -1: none */
	int vram_read;		  /* the same, read-only */
	int viewer;		  /* for the worker: its end of a socket to the helper; -1: none */
	struct unix_listener vnc; /* fd -1: none */
	struct helper helper;
	struct supervisor *supervisor;
	struct event_source *ended; /* the helper has */
};

#define DISPLAY_INIT                                                                               \
	{                                                                                          \
		.vram = -1, .vram_read = -1, .viewer = -1, .vnc.fd = -1                            \
	}

/* Makes video memory, listens, and starts the helper, as the options say; they must stay.  -errno
 * with a sentence. */
int display_open(const struct run_display *options, struct display *display, struct error *err);
/* Closes what is passed to the worker and not needed here. */
void display_close_worker_ends(struct display *display);
/* Closes all and ends the helper.  Harmless after DISPLAY_INIT. */
void display_close(struct display *display);

/* The configuration of the worker's device (devices/vsp/display.h), without its descriptors. */
json_t *display_config(const struct display *display);

/* Tells the user what becomes of the helper. */
void display_part(struct display *display, struct supervisor_part *part);

/* The Varlink methods. */
void display_type_keys(void *context, struct varlink_call *call, const json_t *parameters);
void display_read_text(void *context, struct varlink_call *call, const json_t *parameters);
void display_screenshot(void *context, struct varlink_call *call, const json_t *parameters);
