#include "fuzz.h"

#include "mgmt/vmms/metrics_http.h"

/* A client of the metrics socket that sends anything, a byte more each time: once there is an
 * answer it stays, whatever follows, and one comes at last. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct metrics_http request, whole;
	size_t end = 0;

	if (size > METRICS_HTTP_MAX)
		return 0;
	do {
		metrics_http_read(text, end, &request);
	} while (!request.status && end++ < size);
	metrics_http_read(text, size, &whole);
	require(request.status == whole.status);
	require(size < METRICS_HTTP_MAX || whole.status);
	require(!whole.status || *metrics_http_reason(whole.status));
	if (whole.authority) {
		require(whole.authority >= text &&
			whole.authority + whole.authority_size <= text + size);
		metrics_http_is_local(&whole);
	}
	return 0;
}
