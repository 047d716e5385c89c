#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "base/error.h"

/* --video and --vnc: whether a VM has a screen, and who may look at it. */

#define DISPLAY_WIDTH_MIN      320u
#define DISPLAY_HEIGHT_MIN     200u
#define DISPLAY_WIDTH_MAX      2560u
#define DISPLAY_HEIGHT_MAX     1600u
#define DISPLAY_WIDTH_DEFAULT  1024u
#define DISPLAY_HEIGHT_DEFAULT 768u

struct run_display {
	bool wanted;
	unsigned int width; /* that the guest is to prefer */
	unsigned int height;
	const char *vnc;	    /* as given; NULL: no VNC */
	const char *vnc_path;	    /* of a Unix socket, in vnc; NULL: the address */
	struct sockaddr_in address; /* of the loopback interface */
};

/* It has one, of the usual resolution unless another was named. */
void display_options_want(struct run_display *display);
int display_options_video(const char *value, struct run_display *display, struct error *err);
int display_options_vnc(const char *value, struct run_display *display, struct error *err);
