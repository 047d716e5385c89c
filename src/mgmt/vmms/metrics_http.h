#pragma once

#include <stddef.h>

/*
 * What is understood of HTTP/1.1 (RFC 9110, RFC 9112): a GET or HEAD of /metrics without a body,
 * once on a connection.  Pure functions: any thread.
 */

#define METRICS_HTTP_MAX 8192 /* bytes of a request */

struct metrics_http {
	int status;	       /* the answer's: 200 or an error; 0: the request is not whole yet */
	int head;	       /* the answer has no body */
	const char *authority; /* the field Host, in the data, or NULL */
	size_t authority_size;
};

/* Reads what has come so far, up to METRICS_HTTP_MAX bytes, by which it has an answer. */
void metrics_http_read(const char *data, size_t size, struct metrics_http *out);

/* Whether the host is named by an address or as localhost: a page of the web, which may have its
 * own name mean this host, cannot do so. */
int metrics_http_is_local(const struct metrics_http *request);

/* "Not Found" for 404. */
const char *metrics_http_reason(int status);
