#include <errno.h>

#include "base/checked.h"
#include "mgmt/disk_job.h"
#include "mgmt/run_disk.h"
#include "mgmt/vmms/chore.h"
#include "mgmt/vmms/chore_reply.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vmms.h"

/*
 * Disk images that no VM uses.  A child of the daemon starts a bulkhead-disk, becomes the caller,
 * and then opens the files: so that the one who parses them has the confinement that only root can
 * give, and the one who opens them no right that the caller has not.
 */

/* What each of the methods is: the data of its row in the table of methods. */
struct image_method {
	struct chore_kind chore;
	enum disk_verb verb;
};

static const struct image_method *method_of(const struct request *request)
{
	return request->method->data;
}

static uint64_t number(const struct request *request, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(request->parameters, key));

	return value > 0 ? (uint64_t)value : 0;
}

/* What has an image changed in place is not stopped halfway. */
static int begin(struct disk_tool *tool)
{
	int r = chore_begun(tool->context);

	if (!r)
		tool->asker = -1;
	return r;
}

static void fill_job(const struct request *request, struct disk_job *job)
{
	enum disk_verb verb = method_of(request)->verb;
	const char *source_format = request_text(request, "source_format");
	const char *format = request_text(request, "format");

	*job = (struct disk_job){
		.verb = verb,
		.path = request_text(request, verb == DISK_CONVERT ? "source" : "path"),
		.target = verb == DISK_CONVERT ? request_text(request, "path") : NULL,
		.parent = request_text(request, "parent"),
		.format = format ? run_disk_format_find(format) : NULL,
		.source_format = source_format ? run_disk_format_find(source_format) : NULL,
		.bytes = number(request, "bytes"),
		.block_bytes = number(request, "block_bytes"),
		.logical = number(request, "logical_block"),
		.physical = number(request, "physical_block"),
		.fixed = json_is_true(json_object_get(request->parameters, "fixed")),
		.progress = verb == DISK_CONVERT,
		.begin = method_of(request)->chore.goes_on ? begin : NULL,
		.mode = 0600,
	};
}

static void tell_progress(void *context, uint64_t done, uint64_t total)
{
	chore_progress(context, done, total);
}

static int work(const struct request *request, struct chore_child *child, json_t **reply,
		struct error *err)
{
	struct disk_tool tool;
	struct disk_job job;
	int r = disk_tool_start(&tool, err);

	if (r)
		return r;
	tool.progress = tell_progress;
	tool.context = child;
	tool.asker = chore_asker(child);
	fill_job(request, &job);
	chore_started(child, tool.process.pidfd);
	r = caller_become(&request->caller);
	if (r)
		error_host(err, -r, "no process can have the user's rights");
	else
		r = disk_job_run(&job, &tool, reply, err);
	disk_tool_stop(&tool);
	return r;
}

static const json_t *integer(const struct request *request, const char *key)
{
	const json_t *value = json_object_get(request->parameters, key);

	return json_is_integer(value) ? value : NULL;
}

static int check_format(const struct request *request, const char *key, struct error *err)
{
	const char *format = request_text(request, key);

	if (!format || run_disk_format_find(format))
		return 0;
	return error_set(err, EINVAL, "there is no disk format %.20s; give raw, vhd or vhdx",
			 format);
}

static int check_sector(const struct request *request, const char *key, struct error *err)
{
	uint64_t bytes = number(request, key);

	if (!integer(request, key) || bytes == 512 || bytes == 4096)
		return 0;
	return error_set(err, EINVAL, "sectors have 512 or 4096 bytes; give one of these");
}

static int check_size(const struct request *request, const char *key, struct error *err)
{
	if (!integer(request, key) || number(request, key))
		return 0;
	return error_set(err, EINVAL, "no size is less than a byte; give more");
}

/* The parent's is the default. */
static int check_bytes(const struct request *request, const char *key, struct error *err)
{
	if (method_of(request)->verb == DISK_CREATE && !integer(request, key) &&
	    !request_text(request, "parent"))
		return error_set(err, EINVAL, "a disk has a size; give it, in bytes");
	return check_size(request, key, err);
}

/* The parameter that is not as it should be; NULL: none. */
static const char *find_fault(const struct request *request, struct error *err)
{
	static const struct {
		const char *key;
		int (*check)(const struct request *request, const char *key, struct error *err);
	} parameters[] = {
		{"path", request_check_path},	  {"source", request_check_path},
		{"parent", request_check_path},	  {"format", check_format},
		{"source_format", check_format},  {"logical_block", check_sector},
		{"physical_block", check_sector}, {"block_bytes", check_size},
		{"bytes", check_bytes},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(parameters); i++) {
		if (parameters[i].check(request, parameters[i].key, err))
			return parameters[i].key;
	}
	return NULL;
}

void method_image(struct request *request, struct vm *vm)
{
	struct error err;
	const char *member = find_fault(request, &err);

	if (member)
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", member), "%s",
			     err.text);
	else
		chore_begin(request->vmms->chores, request, &method_of(request)->chore);
}

static json_t *reply_bytes(const json_t *reply)
{
	static const struct chore_member members[] = {{"bytes", JSON_INTEGER}};

	return chore_reply(reply, members, ARRAY_LENGTH(members), NULL);
}

static json_t *reply_info(const json_t *reply)
{
	static const struct chore_member members[] = {
		{"format", JSON_STRING},	  {"bytes", JSON_INTEGER},
		{"block_bytes", JSON_INTEGER},	  {"logical_block", JSON_INTEGER},
		{"physical_block", JSON_INTEGER}, {"file_bytes", JSON_INTEGER},
		{"differencing", JSON_TRUE},	  {"parents", JSON_ARRAY},
	};

	return chore_reply(reply, members, ARRAY_LENGTH(members), "details");
}

static json_t *reply_check(const json_t *reply)
{
	static const struct chore_member members[] = {
		{"format", JSON_STRING},
		{"damages", JSON_ARRAY},
		{"notes", JSON_ARRAY},
	};

	return chore_reply(reply, members, ARRAY_LENGTH(members), NULL);
}

static json_t *reply_compact(const json_t *reply)
{
	static const struct chore_member members[] = {
		{"before", JSON_INTEGER},
		{"after", JSON_INTEGER},
	};

	return chore_reply(reply, members, ARRAY_LENGTH(members), NULL);
}

static json_t *progress(uint64_t done, uint64_t total)
{
	return json_pack("{s:I, s:I}", "bytes", (json_int_t)done, "size", (json_int_t)total);
}

static const char left[] =
	"the daemon ends, but this goes on without it; GetImage, or `bulkhead disk info`, refuses "
	"the image until it is done, and then shows what has become of it";

const struct image_method image_create = {{work, reply_bytes}, DISK_CREATE};
const struct image_method image_info = {{work, reply_info}, DISK_INFO};
const struct image_method image_check = {{work, reply_check}, DISK_CHECK};
const struct image_method image_convert = {{work, reply_bytes, progress}, DISK_CONVERT};
const struct image_method image_resize = {{work, reply_bytes, .goes_on = true, .left = left},
					  DISK_RESIZE};
const struct image_method image_compact = {{work, reply_compact, .goes_on = true, .left = left},
					   DISK_COMPACT};
