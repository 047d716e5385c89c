#include "mgmt/vmms/metrics_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define UNIX_PREFIX "unix:"

static int refuse(const char *text, struct error *err)
{
	return error_set(
		err, EINVAL,
		"--metrics %.200s: give unix:PATH with an absolute path, 127.0.0.1:PORT or "
		"[::1]:PORT",
		text);
}

static bool parse_ipv4(const char *host, uint64_t port, struct metrics_address *out)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		return false;
	memcpy(&out->address, &address, sizeof(address));
	out->size = sizeof(address);
	return true;
}

static bool parse_ipv6(const char *host, uint64_t port, struct metrics_address *out)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET6, host, &address.sin6_addr) != 1)
		return false;
	memcpy(&out->address, &address, sizeof(address));
	out->size = sizeof(address);
	return true;
}

static bool is_loopback(const struct metrics_address *address)
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	if (address->address.ss_family == AF_INET6) {
		memcpy(&six, &address->address, sizeof(six));
		return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
	}
	memcpy(&four, &address->address, sizeof(four));
	return ntohl(four.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

int metrics_address_parse(const char *text, struct metrics_address *out, struct error *err)
{
	const char *colon = strrchr(text, ':');
	struct metrics_address found = {0};
	char host[INET6_ADDRSTRLEN + 2];
	size_t length;
	uint64_t port;
	bool good;

	if (!strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX))) {
		found.path = text + strlen(UNIX_PREFIX);
		if (found.path[0] != '/')
			return refuse(text, err);
		*out = found;
		return 0;
	}
	length = colon ? (size_t)(colon - text) : 0;
	if (!length || length >= sizeof(host) || parse_u64(colon + 1, 1, 65535, &port))
		return refuse(text, err);
	snprintf(host, sizeof(host), "%.*s", (int)length, text);
	if (host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = 0;
		good = parse_ipv6(host + 1, port, &found);
	} else {
		good = parse_ipv4(host, port, &found);
	}
	if (!good)
		return refuse(text, err);
	if (!is_loopback(&found))
		return error_set(
			err, EINVAL,
			"--metrics %.200s: others could read there who your VMs are; give "
			"127.0.0.1:PORT, or unix:PATH, and put a server in front that asks "
			"who calls",
			text);
	*out = found;
	return 0;
}
