#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "mgmt/vmms/metrics_address.h"
#include "mgmt/vmms/metrics_http.h"
#include "suite.h"

static int status_of(const char *text)
{
	struct metrics_http request;

	metrics_http_read(text, strlen(text), &request);
	return request.status;
}

START_TEST(requests_have_their_answers)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200},
		{"GET /metrics?x=y HTTP/1.1\r\nhost:a\r\nAccept: */*\r\n\r\n", 200},
		{"GET http://a:1/metrics HTTP/1.1\r\nHost: a:1\r\n\r\n", 200},
		{"GET /metrics HTTP/1.0\n\n", 200},
		{"HEAD /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404},
		{"GET /metricsx HTTP/1.1\r\nHost: a\r\n\r\n", 404},
		{"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 404},
		{"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		{"GET /metrics HTTP/1.1\r\n\r\n", 400},
		{"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 400},
		{"GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"GET /metrics HTTP/1.1\r\n Host: a\r\n\r\n", 400},
		{"GET /metrics HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", 400},
		{"GET /metrics HTTP/1.1\r\nHost: a\x01\r\n\r\n", 400},
		{"GET /metrics\r\n", 400},
		{"GET  /metrics HTTP/1.1\r\n", 400},
		{"\r\n", 400},
		{"\x16\x03\x01\n", 400},
		{"GET /metrics HTTP/2.0\r\n", 505},
		{"GET /metrics HTTP/1.1\r\nHost: a\r\n", 0},
		{"GET /metrics HTTP/1.1", 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		ck_assert_msg(status_of(cases[i].text) == cases[i].status, "%d for %s",
			      status_of(cases[i].text), cases[i].text);
}
END_TEST

START_TEST(endless_requests_are_too_large)
{
	char text[METRICS_HTTP_MAX];
	struct metrics_http request;

	memset(text, 'a', sizeof(text));
	metrics_http_read(text, sizeof(text) - 1, &request);
	ck_assert_int_eq(request.status, 0);
	metrics_http_read(text, sizeof(text), &request);
	ck_assert_int_eq(request.status, 431);
}
END_TEST

START_TEST(hosts_by_name_are_not_local)
{
	static const struct {
		const char *host;
		int local;
	} cases[] = {
		{"127.0.0.1:9100", 1},
		{"127.0.0.1", 1},
		{"localhost:1", 1},
		{"LocalHost", 1},
		{"[::1]:9100", 1},
		{"evil.test", 0},
		{"localhost.evil.test:1", 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const struct metrics_http request = {.authority = cases[i].host,
						     .authority_size = strlen(cases[i].host)};

		ck_assert_msg(metrics_http_is_local(&request) == cases[i].local, "%s",
			      cases[i].host);
	}
}
END_TEST

START_TEST(places_are_local_ones)
{
	static const char *const wrong[] = {"",
					    "unix:",
					    "unix:metrics.sock",
					    "9100",
					    "127.0.0.1",
					    "127.0.0.1:0",
					    "127.0.0.1:65536",
					    "0.0.0.0:9100",
					    "192.0.2.1:9100",
					    "[::]:9100",
					    "::1:9100",
					    "[::1]",
					    "localhost:9100"};
	struct metrics_address address;
	struct error err;

	ck_assert_int_eq(metrics_address_parse("unix:/run/m.sock", &address, &err), 0);
	ck_assert_str_eq(address.path, "/run/m.sock");
	ck_assert_int_eq(metrics_address_parse("127.0.0.1:9100", &address, &err), 0);
	ck_assert_int_eq(address.address.ss_family, AF_INET);
	ck_assert_int_eq(metrics_address_parse("[::1]:9100", &address, &err), 0);
	ck_assert_int_eq(address.address.ss_family, AF_INET6);
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
		ck_assert_msg(metrics_address_parse(wrong[i], &address, &err) == -EINVAL, "%s",
			      wrong[i]);
}
END_TEST

int main(void)
{
	TCase *tc;
	Suite *suite = suite_of("metrics_http", &tc);

	tcase_add_test(tc, requests_have_their_answers);
	tcase_add_test(tc, endless_requests_are_too_large);
	tcase_add_test(tc, hosts_by_name_are_not_local);
	tcase_add_test(tc, places_are_local_ones);
	return suite_run(suite);
}
