#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/varlink.h"
#include "mgmt/identity.h"
#include "mgmt/open_checked.h"
#include "mgmt/vmms/chore.h"
#include "mgmt/vmms/chore_reply.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vmms.h"
#include "mgmt/worker_spawn.h"

/*
 * ShowTrace.  A child of the daemon starts a bulkhead-trace (tools/trace_main.c), becomes the
 * caller, and then opens the trace, as methods_image.c does with images and for the same reasons.
 * Each of the three has what one reply holds, and waits for the next to take it.
 */

#define RECORDS_BYTES	(128u << 10) /* of one reply */
#define SEND_TIMEOUT_MS 10000

/* In the child. */
struct reading {
	const struct request *request;
	const char *path;
	struct chore_child *child;
	struct spawned_worker tool;
	json_t *records; /* that no part had yet */
	size_t bytes;	 /* of them, as text */
};

static int start_tool(const struct request *request, const char *path, struct spawned_worker *tool,
		      struct error *err)
{
	const json_t *channel = json_object_get(request->parameters, "channel");
	const char *arguments[5] = {"--served"};
	char program[PATH_MAX], number[24], name[256];
	unsigned int count = 1;
	int r = trace_tool_find(program, sizeof(program), err);

	if (r)
		return r;
	if (json_is_integer(channel)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(channel));
		arguments[count++] = "--channel";
		arguments[count++] = number;
	}
	snprintf(name, sizeof(name), "%s", path); /* it quotes less, in its sentences */
	arguments[count] = name;
	return spawn_worker(program, arguments, tool, err);
}

static int open_trace(const char *path, struct error *err)
{
	struct stat status;
	CLEANUP_CLOSE int fd = open_checked(path, O_RDONLY, &status);

	if (fd < 0)
		return error_set(err, -fd, "%.200s: %s; check the path", path, strerror(-fd));
	if (!S_ISREG(status.st_mode))
		return error_set(err, EINVAL, "%.200s is no file; give one", path);
	return TAKE_FD(fd);
}

static int give_trace(struct reading *reading, struct error *err)
{
	CLEANUP_CLOSE int fd = open_trace(reading->path, err);
	json_t *message;
	int r;

	if (fd < 0)
		return fd;
	message = json_object();
	r = json_link_send(reading->tool.link, message, &fd, 1);
	json_decref(message);
	if (!r)
		r = json_link_drain(reading->tool.link, SEND_TIMEOUT_MS);
	return r ? error_host(err, -r, "no trace can be given to bulkhead-trace") : 0;
}

static int send_part(struct reading *reading, struct error *err)
{
	int r = chore_part(reading->child, json_pack("{s:O}", "records", reading->records));

	json_array_clear(reading->records);
	reading->bytes = 0;
	return r ? error_set(err, ECANCELED, "who asked has left; ask again") : 0;
}

static int add_record(struct reading *reading, json_t *record, struct error *err)
{
	size_t bytes = json_dumpb(record, NULL, 0, JSON_COMPACT) + 1;
	int r = 0;

	if (reading->bytes + bytes > RECORDS_BYTES) {
		if (!varlink_call_wants_more(reading->request->call))
			return error_set(err, EFBIG,
					 "%.200s is too long for one reply; take more than one "
					 "(\"more\"), or ask for one channel",
					 reading->path);
		r = send_part(reading, err);
	}
	json_array_append(reading->records, record);
	reading->bytes += bytes;
	return r;
}

/* What comes before the damage is right. */
static int fail_damaged(struct reading *reading, const char *sentence, struct error *err)
{
	int r = 0;

	if (json_array_size(reading->records) && varlink_call_wants_more(reading->request->call))
		r = send_part(reading, err);
	return r ? r
		 : error_set(err, EINVAL, "%s",
			     sentence ? sentence
				      : "bulkhead-trace said what nobody understands; install it "
					"and bulkhead of one version");
}

/* The next message: 1, 0 after the last, with its "end" in *end, or -errno with err. */
static int hear_message(struct reading *reading, json_t **end, struct error *err)
{
	json_t *message, *record;
	int r = spawned_worker_hear(&reading->tool, chore_asker(reading->child), &message);

	if (r == -ECANCELED)
		return error_set(err, ECANCELED, "who asked has left; ask again");
	if (r)
		return error_set(err, EIO,
				 "bulkhead-trace ended before it was done; try again, and if it "
				 "does so again see the daemon's log");
	record = json_object_get(message, "record");
	*end = json_incref(json_object_get(message, "end"));
	if (record)
		r = add_record(reading, record, err);
	else if (!*end)
		r = fail_damaged(reading, json_string_value(json_object_get(message, "error")),
				 err);
	json_decref(message);
	return r ? r : !*end;
}

static int read_trace(struct reading *reading, json_t **reply, struct error *err)
{
	json_t *end = NULL;
	int r = give_trace(reading, err);

	if (r)
		return r;
	while ((r = hear_message(reading, &end, err)) == 1)
		;
	if (!r)
		*reply = json_pack("{s:O, s:O*, s:O*}", "records", reading->records, "packets",
				   json_object_get(end, "packets"), "dropped",
				   json_object_get(end, "dropped"));
	json_decref(end);
	return r;
}

static int work(const struct request *request, struct chore_child *child, json_t **reply,
		struct error *err)
{
	struct reading reading = {.request = request,
				  .path = request_text(request, "path"),
				  .child = child,
				  .records = json_array()};
	int r = start_tool(request, reading.path, &reading.tool, err);

	if (r)
		return r;
	chore_started(child, reading.tool.pidfd);
	r = caller_become(&request->caller);
	if (r)
		error_host(err, -r, "no process can have the user's rights");
	else
		r = read_trace(&reading, reply, err);
	/* Where it has another user's rights than we, it ends when it sees that we left. */
	if (r)
		identity_kill(reading.tool.pid);
	spawned_worker_wait(&reading.tool);
	json_decref(reading.records);
	return r;
}

static json_t *reply_record(const json_t *said)
{
	static const struct chore_member members[] = {
		{"time_ns", JSON_INTEGER},
		{"kind", JSON_STRING},
		{"direction", JSON_STRING},
		{"channel", JSON_INTEGER},
		{"index", JSON_INTEGER},
		{"name", JSON_STRING},
		{"details", JSON_STRING},
		{"device", JSON_STRING, .may_miss = true},
		{"class", JSON_STRING, .may_miss = true},
		{"transaction", JSON_INTEGER, .may_miss = true},
		{"vp", JSON_INTEGER, .may_miss = true},
		{"dropped_before", JSON_INTEGER, .may_miss = true},
	};

	return chore_reply(said, members, ARRAY_LENGTH(members), NULL);
}

static json_t *reply_records(const json_t *said)
{
	json_t *list = json_array(), *each, *record;
	size_t i;

	json_array_foreach(said, i, each)
	{
		record = reply_record(each);
		if (!record) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, record);
	}
	return list;
}

static json_t *reply_part(const json_t *said)
{
	static const struct chore_member members[] = {
		{"packets", JSON_INTEGER, .may_miss = true},
		{"dropped", JSON_INTEGER, .may_miss = true},
	};
	const json_t *given = json_object_get(said, "records");
	json_t *records = json_is_array(given) ? reply_records(given) : NULL;
	json_t *reply = records ? chore_reply(said, members, ARRAY_LENGTH(members), NULL) : NULL;

	if (reply)
		json_object_set_new(reply, "records", records);
	else
		json_decref(records);
	return reply;
}

/* The parameter that is not as it should be; NULL: none. */
static const char *find_fault(const struct request *request, struct error *err)
{
	const json_t *given = json_object_get(request->parameters, "channel");
	json_int_t channel = json_integer_value(given);

	if (request_check_path(request, "path", err))
		return "path";
	if (channel >= 0 && channel <= UINT32_MAX)
		return NULL;
	error_set(err, EINVAL, "there is no channel %" JSON_INTEGER_FORMAT "; give one's number",
		  channel);
	return "channel";
}

void method_show_trace(struct request *request, struct vm *vm)
{
	static const struct chore_kind kind = {.work = work, .reply = reply_part};
	struct error err;
	const char *member = find_fault(request, &err);

	if (member)
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", member), "%s",
			     err.text);
	else
		chore_begin(request->vmms->chores, request, &kind);
}
