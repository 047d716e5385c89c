#include "mgmt/vmms/metrics_http.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"

#define PATH "/metrics"

/* A part of the request. */
struct span {
	const char *data;
	size_t size;
};

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{200, "OK"},
	{400, "Bad Request"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{421, "Misdirected Request"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{503, "Service Unavailable"},
	{505, "HTTP Version Not Supported"},
};

const char *metrics_http_reason(int status)
{
	for (size_t i = 0; i < ARRAY_LENGTH(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "";
}

static bool is(struct span span, const char *word)
{
	return span.size == strlen(word) && !memcmp(span.data, word, span.size);
}

static bool is_name(struct span span, const char *name)
{
	return span.size == strlen(name) && !strncasecmp(span.data, name, span.size);
}

static bool begins(struct span span, const char *word)
{
	return span.size >= strlen(word) && !memcmp(span.data, word, strlen(word));
}

/* The next line without its end, which is CR LF or, as the RFC lets a server have it, LF alone. */
static bool take_line(struct span *rest, struct span *line)
{
	const char *end = memchr(rest->data, '\n', rest->size);

	if (!end)
		return false;
	*line = (struct span){rest->data, (size_t)(end - rest->data)};
	rest->size -= line->size + 1;
	rest->data = end + 1;
	if (line->size && line->data[line->size - 1] == '\r')
		line->size--;
	return true;
}

/* What is before the first such character, which both parts lose. */
static bool cut(struct span *rest, char at, struct span *part)
{
	const char *found = memchr(rest->data, at, rest->size);

	if (!found)
		return false;
	*part = (struct span){rest->data, (size_t)(found - rest->data)};
	rest->size -= part->size + 1;
	rest->data = found + 1;
	return true;
}

static bool is_token(struct span span)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < span.size; i++) {
		char c = span.data[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
		    (!c || !strchr(others, c)))
			return false;
	}
	return span.size > 0;
}

static bool is_clean(struct span span)
{
	for (size_t i = 0; i < span.size; i++) {
		unsigned char c = (unsigned char)span.data[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* "/metrics", whatever is asked of it, also behind a scheme and an authority. */
static bool is_ours(struct span target)
{
	struct span part;

	if (begins(target, "http://")) {
		target.data += strlen("http://");
		target.size -= strlen("http://");
		if (!cut(&target, '/', &part))
			return false;
		target.data--;
		target.size++;
	}
	return is(target, PATH) || begins(target, PATH "?");
}

/* 200, or the error. */
static int read_request_line(struct span line, struct metrics_http *out, bool *needs_host)
{
	struct span method, target;

	if (!is_clean(line) || !cut(&line, ' ', &method) || !cut(&line, ' ', &target) ||
	    !is_token(method) || !target.size || !begins(line, "HTTP/"))
		return 400;
	if (!is(line, "HTTP/1.1") && !is(line, "HTTP/1.0"))
		return 505;
	*needs_host = is(line, "HTTP/1.1");
	out->head = is(method, "HEAD");
	if (!out->head && !is(method, "GET"))
		return 405;
	return is_ours(target) ? 200 : 404;
}

static struct span trim(struct span span)
{
	while (span.size && strchr(" \t", span.data[0])) {
		span.data++;
		span.size--;
	}
	while (span.size && strchr(" \t", span.data[span.size - 1]))
		span.size--;
	return span;
}

/* False for what nobody may send, and for a body, which nothing here would read. */
static bool read_field(struct span line, struct metrics_http *out)
{
	struct span name;

	if (!is_clean(line) || !cut(&line, ':', &name) || !is_token(name))
		return false;
	line = trim(line);
	if (is_name(name, "Transfer-Encoding"))
		return false;
	if (is_name(name, "Content-Length"))
		return is(line, "0");
	if (!is_name(name, "Host"))
		return true;
	if (out->authority)
		return false;
	out->authority = line.data;
	out->authority_size = line.size;
	return true;
}

static int read_whole(struct span rest, struct metrics_http *out)
{
	bool needs_host = false, sound = true;
	struct span line;
	int status;

	if (!take_line(&rest, &line))
		return 0;
	status = read_request_line(line, out, &needs_host);
	if (status == 400 || status == 505)
		return status;
	while (take_line(&rest, &line)) {
		if (!line.size)
			return !sound || (needs_host && !out->authority) ? 400 : status;
		sound = sound && read_field(line, out);
	}
	return 0;
}

void metrics_http_read(const char *data, size_t size, struct metrics_http *out)
{
	*out = (struct metrics_http){0};
	out->status = read_whole((struct span){data, size}, out);
	if (!out->status && size >= METRICS_HTTP_MAX)
		out->status = 431;
}

int metrics_http_is_local(const struct metrics_http *request)
{
	struct span host = {request->authority, request->authority_size}, port;
	size_t digits;

	if (!host.data)
		return 1;
	if (host.size && host.data[0] == '[')
		return 1;
	if (cut(&(struct span){host.data, host.size}, ':', &port))
		host = port;
	if (is_name(host, "localhost"))
		return 1;
	for (digits = 0; digits < host.size; digits++) {
		if (host.data[digits] != '.' &&
		    (host.data[digits] < '0' || host.data[digits] > '9'))
			return 0;
	}
	return digits > 0;
}
