#include "mgmt/display_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

void display_options_want(struct run_display *display)
{
	if (!display->wanted) {
		display->width = DISPLAY_WIDTH_DEFAULT;
		display->height = DISPLAY_HEIGHT_DEFAULT;
	}
	display->wanted = true;
}

/* "1024x768": the first number ends at the 'x'. */
static bool parse_resolution(const char *value, uint64_t *width, uint64_t *height)
{
	const char *x = strchr(value, 'x');
	char first[16];

	if (!x || x - value >= (long)sizeof(first))
		return false;
	snprintf(first, sizeof(first), "%.*s", (int)(x - value), value);
	return !parse_u64(first, DISPLAY_WIDTH_MIN, DISPLAY_WIDTH_MAX, width) &&
	       !parse_u64(x + 1, DISPLAY_HEIGHT_MIN, DISPLAY_HEIGHT_MAX, height);
}

int display_options_video(const char *value, struct run_display *display, struct error *err)
{
	uint64_t width, height;

	if (!parse_resolution(value, &width, &height))
		return error_set(err, EINVAL,
				 "--video %.80s: give the resolution that the guest shall prefer, "
				 "from %ux%u to %ux%u, like 1024x768",
				 value, DISPLAY_WIDTH_MIN, DISPLAY_HEIGHT_MIN, DISPLAY_WIDTH_MAX,
				 DISPLAY_HEIGHT_MAX);
	display_options_want(display);
	display->width = (unsigned int)width;
	display->height = (unsigned int)height;
	return 0;
}

static bool parse_address(const char *value, struct sockaddr_in *address)
{
	const char *colon = strrchr(value, ':');
	char host[INET_ADDRSTRLEN];
	uint64_t port;

	if (!colon || colon - value >= (long)sizeof(host) ||
	    parse_u64(colon + 1, 1, UINT16_MAX, &port))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - value), value);
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

int display_options_vnc(const char *value, struct run_display *display, struct error *err)
{
	bool local = strncmp(value, "unix:", 5) == 0;

	if (local ? !value[5] : !parse_address(value, &display->address))
		return error_set(err, EINVAL, "--vnc %.80s: give unix:PATH or 127.0.0.1:PORT",
				 value);
	if (!local && ntohl(display->address.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return error_set(err, EINVAL,
				 "--vnc %.80s: whoever reaches it could use the screen; give "
				 "127.0.0.1:PORT, and reach that by ssh -L from elsewhere",
				 value);
	display_options_want(display);
	display->vnc = value;
	display->vnc_path = local ? value + 5 : NULL;
	return 0;
}
