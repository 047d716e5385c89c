#pragma once

#include "devices/desktop.h"
#include "devices/vsp/keyboard.h"
#include "devices/vsp/mouse.h"
#include "devices/vsp/video.h"

/*
 * The device "display": screen, keyboard and mouse of a VM.  Its configuration:
 *   {"width", "height" (of the resolution that the guest is to prefer), "vram_fd": the file of
 *    video memory, DISPLAY_FILE_BYTES long, "viewer_fd": a SOCK_SEQPACKET socket to a viewer
 *    (display_wire.h), optional}
 */

struct display_viewer {
	int fd; /* -1: none */
	struct event_source *source;
	bool waits; /* for room in the socket */
	/* What the viewer has not been told yet. */
	bool mode_due, leds_due;
	struct video_area dirt;
	uint64_t malformed; /* messages of its that were dropped */
};

struct display {
	struct device_env env;
	struct keyboard keyboard;
	struct mouse mouse;
	struct video video;
	struct display_viewer viewer;
	int vram;
	int wakeup; /* eventfd: a queue has changed */
	struct event_source *wakeup_source;
	bool paused; /* the I/O thread's */
};

/* display.c: keys and pointer go to the synthetic devices once a driver has opened them, until then
 * to the PC's, if there are.  As keyboard_type and mouse_move.  Main loop. */
int display_type(struct display *display, const struct keyboard_stroke *strokes,
		 unsigned int count);
int display_point(struct display *display, const struct mouse_report *report);
/* The synthetic screen's, once its driver has said what it shows, until then the PC's. */
const struct video_mode *display_mode(const struct display *display);
/* Tells the PC's adapter whether somebody looks at it. */
void display_watch(struct display *display);
/* As the guest last set them. */
uint32_t display_leds(const struct display *display);

/* display_viewer.c: the socket to a viewer.  Main loop. */

/* Takes over fd on success. */
int display_viewer_start(struct display *display, int fd);
void display_viewer_stop(struct display *display);
/* Something is due. */
void display_viewer_tell(struct display *display);
/* A message of the viewer's, size bytes long. */
void display_viewer_message(struct display *display, const void *data, size_t size);
