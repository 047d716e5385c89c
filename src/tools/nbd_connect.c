#include "tools/nbd_connect.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define TCP_SCHEME  "nbd://"
#define UNIX_SCHEME "nbd+unix://"
#define SOCKET_WORD "socket="

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) % 16 : -1;
}

/* length bytes of text, decoded; false where they do not fit, or say what cannot be in a name. */
static bool decode(const char *text, size_t length, char *out, size_t size)
{
	const char *end = text + length;
	size_t used = 0;

	while (text < end) {
		char c = *text++;

		if (c == '%') {
			int high = text < end ? hex(text[0]) : -1;
			int low = high >= 0 && text + 1 < end ? hex(text[1]) : -1;

			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			text += 2;
		}
		if (!c || used + 1 >= size)
			return false;
		out[used++] = c;
	}
	out[used] = '\0';
	return true;
}

static int bad(struct error *err)
{
	return error_set(err, EINVAL,
			 "give nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH");
}

static int parse_unix(const char *rest, struct nbd_place *place, struct error *err)
{
	const char *query = strchr(rest, '?');

	if (*rest != '/' || !query || strncmp(query + 1, SOCKET_WORD, strlen(SOCKET_WORD)) != 0)
		return bad(err);
	rest++;
	if (!decode(rest, (size_t)(query - rest), place->export, sizeof(place->export)))
		return bad(err);
	query += 1 + strlen(SOCKET_WORD);
	if (!decode(query, strlen(query), place->path, sizeof(place->path)) ||
	    place->path[0] != '/')
		return error_set(err, EINVAL,
				 "the socket must be an absolute path of at most %d characters",
				 (int)sizeof(place->path) - 1);
	return 0;
}

/* The port's colon, behind the brackets of an IPv6 address; end if there is none. */
static const char *find_port(const char *host, const char *end)
{
	const char *bracket = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
	const char *from = bracket ? bracket : host;
	const char *colon = memchr(from, ':', (size_t)(end - from));

	return colon ? colon : end;
}

static int parse_tcp(const char *rest, struct nbd_place *place, struct error *err)
{
	const char *end = rest + strcspn(rest, "/?#");
	const char *colon = find_port(rest, end);
	const char *host_end = colon;
	uint64_t port = 10809;

	if (*rest == '[' && colon > rest && colon[-1] == ']') {
		rest++;
		host_end--;
	}
	if (host_end <= rest || strpbrk(end, "?#") ||
	    !decode(rest, (size_t)(host_end - rest), place->server, sizeof(place->server)))
		return bad(err);
	if (colon < end) {
		char digits[8];

		if (!decode(colon + 1, (size_t)(end - colon - 1), digits, sizeof(digits)) ||
		    parse_u64(digits, 1, 65535, &port))
			return bad(err);
	}
	snprintf(place->port, sizeof(place->port), "%u", (unsigned int)port);
	if (*end == '/')
		end++;
	return decode(end, strlen(end), place->export, sizeof(place->export)) ? 0 : bad(err);
}

int nbd_place_parse(const char *uri, struct nbd_place *place, struct error *err)
{
	*place = (struct nbd_place){.server = ""};
	if (!strncmp(uri, TCP_SCHEME, strlen(TCP_SCHEME)))
		return parse_tcp(uri + strlen(TCP_SCHEME), place, err);
	if (!strncmp(uri, UNIX_SCHEME, strlen(UNIX_SCHEME)))
		return parse_unix(uri + strlen(UNIX_SCHEME), place, err);
	return bad(err);
}

/* 0, or -errno; the socket is not blocking. */
static int finish_connect(int fd, unsigned int seconds)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	socklen_t size = sizeof(int);
	int error = 0;

	if (poll(&ready, 1, (int)seconds * 1000) != 1)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
		return -errno;
	return -error;
}

static int try_address(int family, const struct sockaddr *address, socklen_t size,
		       unsigned int seconds)
{
	CLEANUP_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, address, size))
		r = errno == EINPROGRESS ? finish_connect(fd, seconds) : -errno;
	if (r < 0)
		return r;
	if (family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return TAKE_FD(fd);
}

static int connect_unix(const struct nbd_place *place, unsigned int seconds)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", place->path);
	return try_address(AF_UNIX, (struct sockaddr *)&address, sizeof(address), seconds);
}

static int connect_tcp(const struct nbd_place *place, unsigned int seconds, struct error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	int r = getaddrinfo(place->server, place->port, &hints, &list);

	if (r)
		return error_set(err, EHOSTUNREACH, "%.100s: %s; check the host's name",
				 place->server, gai_strerror(r));
	r = -EHOSTUNREACH;
	for (struct addrinfo *at = list; at && r < 0; at = at->ai_next)
		r = try_address(at->ai_family, at->ai_addr, at->ai_addrlen, seconds);
	freeaddrinfo(list);
	return r;
}

int nbd_place_connect(const struct nbd_place *place, unsigned int seconds, struct error *err)
{
	int r;

	error_set(err, 0, "%s", "");
	r = place->server[0] ? connect_tcp(place, seconds, err) : connect_unix(place, seconds);
	if (r < 0 && !err->text[0])
		return error_set(err, -r, "cannot connect: %s; check that the server runs",
				 strerror(-r));
	return r;
}
