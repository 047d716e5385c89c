#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/json_link.h"
#include "base/standard_fds.h"
#include "base/text.h"
#include "tools/disk.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"

#define REPLY_TIMEOUT_MS 10000

static const struct {
	const char *name;
	int (*run)(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
} verbs[] = {
	{"info", disk_info},	   {"check", disk_check},   {"create", disk_create},
	{"convert", disk_convert}, {"resize", disk_resize}, {"compact", disk_compact},
};

static int run(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	const char *verb = json_string_value(json_object_get(request, "verb"));
	const json_t *files = json_object_get(request, "files");

	if (!verb || json_array_size(files) != set->count)
		return error_set(err, EINVAL,
				 "a request does not fit this bulkhead-disk; install "
				 "it and bulkhead of one version");
	for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++)
		if (strcmp(verbs[i].name, verb) == 0)
			return verbs[i].run(request, set, reply, err);
	return error_set(err, EINVAL,
			 "this bulkhead-disk knows no \"%.40s\"; install it and bulkhead "
			 "of one version",
			 verb);
}

/* Whoever waits reads them as they come; for one who has gone there is nothing left to do. */
static int tell_progress(void *context, uint64_t done, uint64_t total)
{
	struct json_link *link = context;
	json_t *message = json_pack("{s:{s:I, s:I}}", "progress", "done", (json_int_t)done, "total",
				    (json_int_t)total);
	int r = json_link_send(link, message, NULL, 0);

	if (r == 0)
		r = json_link_drain(link, REPLY_TIMEOUT_MS);
	json_decref(message);
	return r;
}

static int answer(struct json_link *link, const json_t *request)
{
	struct disk_set set = {.count = 0};
	json_t *reply = NULL;
	json_t *message;
	struct error err, close_err;
	int r, closed;

	if (json_is_true(json_object_get(request, "progress"))) {
		set.progress = tell_progress;
		set.context = link;
	}
	while (set.count < DISK_FILES_MAX && (set.fds[set.count] = json_link_take_fd(link)) >= 0)
		set.count++;
	r = run(request, &set, &reply, &err);
	closed = disk_set_close(&set, &close_err);
	if (r == 0 && closed < 0) {
		r = closed;
		err = close_err;
	}
	if (r < 0) {
		json_decref(reply);
		message = json_pack("{s:o}", "error", text_json(err.text));
	} else {
		message = json_pack("{s:o}", "reply", reply);
	}
	r = json_link_send(link, message, NULL, 0);
	if (r == 0)
		r = json_link_drain(link, REPLY_TIMEOUT_MS);
	json_decref(message);
	return r;
}

static int serve(struct json_link *link)
{
	json_t *request;
	int r;

	while ((r = json_link_wait(link, -1, &request)) >= 0) {
		r = answer(link, request);
		json_decref(request);
		if (r < 0)
			return r;
	}
	return r == -ENODATA ? 0 : r;
}

int main(void)
{
	static const struct json_link_limits limits = {.message_max = 1u << 20,

						       .fds_max = DISK_FILES_MAX};
	struct sandbox sandbox;
	struct json_link *link;
	struct error err;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	json_object_seed(0); /* opens a file */
	if (sandbox_begin(&sandbox, PROTOCOL_CONTROL_FD, 0, &err) || sandbox_drop(&sandbox, &err) ||
	    sandbox_enter_disk(&err)) {
		fprintf(stderr, "bulkhead-disk: %s\n", err.text);
		return EXIT_VMM_ERROR;
	}
	if (json_link_new(PROTOCOL_CONTROL_FD, &limits, &link) < 0) {
		fprintf(stderr, "bulkhead-disk: bulkhead starts it; use `bulkhead disk`\n");
		return EXIT_USAGE;
	}
	return serve(link) < 0 ? EXIT_VMM_ERROR : 0;
}
